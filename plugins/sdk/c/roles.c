/* How a batch comes in and results go out: the component model's canonical ABI for the contract, written by hand.
 *
 * Each exported function returns the address of its result, laid out as the canonical ABI says; the host copies it, then
 * calls the function's `cabi_post_` twin, and the arena is emptied. */
#include "internal.h"

typedef struct raw_list {
    const void *data;
    size_t size;
} raw_list;

typedef struct raw_span {
    uint32_t offset, length;
} raw_span;

typedef struct raw_range {
    uint32_t first, count;
} raw_range;

/* ---- The way in */

static tg_doc span(const tg_raw_batch *batch, const uint32_t *numbers) {
    size_t offset = numbers[0], length = numbers[1];
    if (!length || offset > batch->arena_size || length > batch->arena_size - offset) return (tg_doc){0};
    return (tg_doc){batch->arena + offset, length};
}

static tg_text text(tg_doc bytes) {
    return (tg_text){(const char *)bytes.data, bytes.size};
}

static size_t changes_of(const tg_raw_batch *batch) {
    return batch->stride < 18 ? 0 : batch->numbers / batch->stride;
}

static tg_change change_at(const tg_raw_batch *batch, size_t index) {
    const uint32_t *raw = batch->changes + index * batch->stride;
    tg_change change = {
        .id = text(span(batch, raw)),
        /* A later version of the contract may have more operations, which this one takes for updates. */
        .operation = raw[2] <= TG_READ ? (tg_operation)raw[2] : TG_UPDATE,
        .key = span(batch, raw + 4),
        .document = span(batch, raw + 6),
        .before = span(batch, raw + 8),
        .update = span(batch, raw + 10),
        .cluster_time = raw[12] | (uint64_t)raw[13] << 32,
        .wall_time = (int64_t)(raw[14] | (uint64_t)raw[15] << 32),
        .arena = batch->arena,
        .arena_size = batch->arena_size,
    };
    if (raw[3] < batch->namespace_count) {
        const struct {
            raw_list database, collection;
        } *namespaces = batch->namespaces;
        change.database = (tg_text){namespaces[raw[3]].database.data, namespaces[raw[3]].database.size};
        change.collection = (tg_text){namespaces[raw[3]].collection.data, namespaces[raw[3]].collection.size};
    }
    if (((uint64_t)raw[16] + raw[17]) * 4 <= batch->header_numbers) {
        change.headers = batch->headers + (size_t)raw[16] * 4;
        change.header_count = raw[17];
    }
    return change;
}

bool tg_header_at(const tg_change *change, size_t index, tg_text *name, tg_text *value) {
    if (index >= change->header_count) return false;
    const uint32_t *numbers = change->headers + index * 4;
    tg_raw_batch batch = {.arena = change->arena, .arena_size = change->arena_size};
    *name = text(span(&batch, numbers));
    *value = text(span(&batch, numbers + 2));
    return true;
}

tg_text tg_header(const tg_change *change, const char *name) {
    tg_text found, value;
    for (size_t index = 0; tg_header_at(change, index, &found, &value); index++)
        if (tg_equal(found, name)) return value;
    return (tg_text){0};
}

const char *tg_operation_name(tg_operation operation) {
    static const char *const names[] = {"insert", "update", "replace", "delete", "read"};
    return names[operation <= TG_READ ? operation : TG_UPDATE];
}

/* ---- The way out */

/* The arena of a result. */
typedef struct bytes {
    char *data;
    size_t count, room;
} bytes;

/* Documents mostly keep about their size, and get a field or two. */
static bytes about(size_t size, size_t changes) {
    size_t room = size + changes * 64 + 256;
    return (bytes){tg_alloc(room), 0, room};
}

static raw_span push(bytes *arena, const void *data, size_t size) {
    raw_span span = {(uint32_t)arena->count, (uint32_t)size};
    if (arena->room - arena->count < size) {
        size_t room = arena->count + size + arena->room / 2 + 256;
        char *grown = tg_alloc(room);
        memcpy(grown, arena->data, arena->count);
        arena->data = grown;
        arena->room = room;
    }
    if (size) memcpy(arena->data + arena->count, data, size);
    arena->count += size;
    return span;
}

