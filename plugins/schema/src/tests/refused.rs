use super::*;

#[test]
fn configuration_errors_name_the_place_and_the_way_out() {
    let step = |from: &str, to: &str| json!({ "from": from, "to": to, "do": [] });
    let with_steps = |steps: Json| {
        json!({ "version": { "default": "v1" }, "types": { "things": {
        "schemas": { "v1": {}, "v2": {}, "v3": {}, "v4": {} }, "steps": steps } } })
    };
    let do_ = |operation: Json| with_steps(json!([{ "from": "v1", "to": "v2", "do": [operation] }]));
    let cases = [
        (
            json!({ "types": { "things": {} } }),
            "types.things: it has no schema; put one into things/VERSION.json, there are no schema files",
        ),
        (
            json!({ "schemas": { "thing/v1.json": {} }, "types": { "things": {} } }),
            "types.things: it has no schema; put one into things/VERSION.json, there are thing/v1.json",
        ),
        (
            json!({ "schemas": { "things/v1.json": "{\n  \"type\": \"object\",\n}" }, "types": { "things": {} } }),
            "schema file things/v1.json:3:1: it is no JSON: trailing comma",
        ),
        (
            json!({ "schemas": { "things/v1.jsn": "{}" }, "types": { "things": {} } }),
            "schema file things/v1.jsn: a schema is in a file *.json; *.md and *.txt may stand beside",
        ),
        (
            things(json!({ "v1": { "type": "text" } })),
            "schema file things/v1.json: at /type: \"text\" is not valid under any of the schemas listed in the 'anyOf' keyword",
        ),
        (
            things(json!({ "v1": { "properties": { "a": { "bsonType": "int64" } } } })),
            "\"int64\" is no type of BSON, those are: number, double",
        ),
        (
            things(json!({ "v1": { "properties": { "a": { "format": "iso-8601" } } } })),
            "no format is called \"iso-8601\"",
        ),
        (
            json!({ "types": { "things": { "schemas": { "v1": {} }, "version": { "default": "v2" } } } }),
            "types.things.version.default: there is no schema of version v2; there are v1",
        ),
        (
            json!({ "types": { "things": { "schemas": { "v1": {} }, "latest": "v2" } } }),
            "types.things.latest: there is no schema of version v2; there are v1",
        ),
        (
            json!({ "types": { "things": { "schemas": { "v1": {} } }, "b": { "collections": ["things"], "schemas": { "v1": {} } } } }),
            "types.b and types.things: documents of things would be of both; tell them apart by where",
        ),
        (
            with_steps(json!([step("v1", "v9")])),
            "types.things.steps[0].to: there is no schema of version v9; there are v1, v2, v3, v4",
        ),
        (
            with_steps(json!([step("v1", "v2"), step("v1", "v2")])),
            "types.things.steps[1]: there is a step v1->v2 already",
        ),
        (
            with_steps(json!([step("v1", "v4"), step("v2", "v4")])),
            "types.things.steps: no steps lead from version v3 to v4: declare one, or set migrate to another version",
        ),
        (
            with_steps(json!([step("v1", "v2"), step("v1", "v3"), step("v2", "v4"), step("v3", "v4")])),
            "types.things.steps: two ways of 2 steps lead from version v1 to v4: v1 > v2 > v4, and v1 > v3 > v4",
        ),
        (
            with_steps(json!([{ "from": "v1", "to": "v2" }])),
            "types.things.steps[0]: it says neither do nor plugin; where only the version changes, write do: []",
        ),
        (
            do_(json!({ "rename": { "a": "b.c" } })),
            "types.things.steps[0].do[0]: rename a: \"b.c\" is no name of a field; use move to put it elsewhere",
        ),
        (
            do_(json!({ "convert": { "a": "number" } })),
            "types.things.steps[0].do[0]: nothing is converted to \"number\"; there are string, int",
        ),
        (do_(json!({ "move": { "lines[].a": "b" } })), "\"lines[].a\" leads into an array"),
        (do_(json!({ "move": { "a": "a.b" } })), "move a: a.b lies within it"),
        (do_(json!({ "set": { "a..b": 1 } })), "\"a..b\" is no path; write for instance address.city, or lines[].sku"),
        (do_(json!({ "set": { "a": { "$date": "soon" } } })), "{\"$date\":\"soon\"} is no $date"),
        (do_(json!({ "renam": { "a": "b" } })), "unknown variant `renam`, expected one of `rename`, `move`"),
    ];
    for (config, message) in cases {
        let error = refusal(&config);
        assert!(error.contains(message), "{config}:\n{error}\n{message}");
    }
}
