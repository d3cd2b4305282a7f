/* What every plugin exports and imports, and the constructors of results. */
#include "internal.h"

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
IMPORT("tidegate:plugin/log@0.1.0", "log") void host_log(int level, const char *text, size_t size);
IMPORT("tidegate:plugin/metrics@0.1.0", "count") void host_count(const char *name, size_t size, uint64_t add);
IMPORT("tidegate:plugin/metrics@0.1.0", "gauge") void host_gauge(const char *name, size_t size, double value);

typedef struct raw_text {
    const char *data;
    size_t size;
} raw_text;

static raw_text raw(const char *text) {
    tg_text clean = tg_clean(text ? text : "");
    return (raw_text){clean.data, clean.size};
}

__attribute__((export_name("tidegate:plugin/plugin@0.1.0#manifest"))) void *tg_exported_manifest(void) {
    struct {
        raw_text name, version, description;
        uint8_t has_schema;
        raw_text schema;
    } *manifest = tg_alloc(sizeof *manifest);
    manifest->name = raw(tg_this_plugin.name);
    manifest->version = raw(tg_this_plugin.version);
    manifest->description = raw(tg_this_plugin.description);
    manifest->has_schema = tg_this_plugin.config_schema != NULL;
    manifest->schema = raw(tg_this_plugin.config_schema);
    return manifest;
}

__attribute__((export_name("tidegate:plugin/plugin@0.1.0#configure"))) void *tg_exported_configure(const char *config, size_t size) {
    struct {
        uint8_t failed;
        raw_text error;
    } *result = tg_alloc(sizeof *result);
    tg_doc document = {0};
    const char *error = tg_json((tg_text){config, size}, &document);
    if (error) error = tg_format("the configuration is no JSON that can be read: %s", error);
    else if (tg_this_plugin.configure) error = tg_this_plugin.configure(document);
    else error = tg_only_fields(document, NULL, 0);
    result->failed = error != NULL;
    result->error = raw(error);
    return result;
}

__attribute__((export_name("cabi_post_tidegate:plugin/plugin@0.1.0#manifest"))) void tg_exported_manifest_done(void *result) {
    (void)result;
    tg_batch_done();
}

__attribute__((export_name("cabi_post_tidegate:plugin/plugin@0.1.0#configure"))) void tg_exported_configure_done(void *result) {
    (void)result;
    tg_batch_done();
}

static void write_log(tg_level level, const char *format, va_list arguments) {
    tg_text line = tg_clean(tg_vformat(format, arguments));
    host_log((int)level, line.data, line.size);
}

void tg_log(tg_level level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_log(level, format, arguments);
    va_end(arguments);
}

_Noreturn void tg_panic(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_log(TG_ERROR, format, arguments);
    va_end(arguments);
    __builtin_trap();
}

void tg_count(const char *name, uint64_t add) {
    tg_text text = tg_clean(name);
    host_count(text.data, text.size, add);
}

void tg_gauge(const char *name, double value) {
    tg_text text = tg_clean(name);
    host_gauge(text.data, text.size, value);
}

tg_migration tg_unchanged(const char *version) {
    return (tg_migration){.kind = TG_UNCHANGED, .from = version};
}

tg_migration tg_migrated(tg_doc document, const char *from, const char *to) {
    return (tg_migration){.kind = TG_MIGRATED, .document = document, .from = from, .to = to};
}

/* Formats what stands after `format`, in a function with variable arguments. */
#define FORMATTED(to, format) \
    va_list arguments; \
    va_start(arguments, format); \
    to = tg_vformat(format, arguments); \
    va_end(arguments)

tg_migration tg_migration_failed(const char *format, ...) {
    tg_migration migration = {.kind = TG_MIGRATION_FAILED};
    FORMATTED(migration.reason, format);
    return migration;
}

void tg_add_pair(tg_pairs *pairs, const char *name, const char *value) {
    *TG_MORE(pairs, list) = (tg_pair){name, value};
}

tg_routing tg_nowhere(void) {
    return (tg_routing){0};
}

tg_destination *tg_deliver(tg_routing *routing) {
    tg_destination *destination = TG_MORE(routing, destinations);
    *destination = (tg_destination){0};
    return destination;
}

tg_routing tg_to_target(const char *target) {
    tg_routing routing = {0};
    tg_deliver(&routing)->target = target;
    return routing;
}

tg_routing tg_routing_failed(const char *format, ...) {
    tg_routing routing = {0};
    FORMATTED(routing.failed, format);
    return routing;
}

tg_transformation tg_pass(void) {
    return (tg_transformation){.unchanged = true};
}

tg_transformation tg_drop(void) {
    return (tg_transformation){0};
}

tg_output *tg_emit(tg_transformation *transformation, const tg_change *from) {
    tg_output *output = TG_MORE(transformation, outputs);
    transformation->unchanged = false;
    *output = (tg_output){.operation = from->operation, .database = from->database, .collection = from->collection};
    return output;
}

tg_transformation tg_transformation_failed(const char *format, ...) {
    tg_transformation transformation = {0};
    FORMATTED(transformation.failed, format);
    return transformation;
}
