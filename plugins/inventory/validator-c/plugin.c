/* Checks inventory and transaction documents by the rules of the schema version they have. */
#include "tidegate_plugin.h"

static const char SCHEMA[] =
    "{\n"
    "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
    "  \"type\": \"object\",\n"
    "  \"additionalProperties\": false,\n"
    "  \"properties\": {\n"
    "    \"kinds\": {\n"
    "      \"description\": \"Kind of the documents in each collection.\",\n"
    "      \"type\": \"object\",\n"
    "      \"additionalProperties\": { \"enum\": [\"inventory\", \"transaction\"] },\n"
    "      \"default\": { \"inventory\": \"inventory\", \"transactions\": \"transaction\" }\n"
    "    }\n"
    "  }\n"
    "}";

enum kind { INVENTORY, TRANSACTION };

/* Which collection holds which kind, in the order of their names. */
static struct known {
    const char *collection;
    enum kind kind;
} defaults[] = {{"inventory", INVENTORY}, {"transactions", TRANSACTION}};
static struct known *known = defaults;
static size_t known_count = 2;

static const char *configure(tg_doc config) {
    static const char *const names[] = {"kinds"};
    const char *error = tg_only_fields(config, names, 1);
    tg_value kinds = tg_get(config, "kinds");
    if (error || kinds.type == TG_ABSENT) return error;
    if (kinds.type != TG_DOCUMENT) return tg_format("kinds must be an object, is %s", tg_found_name(kinds));
    size_t count = 0;
    for (tg_iter all = tg_fields(kinds.document); tg_next(&all);) count++;
    known = tg_keep((count + 1) * sizeof *known);
    known_count = 0;
    for (tg_iter all = tg_fields(kinds.document); tg_next(&all);) {
        enum kind kind = INVENTORY;
        if (all.value.type != TG_STRING) return tg_format("kinds must be texts, one is %s", tg_found_name(all.value));
        if (tg_equal(all.value.text, "transaction")) kind = TRANSACTION;
        else if (!tg_equal(all.value.text, "inventory"))
            return tg_format("unknown variant `%.*s`, expected `inventory` or `transaction`", TG_ARG(all.value.text));
        size_t at = known_count++;
        for (; at > 0 && tg_compare(tg_text_of(known[at - 1].collection), all.name) > 0; at--) known[at] = known[at - 1];
        known[at] = (struct known){tg_keep_text(all.name), kind};
    }
    return NULL;
}

static const char *const TYPES[] = {"sale", "restock", "return", "adjustment", NULL};

#define INVENTORY_FIELDS(date) \
    {"product_id", TG_IS_STRING}, {"warehouse_id", TG_IS_STRING}, {"quantity", TG_IS_INTEGER_FROM, .least = 0}, date, \
        {"category", TG_IS_STRING, .optional = true}, {"brand", TG_IS_STRING, .optional = true}, \
        {"sku", TG_IS_STRING, .optional = true}, {"threshold_min", TG_IS_INTEGER, .optional = true}, \
        {"threshold_max", TG_IS_INTEGER, .optional = true}, {"currency", TG_IS_STRING}

#define TRANSACTION_FIELDS(date) \
    {"transaction_id", TG_IS_STRING}, {"product_id", TG_IS_STRING}, {"warehouse_id", TG_IS_STRING}, \
        {"quantity", TG_IS_INTEGER}, {"transaction_type", TG_IS_ONE_OF, .words = TYPES}, date, \
        {"order_id", TG_IS_STRING, .optional = true}, {"customer_id", TG_IS_STRING, .optional = true}, \
        {"notes", TG_IS_STRING, .optional = true}, {"currency", TG_IS_STRING}

/* The currency stands last because v1 knows none: its rules are these without the last. */
#define FIELDS 10
static const tg_field LAST_UPDATED = {"last_updated", TG_IS_DATE_OR_ISO8601}, UPDATED_AT = {"updated_at", TG_IS_DATE};
static const tg_field TIMESTAMP = {"timestamp", TG_IS_ISO8601}, OCCURRED_AT = {"occurred_at", TG_IS_DATE};
static const tg_field INVENTORY_OLD[FIELDS] = {INVENTORY_FIELDS(LAST_UPDATED)};
static const tg_field INVENTORY_V3[FIELDS] = {INVENTORY_FIELDS(UPDATED_AT)};
static const tg_field TRANSACTION_OLD[FIELDS] = {TRANSACTION_FIELDS(TIMESTAMP)};
static const tg_field TRANSACTION_V3[FIELDS] = {TRANSACTION_FIELDS(OCCURRED_AT)};

/* 1, 2 or 3; 0 where the document names no version there is. */
static int version_of(tg_value named) {
    if (named.type == TG_ABSENT) return 1;
    if (named.type != TG_STRING || named.text.size != 2 || named.text.data[0] != 'v') return 0;
    char digit = named.text.data[1];
    return digit >= '1' && digit <= '3' ? digit - '0' : 0;
}

/* As it was found, whole: no rule cuts it. */
static const char *shown(tg_value value) {
    return value.type == TG_STRING ? tg_quoted_whole(value.text) : tg_found_name(value);
}

static tg_verdict validate(const tg_change *change) {
    if (!change->document.data) return tg_accept();
    size_t at = 0;
    while (at < known_count && !tg_equal(change->collection, known[at].collection)) at++;
    if (at == known_count) {
        const char *names = "";
        for (size_t each = 0; each < known_count; each++)
            names = tg_format("%s%s%s", names, each ? ", " : "", known[each].collection);
        return tg_reject("", "collection %.*s is of no known kind, known are %s", TG_ARG(change->collection), names);
    }
    tg_value named = tg_get(change->document, "_schema_version");
    int version = version_of(named);
    if (!version) return tg_reject("_schema_version", "must be one of v1, v2, v3, is %s", shown(named));
    const tg_field *rules = known[at].kind == INVENTORY ? version == 3 ? INVENTORY_V3 : INVENTORY_OLD
                            : version == 3              ? TRANSACTION_V3
                                                        : TRANSACTION_OLD;
    return tg_check(change->document, rules, version == 1 ? FIELDS - 1 : FIELDS);
}

TG_PLUGIN(.name = "inventory-validator", .version = "0.1.0",
          .description = "Checks inventory and transaction documents by the rules of their schema version",
          .config_schema = SCHEMA, .configure = configure)
TG_VALIDATOR(validate)
