/* Doubles to decimal digits and back, exactly, with big whole numbers. Slow, and only messages and configurations ask. */
#include "internal.h"

#define WORDS 52

typedef struct big {
    uint32_t word[WORDS]; /* the lowest first; those from `count` on are 0 */
    int count;
} big;

static void trim(big *it) {
    while (it->count && !it->word[it->count - 1]) it->count--;
}

static big big_of(uint64_t number) {
    big it = {{(uint32_t)number, (uint32_t)(number >> 32)}, 2};
    trim(&it);
    return it;
}

/* it x times + add */
static void multiply(big *it, uint32_t times, uint32_t add) {
    uint64_t carry = add;
    for (int at = 0; at < it->count; at++) {
        carry += (uint64_t)it->word[at] * times;
        it->word[at] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && it->count < WORDS) it->word[it->count++] = (uint32_t)carry;
}

static void power_of_ten(big *it, int exponent) {
    for (; exponent >= 9; exponent -= 9) multiply(it, 1000000000, 0);
    while (exponent-- > 0) multiply(it, 10, 0);
}

/* Divides, and gives the rest. */
static uint32_t divide(big *it, uint32_t by) {
    uint64_t rest = 0;
    for (int at = it->count; at-- > 0;) {
        rest = rest << 32 | it->word[at];
        it->word[at] = (uint32_t)(rest / by);
        rest %= by;
    }
    trim(it);
    return (uint32_t)rest;
}

static void shift_left(big *it, int bits) {
    for (; bits >= 16; bits -= 16) multiply(it, 65536, 0);
    if (bits) multiply(it, 1u << bits, 0);
}

static void halve(big *it) {
    divide(it, 2);
}

static int compare(const big *left, const big *right) {
    if (left->count != right->count) return left->count < right->count ? -1 : 1;
    for (int at = left->count; at-- > 0;)
        if (left->word[at] != right->word[at]) return left->word[at] < right->word[at] ? -1 : 1;
    return 0;
}

static big sum(const big *left, const big *right) {
    big it = {{0}, 0};
    uint64_t carry = 0;
    for (int at = 0; at < WORDS; at++) {
        carry += (uint64_t)left->word[at] + right->word[at];
        it.word[at] = (uint32_t)carry;
        carry >>= 32;
    }
    it.count = WORDS;
    trim(&it);
    return it;
}

/* `right` is not the larger one. */
static void subtract(big *left, const big *right) {
    int64_t borrow = 0;
    for (int at = 0; at < left->count; at++) {
        borrow += (int64_t)left->word[at] - right->word[at];
        left->word[at] = (uint32_t)borrow;
        borrow >>= 32;
    }
    trim(left);
}

static int bits_of(const big *it) {
    return it->count ? it->count * 32 - __builtin_clz(it->word[it->count - 1]) : 0;
}

/* A positive double is mantissa x 2^exponent. */
static uint64_t take_apart(double number, int *exponent) {
    uint64_t bits;
    __builtin_memcpy(&bits, &number, 8);
    int field = (int)(bits >> 52 & 0x7ff);
    uint64_t mantissa = bits & 0xfffffffffffffu;
    *exponent = (field ? field : 1) - 1075;
    return field ? mantissa | (uint64_t)1 << 52 : mantissa;
}

static size_t special(char *out, double number) {
    const char *text = number != number ? "NaN" : number == 0 ? "0" : "inf";
    size_t size = strlen(text);
    memcpy(out, text, size);
    return size;
}

/* The shortest digits that lie nearer to this double than to any other (Steele and White's way). The number is
 * 0.DIGITS x 10^`point`. */
static int shortest(char *digits, double number, int *point) {
    int exponent, count = 0;
    uint64_t mantissa = take_apart(number, &exponent);
    bool even = mantissa % 2 == 0, edge = mantissa == (uint64_t)1 << 52 && exponent > -1074;
    /* rest / scale is the number; what lies within `below` and `above` of it reads as the same double. */
    big rest = big_of(mantissa), scale = big_of(1), below = big_of(1), above;
    if (exponent >= 0) shift_left(&rest, exponent), shift_left(&below, exponent);
    else shift_left(&scale, -exponent);
    shift_left(&rest, edge ? 2 : 1);
    shift_left(&scale, edge ? 2 : 1);
    above = below;
    if (edge) shift_left(&above, 1);
    *point = 0;
    for (;; ++*point) {
        big top = sum(&rest, &above);
        if (compare(&top, &scale) < (even ? 0 : 1)) break;
        multiply(&scale, 10, 0);
    }
    for (;; --*point) {
        big top = sum(&rest, &above);
        multiply(&top, 10, 0);
        if (compare(&top, &scale) >= (even ? 0 : 1)) break;
        multiply(&rest, 10, 0), multiply(&below, 10, 0), multiply(&above, 10, 0);
    }
    for (;;) {
        multiply(&rest, 10, 0), multiply(&below, 10, 0), multiply(&above, 10, 0);
        int digit = 0;
        for (; compare(&rest, &scale) >= 0; digit++) subtract(&rest, &scale);
        big top = sum(&rest, &above);
        bool low = compare(&rest, &below) < (even ? 1 : 0), high = compare(&top, &scale) >= (even ? 0 : 1);
        if (!low && !high) {
            digits[count++] = (char)('0' + digit);
            continue;
        }
        shift_left(&rest, 1);
        if (high && (!low || compare(&rest, &scale) >= 0)) digit++;
        digits[count++] = (char)('0' + digit);
        return count;
    }
}

