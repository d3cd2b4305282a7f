/* Text: UTF-8, formatting and dates. */
#include "internal.h"

size_t tg_utf8_length(const uint8_t *bytes, size_t size) {
    uint8_t lead = bytes[0];
    size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length > size || !length) return 0;
    for (size_t at = 1; at < length; at++)
        if ((bytes[at] & 0xc0) != 0x80) return 0;
    /* Overlong forms, surrogates, and what lies beyond the last character. */
    if ((lead == 0xe0 && bytes[1] < 0xa0) || (lead == 0xed && bytes[1] > 0x9f)) return 0;
    if ((lead == 0xf0 && bytes[1] < 0x90) || (lead == 0xf4 && bytes[1] > 0x8f)) return 0;
    return length;
}

bool tg_is_utf8(const uint8_t *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        if (bytes[at] < 0x80) {
            at++;
            continue;
        }
        size_t length = tg_utf8_length(bytes + at, size - at);
        if (!length) return false;
        at += length;
    }
    return true;
}

size_t tg_utf8_write(char *out, uint32_t c) {
    if (c < 0x80) return out[0] = (char)c, 1;
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t at = length; at-- > 1; c >>= 6) out[at] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((0xf00u >> length & 0xf0) | c);
    return length;
}

tg_text tg_text_of(const char *text) {
    return text ? (tg_text){text, strlen(text)} : (tg_text){0};
}

tg_text tg_clean(const char *text) {
    tg_text it = tg_text_of(text);
    if (tg_is_utf8((const uint8_t *)it.data, it.size)) return it;
    char *copy = tg_copy(it);
    for (size_t at = 0; at < it.size;) {
        size_t length = tg_utf8_length((const uint8_t *)copy + at, it.size - at);
        if (!length) copy[at] = '?';
        at += length ? length : 1;
    }
    return (tg_text){copy, it.size};
}

bool tg_equal(tg_text text, const char *other) {
    size_t size = strlen(other);
    return text.data && text.size == size && memcmp(text.data, other, size) == 0;
}

int tg_compare(tg_text left, tg_text right) {
    size_t least = left.size < right.size ? left.size : right.size;
    int order = least ? memcmp(left.data, right.data, least) : 0;
    return order ? order : left.size < right.size ? -1 : left.size > right.size;
}

char *tg_copy(tg_text text) {
    char *copy = tg_alloc(text.size + 1);
    if (text.size) memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    return copy;
}

char *tg_keep_text(tg_text text) {
    char *copy = tg_keep(text.size + 1);
    if (text.size) memcpy(copy, text.data, text.size);
    copy[text.size] = 0;
    return copy;
}

/* Characters that show nothing, or change what stands beside them. Not all of Unicode's, but those that turn up. */
static bool unprintable(uint32_t c) {
    static const uint32_t ranges[][2] = {
        {0x00, 0x1f}, {0x7f, 0xa0}, {0xad, 0xad}, {0x300, 0x36f}, {0x483, 0x489}, {0x591, 0x5bd}, {0x600, 0x605},
        {0x61c, 0x61c}, {0x64b, 0x65f}, {0x1680, 0x1680}, {0x180b, 0x180f}, {0x1ab0, 0x1ace}, {0x1dc0, 0x1dff},
        {0x2000, 0x200f}, {0x2028, 0x202f}, {0x205f, 0x206f}, {0x20d0, 0x20f0}, {0x3000, 0x3000}, {0x302a, 0x302f},
        {0x3099, 0x309a}, {0xd800, 0xf8ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xfff0, 0xfffb},
        {0xfffe, 0xffff}, {0xe0000, 0x10ffff},
    };
    for (size_t at = 0; at < sizeof ranges / sizeof *ranges; at++)
        if (c >= ranges[at][0] && c <= ranges[at][1]) return true;
    return false;
}

