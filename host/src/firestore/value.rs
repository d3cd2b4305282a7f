//! Values of Firestore as its API writes them in JSON, each with its type as a key: `{"integerValue": "3"}`.

use serde_json::{Map, Value, json};

/// The fields of a document or of a map in it.
pub(crate) type Fields = Map<String, Value>;

/// A JSON value as a value of Firestore.
pub(crate) fn encode(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "nullValue": null }),
        Value::Bool(value) => json!({ "booleanValue": value }),
        Value::Number(number) => match number.as_i64() {
            // As a text, since JSON's own numbers lose digits in some languages.
            Some(integer) => json!({ "integerValue": integer.to_string() }),
            None => json!({ "doubleValue": number }),
        },
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(values) => json!({ "arrayValue": { "values": values.iter().map(encode).collect::<Vec<_>>() } }),
        Value::Object(fields) => json!({ "mapValue": { "fields": encode_fields(fields) } }),
    }
}

/// The fields of a JSON object as fields of Firestore.
pub(crate) fn encode_fields(fields: &Fields) -> Fields {
    fields.iter().map(|(name, value)| (name.clone(), encode(value))).collect()
}

/// A value of Firestore as JSON, a time as the text that it is; none for types that nothing here writes.
pub(crate) fn decode(value: &Value) -> Option<Value> {
    let (kind, value) = value.as_object()?.iter().next()?;
    match kind.as_str() {
        "nullValue" => Some(Value::Null),
        "booleanValue" => value.is_boolean().then(|| value.clone()),
        "integerValue" => value.as_str()?.parse::<i64>().ok().map(Value::from),
        "doubleValue" => value.is_number().then(|| value.clone()),
        "stringValue" | "timestampValue" => value.is_string().then(|| value.clone()),
        // Without `values` and `fields` they are empty.
        "arrayValue" => {
            let values = value.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            values.iter().map(decode).collect::<Option<Vec<_>>>().map(Value::from)
        }
        "mapValue" => match value.get("fields") {
            Some(fields) => decode_fields(fields.as_object()?).ok().map(Value::from),
            None => Some(Value::Object(Map::new())),
        },
        _ => None,
    }
}

/// Fields of Firestore as those of a JSON object.
///
/// # Errors
/// The name of a field that cannot be one.
pub(crate) fn decode_fields(fields: &Fields) -> Result<Fields, String> {
    let decoded = |(name, value): (&String, &Value)| Ok((name.clone(), decode(value).ok_or_else(|| name.clone())?));
    fields.iter().map(decoded).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{decode, encode};

    #[test]
    fn values_come_back_as_they_were() {
        let value = json!({
            "none": null, "yes": true, "big": i64::MAX, "below": -1, "half": 0.5, "text": "ü`.\\", "empty": {}, "list": [1, "a", []],
            "map": { "in it": { "deep": "0" } },
        });
        assert_eq!(decode(&encode(&value)), Some(value.clone()));
        assert_eq!(encode(&value)["mapValue"]["fields"]["big"], json!({ "integerValue": "9223372036854775807" }));
    }

    #[test]
    fn what_is_empty_is_written_without_its_fields_and_other_types_are_none() {
        assert_eq!(decode(&json!({ "mapValue": {} })), Some(json!({})));
        assert_eq!(decode(&json!({ "arrayValue": {} })), Some(json!([])));
        assert_eq!(
            decode(&json!({ "timestampValue": "2026-01-31T12:00:00.5Z" })),
            Some(json!("2026-01-31T12:00:00.5Z"))
        );
        for other in [
            json!({ "geoPointValue": {} }),
            json!({ "integerValue": 1 }),
            json!({}),
            json!("text"),
            json!({ "mapValue": { "fields": { "a": {} } } }),
        ] {
            assert_eq!(decode(&other), None, "{other}");
        }
    }
}
