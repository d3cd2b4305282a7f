/* Dates as BSON counts them, and as ISO 8601 writes them. */
#include "internal.h"

/* Exactly so many digits, or -1. */
static int64_t number(tg_text *rest, size_t digits) {
    int64_t sum = 0;
    if (rest->size < digits) return -1;
    for (size_t at = 0; at < digits; at++) {
        char digit = rest->data[at];
        if (digit < '0' || digit > '9') return -1;
        sum = sum * 10 + (digit - '0');
    }
    *rest = (tg_text){rest->data + digits, rest->size - digits};
    return sum;
}

/* Takes the next byte if it is one of these; else 0. */
static char one_of(tg_text *rest, const char *bytes) {
    if (!rest->size) return 0;
    char next = rest->data[0];
    for (; *bytes; bytes++) {
        if (*bytes != next) continue;
        *rest = (tg_text){rest->data + 1, rest->size - 1};
        return next;
    }
    return 0;
}

/* Years are counted from March, so that the leap day is the last of its year and every five months have 153 days. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    /* No year that text can name lies far enough below zero for the divisions to round the wrong way, but for the last
     * months before year 0. */
    int64_t leaps = year < 0 ? -1 : year / 4 - year / 100 + year / 400;
    return 365 * year + leaps + of_year - 719468;
}

static int64_t days_in_month(int64_t year, int64_t month) {
    if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

static bool time_of_day(tg_text *rest, int64_t *time) {
    int64_t hour = number(rest, 2);
    if (hour < 0 || hour > 23 || !one_of(rest, ":")) return false;
    int64_t minute = number(rest, 2), milliseconds = 0;
    if (minute < 0 || minute > 59) return false;
    if (one_of(rest, ":")) {
        int64_t second = number(rest, 2);
        /* A leap second is the second after it: BSON knows none. */
        if (second < 0 || (second > 59 && !(second == 60 && minute == 59))) return false;
        milliseconds = second * 1000;
        if (one_of(rest, ".,")) {
            size_t digits = 0;
            while (digits < rest->size && rest->data[digits] >= '0' && rest->data[digits] <= '9') digits++;
            if (digits < 1 || digits > 9) return false;
            int64_t fraction = number(rest, digits);
            for (; digits < 9; digits++) fraction *= 10;
            milliseconds += fraction / 1000000;
        }
    }
    *time = (hour * 60 + minute) * 60000 + milliseconds;
    return true;
}

/* Milliseconds that local time is ahead of UTC. */
static bool offset_from_utc(tg_text *rest, int64_t *offset) {
    *offset = 0;
    if (!rest->size || one_of(rest, "Zz")) return true;
    char sign = one_of(rest, "+-");
    int64_t hours = sign ? number(rest, 2) : -1, minutes = 0;
    if (hours < 0 || hours > 23) return false;
    if (one_of(rest, ":") || rest->size) minutes = number(rest, 2);
    if (minutes < 0 || minutes > 59) return false;
    *offset = (hours * 60 + minutes) * (sign == '-' ? -60000 : 60000);
    return true;
}

bool tg_parse_date(tg_text text, int64_t *date) {
    if (!text.data) return false;
    int64_t year = number(&text, 4);
    if (year < 0 || !one_of(&text, "-")) return false;
    int64_t month = number(&text, 2);
    if (month < 1 || month > 12 || !one_of(&text, "-")) return false;
    int64_t day = number(&text, 2), time = 0, offset = 0;
    if (day < 1 || day > days_in_month(year, month)) return false;
    if (text.size) {
        if (!one_of(&text, "Tt ") || !time_of_day(&text, &time) || !offset_from_utc(&text, &offset) || text.size) return false;
    }
    *date = days_since_1970(year, month, day) * 86400000 + time - offset;
    return true;
}

const char *tg_date_text(int64_t date) {
    int64_t days = date / 86400000, rest = date % 86400000;
    if (rest < 0) days--, rest += 86400000;
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    int day = (int)(of_year - (153 * month + 2) / 5 + 1);
    month = month < 10 ? month + 3 : month - 9;
    year += era * 400 + (month <= 2);
    int seconds = (int)(rest / 1000);
    return tg_format("%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)year, (int)month, day, seconds / 3600,
                     seconds / 60 % 60, seconds % 60, (int)(rest % 1000));
}