static raw_span push_text(bytes *arena, const char *text) {
    tg_text clean = tg_clean(text);
    return push(arena, clean.data, clean.size);
}

static raw_span push_document(bytes *arena, tg_doc document) {
    return push(arena, document.data, document.size);
}

static raw_list whole(const bytes *arena) {
    return (raw_list){arena->data, arena->count};
}

static raw_list text_list(const char *text) {
    tg_text clean = tg_clean(text ? text : "");
    return (raw_list){clean.data, clean.size};
}

typedef struct raw_pair {
    raw_span name, value;
} raw_pair;

typedef struct pairs {
    raw_pair *list;
    size_t count, room;
} pairs;

static raw_range push_pairs(bytes *arena, pairs *to, const tg_pairs *from) {
    raw_range range = {(uint32_t)to->count, 0};
    for (size_t at = 0; at < from->count; at++) {
        const tg_pair *pair = &from->list[at];
        /* An empty span would be an absent one. */
        if (!pair->name || !*pair->name || !pair->value || !*pair->value) continue;
        *TG_MORE(to, list) = (raw_pair){push_text(arena, pair->name), push_text(arena, pair->value)};
        range.count++;
    }
    return range;
}

void *tg_run_validator(tg_verdict (*run)(const tg_change *), tg_raw_batch batch) {
    typedef struct {
        uint8_t rejected;
        raw_list violations;
    } raw_verdict;
    size_t count = changes_of(&batch);
    raw_verdict *verdicts = tg_alloc(count * sizeof *verdicts);
    for (size_t index = 0; index < count; index++) {
        tg_change change = change_at(&batch, index);
        tg_verdict verdict = run(&change);
        struct {
            raw_list path, message;
        } *violations = verdict.count ? tg_alloc(verdict.count * sizeof *violations) : NULL;
        for (size_t at = 0; at < verdict.count; at++) {
            violations[at].path = text_list(verdict.violations[at].path);
            violations[at].message = text_list(verdict.violations[at].message);
        }
        verdicts[index] = (raw_verdict){verdict.count > 0, {violations, verdict.count}};
    }
    raw_list *result = tg_alloc(sizeof *result);
    *result = (raw_list){verdicts, count};
    return result;
}

void *tg_run_migrator(tg_migration (*run)(const tg_change *), tg_raw_batch batch) {
    typedef struct {
        uint8_t kind;
        union {
            raw_span version;
            struct {
                raw_span document, from, to;
            } migrated;
            raw_list reason;
        };
    } raw_outcome;
    size_t count = changes_of(&batch);
    bytes arena = about(batch.arena_size, count);
    raw_outcome *outcomes = tg_alloc(count * sizeof *outcomes);
    for (size_t index = 0; index < count; index++) {
        tg_change change = change_at(&batch, index);
        tg_migration migration = run(&change);
        raw_outcome *outcome = &outcomes[index];
        outcome->kind = (uint8_t)migration.kind;
        if (migration.kind == TG_UNCHANGED) {
            outcome->version = push_text(&arena, migration.from);
        } else if (migration.kind == TG_MIGRATED) {
            outcome->migrated.document = push_document(&arena, migration.document);
            outcome->migrated.from = push_text(&arena, migration.from);
            outcome->migrated.to = push_text(&arena, migration.to);
        } else {
            outcome->reason = text_list(migration.reason);
        }
    }
    raw_list *result = tg_alloc(2 * sizeof *result);
    result[0] = whole(&arena);
    result[1] = (raw_list){outcomes, count};
    return result;
}

/* `decision` of a router and `result-of-change` of a transformer: a range or a reason. */
typedef struct raw_choice {
    uint8_t kind;
    union {
        raw_range range;
        raw_list reason;
    };
} raw_choice;

