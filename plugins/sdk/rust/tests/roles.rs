//! One plugin of each role, on the way through the arena that its batches take.

use tidegate_plugin::prelude::*;
use tidegate_plugin::testing;

/// Has every role, and does what the field `do` of a document says.
struct Everything;

impl Plugin for Everything {
    type Config = NoConfig;

    fn manifest() -> Manifest {
        Manifest::new("everything", "1.0.0")
    }

    fn configure(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }
}

fn what<'a>(change: &Change<'a>) -> &'a str {
    change.document().and_then(|document| document.get("do")).and_then(|value| value.as_str()).unwrap_or_default()
}

impl Validator for Everything {
    fn validate(&mut self, change: &Change<'_>) -> Verdict {
        let mut violations = Violations::new();
        let Some(document) = change.document() else { return Verdict::reject("", "no document") };
        violations.required(&document, "inner.text", Type::String);
        violations.optional(&document, "inner.id", Type::ObjectId);
        violations.into()
    }
}

impl Migrator for Everything {
    fn migrate(&mut self, change: &Change<'_>) -> Result<Migration, String> {
        match what(change) {
            "unknown" => Ok(Migration::Unchanged { version: None }),
            "unchanged" => Ok(Migration::unchanged("v2")),
            "migrate" => Ok(Migration::migrated(DocumentBuf::new().with("new", true), "v1", "v2")),
            _ => Err(format!("cannot migrate {}", change.id())),
        }
    }
}

impl Router for Everything {
    fn route(&mut self, change: &Change<'_>) -> Result<Routing, String> {
        match what(change) {
            "nowhere" => Ok(Routing::nowhere()),
            "one" => Ok(Destination::everywhere().into()),
            "two" => Ok(Routing::to(Destination::target("t").in_sink("s").attribute("a", "1").attribute("b", "2"))
                .and(Destination::sink("other").ordered_by("k").attribute("c", "3"))),
            _ => Err(format!("no way for {}", change.key().get("_id").and_then(|id| id.to_text()).unwrap_or_default())),
        }
    }
}

impl Transformer for Everything {
    fn transform(&mut self, change: &Change<'_>) -> Result<Transformation, String> {
        match what(change) {
            "unchanged" => Ok(Transformation::Unchanged),
            "nothing" => Ok(Transformation::Changes(Vec::new())),
            "two" => Ok(Transformation::Changes(vec![
                Output::new(DocumentBuf::new().with("n", 1)).header("h", "1"),
                Output::without_document()
                    .operation(Operation::Delete)
                    .namespace("shop", "archive")
                    .key(DocumentBuf::new().with("_id", 9)),
            ])),
            _ => Err("cannot transform".to_owned()),
        }
    }
}

tidegate_plugin::export_plugin!(Everything: validator Validator, migrator Migrator, router Router, transformer Transformer);

fn changes(what: &[&str]) -> Vec<testing::TestChange> {
    let document = |what: &&str| DocumentBuf::new().with("_id", 7).with("do", what);
    what.iter().map(|what| testing::insert("shop", "stock").document(document(what))).collect()
}

#[test]
fn verdicts() {
    let inner = |inner: DocumentBuf| testing::insert("a", "b").document(DocumentBuf::new().with("inner", inner));
    let good = inner(DocumentBuf::new().with("text", "x").with("id", ObjectId([0; 12])));
    let bad = inner(DocumentBuf::new().with("id", 1));
    let verdicts = testing::validate(&mut Everything, &[good, bad, testing::delete("a", "b")]);
    let mut violations = Violations::new();
    violations.add("inner.text", "is missing").add("inner.id", "must be an ObjectId, is int");
    assert_eq!(verdicts, [Verdict::Accept, Verdict::Reject(violations), Verdict::reject("", "no document")]);
}

