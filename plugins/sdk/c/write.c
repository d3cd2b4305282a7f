/* BSON built, and edited in one pass over the old document. */
#include "internal.h"

void *tg_grown(const void *old, size_t size, size_t *room, size_t count) {
    *room = *room ? *room * 2 : 4;
    void *list = tg_alloc(*room * size);
    if (count) memcpy(list, old, count * size);
    return list;
}

/* Room for so many bytes more, at the end. */
static uint8_t *extend(tg_builder *builder, size_t more) {
    if (builder->room - builder->size < more) {
        size_t room = builder->room * 2;
        if (room < builder->size + more) room = builder->size + more;
        uint8_t *data = tg_alloc(room);
        memcpy(data, builder->data, builder->size);
        builder->data = data;
        builder->room = room;
    }
    uint8_t *place = builder->data + builder->size;
    builder->size += more;
    return place;
}

static void put(tg_builder *builder, const void *bytes, size_t size) {
    if (size) memcpy(extend(builder, size), bytes, size);
}

static tg_builder build(size_t room) {
    tg_builder builder = {tg_alloc(room), 4, room};
    return builder;
}

tg_builder tg_build(void) {
    return build(128);
}

void tg_append_text(tg_builder *builder, tg_text name, tg_value value) {
    if (value.type == TG_ABSENT) return;
    uint8_t tag = (uint8_t)value.type;
    put(builder, &tag, 1);
    put(builder, name.data, name.size);
    put(builder, "", 1);
    if (value.raw.data) {
        put(builder, value.raw.data, value.raw.size);
        return;
    }
    switch (value.type) {
    case TG_DOUBLE: case TG_DATE: case TG_INT64: put(builder, &value.integer, 8); break;
    case TG_INT32: put(builder, &value.integer, 4); break;
    case TG_BOOL: *extend(builder, 1) = value.boolean; break;
    case TG_STRING: case TG_JAVASCRIPT: case TG_SYMBOL: {
        uint32_t length = (uint32_t)value.text.size + 1;
        put(builder, &length, 4);
        put(builder, value.text.data, value.text.size);
        put(builder, "", 1);
        break;
    }
    case TG_BINARY: {
        uint32_t length = (uint32_t)value.bytes.size;
        put(builder, &length, 4);
        put(builder, &value.subtype, 1);
        put(builder, value.bytes.data, value.bytes.size);
        break;
    }
    case TG_TIMESTAMP:
        put(builder, &value.timestamp.increment, 4);
        put(builder, &value.timestamp.time, 4);
        break;
    default: break;
    }
}

void tg_append(tg_builder *builder, const char *name, tg_value value) {
    tg_append_text(builder, tg_clean(name), value);
}

void tg_push(tg_builder *array, size_t index, tg_value value) {
    tg_append(array, tg_format("%zu", index), value);
}

tg_doc tg_built(tg_builder *builder) {
    put(builder, "", 1);
    uint32_t length = (uint32_t)builder->size;
    __builtin_memcpy(builder->data, &length, 4);
    /* What is appended from here on makes another document: this one stays as it is. */
    tg_doc document = {builder->data, builder->size};
    builder->size--;
    builder->room = builder->size;
    return document;
}

tg_value tg_string(const char *text) { return tg_text_value(tg_clean(text)); }
tg_value tg_text_value(tg_text text) { return (tg_value){.type = TG_STRING, .text = text}; }
tg_value tg_int32(int32_t number) { return (tg_value){.type = TG_INT32, .integer = number}; }
tg_value tg_int64(int64_t number) { return (tg_value){.type = TG_INT64, .integer = number}; }
tg_value tg_double(double number) { return (tg_value){.type = TG_DOUBLE, .number = number}; }
tg_value tg_bool(bool value) { return (tg_value){.type = TG_BOOL, .boolean = value}; }
tg_value tg_date(int64_t date) { return (tg_value){.type = TG_DATE, .date = date}; }
tg_value tg_null(void) { return (tg_value){.type = TG_NULL}; }
tg_value tg_object_id(const uint8_t bytes[12]) { return (tg_value){.type = TG_OBJECT_ID, .raw = {bytes, 12}}; }

