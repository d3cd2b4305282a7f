use tidegate_plugin::testing;

use super::*;

fn inventory(version: &str) -> DocumentBuf {
    let document = DocumentBuf::new()
        .with("_id", 1)
        .with("product_id", "P-1")
        .with("warehouse_id", "WH-1")
        .with("quantity", 3)
        .with("category", "tools")
        .with("brand", "Acme")
        .with("sku", "S-1")
        .with("threshold_min", 1_i64)
        .with("threshold_max", 9.0)
        .with("of_no_rule", true);
    with_version(document, version, "last_updated", "updated_at")
}

fn transaction(version: &str) -> DocumentBuf {
    let document = DocumentBuf::new()
        .with("_id", 1)
        .with("transaction_id", "T-1")
        .with("product_id", "P-1")
        .with("warehouse_id", "WH-1")
        .with("quantity", -3)
        .with("transaction_type", "sale")
        .with("order_id", "O-1")
        .with("customer_id", "C-1")
        .with("notes", "");
    with_version(document, version, "timestamp", "occurred_at")
}

fn with_version(document: DocumentBuf, version: &str, old: &str, new: &str) -> DocumentBuf {
    let text = "2024-01-31T09:30:00Z";
    match version {
        "absent" => document.with(old, text),
        "v1" => document.with(old, text).with("_schema_version", "v1"),
        "v2" => document.with(old, text).with("_schema_version", "v2").with("currency", "USD"),
        _ => document.with(new, DateTime(0)).with("_schema_version", version).with("currency", "USD"),
    }
}

