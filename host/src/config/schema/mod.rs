//! The JSON Schema of a configuration file, for editors: made of the model that the file is read into, so that what is a key and what is not is
//! written once. `tests` proves it against the reader: `docs/decisions/0021-configuration-schema.md`.
//!
//! Serde's derived form is not quite what the [decoder](super::decode) takes, so it is brought to that in four steps: fields made of several keys are
//! spread, text and variables are allowed where the decoder takes them, a key may have nothing behind it, and a choice may be a bare word.

#[cfg(test)]
mod tests;

use schemars::{
    Schema,
    generate::SchemaSettings,
    transform::{Transform, transform_subschemas},
};
use serde_json::{Map, Value, json};

use super::Config;

/// Draft 7, which editors know best.
const DEFINITIONS: &str = "definitions";
/// Name of the definition of text with a `${NAME}` in it.
const VARIABLE: &str = "Variable";

/// What a configuration file may say. `partial`: one of several files, in which what is required may be missing.
pub fn schema(partial: bool) -> Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Config>();
    Spread.transform(&mut schema);
    AsRead.transform(&mut schema);
    let mut schema = schema.to_value();
    let variable = json!({ "type": "string", "pattern": "\\$\\{", "description": "The value of a variable or a file: ${NAME}, ${NAME:-default}, ${file:PATH}" });
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("Configuration of tidegate"));
        let definitions = root.entry(DEFINITIONS).or_insert_with(|| json!({}));
        if let Some(definitions) = definitions.as_object_mut() {
            bare_words(definitions);
            definitions.insert(VARIABLE.to_owned(), variable);
        }
    }
    if partial {
        forget_required(&mut schema, false);
    }
    schema
}

/// A field named `uri|host` is made of keys that stand beside the others.
struct Spread;

impl Transform for Spread {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
        if !properties.keys().any(|name| name.contains('|')) {
            return;
        }
        let (mut required, mut always) = (Vec::new(), Vec::new());
        for (name, mut property) in std::mem::take(properties) {
            if !name.contains('|') {
                properties.insert(name, property);
                continue;
            }
            if let Some(Value::Object(keys)) = property.get_mut("properties").map(Value::take) {
                properties.extend(keys);
            }
            if let Some(Value::Array(ways)) = property.get_mut("anyOf").map(Value::take) {
                required.push(ways.into_iter().map(given).collect::<Value>());
            }
            if let Some(Value::Array(keys)) = property.get_mut("required").map(Value::take) {
                always.extend(keys);
            }
        }
        if let Some(Value::Array(names)) = object.get_mut("required") {
            names.retain(|name| !name.as_str().is_some_and(|name| name.contains('|')));
            names.extend(always);
        }
        required.into_iter().for_each(|any| drop(object.insert("anyOf".to_owned(), any)));
    }
}

/// What is required must not be empty, either.
fn given(way: Value) -> Value {
    let names = way.get("required").map(kinds).unwrap_or_default();
    let not_null = |name: String| (name, json!({ "not": { "type": "null" } }));
    json!({ "required": names, "properties": names.iter().cloned().map(not_null).collect::<Map<_, _>>() })
}

/// What is a number in the model may come from a variable, what is text may look like a number, and what has a default may be left empty.
struct AsRead;

impl Transform for AsRead {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        // How many bits a number has is nobody's business: its bounds stand beside it.
        object.remove("format");
        if matches!(object.get("default"), Some(Value::Null)) {
            object.remove("default");
        }
        // A variable fits more than one of them.
        if let Some(Value::Array(mut choices)) = object.remove("oneOf") {
            choices.push(variable());
            object.insert("anyOf".to_owned(), Value::Array(choices));
        }
        let is_word = object.contains_key("enum") || object.contains_key("const") || object.contains_key("pattern");
        match object.get("type").map(kinds).unwrap_or_default().as_slice() {
            // A single word is one of several, and stands beside the variable; a list of words is all that there is.
            [kind] if is_word && kind == "string" && object.contains_key("enum") => {
                alternatives(object, &["type", "enum"]);
            }
            [_] if is_word => {}
            [kind, rest @ ..] if rest.is_empty() || rest == ["null"] => match kind.as_str() {
                "string" => {
                    let mut kinds = vec![json!("string"), json!("number"), json!("boolean")];
                    kinds.extend(rest.iter().map(|kind| json!(kind)));
                    object.insert("type".to_owned(), Value::Array(kinds));
                }
                "integer" | "number" | "boolean" => alternatives(object, &["type", "minimum", "maximum"]),
                _ => {}
            },
            _ => {}
        }
        let required: Vec<String> = object.get("required").map(kinds).unwrap_or_default();
        if let Some(Value::Object(properties)) = object.get_mut("properties") {
            properties.iter_mut().filter(|(name, _)| !required.contains(name)).for_each(|(_, value)| or_nothing(value));
        }
    }
}