void *tg_run_router(tg_routing (*run)(const tg_change *), tg_raw_batch batch) {
    typedef struct {
        raw_span sink, target, ordering_key;
        raw_range attributes;
    } raw_destination;
    struct {
        raw_destination *list;
        size_t count, room;
    } destinations = {0};
    size_t count = changes_of(&batch);
    bytes arena = {0};
    pairs attributes = {0};
    raw_choice *decisions = tg_alloc(count * sizeof *decisions);
    for (size_t index = 0; index < count; index++) {
        tg_change change = change_at(&batch, index);
        tg_routing routing = run(&change);
        if (routing.failed) {
            decisions[index] = (raw_choice){.kind = 1, .reason = text_list(routing.failed)};
            continue;
        }
        decisions[index] = (raw_choice){.range = {(uint32_t)destinations.count, (uint32_t)routing.count}};
        for (size_t at = 0; at < routing.count; at++) {
            const tg_destination *to = &routing.destinations[at];
            raw_destination raw = {push_text(&arena, to->sink), push_text(&arena, to->target), push_text(&arena, to->ordering_key),
                                   push_pairs(&arena, &attributes, &to->attributes)};
            *TG_MORE(&destinations, list) = raw;
        }
    }
    raw_list *result = tg_alloc(4 * sizeof *result);
    result[0] = whole(&arena);
    result[1] = (raw_list){attributes.list, attributes.count};
    result[2] = (raw_list){destinations.list, destinations.count};
    result[3] = (raw_list){decisions, count};
    return result;
}

typedef struct raw_namespace {
    raw_list database, collection;
} raw_namespace;

typedef struct namespaces {
    raw_namespace *list;
    size_t count, room;
} namespaces;

/* Where a namespace stands in the list, after it was added if it was not there. There are few of them. */
static uint32_t index_of(namespaces *all, tg_text database, tg_text collection) {
    for (size_t at = all->count; at-- > 0;) {
        const raw_namespace *it = &all->list[at];
        if (!tg_compare(collection, (tg_text){it->collection.data, it->collection.size}) &&
            !tg_compare(database, (tg_text){it->database.data, it->database.size}))
            return (uint32_t)at;
    }
    *TG_MORE(all, list) = (raw_namespace){{database.data, database.size}, {collection.data, collection.size}};
    return (uint32_t)all->count - 1;
}

void *tg_run_transformer(tg_transformation (*run)(const tg_change *), tg_raw_batch batch) {
    typedef struct {
        uint8_t operation;
        uint32_t namespace;
        raw_span key, document;
        raw_range headers;
    } raw_output;
    struct {
        raw_output *list;
        size_t count, room;
    } outputs = {0};
    size_t count = changes_of(&batch);
    bytes arena = about(batch.arena_size, count);
    namespaces all = {0};
    pairs headers = {0};
    raw_choice *results = tg_alloc(count * sizeof *results);
    for (size_t index = 0; index < count; index++) {
        tg_change change = change_at(&batch, index);
        tg_transformation it = run(&change);
        if (it.failed) {
            results[index] = (raw_choice){.kind = 2, .reason = text_list(it.failed)};
            continue;
        }
        results[index] = (raw_choice){.kind = !it.unchanged, .range = {(uint32_t)outputs.count, (uint32_t)it.count}};
        for (size_t at = 0; at < it.count; at++) {
            const tg_output *from = &it.outputs[at];
            raw_output raw = {(uint8_t)from->operation, index_of(&all, from->database, from->collection),
                              push_document(&arena, from->key), push_document(&arena, from->document),
                              push_pairs(&arena, &headers, &from->headers)};
            *TG_MORE(&outputs, list) = raw;
        }
    }
    raw_list *result = tg_alloc(5 * sizeof *result);
    result[0] = whole(&arena);
    result[1] = (raw_list){all.list, all.count};
    result[2] = (raw_list){headers.list, headers.count};
    result[3] = (raw_list){outputs.list, outputs.count};
    result[4] = (raw_list){results, count};
    return result;
}
