/* Write plugins for tidegate in C: describe the plugin, write a function, name its role, build a component.
 *
 *     #include "tidegate_plugin.h"
 *
 *     static tg_verdict validate(const tg_change *change) {
 *         int64_t quantity;
 *         if (!tg_to_integer(tg_get(change->document, "quantity"), &quantity) || quantity < 0)
 *             return tg_reject("quantity", "must be a whole number, at least 0");
 *         return tg_accept();
 *     }
 *
 *     TG_PLUGIN(.name = "in-stock", .version = "1.0.0", .description = "Refuses low stock")
 *     TG_VALIDATOR(validate)
 *
 * Documents are BSON, read where they lie. All memory that a batch takes comes from one arena, which is emptied when the
 * batch is done: nothing is freed, and what must outlive the batch is taken with `tg_keep`. There is no C library: what
 * is declared here is all there is, and there are no files or threads.
 */
#ifndef TIDEGATE_PLUGIN_H
#define TIDEGATE_PLUGIN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#error "tidegate_plugin.h is C: compile the plugin as C11 or later"
#endif

/* ---- Text and bytes ------------------------------------------------------------------------------------------- */

/* Text of a document or a change: UTF-8 without a zero byte at the end. `data` is NULL where it is absent. */
typedef struct tg_text {
    const char *data;
    size_t size;
} tg_text;

/* For "%.*s": tg_format("%.*s", TG_ARG(text)). */
#define TG_ARG(text) (int)(text).size, (text).data

bool tg_equal(tg_text text, const char *other);
int tg_compare(tg_text left, tg_text right);
tg_text tg_text_of(const char *text);
/* With a zero byte behind it, in the arena of the batch. */
char *tg_copy(tg_text text);
/* As it reads inside quotes, with what cannot be printed escaped, and cut after 40 characters: messages end up in logs. */
const char *tg_quoted(tg_text text);
const char *tg_quoted_whole(tg_text text);

/* As sprintf, into the arena of the batch: d i u x c s f g %, with width, precision and the lengths hh h l ll z j.
 * %g writes the shortest digits that are the same double when read. */
char *tg_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
char *tg_vformat(const char *format, va_list arguments);

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *left, const void *right, size_t size);
size_t strlen(const char *text);
int strcmp(const char *left, const char *right);

/* ---- Memory --------------------------------------------------------------------------------------------------- */

/* Until the batch is done. Never NULL: a plugin without memory is ended by the host. */
void *tg_alloc(size_t size);
/* As long as the instance lives: for the configuration and for caches. */
void *tg_keep(size_t size);
char *tg_keep_text(tg_text text);

/* ---- Documents ------------------------------------------------------------------------------------------------ */

/* A BSON document or array, checked where it is looked at. `data` is NULL where it is absent. */
typedef struct tg_doc {
    const uint8_t *data;
    size_t size;
} tg_doc;

/* The numbers are those of BSON. */
typedef enum tg_type {
    TG_ABSENT = 0x00,
    TG_DOUBLE = 0x01,
    TG_STRING = 0x02,
    TG_DOCUMENT = 0x03,
    TG_ARRAY = 0x04,
    TG_BINARY = 0x05,
    TG_UNDEFINED = 0x06,
    TG_OBJECT_ID = 0x07,
    TG_BOOL = 0x08,
    TG_DATE = 0x09,
    TG_NULL = 0x0a,
    TG_REGEX = 0x0b,
    TG_DB_POINTER = 0x0c,
    TG_JAVASCRIPT = 0x0d,
    TG_SYMBOL = 0x0e,
    TG_CODE_WITH_SCOPE = 0x0f,
    TG_INT32 = 0x10,
    TG_TIMESTAMP = 0x11,
    TG_INT64 = 0x12,
    TG_DECIMAL128 = 0x13,
    TG_MAX_KEY = 0x7f,
    TG_MIN_KEY = 0xff
} tg_type;

