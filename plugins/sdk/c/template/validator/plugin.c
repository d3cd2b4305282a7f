/* Says of each change whether it may pass. */
#include "tidegate_plugin.h"

/* All fields are looked for in one pass. */
static const tg_field RULES[] = {
    {"name", TG_IS_STRING},
    {"quantity", TG_IS_INTEGER_FROM, .least = 0},
};

static tg_verdict validate(const tg_change *change) {
    if (!change->document.data) return tg_accept();
    return tg_check(change->document, RULES, sizeof RULES / sizeof *RULES);
}

TG_PLUGIN(.name = "{{name}}", .version = "0.1.0", .description = "What {{name}} is for")
TG_VALIDATOR(validate)