size_t tg_double_text(char *out, double number) {
    if (number != number || number == 0 || number > 1.7976931348623157e308) return special(out, number);
    char digits[24], *to = out;
    int point, count = shortest(digits, number, &point);
    if (point <= 0) {
        *to++ = '0', *to++ = '.';
        for (int at = point; at < 0; at++) *to++ = '0';
    }
    for (int at = 0; at < count || at < point; at++) {
        if (at == point && at > 0) *to++ = '.';
        *to++ = at < count ? digits[at] : '0';
    }
    return (size_t)(to - out);
}

size_t tg_fixed_text(char *out, double number, int digits) {
    if (number != number || number > 1.7976931348623157e308) return special(out, number);
    if (digits > 40) digits = 40;
    int exponent;
    big it = big_of(take_apart(number, &exponent));
    power_of_ten(&it, digits);
    if (exponent >= 0) {
        shift_left(&it, exponent);
    } else {
        /* Half to even, as printf rounds. */
        bool half = false, rest = false;
        for (int at = exponent; at < 0; at++) {
            rest = rest || half;
            half = it.count && it.word[0] & 1;
            halve(&it);
        }
        if (half && (rest || (it.count && it.word[0] & 1))) {
            big one = big_of(1);
            it = sum(&it, &one);
        }
    }
    char backwards[400];
    int count = 0;
    /* One digit at least before the point. */
    while (it.count || count < digits + (digits ? 2 : 1)) {
        backwards[count++] = (char)('0' + divide(&it, 10));
        if (count == digits) backwards[count++] = '.';
    }
    for (int at = 0; at < count; at++) out[at] = backwards[count - 1 - at];
    return (size_t)count;
}

double tg_double_of(const char *digits, size_t count, int exponent) {
    big number = {{0}, 0}, by = big_of(1);
    for (size_t at = 0; at < count; at++) {
        if (!number.count) number = big_of((uint64_t)(digits[at] - '0'));
        else multiply(&number, 10, (uint32_t)(digits[at] - '0'));
    }
    if (!number.count || exponent + (int)count < -330) return 0;
    if (exponent + (int)count > 310) return __builtin_inf();
    if (exponent >= 0) power_of_ten(&number, exponent);
    else power_of_ten(&by, -exponent);
    /* To a quotient of 54 or 55 bits, and whether anything is left. */
    int shift = 54 - (bits_of(&number) - bits_of(&by));
    if (shift > 0) shift_left(&number, shift);
    else shift_left(&by, -shift);
    shift_left(&by, 55);
    uint64_t quotient = 0;
    for (int bit = 55; bit >= 0; bit--, halve(&by)) {
        if (compare(&number, &by) < 0) continue;
        subtract(&number, &by);
        quotient |= (uint64_t)1 << bit;
    }
    /* The number is quotient x 2^-shift. Down to 53 bits, or fewer below the smallest normal double. */
    int drop = 64 - __builtin_clzll(quotient) - 53, least = shift - 1074;
    if (drop < least) drop = least;
    if (drop > 62) return 0;
    uint64_t mantissa = quotient, mask;
    if (drop > 0) {
        mask = ((uint64_t)1 << drop) - 1;
        mantissa = quotient >> drop;
        uint64_t rest = quotient & mask, half = (uint64_t)1 << (drop - 1);
        if (rest > half || (rest == half && (number.count || mantissa % 2))) mantissa++;
    }
    int power = drop - shift;
    if (mantissa == (uint64_t)1 << 53) mantissa >>= 1, power++;
    if (power + 1075 > 2046) return __builtin_inf();
    uint64_t bits = mantissa < (uint64_t)1 << 52 ? mantissa : (mantissa & 0xfffffffffffffu) | (uint64_t)(power + 1075) << 52;
    double result;
    __builtin_memcpy(&result, &bits, 8);
    return result;
}
