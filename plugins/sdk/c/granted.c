/* What an operator grants. The linker leaves out what a plugin does not call, and with it the import.
 *
 * What the host returns it writes where the last argument points to, laid out as the canonical ABI says; lists and text lie in memory that it
 * asked `cabi_realloc` for, which is the arena. */
#include "internal.h"

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

typedef struct raw_list {
    const void *data;
    size_t size;
} raw_list;

typedef struct raw_header {
    tg_text name, value;
} raw_header;

IMPORT("tidegate:plugin/clock@0.1.0", "now") int64_t host_now(void);
IMPORT("tidegate:plugin/random@0.1.0", "bytes") void host_random(size_t count, raw_list *bytes);
IMPORT("tidegate:plugin/environment@0.1.0", "get") void host_environment(const char *name, size_t size, void *option);
IMPORT("tidegate:plugin/http@0.1.0", "send")
void host_send(const char *method, size_t method_size, const char *url, size_t url_size, const raw_header *headers, size_t header_count,
               const char *body, size_t body_size, int has_timeout, uint32_t timeout, void *result);

int64_t tg_now(void) {
    return host_now();
}

const uint8_t *tg_random(size_t count) {
    raw_list bytes;
    host_random(count, &bytes);
    return bytes.data;
}

uint64_t tg_random_number(void) {
    uint64_t number;
    memcpy(&number, tg_random(sizeof number), sizeof number);
    return number;
}

tg_text tg_environment(const char *name) {
    struct {
        uint8_t is;
        tg_text value;
    } option;
    tg_text clean = tg_clean(name);
    host_environment(clean.data, clean.size, &option);
    if (!option.is) return (tg_text){0};
    return option.value.size ? option.value : (tg_text){"", 0};
}

tg_http_response tg_http(tg_http_request request) {
    raw_header *headers = tg_alloc(request.headers.count * sizeof *headers);
    for (size_t at = 0; at < request.headers.count; at++) {
        const tg_pair *pair = &request.headers.list[at];
        headers[at] = (raw_header){tg_clean(pair->name), tg_clean(pair->value)};
    }
    tg_text method = tg_clean(request.method), url = tg_clean(request.url);
    struct {
        uint8_t failed;
        union {
            struct {
                uint16_t status;
                raw_list headers;
                tg_text body;
            } response;
            struct {
                uint8_t kind;
                tg_text why;
            } failure;
        };
    } result;
    host_send(method.data, method.size, url.data, url.size, headers, request.headers.count, request.body.data, request.body.size,
              request.timeout != 0, request.timeout, &result);
    if (result.failed)
        /* The contract counts the reasons from 0. */
        return (tg_http_response){.failure = (tg_http_failure)(result.failure.kind + 1), .why = result.failure.why};
    return (tg_http_response){.status = result.response.status, .body = result.response.body,
                              .header_count = result.response.headers.size, .headers = result.response.headers.data};
}

static char lower(char letter) {
    return letter >= 'A' && letter <= 'Z' ? (char)(letter + 32) : letter;
}

tg_text tg_http_header(const tg_http_response *response, const char *name) {
    size_t size = strlen(name);
    for (size_t index = 0; index < response->header_count; index++) {
        tg_text found = response->headers[2 * index];
        size_t at = 0;
        while (at < size && found.size == size && lower(found.data[at]) == lower(name[at])) at++;
        if (at == size && found.size == size) return response->headers[2 * index + 1];
    }
    return (tg_text){0};
}

const char *tg_http_failure_name(tg_http_failure failure) {
    static const char *const names[] = {"answered", "not-granted", "invalid", "unreachable", "timed-out", "too-large"};
    return names[failure <= TG_HTTP_TOO_LARGE ? failure : TG_HTTP_UNREACHABLE];
}
