/* Says where each change goes. */
#include "tidegate_plugin.h"

static const char SCHEMA[] =
    "{\n"
    "  \"type\": \"object\",\n"
    "  \"additionalProperties\": false,\n"
    "  \"properties\": { \"field\": { \"description\": \"Field that names the target.\", \"type\": \"string\", \"default\": \"region\" } }\n"
    "}";

static const char *field = "region";

/* The configuration is a document; what is kept of it must outlive the call. */
static const char *configure(tg_doc config) {
    static const char *const names[] = {"field"};
    tg_value value = tg_get(config, "field");
    if (value.type == TG_STRING) field = tg_keep_text(value.text);
    else if (value.type != TG_ABSENT) return "field must be a string";
    return tg_only_fields(config, names, 1);
}

static tg_routing route(const tg_change *change) {
    /* A delete has a document only where the source is asked for the one before. */
    tg_doc document = change->document.data ? change->document : change->before;
    tg_value region = tg_get(document, field);
    if (region.type != TG_STRING) return tg_to_target("items:elsewhere");
    return tg_to_target(tg_format("items:%.*s", TG_ARG(region.text)));
}

TG_PLUGIN(.name = "{{name}}", .version = "0.1.0", .description = "What {{name}} is for", .config_schema = SCHEMA,
          .configure = configure)
TG_ROUTER(route)
