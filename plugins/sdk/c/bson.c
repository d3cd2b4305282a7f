/* BSON read in place. Nothing here trusts a length: no bytes make it read outside the document. */
#include "internal.h"

static uint32_t u32(const uint8_t *at) {
    uint32_t number;
    __builtin_memcpy(&number, at, 4);
    return number;
}

static int64_t i64(const uint8_t *at) {
    int64_t number;
    __builtin_memcpy(&number, at, 8);
    return number;
}

/* Bytes up to the zero byte, or -1. */
static ptrdiff_t zero_in(const uint8_t *bytes, size_t size) {
    for (size_t at = 0; at < size; at++)
        if (!bytes[at]) return (ptrdiff_t)at;
    return -1;
}

/* Bytes that the value at the front of `rest` takes; there may be fewer. A length beyond SIZE_MAX is longer than any document. */
static size_t value_size(uint8_t tag, const uint8_t *rest, size_t have, const char **error) {
    uint64_t least = 0, more = 0;
    switch (tag) {
    case TG_DOUBLE: case TG_DATE: case TG_TIMESTAMP: case TG_INT64: return 8;
    case TG_UNDEFINED: case TG_NULL: case TG_MIN_KEY: case TG_MAX_KEY: return 0;
    case TG_OBJECT_ID: return 12;
    case TG_BOOL: return 1;
    case TG_INT32: return 4;
    case TG_DECIMAL128: return 16;
    case TG_STRING: case TG_JAVASCRIPT: case TG_SYMBOL: least = 1, more = 4; break;
    case TG_DOCUMENT: case TG_ARRAY: least = 5; break;
    case TG_BINARY: more = 5; break;
    case TG_DB_POINTER: least = 1, more = 16; break;
    case TG_CODE_WITH_SCOPE: least = 14; break;
    case TG_REGEX: {
        ptrdiff_t pattern = zero_in(rest, have);
        ptrdiff_t options = pattern < 0 ? -1 : zero_in(rest + pattern + 1, have - (size_t)pattern - 1);
        if (options < 0) return *error = "a regex without its zero byte", 0;
        return (size_t)pattern + (size_t)options + 2;
    }
    default: return *error = "an unknown type", 0;
    }
    if (have < 4) return *error = "a length cut short", 0;
    int32_t length = (int32_t)u32(rest);
    if (length < (int64_t)least) return *error = "a length too small for its type", 0;
    uint64_t size = (uint64_t)length + more;
    return size > SIZE_MAX ? SIZE_MAX : (size_t)size;
}

tg_iter tg_fields(tg_doc document) {
    tg_iter fields = {.document = document};
    if (!document.data) return fields;
    /* A wrong length is not passed: reading at 0 is an error. */
    if (document.size >= 4 && u32(document.data) == document.size && document.size <= INT32_MAX) fields.at = 4;
    return fields;
}

static bool broken(tg_iter *fields, const char *what, size_t at) {
    fields->error = (tg_error){what, at};
    fields->value = (tg_value){0};
    return false;
}

bool tg_next_raw(tg_iter *fields) {
    tg_doc document = fields->document;
    size_t start = fields->at;
    if (!document.data || fields->error.what) return false;
    if (start == 0) return broken(fields, "a document longer or shorter than it says", 0);
    if (start >= document.size) return broken(fields, "no closing zero byte", start);
    uint8_t tag = document.data[start];
    if (tag == 0) {
        if (start + 1 != document.size) return broken(fields, "bytes after the closing zero byte", start);
        return false;
    }
    const uint8_t *name = document.data + start + 1;
    ptrdiff_t length = zero_in(name, document.size - start - 1);
    if (length < 0) return broken(fields, "a field name without its zero byte", start);
    size_t value = start + 1 + (size_t)length + 1, have = document.size - value;
    const char *error = NULL;
    size_t size = value_size(tag, document.data + value, have, &error);
    if (error) return broken(fields, error, value);
    if (size > have) return broken(fields, "a value longer than its document", value);
    fields->name = (tg_text){(const char *)name, (size_t)length};
    fields->tag = (tg_type)tag;
    fields->start = start;
    fields->at = fields->end = value + size;
    fields->value = (tg_value){.type = (tg_type)tag, .raw = {document.data + value, size}};
    return true;
}

/* Text with its length in front and a zero byte behind. */
static const char *read_text(tg_doc raw, size_t from, tg_text *text, size_t *at) {
    *at = from;
    if (raw.size - from < 4) return "a value cut short";
    int32_t length = (int32_t)u32(raw.data + from);
    *at = from + 4;
    if (length < 0) return "a length below zero";
    if ((size_t)length > raw.size - from - 4) return "a value cut short";
    if (length == 0 || raw.data[from + 4 + (size_t)length - 1]) return "text without its closing zero byte";
    *text = (tg_text){(const char *)raw.data + from + 4, (size_t)length - 1};
    return tg_is_utf8(raw.data + from + 4, text->size) ? NULL : "text that is no UTF-8";
}

