/* Asks the host for what a document names, and writes what it got into the field `answer`: see asker/src/lib.rs. */
#include "tidegate_plugin.h"

static tg_text text_of(tg_doc document, const char *name) {
    tg_value value = tg_get(document, name);
    return value.type == TG_STRING ? value.text : tg_text_of("");
}

/* What Rust takes for a u32; false where it is none. */
static bool count_of(tg_doc document, const char *name, uint32_t *count) {
    int64_t number;
    if (!tg_to_integer(tg_get(document, name), &number) || number < 0 || number > UINT32_MAX) return false;
    *count = (uint32_t)number;
    return true;
}

static const char *random_hex(uint32_t count) {
    const uint8_t *bytes = tg_random(count);
    char *hex = tg_alloc((size_t)count * 2 + 1);
    for (uint32_t at = 0; at < count; at++) {
        hex[2 * at] = "0123456789abcdef"[bytes[at] >> 4];
        hex[2 * at + 1] = "0123456789abcdef"[bytes[at] & 15];
    }
    hex[(size_t)count * 2] = 0;
    return hex;
}

static tg_doc asked(tg_doc document) {
    tg_http_request request = {
        .method = tg_copy(text_of(document, "method")),
        .url = tg_copy(text_of(document, "url")),
        .body = text_of(document, "body"),
    };
    count_of(document, "timeout", &request.timeout);
    tg_value headers = tg_get(document, "headers");
    tg_iter fields = tg_fields(headers.type == TG_DOCUMENT ? headers.document : (tg_doc){0});
    while (tg_next(&fields)) {
        tg_text value = fields.value.type == TG_STRING ? fields.value.text : tg_text_of("");
        tg_add_pair(&request.headers, tg_copy(fields.name), tg_copy(value));
    }
    tg_http_response response = tg_http(request);
    tg_builder told = tg_build();
    if (response.failure) {
        tg_append(&told, "error", tg_string(tg_http_failure_name(response.failure)));
        tg_append(&told, "why", tg_text_value(response.why));
        return tg_built(&told);
    }
    tg_builder names = tg_build();
    for (size_t at = 0; at < response.header_count; at++)
        tg_append(&names, tg_copy(response.headers[2 * at]), tg_text_value(response.headers[2 * at + 1]));
    tg_append(&told, "status", tg_int32(response.status));
    tg_append(&told, "headers", tg_document(tg_built(&names)));
    tg_append(&told, "body", tg_text_value(response.body));
    return tg_built(&told);
}

static tg_migration migrate(const tg_change *change) {
    tg_doc document = change->document;
    if (!document.data) return tg_unchanged("answered");
    tg_text ask = text_of(document, "ask");
    tg_value answer;
    if (tg_equal(ask, "clock")) {
        answer = tg_int64(tg_now());
    } else if (tg_equal(ask, "random")) {
        uint32_t count = 0;
        count_of(document, "count", &count);
        answer = tg_string(random_hex(count));
    } else if (tg_equal(ask, "environment")) {
        tg_text value = tg_environment(tg_copy(text_of(document, "name")));
        answer = value.data ? tg_text_value(value) : tg_null();
    } else if (tg_equal(ask, "http")) {
        answer = tg_document(asked(document));
    } else {
        return tg_migration_failed("`ask: %.*s` is nothing that can be asked for", TG_ARG(ask));
    }
    tg_editor edit = tg_edit(document);
    tg_set(&edit, "answer", answer);
    tg_error error;
    tg_doc answered = tg_finish(&edit, &error);
    if (error.what) return tg_migration_failed("malformed BSON at byte %zu: %s", error.at, error.what);
    return tg_migrated(answered, "asked", "answered");
}

TG_PLUGIN(.name = "conformance-asker", .version = "0.1.0",
          .description = "Asks the host for what a document names, and writes the answer into the document")
TG_MIGRATOR(migrate)