/* A value, borrowed from its document. TG_ABSENT where there is none. */
typedef struct tg_value {
    tg_type type;
    uint8_t subtype;           /* TG_BINARY */
    union {
        double number;         /* TG_DOUBLE */
        int64_t integer;       /* TG_INT32, TG_INT64 */
        int64_t date;          /* TG_DATE: milliseconds since 1970, UTC */
        bool boolean;          /* TG_BOOL */
        tg_text text;          /* TG_STRING, TG_JAVASCRIPT, TG_SYMBOL */
        tg_doc document;       /* TG_DOCUMENT, TG_ARRAY */
        tg_doc bytes;          /* TG_BINARY: its bytes */
        struct {
            uint32_t time, increment;
        } timestamp;           /* TG_TIMESTAMP */
    };
    tg_doc raw;                /* the bytes of the value as BSON has them: 12 of a TG_OBJECT_ID, 16 of a TG_DECIMAL128 */
} tg_value;

/* What is wrong with bytes that are no BSON, and where; `what` is NULL where nothing is. */
typedef struct tg_error {
    const char *what;
    size_t at;
} tg_error;

/* The field of that name; absent too where the bytes up to it are malformed. In an absent document nothing is found. */
tg_value tg_get(tg_doc document, const char *name);
/* At a path such as "address.lines.0". */
tg_value tg_get_path(tg_doc document, const char *path);
/* The element of an array, counted from 0. */
tg_value tg_at(tg_doc array, size_t index);

/* All fields, in their order:
 *     tg_iter fields = tg_fields(document);
 *     while (tg_next(&fields)) use(fields.name, fields.value);
 * It ends at the first error, which is then in `fields.error`. */
typedef struct tg_iter {
    tg_text name;
    tg_value value;
    tg_error error;
    tg_doc document;
    size_t at, start, end;
    tg_type tag;
} tg_iter;

tg_iter tg_fields(tg_doc document);
bool tg_next(tg_iter *fields);
/* As tg_next without a look into the value: `fields->value.type` and `.raw` are set, and tg_decode does the rest. */
bool tg_next_raw(tg_iter *fields);
bool tg_decode(tg_iter *fields);

/* An Int32, an Int64, or a Double that is a whole number within 2^53: shells and JavaScript clients write such Doubles. */
bool tg_to_integer(tg_value value, int64_t *integer);
/* An Int32, an Int64 (rounded where a Double cannot hold it) or a Double. */
bool tg_to_double(tg_value value, double *number);
/* How the value reads inside a name: text, a whole number, an ObjectId in hex, a boolean. NULL for other types. */
const char *tg_to_text(tg_value value);
/* The name MongoDB gives the type: "string", "int", "long", "date", "objectId", ... */
const char *tg_type_name(tg_type type);
/* The same for the messages of violations, where whole numbers are named by their value: "int" within 32 bits, else "long".
 * Plugins that get their documents as JSON cannot tell more, and all languages say the same. */
const char *tg_found_name(tg_value value);

/* ISO 8601 as RFC 3339 narrows it, and what common programs write beside that; a date alone and no offset are UTC. */
bool tg_parse_date(tg_text text, int64_t *date);
/* "2024-01-31T09:30:00.250Z" */
const char *tg_date_text(int64_t date);

tg_value tg_string(const char *text);
tg_value tg_text_value(tg_text text);
tg_value tg_int32(int32_t number);
tg_value tg_int64(int64_t number);
tg_value tg_double(double number);
tg_value tg_bool(bool value);
tg_value tg_date(int64_t date);
tg_value tg_null(void);
tg_value tg_object_id(const uint8_t bytes[12]);
tg_value tg_document(tg_doc document);
tg_value tg_array(tg_doc array);

/* A document being built, in the arena of the batch. */
typedef struct tg_builder {
    uint8_t *data;
    size_t size, room;
} tg_builder;

tg_builder tg_build(void);
/* Adds a field. An absent value adds nothing. */
void tg_append(tg_builder *builder, const char *name, tg_value value);
/* Adds an element of an array, whose names are the numbers from 0. */
void tg_push(tg_builder *array, size_t index, tg_value value);
tg_doc tg_built(tg_builder *builder);