/* At most so many characters. */
static const char *quoted(tg_text text, size_t most) {
    /* A byte becomes six at worst, as in \u{1f}, and a longer character no more than that for each of its bytes. */
    char *out = tg_alloc((text.size < most * 4 ? text.size : most * 4) * 6 + 6), *to = out;
    size_t at = 0;
    *to++ = '"';
    for (size_t count = 0; at < text.size && count < most; count++) {
        const uint8_t *bytes = (const uint8_t *)text.data + at;
        size_t length = tg_utf8_length(bytes, text.size - at);
        uint32_t c = length < 2 ? bytes[0] : bytes[0] & (0x7fu >> length);
        for (size_t more = 1; more < length; more++) c = c << 6 | (bytes[more] & 0x3fu);
        if (!length) c = '?', length = 1;
        at += length;
        const char *escape = c == '"' ? "\\\"" : c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == 0 ? "\\0" : NULL;
        if (!escape && unprintable(c)) escape = tg_format("\\u{%x}", (unsigned)c);
        if (escape) while (*escape) *to++ = *escape++;
        else to += tg_utf8_write(to, c);
    }
    *to++ = '"';
    if (at < text.size) *to++ = '.', *to++ = '.', *to++ = '.';
    *to = 0;
    return out;
}

const char *tg_quoted(tg_text text) {
    return quoted(text, 40);
}

const char *tg_quoted_whole(tg_text text) {
    return quoted(text, SIZE_MAX / 8);
}

typedef struct sink {
    char *data;
    size_t count, room;
} sink;

static void out(sink *to, char byte) {
    *TG_MORE(to, data) = byte;
}

static void pad(sink *to, char byte, int times) {
    while (times-- > 0) out(to, byte);
}

char *tg_vformat(const char *format, va_list arguments) {
    sink to = {tg_alloc(128), 0, 128};
    for (; *format; format++) {
        if (*format != '%') {
            out(&to, *format);
            continue;
        }
        bool left = false, zeros = false, plus = false;
        int width = 0, precision = -1, longs = 0;
        for (format++; *format == '-' || *format == '0' || *format == '+'; format++)
            *(*format == '-' ? &left : *format == '0' ? &zeros : &plus) = true;
        if (*format == '*') width = va_arg(arguments, int), format++;
        else while (*format >= '0' && *format <= '9' && width < 10000) width = width * 10 + *format++ - '0';
        if (*format == '.') {
            precision = 0, format++;
            if (*format == '*') precision = va_arg(arguments, int), format++;
            else while (*format >= '0' && *format <= '9' && precision < 10000) precision = precision * 10 + *format++ - '0';
        }
        for (; *format == 'l' || *format == 'h' || *format == 'z' || *format == 'j' || *format == 't'; format++)
            longs += *format == 'l' ? 1 : *format == 'j' ? 2 : 0;
        char digits[512];
        const char *text = digits;
        size_t size = 0;
        bool minus = false, number = true;
        switch (*format) {
        case 'd': case 'i': case 'u': case 'x': {
            uint64_t value;
            if (*format == 'd' || *format == 'i') {
                int64_t signed_value = longs > 1 ? va_arg(arguments, long long) : va_arg(arguments, int);
                minus = signed_value < 0;
                value = minus ? 0 - (uint64_t)signed_value : (uint64_t)signed_value;
            } else {
                value = longs > 1 ? va_arg(arguments, unsigned long long) : va_arg(arguments, unsigned);
            }
            unsigned base = *format == 'x' ? 16 : 10;
            size_t at = sizeof digits;
            do digits[--at] = "0123456789abcdef"[value % base];
            while (value /= base);
            text = digits + at, size = sizeof digits - at;
            break;
        }
        case 'f': case 'g': {
            double value = va_arg(arguments, double);
            minus = __builtin_signbit(value) && value == value;
            value = minus ? -value : value;
            size = *format == 'f' ? tg_fixed_text(digits, value, precision < 0 ? 6 : precision) : tg_double_text(digits, value);
            break;
        }
        case 'c': digits[0] = (char)va_arg(arguments, int), size = 1, number = false; break;
        case 's':
            text = va_arg(arguments, const char *), number = false;
            if (!text) text = "(null)";
            /* With a precision there need not be a zero byte. */
            while ((precision < 0 || size < (size_t)precision) && text[size]) size++;
            break;
        case '%': digits[0] = '%', size = 1, number = false; break;
        default: tg_panic("a format that tg_format does not know");
        }
        int gap = width - (int)size - (minus || (plus && number));
        if (!left && !(zeros && number)) pad(&to, ' ', gap);
        if (number && (minus || plus)) out(&to, minus ? '-' : '+');
        if (!left && zeros && number) pad(&to, '0', gap);
        for (size_t at = 0; at < size; at++) out(&to, text[at]);
        if (left) pad(&to, ' ', gap);
    }
    out(&to, 0);
    return to.data;
}

char *tg_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = tg_vformat(format, arguments);
    va_end(arguments);
    return text;
}
