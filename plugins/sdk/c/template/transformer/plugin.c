/* Makes zero or more changes of each. */
#include "tidegate_plugin.h"

static tg_transformation transform(const tg_change *change) {
    if (!change->document.data) return tg_pass();
    tg_value draft = tg_get(change->document, "draft");
    /* Drafts end here, and are counted as filtered. */
    if (draft.type == TG_BOOL && draft.boolean) return tg_drop();
    tg_editor edit = tg_edit(change->document);
    tg_remove(&edit, "internal_note");
    tg_error error;
    tg_doc document = tg_finish(&edit, &error);
    if (error.what) return tg_transformation_failed("malformed BSON at byte %zu: %s", error.at, error.what);
    tg_transformation changes = tg_drop();
    tg_output *output = tg_emit(&changes, change);
    output->document = document;
    tg_add_pair(&output->headers, "cleaned", "yes");
    return changes;
}

TG_PLUGIN(.name = "{{name}}", .version = "0.1.0", .description = "What {{name}} is for")
TG_TRANSFORMER(transform)