bool tg_decode(tg_iter *fields) {
    tg_value *value = &fields->value;
    tg_doc raw = value->raw;
    size_t at = 0;
    const char *error = NULL;
    switch (value->type) {
    case TG_DOUBLE: __builtin_memcpy(&value->number, raw.data, 8); break;
    case TG_STRING: case TG_JAVASCRIPT: case TG_SYMBOL: error = read_text(raw, 0, &value->text, &at); break;
    case TG_DOCUMENT: case TG_ARRAY: value->document = raw; break;
    case TG_BINARY:
        value->subtype = raw.data[4];
        value->bytes = (tg_doc){raw.data + 5, raw.size - 5};
        break;
    case TG_BOOL:
        if (raw.data[0] > 1) error = "a boolean that is neither 0 nor 1";
        value->boolean = raw.data[0] == 1;
        break;
    case TG_DATE: case TG_INT64: value->integer = i64(raw.data); break;
    case TG_INT32: value->integer = (int32_t)u32(raw.data); break;
    case TG_TIMESTAMP:
        value->timestamp.increment = u32(raw.data);
        value->timestamp.time = u32(raw.data + 4);
        break;
    case TG_REGEX:
        /* The pattern, then the options: value_size found the zero byte of both. */
        for (size_t size; !error && at < raw.size; at += error ? 0 : size + 1) {
            size = (size_t)zero_in(raw.data + at, raw.size - at);
            if (!tg_is_utf8(raw.data + at, size)) error = "text that is no UTF-8";
        }
        break;
    case TG_DB_POINTER: error = read_text(raw, 0, &(tg_text){0}, &at); break;
    case TG_CODE_WITH_SCOPE: error = read_text(raw, 4, &(tg_text){0}, &at); break;
    default: break;
    }
    return error ? broken(fields, error, (size_t)(raw.data - fields->document.data) + at) : true;
}

bool tg_next(tg_iter *fields) {
    if (!tg_next_raw(fields)) return false;
    if (!tg_is_utf8((const uint8_t *)fields->name.data, fields->name.size))
        return broken(fields, "a field name that is no UTF-8", fields->start + 1);
    return tg_decode(fields);
}

bool tg_name_is(tg_text name, const char *other) {
    /* A field name has no zero byte in it, so this ends with the shorter of the two. */
    for (size_t at = 0; at < name.size; at++)
        if (name.data[at] != other[at]) return false;
    return !other[name.size];
}

static tg_value decoded(tg_iter *fields) {
    return tg_decode(fields) ? fields->value : (tg_value){0};
}

tg_value tg_get(tg_doc document, const char *name) {
    tg_iter fields = tg_fields(document);
    while (tg_next_raw(&fields))
        if (tg_name_is(fields.name, name)) return decoded(&fields);
    return (tg_value){0};
}

tg_value tg_at(tg_doc array, size_t index) {
    tg_iter fields = tg_fields(array);
    while (tg_next_raw(&fields))
        if (index-- == 0) return decoded(&fields);
    return (tg_value){0};
}

tg_value tg_get_path(tg_doc document, const char *path) {
    tg_value value = tg_document(document);
    for (;;) {
        size_t length = 0, index = 0;
        bool number = path[0] && path[0] != '.';
        for (; path[length] && path[length] != '.'; length++) {
            number = number && path[length] >= '0' && path[length] <= '9' && index < 100000000;
            index = index * 10 + (size_t)(path[length] - '0');
        }
        if (value.type == TG_DOCUMENT) {
            value = tg_get(value.document, path[length] ? tg_copy((tg_text){path, length}) : path);
        } else if (value.type == TG_ARRAY && number) {
            value = tg_at(value.document, index);
        } else {
            return (tg_value){0};
        }
        if (!path[length]) return value;
        path += length + 1;
    }
}

bool tg_to_integer(tg_value value, int64_t *integer) {
    const double limit = 9007199254740992.0;
    switch (value.type) {
    case TG_INT32: case TG_INT64: *integer = value.integer; return true;
    case TG_DOUBLE:
        if (!(value.number >= -limit && value.number <= limit) || __builtin_trunc(value.number) != value.number) return false;
        *integer = (int64_t)value.number;
        return true;
    default: return false;
    }
}

bool tg_to_double(tg_value value, double *number) {
    if (value.type == TG_DOUBLE) *number = value.number;
    else if (value.type == TG_INT32 || value.type == TG_INT64) *number = (double)value.integer;
    else return false;
    return true;
}

const char *tg_to_text(tg_value value) {
    int64_t integer;
    switch (value.type) {
    case TG_STRING: return tg_copy(value.text);
    case TG_BOOL: return value.boolean ? "true" : "false";
    case TG_OBJECT_ID: {
        char *text = tg_alloc(25);
        for (size_t at = 0; at < 24; at++)
            text[at] = "0123456789abcdef"[at % 2 ? value.raw.data[at / 2] & 15 : value.raw.data[at / 2] >> 4];
        text[24] = 0;
        return text;
    }
    default: return tg_to_integer(value, &integer) ? tg_format("%lld", (long long)integer) : NULL;
    }
}

const char *tg_type_name(tg_type type) {
    switch (type) {
    case TG_ABSENT: return "missing";
    case TG_DOUBLE: return "double";
    case TG_STRING: return "string";
    case TG_DOCUMENT: return "object";
    case TG_ARRAY: return "array";
    case TG_BINARY: return "binData";
    case TG_UNDEFINED: return "undefined";
    case TG_OBJECT_ID: return "objectId";
    case TG_BOOL: return "bool";
    case TG_DATE: return "date";
    case TG_NULL: return "null";
    case TG_REGEX: return "regex";
    case TG_DB_POINTER: return "dbPointer";
    case TG_JAVASCRIPT: return "javascript";
    case TG_SYMBOL: return "symbol";
    case TG_CODE_WITH_SCOPE: return "javascriptWithScope";
    case TG_INT32: return "int";
    case TG_TIMESTAMP: return "timestamp";
    case TG_INT64: return "long";
    case TG_DECIMAL128: return "decimal";
    case TG_MAX_KEY: return "maxKey";
    case TG_MIN_KEY: return "minKey";
    }
    return "unknown";
}

const char *tg_found_name(tg_value value) {
    int64_t integer;
    if (tg_to_integer(value, &integer)) return integer >= INT32_MIN && integer <= INT32_MAX ? "int" : "long";
    return tg_type_name(value.type);
}
