/* The configuration comes as JSON; a plugin reads it as a document. */
#include "internal.h"

#define DEPTH 64

typedef struct reader {
    const char *at, *end;
    const char *error;
} reader;

static void skip(reader *in) {
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t')) in->at++;
}

static bool take(reader *in, char byte) {
    skip(in);
    if (in->at >= in->end || *in->at != byte) return false;
    in->at++;
    return true;
}

static void *wrong(reader *in, const char *what) {
    if (!in->error) in->error = what;
    return NULL;
}

static uint32_t hex(reader *in) {
    uint32_t sum = 0;
    for (int times = 0; times < 4; times++) {
        char c = in->at < in->end ? *in->at++ : 0;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) wrong(in, "an escape that is not \\u and four digits");
        sum = sum << 4 | (uint32_t)(digit & 15);
    }
    return sum;
}

static uint32_t escaped(reader *in) {
    char c = in->at < in->end ? *in->at++ : 0;
    switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'r': return '\r';
    case 'b': return '\b';
    case 'f': return '\f';
    case '"': case '\\': case '/': return (uint32_t)c;
    case 'u': {
        uint32_t first = hex(in);
        if (first < 0xd800 || first > 0xdfff) return first;
        if (first < 0xdc00 && in->end - in->at > 1 && in->at[0] == '\\' && in->at[1] == 'u') {
            in->at += 2;
            uint32_t second = hex(in);
            if (second >= 0xdc00 && second <= 0xdfff) return 0x10000 + ((first & 0x3ff) << 10 | (second & 0x3ff));
        }
        wrong(in, "half a character");
        return '?';
    }
    default: wrong(in, "an unknown escape"); return '?';
    }
}

static tg_text string(reader *in) {
    if (!take(in, '"')) return wrong(in, "text was expected"), (tg_text){0};
    char *out = tg_alloc((size_t)(in->end - in->at) + 1), *to = out;
    for (;;) {
        if (in->at >= in->end || in->error) return wrong(in, "text without its end"), (tg_text){0};
        char c = *in->at++;
        if (c == '"') break;
        if (c != '\\') *to++ = c;
        else to += tg_utf8_write(to, escaped(in));
    }
    return (tg_text){out, (size_t)(to - out)};
}

static tg_value number(reader *in) {
    bool minus = take(in, '-'), whole = true, dropped = false;
    char digits[61];
    size_t count = 0;
    int exponent = 0;
    uint64_t sum = 0;
    const char *begin = in->at;
    for (; in->at < in->end; in->at++) {
        char c = *in->at;
        if (c == '.' && whole) {
            whole = false;
            continue;
        }
        if (c < '0' || c > '9') break;
        if (!whole) exponent--;
        if (whole && (sum > (UINT64_MAX - 9) / 10)) whole = true, dropped = true;
        else if (whole) sum = sum * 10 + (uint64_t)(c - '0');
        if (!count && c == '0') continue;
        if (count < 60) digits[count++] = c;
        else {
            exponent++;
            /* What is not 0 far behind still decides which way is up. */
            if (c != '0') digits[60] = '1';
        }
    }
    if (in->at == begin) return wrong(in, "a value was expected"), (tg_value){0};
    if (in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
        in->at++;
        whole = false;
        bool down = in->at < in->end && *in->at == '-';
        if (in->at < in->end && (*in->at == '-' || *in->at == '+')) in->at++;
        int power = 0;
        for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++)
            if (power < 100000) power = power * 10 + (*in->at - '0');
        exponent += down ? -power : power;
    }
    if (whole && !dropped && sum <= (uint64_t)INT64_MAX + minus) {
        int64_t value = minus ? (int64_t)(0 - sum) : (int64_t)sum;
        return value >= INT32_MIN && value <= INT32_MAX ? tg_int32((int32_t)value) : tg_int64(value);
    }
    double value = tg_double_of(digits, count, exponent);
    return tg_double(minus ? -value : value);
}

static bool word(reader *in, const char *text) {
    size_t size = strlen(text);
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, text, size) != 0) return false;
    in->at += size;
    return true;
}

static tg_value value(reader *in, int depth) {
    if (depth > DEPTH) return wrong(in, "nested too deeply"), (tg_value){0};
    skip(in);
    if (in->at < in->end && *in->at == '"') return tg_text_value(string(in));
    if (word(in, "true")) return tg_bool(true);
    if (word(in, "false")) return tg_bool(false);
    if (word(in, "null")) return tg_null();
    bool object = take(in, '{');
    if (!object && !take(in, '[')) return number(in);
    tg_builder out = tg_build();
    char end = object ? '}' : ']';
    if (!take(in, end)) {
        for (size_t index = 0; !in->error; index++) {
            tg_text name = object ? string(in) : tg_text_of(tg_format("%zu", index));
            if (object && !take(in, ':')) wrong(in, "a colon was expected");
            tg_append_text(&out, name, value(in, depth + 1));
            if (take(in, end)) break;
            if (!take(in, ',')) wrong(in, "a comma was expected");
        }
    }
    return object ? tg_document(tg_built(&out)) : tg_array(tg_built(&out));
}

const char *tg_json(tg_text json, tg_doc *document) {
    reader in = {json.data, json.data + json.size, NULL};
    tg_value it = value(&in, 0);
    skip(&in);
    if (!in.error && in.at != in.end) in.error = "something stands behind the value";
    if (!in.error && it.type != TG_DOCUMENT) in.error = "it must be an object";
    *document = it.document;
    return in.error;
}

const char *tg_only_fields(tg_doc config, const char *const names[], size_t count) {
    tg_iter fields = tg_fields(config);
    while (tg_next(&fields)) {
        size_t at = 0;
        while (at < count && !tg_name_is(fields.name, names[at])) at++;
        if (at < count) continue;
        const char *list = count == 0 ? "there are no fields" : count == 1 ? "expected " : count == 2 ? "expected " : "expected one of ";
        for (size_t index = 0; index < count; index++)
            list = tg_format("%s%s`%s`", list, !index ? "" : count == 2 ? " or " : ", ", names[index]);
        return tg_format("unknown field `%.*s`, %s", TG_ARG(fields.name), list);
    }
    return NULL;
}