fn variable() -> Value {
    json!({ "$ref": format!("#/{DEFINITIONS}/{VARIABLE}") })
}

/// A word, or a list of them.
fn kinds(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Value::Array(words) => words.iter().filter_map(text).collect(),
        word => text(word).into_iter().collect(),
    }
}

/// Moves these keywords into the first of two alternatives, of which the other is a variable.
fn alternatives(object: &mut Map<String, Value>, keywords: &[&str]) {
    let moved: Map<String, Value> =
        keywords.iter().filter_map(|word| Some(((*word).to_owned(), object.remove(*word)?))).collect();
    object.insert("anyOf".to_owned(), json!([moved, variable()]));
}

/// A key with nothing behind it counts as not given.
fn or_nothing(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    let nothing = json!({ "type": "null" });
    if let Some(kind) = object.get_mut("type") {
        let mut all = kinds(kind);
        if !all.iter().any(|kind| kind == "null") {
            all.push("null".to_owned());
        }
        *kind = json!(all);
    } else if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        let is_there = choices
            .iter()
            .any(|choice| choice.get("type").map(kinds).is_some_and(|all| all.contains(&"null".to_owned())));
        if !is_there {
            choices.push(nothing);
        }
    } else if let Some(of) = object.remove("$ref") {
        object.insert("anyOf".to_owned(), json!([{ "$ref": of }, nothing]));
    } else if let Some(Value::Array(mut of)) = object.remove("allOf") {
        of.push(nothing);
        object.insert("anyOf".to_owned(), Value::Array(of));
    }
}

/// Where all options of a choice have defaults, its word does, and a key with nothing behind it.
fn bare_words(definitions: &mut Map<String, Value>) {
    let optional: Vec<String> =
        definitions.iter().filter(|(_, schema)| takes_nothing(schema)).map(|(name, _)| pointer(name)).collect();
    let is_optional = |of: &Value| of.as_str().is_some_and(|of| optional.iter().any(|name| name == of));
    for schema in definitions.values_mut() {
        let Some(Value::Array(choices)) = schema.get_mut("anyOf") else { continue };
        let mut words = Vec::new();
        for choice in choices.iter_mut() {
            let described = choice.get("description").cloned();
            let Some(Value::Object(properties)) = choice.get_mut("properties") else { continue };
            for (word, options) in
                properties.iter_mut().filter(|(_, options)| options.get("$ref").is_some_and(is_optional))
            {
                words.push(match &described {
                    Some(described) => json!({ "type": "string", "const": word, "description": described }),
                    None => json!({ "type": "string", "const": word }),
                });
                or_nothing(options);
            }
        }
        choices.extend(words);
    }
}

fn pointer(name: &str) -> String {
    format!("#/{DEFINITIONS}/{name}")
}

fn takes_nothing(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object")
        && schema.get("required").is_none()
        && schema.get("anyOf").is_none()
}

/// The key of a choice stays: it tells the choices apart.
fn forget_required(schema: &mut Value, is_choice: bool) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("additionalProperties") == Some(&Value::Bool(false)) && !is_choice {
        object.remove("required");
        object.remove("anyOf");
    }
    for (word, within) in object.iter_mut() {
        match within {
            Value::Array(items) => items.iter_mut().for_each(|item| forget_required(item, word == "anyOf")),
            Value::Object(maps) if word == "properties" || word == DEFINITIONS => {
                maps.values_mut().for_each(|schema| forget_required(schema, false));
            }
            within => forget_required(within, false),
        }
    }
}