/* A document with some of its fields changed; all others are copied byte for byte and stay where they are. */
typedef struct tg_editor {
    tg_doc document;
    struct tg_edit *edits;
    size_t count, room;
} tg_editor;

tg_editor tg_edit(tg_doc document);
/* The value as the edits so far leave it. */
tg_value tg_edited(const tg_editor *editor, const char *name);
/* In its place if it is there, else at the end. Names must stay as they are until tg_finish. */
void tg_set(tg_editor *editor, const char *name, tg_value value);
void tg_remove(tg_editor *editor, const char *name);
/* Another name and value in the place of `old`, or at the end where that is not there; any other field called `name` goes. */
void tg_replace(tg_editor *editor, const char *old, const char *name, tg_value value);
/* The new document; absent where the old one is malformed, with the reason in `error` unless that is NULL. */
tg_doc tg_finish(const tg_editor *editor, tg_error *error);

/* ---- Changes -------------------------------------------------------------------------------------------------- */

typedef enum tg_operation { TG_INSERT, TG_UPDATE, TG_REPLACE, TG_DELETE, TG_READ } tg_operation;

typedef struct tg_change {
    tg_text id;                     /* the same after a restart; the correlation id of all log lines */
    tg_operation operation;
    tg_text database, collection;
    tg_doc key;                     /* {_id: ...}, with the shard key where there is one */
    tg_doc document;                /* after the change; a delete has none */
    tg_doc before;                  /* where the source was asked for it */
    tg_doc update;                  /* MongoDB's updateDescription */
    uint64_t cluster_time;          /* seconds since 1970 in the upper 32 bits, a counter in the lower; 0: none */
    int64_t wall_time;              /* milliseconds since 1970, UTC; 0: none */
    size_t header_count;
    const uint8_t *arena;           /* of the batch, for the SDK */
    size_t arena_size;
    const uint32_t *headers;
} tg_change;

const char *tg_operation_name(tg_operation operation);
/* The value of a header that the source or an earlier stage gave the change; absent where there is none. */
tg_text tg_header(const tg_change *change, const char *name);
bool tg_header_at(const tg_change *change, size_t index, tg_text *name, tg_text *value);

/* ---- The plugin ----------------------------------------------------------------------------------------------- */

typedef struct tg_plugin {
    const char *name, *version, *description;
    /* JSON Schema (draft 2020-12) of the configuration; NULL: the plugin takes none. */
    const char *config_schema;
    /* Called once, before the first batch, with the stage's configuration as a document. Returns what is wrong with it,
     * for the operator, or NULL. It may be left out. */
    const char *(*configure)(tg_doc config);
} tg_plugin;

#define TG_PLUGIN(...) const tg_plugin tg_this_plugin = {__VA_ARGS__};
extern const tg_plugin tg_this_plugin;

/* NULL where the document has no other fields than these, else what to tell the operator. */
const char *tg_only_fields(tg_doc config, const char *const names[], size_t count);

/* ---- Validator: says of each change whether it may pass -------------------------------------------------------- */

typedef struct tg_violation {
    const char *path, *message;
} tg_violation;

/* None at all: accepted. */
typedef struct tg_verdict {
    tg_violation *violations;
    size_t count, room;
} tg_verdict;