#[test]
fn migrations() {
    let migrations = testing::migrate(&mut Everything, &changes(&["unknown", "migrate", "unchanged", "?"]));
    assert_eq!(
        migrations,
        [
            Ok(Migration::Unchanged { version: None }),
            Ok(Migration::migrated(DocumentBuf::new().with("new", true), "v1", "v2")),
            Ok(Migration::unchanged("v2")),
            Err("cannot migrate change-1".to_owned()),
        ]
    );
}

#[test]
fn routings() {
    let routings = testing::route(&mut Everything, &changes(&["two", "nowhere", "one", "?"]));
    let two = [
        Destination::target("t").in_sink("s").attribute("a", "1").attribute("b", "2"),
        Destination::sink("other").ordered_by("k").attribute("c", "3"),
    ];
    assert_eq!(
        routings,
        [
            Ok(two.into_iter().collect()),
            Ok(Routing::nowhere()),
            Ok(Destination::everywhere().into()),
            Err("no way for 7".to_owned()),
        ]
    );
}

#[test]
fn transformations() {
    let results = testing::transform(&mut Everything, &changes(&["unchanged", "two", "nothing", "?"]));
    let first = Output::new(DocumentBuf::new().with("n", 1))
        .operation(Operation::Insert)
        .namespace("shop", "stock")
        .header("h", "1");
    let second = Output::without_document()
        .operation(Operation::Delete)
        .namespace("shop", "archive")
        .key(DocumentBuf::new().with("_id", 9));
    assert_eq!(
        results,
        [
            Ok(Transformation::Unchanged),
            Ok(Transformation::Changes(vec![first, second])),
            Ok(Transformation::Changes(Vec::new())),
            Err("cannot transform".to_owned()),
        ]
    );
}

/// A validator whose verdict is what it sees of the change: all parts of one are told apart.
struct Mirror;

impl Plugin for Mirror {
    type Config = NoConfig;

    fn manifest() -> Manifest {
        Manifest::new("mirror", "1.0.0")
    }

    fn configure(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Validator for Mirror {
    fn validate(&mut self, change: &Change<'_>) -> Verdict {
        let headers: Vec<_> = change.headers().collect();
        let message = format!(
            "{} {} {} {:?} {:?} {:?} {:?} {headers:?} {:?} {:?} {:?}",
            change.id(),
            change.operation(),
            change.namespace(),
            change.key(),
            change.document(),
            change.before(),
            change.update(),
            change.header("h2"),
            change.cluster_time(),
            change.wall_time().map(|time| time.to_string()),
        );
        Verdict::reject("", message)
    }
}

#[test]
fn all_parts_of_a_change_arrive() {
    let one = |name| DocumentBuf::new().with(name, 1);
    let full = testing::change(Operation::Replace, "shop", "a.b")
        .id("x-1")
        .key(one("k"))
        .document(one("d"))
        .before(one("b"))
        .update(one("u"))
        .cluster_time(5)
        .wall_time(DateTime(1))
        .header("h1", "1")
        .header("h2", "2");
    let verdicts = testing::validate(&mut Mirror, &[testing::delete("shop", "c"), full]);
    assert_eq!(
        verdicts,
        [
            Verdict::reject("", "change-1 delete shop.c {} None None None [] None None None"),
            Verdict::reject(
                "",
                "x-1 replace shop.a.b {\"k\": Int32(1)} Some({\"d\": Int32(1)}) Some({\"b\": Int32(1)}) \
                 Some({\"u\": Int32(1)}) [(\"h1\", \"1\"), (\"h2\", \"2\")] Some(\"2\") Some(5) \
                 Some(\"1970-01-01T00:00:00.001Z\")"
            ),
        ]
    );
}

#[test]
fn a_configuration_that_does_not_fit_is_an_error_without_a_place() {
    let error = testing::configure::<Everything>(r#"{"minimum": 1}"#).err();
    assert_eq!(error.as_deref(), Some("unknown field `minimum`, there are no fields"));
}