tg_value tg_document(tg_doc document) {
    return document.data ? (tg_value){.type = TG_DOCUMENT, .document = document, .raw = document} : (tg_value){0};
}

tg_value tg_array(tg_doc array) {
    return array.data ? (tg_value){.type = TG_ARRAY, .document = array, .raw = array} : (tg_value){0};
}

/* What becomes of one field of the document. */
struct tg_edit {
    const char *place;   /* the field of the original whose place this is, no two edits having the same; NULL: at the end */
    const char *name;    /* of the field that is put there; NULL: none */
    tg_value value;
};

tg_editor tg_edit(tg_doc document) {
    return (tg_editor){.document = document};
}

static bool same(const char *left, const char *right) {
    return left && strcmp(left, right) == 0;
}

tg_value tg_edited(const tg_editor *editor, const char *name) {
    bool gone = false;
    for (size_t at = 0; at < editor->count; at++) {
        if (same(editor->edits[at].name, name)) return editor->edits[at].value;
        gone = gone || same(editor->edits[at].place, name);
    }
    return gone ? (tg_value){0} : tg_get(editor->document, name);
}

/* The edit that decides about the field which is called `name` now. */
static struct tg_edit *edit_of(tg_editor *editor, const char *name) {
    struct tg_edit *free = NULL;
    bool taken = false;
    for (size_t at = 0; at < editor->count; at++) {
        struct tg_edit *edit = &editor->edits[at];
        if (same(edit->name, name)) return edit;
        if (same(edit->place, name)) {
            taken = true;
            if (!edit->name && !free) free = edit;
        }
    }
    if (free) return free;
    struct tg_edit *edit = TG_MORE(editor, edits);
    /* Where another field has taken the place, this one goes to the end. */
    *edit = (struct tg_edit){.place = taken ? NULL : name};
    return edit;
}

void tg_remove(tg_editor *editor, const char *name) {
    edit_of(editor, name)->name = NULL;
}

void tg_replace(tg_editor *editor, const char *old, const char *name, tg_value value) {
    if (strcmp(old, name) != 0) tg_remove(editor, name);
    struct tg_edit *edit = edit_of(editor, old);
    edit->name = value.type == TG_ABSENT ? NULL : name;
    edit->value = value;
}

void tg_set(tg_editor *editor, const char *name, tg_value value) {
    tg_replace(editor, name, name, value);
}

tg_doc tg_finish(const tg_editor *editor, tg_error *error) {
    tg_doc old = editor->document;
    tg_builder out = build(old.size + 128);
    bool *used = tg_alloc(editor->count + 1);
    memset(used, 0, editor->count + 1);
    size_t keep = 4; /* where the bytes begin that are copied as they are */
    tg_iter fields = tg_fields(old);
    while (tg_next_raw(&fields)) {
        for (size_t at = 0; at < editor->count; at++) {
            const struct tg_edit *edit = &editor->edits[at];
            if (!edit->place || !tg_name_is(fields.name, edit->place)) continue;
            put(&out, old.data + keep, fields.start - keep);
            keep = fields.end;
            /* Of a field that occurs twice, the second goes. */
            if (!used[at] && edit->name) tg_append(&out, edit->name, edit->value);
            used[at] = true;
            break;
        }
    }
    if (error) *error = fields.error;
    if (fields.error.what) return (tg_doc){0};
    if (old.data) put(&out, old.data + keep, old.size - 1 - keep);
    for (size_t at = 0; at < editor->count; at++)
        if (!used[at] && editor->edits[at].name) tg_append(&out, editor->edits[at].name, editor->edits[at].value);
    return tg_built(&out);
}
