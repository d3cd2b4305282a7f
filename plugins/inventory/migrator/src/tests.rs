use tidegate_plugin::testing;

use super::*;

fn migrate(config: &str, collection: &str, document: DocumentBuf) -> Result<Migration, String> {
    let mut plugin: InventoryMigrator = testing::configure(config).unwrap();
    let change = testing::insert("shop", collection).document(document);
    testing::migrate(&mut plugin, &[change]).remove(0)
}

const MORNING: DateTime = DateTime(1_706_693_400_000); // 2024-01-31T09:30:00Z

#[test]
fn v1_goes_to_v3_over_both_steps() {
    let old = DocumentBuf::new()
        .with("_id", ObjectId([7; 12]))
        .with("last_updated", "2024-01-31T09:30:00Z")
        .with("quantity", 3_i64)
        .with("price", Value::Decimal128([9; 16]));
    let new = DocumentBuf::new()
        .with("_id", ObjectId([7; 12]))
        .with("updated_at", MORNING)
        .with("quantity", 3_i64)
        .with("price", Value::Decimal128([9; 16]))
        .with("currency", "USD")
        .with("_schema_version", "v3");
    assert_eq!(migrate("{}", "inventory", old), Ok(Migration::migrated(new, "v1", "v3")));
}

#[test]
fn the_version_keeps_its_place_and_a_currency_its_value() {
    let old = DocumentBuf::new()
        .with("_schema_version", "v1")
        .with("currency", "EUR")
        .with("timestamp", "2024-01-31T10:30:00+01:00")
        .with("notes", "n");
    let new = DocumentBuf::new()
        .with("_schema_version", "v3")
        .with("currency", "EUR")
        .with("occurred_at", MORNING)
        .with("notes", "n");
    assert_eq!(migrate("{}", "transactions", old), Ok(Migration::migrated(new, "v1", "v3")));
}

#[test]
fn v2_goes_to_v3_without_the_first_step() {
    let old = DocumentBuf::new().with("last_updated", MORNING).with("_schema_version", "v2");
    let new = DocumentBuf::new().with("updated_at", MORNING).with("_schema_version", "v3");
    assert_eq!(migrate("{}", "inventory", old), Ok(Migration::migrated(new, "v2", "v3")));
}

#[test]
fn v3_stays_as_it_is() {
    let document = DocumentBuf::new().with("last_updated", "not looked at").with("_schema_version", "v3");
    assert_eq!(migrate("{}", "inventory", document), Ok(Migration::unchanged("v3")));
}

#[test]
fn the_currency_and_kinds_are_configured() {
    let document = DocumentBuf::new().with("timestamp", MORNING);
    let new = DocumentBuf::new().with("occurred_at", MORNING).with("currency", "CHF").with("_schema_version", "v3");
    let config = r#"{"currency": "CHF", "kinds": {"moves": "transaction"}}"#;
    assert_eq!(migrate(config, "moves", document), Ok(Migration::migrated(new, "v1", "v3")));
}

#[test]
fn a_failing_step_is_named() {
    let v1 = DocumentBuf::new;
    let v2 = || DocumentBuf::new().with("_schema_version", "v2");
    let iso = "no date and time as ISO 8601 writes them, such as 2024-01-31T09:30:00Z";
    for (collection, document, error) in [
        ("inventory", v1().with("currency", 1), "step v1->v2: currency must be a string, is int"),
        ("inventory", v1(), "step v2->v3: last_updated is missing"),
        ("transactions", v2(), "step v2->v3: timestamp is missing"),
        ("inventory", v2().with("last_updated", "soon"), &format!("step v2->v3: last_updated is {iso}")),
        (
            "inventory",
            v2().with("last_updated", 1),
            "step v2->v3: last_updated must be a date or ISO 8601 text, is int",
        ),
        ("inventory", v1().with("_schema_version", "v4"), "_schema_version must be one of v1, v2, v3, is \"v4\""),
        ("stock", v1(), "collection stock is of no known kind, known are inventory, transactions"),
    ] {
        assert_eq!(migrate("{}", collection, document).unwrap_err(), error);
    }
}

#[test]
fn one_bad_change_of_a_batch_spoils_no_other() {
    let mut plugin: InventoryMigrator = testing::configure("{}").unwrap();
    let change = |document| testing::insert("shop", "inventory").document(document);
    let good = || change(DocumentBuf::new().with("last_updated", MORNING));
    let results = testing::migrate(&mut plugin, &[good(), change(DocumentBuf::new()), good()]);
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(results[0], results[2]);
}

#[test]
fn configuration_errors_say_what_is_allowed() {
    for (config, message) in [
        (r#"{"curency": "USD"}"#, "unknown field `curency`, expected `currency` or `kinds`"),
        (r#"{"currency": 1}"#, "invalid type: integer `1`, expected a string"),
        (
            r#"{"currency": " "}"#,
            "currency must not be empty: give the currency of documents that name none, such as USD",
        ),
    ] {
        assert_eq!(testing::configure::<InventoryMigrator>(config).err().as_deref(), Some(message), "{config}");
    }
}