tg_verdict tg_accept(void);
/* The path has dots between field names, and is empty for the document itself. */
tg_verdict tg_reject(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One more reason. */
void tg_violate(tg_verdict *verdict, const char *path, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What a field may be. */
typedef enum tg_is {
    TG_IS_STRING,
    TG_IS_ONE_OF,        /* text, one of `words` */
    TG_IS_INTEGER,
    TG_IS_INTEGER_FROM,  /* `least` or more */
    TG_IS_NUMBER,        /* Decimal128 too */
    TG_IS_BOOL,
    TG_IS_DATE,
    TG_IS_ISO8601,       /* text */
    TG_IS_DATE_OR_ISO8601,
    TG_IS_OBJECT_ID,
    TG_IS_DOCUMENT,
    TG_IS_ARRAY
} tg_is;

typedef struct tg_field {
    const char *name;
    tg_is is;
    bool optional;               /* null is not absent */
    int64_t least;
    const char *const *words;    /* ends with NULL */
} tg_field;

/* Everything that is wrong with the fields, in the order of the rules, in one pass over the document. */
tg_verdict tg_check(tg_doc document, const tg_field rules[], size_t count);
/* What is wrong with one value, or NULL. */
const char *tg_complaint(tg_value value, const tg_field *rule);

/* ---- Migrator: brings documents to another schema version ------------------------------------------------------ */

typedef struct tg_migration {
    enum { TG_UNCHANGED, TG_MIGRATED, TG_MIGRATION_FAILED } kind;
    tg_doc document;
    const char *from, *to, *reason;
} tg_migration;

/* The version that the document has; NULL where it is not known. */
tg_migration tg_unchanged(const char *version);
tg_migration tg_migrated(tg_doc document, const char *from, const char *to);
tg_migration tg_migration_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- Router: says where each change goes ----------------------------------------------------------------------- */

typedef struct tg_pair {
    const char *name, *value;
} tg_pair;

typedef struct tg_pairs {
    tg_pair *list;
    size_t count, room;
} tg_pairs;

void tg_add_pair(tg_pairs *pairs, const char *name, const char *value);

/* NULL: all sinks, the sink's own target, the document key. */
typedef struct tg_destination {
    const char *sink, *target, *ordering_key;
    tg_pairs attributes;
} tg_destination;

typedef struct tg_routing {
    tg_destination *destinations;
    size_t count, room;
    const char *failed;
} tg_routing;

tg_routing tg_nowhere(void);
/* One more destination, to be filled in: tg_deliver(&routing)->target = "orders". Use it before the next is asked for. */
tg_destination *tg_deliver(tg_routing *routing);
tg_routing tg_to_target(const char *target);
tg_routing tg_routing_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- Transformer: makes any change into zero or more ------------------------------------------------------------ */

/* What is not set is taken over from the change, but for the document: without one there is none. */
typedef struct tg_output {
    tg_operation operation;
    tg_text database, collection;
    tg_doc key, document;
    tg_pairs headers;               /* added to those the change has */
} tg_output;

typedef struct tg_transformation {
    bool unchanged;
    tg_output *outputs;
    size_t count, room;
    const char *failed;
} tg_transformation;

tg_transformation tg_pass(void);
/* No change at all, until tg_emit adds some. */
tg_transformation tg_drop(void);
/* One more change, begun as a copy of `from` without document and headers. Fill it in before the next is asked for. */
tg_output *tg_emit(tg_transformation *transformation, const tg_change *from);
tg_transformation tg_transformation_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- The host's log and metrics --------------------------------------------------------------------------------- */

typedef enum tg_level { TG_TRACE, TG_DEBUG, TG_INFO, TG_WARN, TG_ERROR } tg_level;

/* Lines beyond the plugin's limit per second are dropped and counted. */
void tg_log(tg_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Adds to tidegate_plugin_counter_total{plugin, name}. */
void tg_count(const char *name, uint64_t add);
/* Sets tidegate_plugin_gauge{plugin, name}. */
void tg_gauge(const char *name, double value);
/* Says why and ends the instance: for what cannot be. The host finds the guilty change and sets it aside. */
_Noreturn void tg_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- What the operator grants ----------------------------------------------------------------------------------- */

/* A component imports of these what the plugin calls; plugin.yaml names it: `uses: [clock, random, env, http]`. All that is
 * returned lies in the arena of the batch, as everything else does: what must outlive the batch is copied with `tg_keep`. */

/* `clock`: milliseconds since 1970, UTC, by the host's clock, which may step back when that is set. A plugin that reads it is not
 * deterministic: after a crash the same change may come out of it otherwise. Often `wall_time` of the change is what is wanted. */
int64_t tg_now(void);

/* `random`: so many bytes from the host's secure source, 1 MiB at most; more is an error of the plugin, which ends the call. */
const uint8_t *tg_random(size_t count);
/* The same, as a number, any one as likely as any other. */
uint64_t tg_random_number(void);

/* `env`: a variable of the host's environment; absent where it is not granted. One that is empty has a `data`, and the size 0. */
tg_text tg_environment(const char *name);

/* `http`: a request, to be filled in: tg_http((tg_http_request){.method = "GET", .url = url}). */
typedef struct tg_http_request {
    const char *method, *url;
    tg_pairs headers;               /* tg_add_pair(&request.headers, "accept", "application/json") */
    tg_text body;                   /* bytes of any kind; absent: none */
    uint32_t timeout;               /* milliseconds that it may take in all; 0: what the operator allows */
} tg_http_request;

typedef enum tg_http_failure {
    TG_HTTP_ANSWERED,               /* there is a response, whatever its status */
    TG_HTTP_NOT_GRANTED,            /* the host, or the address it has, is not granted */
    TG_HTTP_INVALID,                /* it is no request */
    TG_HTTP_UNREACHABLE,            /* no connection, or it broke */
    TG_HTTP_TIMED_OUT,              /* it took too long */
    TG_HTTP_TOO_LARGE               /* a body is larger than the operator allows */
} tg_http_failure;

/* A response, whole; or `failure` and `why`, and nothing else. */
typedef struct tg_http_response {
    tg_http_failure failure;
    tg_text why;
    int status;                     /* such as 200 */
    tg_text body;                   /* bytes of any kind */
    size_t header_count;
    const tg_text *headers;         /* a name, its value, the next name, ... in the order in which they came */
} tg_http_response;

/* Sends a request and waits for the whole response. Redirects are not followed. The time counts towards the wall time of the call
 * it is made in: keep what was answered where that can be done. */
tg_http_response tg_http(tg_http_request request);
/* The value of the first header of that name, in whatever case; absent where there is none. */
tg_text tg_http_header(const tg_http_response *response, const char *name);
/* As the contract calls it: "not-granted", "timed-out", ...; "answered" where there is none. */
const char *tg_http_failure_name(tg_http_failure failure);

/* ---- Roles: one or more of these, outside of any function ------------------------------------------------------- */

typedef struct tg_raw_batch {
    const uint8_t *arena;
    size_t arena_size;
    const void *namespaces;
    size_t namespace_count;
    const uint32_t *headers;
    size_t header_numbers, stride;
    const uint32_t *changes;
    size_t numbers;
} tg_raw_batch;

void *tg_run_validator(tg_verdict (*run)(const tg_change *), tg_raw_batch batch);
void *tg_run_migrator(tg_migration (*run)(const tg_change *), tg_raw_batch batch);
void *tg_run_router(tg_routing (*run)(const tg_change *), tg_raw_batch batch);
void *tg_run_transformer(tg_transformation (*run)(const tg_change *), tg_raw_batch batch);
void tg_batch_done(void);

#define TG_VALIDATOR(function) TG_ROLE("tidegate:plugin/validator@0.1.0#validate", tg_run_validator, tg_exported_validator, function)
#define TG_MIGRATOR(function) TG_ROLE("tidegate:plugin/migrator@0.1.0#migrate", tg_run_migrator, tg_exported_migrator, function)
#define TG_ROUTER(function) TG_ROLE("tidegate:plugin/router@0.1.0#route", tg_run_router, tg_exported_router, function)
#define TG_TRANSFORMER(function) \
    TG_ROLE("tidegate:plugin/transformer@0.1.0#transform", tg_run_transformer, tg_exported_transformer, function)

/* The record `batch` crosses as nine numbers. */
#define TG_ROLE(export, call, symbol, function) \
    __attribute__((export_name(export))) void *symbol( \
        const uint8_t *arena, size_t arena_size, const void *namespaces, size_t namespace_count, \
        const uint32_t *headers, size_t header_numbers, size_t stride, const uint32_t *changes, size_t numbers) { \
        return call(function, (tg_raw_batch){arena, arena_size, namespaces, namespace_count, headers, header_numbers, \
                                             stride, changes, numbers}); \
    } \
    __attribute__((export_name("cabi_post_" export))) void symbol##_done(void *result) { \
        (void)result; \
        tg_batch_done(); \
    }

#endif
