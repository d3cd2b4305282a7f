/* Brings documents to another schema version. */
#include "tidegate_plugin.h"

static tg_migration migrate(const tg_change *change) {
    tg_value version = tg_get(change->document, "_schema_version");
    if (version.type == TG_STRING && tg_equal(version.text, "v2")) return tg_unchanged("v2");
    /* Version 1 had the price in units, version 2 has it in hundredths. */
    double price;
    if (!tg_to_double(tg_get(change->document, "price"), &price)) return tg_migration_failed("price is missing or no number");
    int64_t cents = (int64_t)(price * 100 + (price < 0 ? -0.5 : 0.5));
    tg_editor edit = tg_edit(change->document);
    tg_replace(&edit, "price", "price_cents", tg_int64(cents));
    tg_set(&edit, "_schema_version", tg_string("v2"));
    tg_error error;
    tg_doc document = tg_finish(&edit, &error);
    if (error.what) return tg_migration_failed("malformed BSON at byte %zu: %s", error.at, error.what);
    return tg_migrated(document, "v1", "v2");
}

TG_PLUGIN(.name = "{{name}}", .version = "0.1.0", .description = "What {{name}} is for")
TG_MIGRATOR(migrate)