fn verdict(config: &str, collection: &str, document: DocumentBuf) -> Vec<String> {
    let mut plugin: InventoryValidator = testing::configure(config).unwrap();
    let change = testing::insert("shop", collection).document(document);
    match testing::validate(&mut plugin, &[change]).remove(0) {
        Verdict::Accept => Vec::new(),
        Verdict::Reject(violations) => violations.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn good_documents_of_every_version_pass() {
    for version in ["absent", "v1", "v2", "v3"] {
        assert_eq!(verdict("{}", "inventory", inventory(version)), [""; 0], "inventory {version}");
        assert_eq!(verdict("{}", "transactions", transaction(version)), [""; 0], "transaction {version}");
    }
}

#[test]
fn optional_fields_may_be_absent_and_v1_may_have_a_date() {
    let least = DocumentBuf::new()
        .with("product_id", "P-1")
        .with("warehouse_id", "WH-1")
        .with("quantity", 0)
        .with("last_updated", DateTime(0));
    assert_eq!(verdict("{}", "inventory", least), [""; 0]);
    let least = DocumentBuf::new()
        .with("transaction_id", "T-1")
        .with("product_id", "P-1")
        .with("warehouse_id", "WH-1")
        .with("quantity", 1.0)
        .with("transaction_type", "adjustment")
        .with("timestamp", "2024-01-31");
    assert_eq!(verdict("{}", "transactions", least), [""; 0]);
}

/// Each rule broken once: the field, its value (none: taken away), and what is said.
#[test]
fn every_rule_is_kept() {
    type Break<'a> = (&'a str, &'a str, &'a str, Option<Value<'a>>, &'a str);
    let date = "must be a date or a date and time in ISO 8601 text";
    let iso = "must be a date and time in ISO 8601 text";
    let types = "must be one of sale, restock, return, adjustment";
    let negative = "must be an integer of at least 0";
    let text = Value::String;
    let cases: &[Break<'_>] = &[
        ("inventory", "v1", "product_id", None, "is missing"),
        ("inventory", "v1", "product_id", Some(Value::Int32(1)), "must be a string, is int"),
        ("inventory", "v1", "warehouse_id", None, "is missing"),
        ("inventory", "v1", "warehouse_id", Some(Value::Null), "must be a string, is null"),
        ("inventory", "v1", "quantity", None, "is missing"),
        ("inventory", "v1", "quantity", Some(Value::Int32(-1)), &format!("{negative}, is -1")),
        ("inventory", "v1", "quantity", Some(Value::Double(1.5)), &format!("{negative}, is 1.5")),
        ("inventory", "v1", "quantity", Some(text("1")), &format!("{negative}, is string")),
        ("inventory", "v1", "last_updated", None, "is missing"),
        ("inventory", "v1", "last_updated", Some(text("today")), &format!("{date}, is \"today\"")),
        ("inventory", "v1", "last_updated", Some(Value::Int64(1)), &format!("{date}, is long")),
        ("inventory", "v1", "category", Some(Value::Int32(1)), "must be a string, is int"),
        ("inventory", "v1", "brand", Some(Value::Bool(true)), "must be a string, is bool"),
        ("inventory", "v1", "sku", Some(Value::Null), "must be a string, is null"),
        ("inventory", "v1", "threshold_min", Some(text("1")), "must be an integer, is string"),
        ("inventory", "v1", "threshold_max", Some(Value::Double(0.5)), "must be an integer, is 0.5"),
        ("inventory", "v2", "currency", None, "is missing"),
        ("inventory", "v2", "currency", Some(Value::Int32(1)), "must be a string, is int"),
        ("inventory", "v2", "last_updated", None, "is missing"),
        ("inventory", "v3", "currency", None, "is missing"),
        ("inventory", "v3", "updated_at", None, "is missing"),
        ("inventory", "v3", "updated_at", Some(text("2024-01-31")), "must be a date, is string"),
        ("inventory", "v9", "quantity", Some(Value::Int32(1)), "must be one of v1, v2, v3, is \"v9\""),
        ("inventory", "v1", "_schema_version", Some(Value::Int32(1)), "must be one of v1, v2, v3, is int"),
        ("transactions", "v1", "transaction_id", None, "is missing"),
        ("transactions", "v1", "transaction_id", Some(Value::Int32(1)), "must be a string, is int"),
        ("transactions", "v1", "product_id", None, "is missing"),
        ("transactions", "v1", "warehouse_id", None, "is missing"),
        ("transactions", "v1", "quantity", None, "is missing"),
        ("transactions", "v1", "quantity", Some(Value::Double(f64::NAN)), "must be an integer, is NaN"),
        ("transactions", "v1", "transaction_type", None, "is missing"),
        ("transactions", "v1", "transaction_type", Some(text("theft")), &format!("{types}, is \"theft\"")),
        ("transactions", "v1", "transaction_type", Some(Value::Int32(1)), &format!("{types}, is int")),
        ("transactions", "v1", "timestamp", None, "is missing"),
        ("transactions", "v1", "timestamp", Some(text("2024-02-30")), &format!("{iso}, is \"2024-02-30\"")),
        ("transactions", "v1", "timestamp", Some(Value::DateTime(DateTime(0))), &format!("{iso}, is date")),
        ("transactions", "v1", "order_id", Some(Value::Int32(1)), "must be a string, is int"),
        ("transactions", "v1", "customer_id", Some(Value::Int32(1)), "must be a string, is int"),
        ("transactions", "v1", "notes", Some(Value::Int32(1)), "must be a string, is int"),
        ("transactions", "v2", "currency", None, "is missing"),
        ("transactions", "v3", "occurred_at", None, "is missing"),
        ("transactions", "v3", "occurred_at", Some(text("2024-01-31")), "must be a date, is string"),
    ];
    for &(collection, version, field, value, message) in cases {
        let good = if collection == "inventory" { inventory(version) } else { transaction(version) };
        let mut editor = DocumentEditor::new(good.as_document());
        match value {
            Some(value) => editor.set(field, value),
            None => editor.remove(field),
        };
        let named = if version == "v9" { "_schema_version" } else { field };
        let found = verdict("{}", collection, editor.finish().unwrap());
        assert_eq!(found, [format!("{named} {message}")], "{collection} {version} {field} {value:?}");
    }
}

#[test]
fn all_violations_are_named_at_once() {
    let found = verdict("{}", "inventory", DocumentBuf::new().with("quantity", -1).with("sku", 1));
    assert_eq!(
        found,
        [
            "product_id is missing",
            "warehouse_id is missing",
            "quantity must be an integer of at least 0, is -1",
            "last_updated is missing",
            "sku must be a string, is int",
        ]
    );
}

#[test]
fn the_kind_goes_by_the_collection() {
    let unknown = ["collection stock is of no known kind, known are inventory, transactions"];
    assert_eq!(verdict("{}", "stock", inventory("v1")), unknown);
    let config = r#"{"kinds": {"stock": "inventory"}}"#;
    assert_eq!(verdict(config, "stock", inventory("v1")), [""; 0]);
    assert_eq!(
        verdict(config, "inventory", inventory("v1")),
        ["collection inventory is of no known kind, known are stock"]
    );
}

#[test]
fn a_malformed_document_is_rejected() {
    let mut bytes = inventory("v1").into_bytes();
    // The length of the text "P-1".
    let at = bytes.windows(3).position(|window| window == b"P-1").unwrap() - 4;
    bytes[at] = 0xff;
    let found = verdict("{}", "inventory", Document::new(&bytes).into());
    assert!(found[0].starts_with("malformed BSON at byte"), "{found:?}");
}

#[test]
fn configuration_errors_say_what_is_allowed() {
    for (config, message) in [
        (r#"{"kind": {}}"#, "unknown field `kind`, expected `kinds`"),
        (r#"{"kinds": {"a": "b"}}"#, "unknown variant `b`, expected `inventory` or `transaction`"),
    ] {
        assert_eq!(testing::configure::<InventoryValidator>(config).err().as_deref(), Some(message), "{config}");
    }
}
