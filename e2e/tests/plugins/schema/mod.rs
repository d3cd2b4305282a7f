//! The plugin `schema` with the files of `examples/inventory`, as they stand there: types, versions and steps without code.

mod documents;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use google_cloud_pubsub::model::Message;
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_tests::servers::{self, Kind, PROJECT};
use tidegate_tests::{Cli, Host, HostOptions, Signal, TestNames, eventually, plugin};

use self::documents::{documents, inventory, of_version, transaction};
use crate::rig::PATIENCE;

const EXAMPLE: &str = include_str!("../../../../examples/inventory/inventory.yaml");
const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/inventory/schemas");

/// A folder with the example and the plugins that it and the code need.
fn folder() -> TempDir {
    let dir = tempfile::Builder::new().prefix("tidegate-schema-").tempdir().unwrap();
    copy(Path::new(SCHEMAS), &dir.path().join("schemas"));
    std::fs::create_dir(dir.path().join("plugins")).unwrap();
    for name in ["schema", "inventory-validator", "inventory-migrator"] {
        std::fs::copy(plugin(name), dir.path().join(format!("plugins/{name}.wasm"))).unwrap();
    }
    std::fs::write(dir.path().join("tidegate.yaml"), EXAMPLE).unwrap();
    dir
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What makes the example read standard input and write a file: its stages stay as they are.
fn from_stdin() -> Vec<(String, String)> {
    pairs(&[
        ("TIDEGATE__PIPELINES__INVENTORY__SOURCE", "stdin"),
        ("TIDEGATE__PIPELINES__INVENTORY__SINKS", "{ out: { file: { path: out.jsonl } } }"),
        ("TIDEGATE__PIPELINES__INVENTORY__CHECKPOINT", "file"),
        ("PLUGIN_DIR", "plugins"),
        ("ADMIN_PORT", "0"),
    ])
}

/// The same, with the plugins that are code in place of the schema files.
fn with_code() -> Vec<(String, String)> {
    let mut env = from_stdin();
    env.extend(pairs(&[(
        "TIDEGATE__PIPELINES__INVENTORY__STAGES",
        "[{ plugin: inventory-validator }, { plugin: inventory-migrator }]",
    )]));
    env
}

fn line(id: &str, collection: &str, document: &Value) -> String {
    let mut document = document.clone();
    document["_id"] = id.into();
    json!({ "id": id, "op": "insert", "ns": format!("shop.{collection}"), "doc": document }).to_string() + "\n"
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// What became of a change.
#[derive(Debug, PartialEq)]
enum Fate {
    /// The document with all its types, the version it has, the version it had.
    Delivered(Value, Value, Value),
    /// The paths that are wrong.
    Rejected(BTreeSet<String>),
    Failed,
}

/// What became of each change, and each dead letter, by id.
async fn fates(dir: &Path, env: &[(String, String)], input: &str) -> (BTreeMap<String, Fate>, BTreeMap<String, Value>) {
    let output = Cli::run_with(dir, &["run", "tidegate.yaml"], input.as_bytes(), env, PATIENCE).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let id = |line: &Value| line["id"].as_str().unwrap().to_owned();
    let (mut fates, mut letters) = (BTreeMap::new(), BTreeMap::new());
    for line in lines(&dir.join("out.jsonl")) {
        let header = |name: &str| line["headers"][name].clone();
        fates
            .insert(id(&line), Fate::Delivered(line["doc"].clone(), header("schema_version"), header("migrated_from")));
    }
    for letter in lines(&dir.join(".tidegate/inventory.dead.jsonl")) {
        let fate = match letter["kind"].as_str().unwrap() {
            "rejected" => {
                let violations = letter["violations"].as_array().unwrap();
                Fate::Rejected(violations.iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect())
            }
            "failed" => Fate::Failed,
            other => panic!("{other}: {letter}"),
        };
        fates.insert(id(&letter), fate);
        letters.insert(id(&letter), letter);
    }
    (fates, letters)
}

/// E5 and E6 as code and as files: each of 500 documents comes out the same, or is refused for the same fields.
#[tokio::test]
async fn e5_e6_schema_files_and_code_say_the_same_of_500_documents() {
    let documents = documents(500);
    let input: String = documents
        .iter()
        .enumerate()
        .map(|(number, (collection, document))| line(&format!("{number:03}"), collection, document))
        .collect();
    let (code_dir, files_dir) = (folder(), folder());
    let (code_env, files_env) = (with_code(), from_stdin());
    let ((code, _), (files, letters)) =
        tokio::join!(fates(code_dir.path(), &code_env, &input), fates(files_dir.path(), &files_env, &input));
    assert_eq!(code.len(), documents.len());
    for (id, fate) in &code {
        let of_files = files.get(id);
        let (document, letter) = (&documents[id.parse::<usize>().unwrap()], letters.get(id));
        assert_eq!(of_files, Some(fate), "files against code, {document:?}: {letter:?}");
    }
    let count = |of: fn(&Fate) -> bool| code.values().filter(|fate| of(fate)).count();
    let delivered = count(|fate| matches!(fate, Fate::Delivered(..)));
    let migrated = count(|fate| matches!(fate, Fate::Delivered(_, _, from) if from != &Value::Null));
    let rejected = count(|fate| matches!(fate, Fate::Rejected(_)));
    let several = count(|fate| matches!(fate, Fate::Rejected(paths) if paths.len() > 1));
    let failed = count(|fate| *fate == Fate::Failed);
    let told = format!(
        "{delivered} delivered, {migrated} migrated, {rejected} rejected, {several} for several fields, {failed} failed"
    );
    assert!(delivered >= 100 && migrated >= 60 && rejected >= 200 && several >= 20 && failed >= 10, "{told}");
}

#[tokio::test]
async fn e2_versions_are_found_by_field_and_by_rule() {
    let dir = folder();
    let input: String = ["absent", "v1", "v2", "v3", "v4"]
        .iter()
        .map(|version| line(version, "inventory", &of_version(inventory(), version)))
        .collect();
    let mut env = from_stdin();
    env.extend(pairs(&[("TIDEGATE__PIPELINES__INVENTORY__STAGES__0__CONFIG__MIGRATE", "off")]));
    let (fates, letters) = fates(dir.path(), &env, &input).await;
    for (id, version) in [("absent", "v1"), ("v1", "v1"), ("v2", "v2"), ("v3", "v3")] {
        let Fate::Delivered(document, schema_version, from) = &fates[id] else { panic!("{id}: {:?}", fates[id]) };
        assert_eq!((schema_version, from), (&json!(version), &Value::Null), "{id}");
        assert_eq!(document["maker"], json!({ "$oid": "5f0000000000000000000001" }), "nothing is touched");
    }
    assert_eq!(fates["v4"], Fate::Rejected(BTreeSet::from(["_schema_version".to_owned()])));
    assert_eq!(letters["v4"]["violations"][0]["message"], "must be one of v1, v2, v3, is \"v4\"");
}

#[tokio::test]
async fn e3_documents_are_migrated_over_several_steps_and_a_failing_step_is_named() {
    let dir = folder();
    let mut failing = of_version(inventory(), "v1");
    failing["currency"] = json!(5);
    let input = line("good", "inventory", &of_version(inventory(), "absent"))
        + &line("two", "transactions", &of_version(transaction(), "v2"))
        + &line("bad", "inventory", &failing);
    let (fates, letters) = fates(dir.path(), &from_stdin(), &input).await;
    let Fate::Delivered(good, version, from) = &fates["good"] else { panic!("{:?}", fates["good"]) };
    assert_eq!((version, from), (&json!("v3"), &json!("v1")));
    let out = lines(&dir.path().join("out.jsonl"));
    let headers = |id: &str| out.iter().find(|line| line["id"] == id).unwrap()["headers"].clone();
    assert_eq!(headers("good")["migration_path"], "v1>v2>v3");
    assert_eq!(headers("two"), json!({ "migrated_from": "v2", "schema_version": "v3" }), "one step needs no path");
    assert_eq!(good["updated_at"], json!({ "$date": { "$numberLong": "1769860800000" } }));
    assert_eq!((&good["currency"], &good["last_updated"]), (&json!("USD"), &Value::Null));
    assert_eq!(good["threshold_max"], json!({ "$numberLong": "9007199254740993" }));
    assert_eq!(good["price"], json!({ "$numberDecimal": "12.50" }));
    assert_eq!(
        letters["bad"]["reason"],
        "migrated from v1, it does not fit v3: currency must be of BSON type string, is int"
    );

    // A step that fails itself: the text of the date is checked by nobody before it.
    let mut env = from_stdin();
    env.extend(pairs(&[("TIDEGATE__PIPELINES__INVENTORY__STAGES__0__CONFIG__VALIDATE", "after")]));
    let mut soon = inventory();
    soon["last_updated"] = json!("soon");
    let (_, letters) = self::fates(dir.path(), &env, &line("soon", "inventory", &soon)).await;
    let reason = "step v2->v3 (a date instead of text): convert last_updated: is \"soon\", which cannot be made date";
    assert_eq!(letters["soon"]["reason"], reason);
    assert_eq!(letters["soon"]["change"]["doc"]["last_updated"], "soon", "the letter holds the document as it came");
}

/// What is wrong with steps and schemas is told before anything runs, with its place.
#[tokio::test]
async fn e3_paths_that_are_missing_or_ambiguous_are_found_by_check() {
    let steps = "TIDEGATE__PIPELINES__INVENTORY__STAGES__0__CONFIG__TYPES__INVENTORY__STEPS";
    let two = "[{ from: v1, to: v2, do: [] }, { from: v2, to: v4, do: [] }, { from: v1, to: v3, do: [] }, { from: v3, to: v4, do: [] }]";
    let (dir, mut command) = (folder(), "check");
    for (steps_are, file, told) in [
        (
            "[{ from: v1, to: v3, do: [] }]",
            None,
            "types.inventory.steps: no steps lead from version v2 to v3: declare one",
        ),
        (
            two,
            Some(("inventory/v4.json", "{}")),
            "two ways of 2 steps lead from version v1 to v4: v1 > v2 > v4, and v1 > v3 > v4",
        ),
        (
            "[]",
            Some(("inventory/v3.json", "{\n  \"type\": \"objekt\"\n}")),
            "schema file inventory/v3.json: at /type: ",
        ),
        (
            "[]",
            Some(("inventory/v3.json", "{\n  \"type\": \"object\",\n}")),
            "schema file inventory/v3.json:3:1: it is no JSON",
        ),
        ("[]", Some(("inventory/v3.json", "{ \"$ref\": \"v7.json\" }")), "there is no schema inventory/v7.json"),
        (
            "[{ from: v1, to: v3, go: [] }]",
            None,
            "config.types.inventory.steps.0: Additional properties are not allowed ('go' was unexpected)",
        ),
    ] {
        std::fs::remove_dir_all(dir.path().join("schemas")).unwrap();
        copy(Path::new(SCHEMAS), &dir.path().join("schemas"));
        if let Some((name, text)) = file {
            std::fs::write(dir.path().join("schemas").join(name), text).unwrap();
        }
        let mut env = from_stdin();
        env.extend(pairs(&[(steps, steps_are)]));
        let output = Cli::run_with(dir.path(), &[command, "tidegate.yaml"], b"", &env, PATIENCE).await;
        let text = String::from_utf8_lossy(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{text}");
        assert!(text.contains("TG0205") && text.contains(told), "{told}:\n{text}");
        // It says the same, and keeps what it compiled.
        command = "run";
    }
    std::fs::remove_dir_all(dir.path().join("schemas")).unwrap();
    let output = Cli::run_with(dir.path(), &["check", "tidegate.yaml"], b"", &from_stdin(), PATIENCE).await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("schemas cannot be read: there is no such file or folder") && text.contains("tidegate.yaml:"),
        "{text}"
    );
}

/// E7 between the servers of the example: what is invalid is logged, kept with the reasons, and goes on when the schema is mended.
#[tokio::test]
async fn e7_invalid_documents_are_kept_and_replayed_when_the_schema_is_mended() {
    let (shared, names, dir) = (servers::shared().await, TestNames::new(), folder());
    let (pubsub, firestore) = (servers::PubSub::shared().await, servers::emulator(Kind::Firestore).await);
    let database = shared.mongodb().await.database(names.database());
    let topic = format!("t-{}", names.prefix());
    pubsub.topic(&topic).await;
    pubsub.subscription(&topic, &topic).await;
    let inbox = pubsub.inbox(&topic);
    let env = pairs(&[
        ("MONGODB_URI", &shared.mongodb_uri),
        ("GOOGLE_CLOUD_PROJECT", PROJECT),
        ("PUBSUB_EMULATOR_HOST", pubsub.endpoint().trim_start_matches("http://")),
        ("FIRESTORE_EMULATOR_HOST", &firestore),
        ("TOPIC", &topic),
        ("TIDEGATE__PIPELINES__INVENTORY__CHECKPOINT__FIRESTORE__DOCUMENT", names.prefix()),
        ("DATABASE", names.database()),
        ("PLUGIN_DIR", "plugins"),
        ("ADMIN_PORT", "0"),
        ("TIDEGATE__LOG__FORMAT", "json"),
    ]);
    let options = HostOptions { dir: Some(dir.path().to_owned()), env: env.clone(), ..HostOptions::default() };
    let mut host = Host::start_with(EXAMPLE, options);
    host.wait_ready().await;
    let good = doc! { "_id": 1, "transaction_id": "T-1", "product_id": "P-1", "warehouse_id": "W-1", "quantity": Bson::Int64(2),
    "transaction_type": "sale", "timestamp": "2026-01-31T12:00:00Z" };
    let mut bad = good.clone();
    bad.insert("_id", 2);
    bad.insert("transaction_type", "transfer");
    let mut worse = bad.clone();
    worse.insert("_id", 3);
    worse.remove("warehouse_id");
    let transactions = database.collection::<Document>("transactions");
    transactions.insert_many([bad, worse, good]).await.unwrap();

    let delivered = async |wanted: &[i64]| {
        eventually(PATIENCE, "messages of the topic", async || {
            let inbox = inbox.lock().unwrap();
            let body = |message: &Message| serde_json::from_slice::<Value>(&message.data).unwrap();
            let ids: BTreeSet<_> = inbox.iter().map(|message| body(message)["_id"].as_i64().unwrap()).collect();
            let attributes = |name: &str| inbox.iter().all(|message| message.attributes.contains_key(name));
            assert!(attributes("schema_version") && attributes("correlation_id"), "{inbox:?}");
            if ids.iter().eq(wanted) { Ok(()) } else { Err(ids) }
        })
        .await;
    };
    delivered(&[1]).await;
    let letters = lines(&dir.path().join(".tidegate/inventory.dead.jsonl"));
    let violations: Vec<BTreeSet<String>> = letters
        .iter()
        .map(|letter| letter["violations"].as_array().unwrap().iter().map(ToString::to_string).collect())
        .collect();
    let transfer = json!({ "path": "transaction_type", "message": "must be one of sale, restock, return, adjustment, is \"transfer\"" });
    let missing = json!({ "path": "warehouse_id", "message": "is missing" });
    let set = |all: &[&Value]| all.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(violations, [set(&[&transfer]), set(&[&missing, &transfer])]);
    let logged = host.wait_log(PATIENCE, "the rejection", |line| line.to_string().contains("transaction_type")).await;
    assert!(logged.to_string().contains("W-1"), "with the warehouse: {logged}");

    // The schema learns the word; the host reads it again, and what waited is tried again.
    for version in ["v1", "v3"] {
        let file = dir.path().join(format!("schemas/transaction/{version}.json"));
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("\"adjustment\"]", "\"adjustment\", \"transfer\"]")).unwrap();
    }
    host.signal(Signal::HUP);
    host.wait_event("reloaded").await;
    let replay = ["dlq", "replay", "tidegate.yaml", "inventory", "--all", "--yes"];
    let output = Cli::run_with(dir.path(), &replay, b"", &env, PATIENCE).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    delivered(&[1, 2]).await;
    assert!(host.is_running(), "{told}");
    let open = Cli::run_with(dir.path(), &["dlq", "list", "tidegate.yaml", "inventory"], b"", &env, PATIENCE).await;
    let open = String::from_utf8_lossy(&open.stdout).into_owned();
    assert!(open.contains("warehouse_id: is missing") && !open.contains("is \"transfer\""), "{told}\n{open}");
    assert_eq!(host.stop().await, Some(0));
}

/// The example of the documentation, with a schema for each version that takes everything.
#[tokio::test]
async fn the_documented_example_is_good() {
    let page = include_str!("../../../../docs/plugins/schema.md");
    let (_, rest) = page.split_once("```yaml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let dir = folder();
    std::fs::write(dir.path().join("tidegate.yaml"), example).unwrap();
    for (kind, versions) in [("orders", ["v1", "v2", "v3"].as_slice()), ("customers", &["1", "2"])] {
        std::fs::create_dir(dir.path().join("schemas").join(kind)).unwrap();
        for version in versions {
            std::fs::write(dir.path().join(format!("schemas/{kind}/{version}.json")), "{}").unwrap();
        }
    }
    let env = pairs(&[("TIDEGATE__PLUGINS__DIR", "plugins"), ("TIDEGATE__ADMIN__LISTEN", "127.0.0.1:0")]);
    let order = json!({ "street": "Main St 1", "city": "X", "shipped_on": "2026-01-31", "total": "12.50", "status": "A",
        "name": "Ada King", "prefix": "O", "number": 7, "lines": [{ "qty": { "$numberLong": "2" } }] });
    let output =
        Cli::run_with(dir.path(), &["run", "tidegate.yaml"], line("1", "orders", &order).as_bytes(), &env, PATIENCE)
            .await;
    let out: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let expected = json!({
        "shipped_at": { "$date": { "$numberLong": "1769817600000" } },
        "total": { "$numberDecimal": "12.50" },
        "status": "active",
        "lines": [{ "quantity": { "$numberInt": "2" } }],
        "_id": "1",
        "address": { "street": "Main St 1", "city": "X", "country": "DE" },
        "currency": "EUR",
        "first_name": "Ada",
        "last_name": "King",
        "order_number": "O-7",
        "checked": { "$date": { "$numberLong": "1769817600000" } },
        "_schema_version": "v3"
    });
    assert_eq!(out["doc"], expected);
}
