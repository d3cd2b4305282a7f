use tidegate_plugin::testing::{self, TestChange};

use super::*;

fn route(config: &str, change: TestChange) -> Result<Routing, String> {
    let mut plugin: InventoryRouter = testing::configure(config).unwrap();
    testing::route(&mut plugin, &[change]).remove(0)
}

fn target(config: &str, change: TestChange) -> Option<String> {
    route(config, change).unwrap().destinations().next().unwrap().target.clone()
}

fn document() -> DocumentBuf {
    DocumentBuf::new()
        .with("_id", ObjectId([0xab; 12]))
        .with("warehouse_id", "WH-EAST-1")
        .with("shelf", DocumentBuf::new().with("row", 3.0))
        .with("tags", ArrayBuf::from_iter(["a", "b"]))
        .with("price", 1.5)
        .with("empty", "")
}

fn inventory() -> TestChange {
    testing::insert("shop", "inventory").document(document())
}

#[test]
fn templates_are_filled_from_the_document() {
    for (template, expected) in [
        ("inventory:{warehouse_id}", "inventory:WH-EAST-1"),
        ("{shelf.row}", "3"),
        ("{tags.1}-{tags.0}", "b-a"),
        ("{_id}", "abababababababababababab"),
        ("all", "all"),
        ("{{{warehouse_id}}}", "{WH-EAST-1}"),
    ] {
        let config = format!(r#"{{"target": "{template}"}}"#);
        assert_eq!(target(&config, inventory()).as_deref(), Some(expected), "{template}");
    }
}

#[test]
fn kinds_may_have_targets_of_their_own() {
    let transaction = || testing::insert("shop", "transactions").document(document());
    assert_eq!(target("{}", inventory()).as_deref(), Some("inventory:WH-EAST-1"));
    assert_eq!(target("{}", transaction()).as_deref(), Some("transaction:WH-EAST-1"));
    let config = r#"{"target": "all", "targets": {"transaction": "moves:{warehouse_id}"}}"#;
    assert_eq!(target(config, inventory()).as_deref(), Some("all"));
    assert_eq!(target(config, transaction()).as_deref(), Some("moves:WH-EAST-1"));
}

#[test]
fn a_sink_is_named_where_one_is_configured() {
    let expected = Destination::target("all").in_sink("cache");
    assert_eq!(route(r#"{"target": "all", "sink": "cache"}"#, inventory()), Ok(expected.into()));
    assert_eq!(route(r#"{"target": "all"}"#, inventory()), Ok(Destination::target("all").into()));
}

#[test]
fn a_change_without_a_document_goes_by_its_key_or_the_default() {
    let sharded =
        testing::delete("shop", "inventory").key(DocumentBuf::new().with("warehouse_id", "WH-2").with("_id", 1));
    let plain = || testing::delete("shop", "inventory").key(DocumentBuf::new().with("_id", 1));
    assert_eq!(target("{}", sharded).as_deref(), Some("inventory:WH-2"));
    assert_eq!(target("{}", plain()), None);
    assert_eq!(target(r#"{"target_without_document": "gone"}"#, plain()).as_deref(), Some("gone"));
    assert_eq!(target(r#"{"target": "all"}"#, plain()).as_deref(), Some("all"));
}

#[test]
fn a_document_without_the_field_fails() {
    for (template, error) in [
        ("{city}", "no target: field city is missing"),
        ("{shelf.column}", "no target: field shelf.column is missing"),
        ("{empty}", "no target: field empty is empty"),
        ("{price}", "no target: field price must be text, a whole number, an ObjectId or a boolean, is double"),
        ("{shelf}", "no target: field shelf must be text, a whole number, an ObjectId or a boolean, is object"),
    ] {
        let config = format!(r#"{{"target": "{template}"}}"#);
        assert_eq!(route(&config, inventory()), Err(error.to_owned()), "{template}");
    }
    let unknown = testing::insert("shop", "stock").document(document());
    let error = "collection stock is of no known kind, known are inventory, transactions";
    assert_eq!(route("{}", unknown), Err(error.to_owned()));
}

#[test]
fn configuration_errors_say_what_is_allowed() {
    for (config, message) in [
        (r#"{"target": "a{b"}"#, r#"target "a{b": a { has no }: write {field}, or {{ for a brace"#),
        (r#"{"target": "a}b"}"#, r#"target "a}b": a } has no {: write {field}, or }} for a brace"#),
        (r#"{"target": "{}"}"#, r#"target "{}": {} names no field: write {field} or {field.inner}"#),
        (r#"{"target": "{a..b}"}"#, r#"target "{a..b}": {a..b} names no field: write {field} or {field.inner}"#),
        (r#"{"target": ""}"#, r#"target "": is empty: write a name, with fields as {field}"#),
        (
            r#"{"targets": {"inventory": "{"}}"#,
            r#"targets.inventory "{": a { has no }: write {field}, or {{ for a brace"#,
        ),
        (r#"{"targets": {"stock": "a"}}"#, "unknown variant `stock`, expected `inventory` or `transaction`"),
        (r#"{"sink": ""}"#, "sink must not be empty: leave it out for the default"),
        (
            r#"{"tarjet": "a"}"#,
            "unknown field `tarjet`, expected one of `target`, `targets`, `target_without_document`, `sink`, `kinds`",
        ),
    ] {
        assert_eq!(testing::configure::<InventoryRouter>(config).err().as_deref(), Some(message), "{config}");
    }
}
