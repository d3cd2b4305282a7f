/* Rules for the fields of a document. The messages are the same in all languages. */
#include "internal.h"

tg_verdict tg_accept(void) {
    return (tg_verdict){0};
}

static void add(tg_verdict *verdict, const char *path, const char *message) {
    *TG_MORE(verdict, violations) = (tg_violation){path, message};
}

void tg_violate(tg_verdict *verdict, const char *path, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add(verdict, path, tg_vformat(format, arguments));
    va_end(arguments);
}

tg_verdict tg_reject(const char *path, const char *format, ...) {
    tg_verdict verdict = {0};
    va_list arguments;
    va_start(arguments, format);
    add(&verdict, path, tg_vformat(format, arguments));
    va_end(arguments);
    return verdict;
}

static bool one_of(const tg_field *rule, tg_text text) {
    for (const char *const *word = rule->words; word && *word; word++)
        if (tg_equal(text, *word)) return true;
    return false;
}

static bool fits(const tg_field *rule, tg_value value) {
    int64_t number;
    bool text = value.type == TG_STRING;
    switch (rule->is) {
    case TG_IS_STRING: return text;
    case TG_IS_ONE_OF: return text && one_of(rule, value.text);
    case TG_IS_INTEGER: return tg_to_integer(value, &number);
    case TG_IS_INTEGER_FROM: return tg_to_integer(value, &number) && number >= rule->least;
    case TG_IS_NUMBER:
        return value.type == TG_DOUBLE || value.type == TG_INT32 || value.type == TG_INT64 || value.type == TG_DECIMAL128;
    case TG_IS_BOOL: return value.type == TG_BOOL;
    case TG_IS_DATE: return value.type == TG_DATE;
    case TG_IS_ISO8601: return text && tg_parse_date(value.text, &number);
    case TG_IS_DATE_OR_ISO8601: return value.type == TG_DATE || (text && tg_parse_date(value.text, &number));
    case TG_IS_OBJECT_ID: return value.type == TG_OBJECT_ID;
    case TG_IS_DOCUMENT: return value.type == TG_DOCUMENT;
    case TG_IS_ARRAY: return value.type == TG_ARRAY;
    }
    return false;
}

static const char *wanted(const tg_field *rule) {
    switch (rule->is) {
    case TG_IS_STRING: return "a string";
    case TG_IS_ONE_OF: {
        const char *list = "one of";
        for (const char *const *word = rule->words; word && *word; word++)
            list = tg_format("%s%s%s", list, word == rule->words ? " " : ", ", *word);
        return list;
    }
    case TG_IS_INTEGER: return "an integer";
    case TG_IS_INTEGER_FROM: return tg_format("an integer of at least %lld", (long long)rule->least);
    case TG_IS_NUMBER: return "a number";
    case TG_IS_BOOL: return "a boolean";
    case TG_IS_DATE: return "a date";
    case TG_IS_ISO8601: return "a date and time in ISO 8601 text";
    case TG_IS_DATE_OR_ISO8601: return "a date or a date and time in ISO 8601 text";
    case TG_IS_OBJECT_ID: return "an ObjectId";
    case TG_IS_DOCUMENT: return "a document";
    case TG_IS_ARRAY: return "an array";
    }
    return "something else";
}

const char *tg_complaint(tg_value value, const tg_field *rule) {
    if (fits(rule, value)) return NULL;
    const char *found = tg_found_name(value);
    int64_t number;
    bool integer = rule->is == TG_IS_INTEGER || rule->is == TG_IS_INTEGER_FROM;
    bool worded = rule->is == TG_IS_ONE_OF || rule->is == TG_IS_ISO8601 || rule->is == TG_IS_DATE_OR_ISO8601;
    if (worded && value.type == TG_STRING) found = tg_quoted(value.text);
    else if (integer && tg_to_integer(value, &number)) found = tg_format("%lld", (long long)number);
    else if (integer && value.type == TG_DOUBLE) found = tg_format("%g", value.number);
    return tg_format("must be %s, is %s", wanted(rule), found);
}

tg_verdict tg_check(tg_doc document, const tg_field rules[], size_t count) {
    tg_verdict verdict = {0};
    tg_value *values = tg_alloc(count * sizeof *values);
    memset(values, 0, count * sizeof *values);
    size_t missing = count, next = 0;
    tg_iter fields = tg_fields(document);
    while (missing && tg_next_raw(&fields)) {
        /* The name after the one found last comes first: documents of one kind mostly have one order. */
        size_t at = next, tried = 0;
        for (; tried < count; tried++, at++) {
            if (at >= count) at = 0;
            if (tg_name_is(fields.name, rules[at].name)) break;
        }
        if (tried == count) continue;
        if (values[at].type == TG_ABSENT) {
            if (!tg_decode(&fields)) break;
            values[at] = fields.value;
            missing--;
        }
        next = at + 1;
    }
    if (fields.error.what) return tg_reject("", "malformed BSON at byte %zu: %s", fields.error.at, fields.error.what);
    for (size_t at = 0; at < count; at++) {
        const char *message = values[at].type != TG_ABSENT ? tg_complaint(values[at], &rules[at])
                              : rules[at].optional         ? NULL
                                                           : "is missing";
        if (message) add(&verdict, rules[at].name, message);
    }
    return verdict;
}
