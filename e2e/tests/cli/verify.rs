//! `tidegate verify` on real servers.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Document, Timestamp, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};
use serde_json::{Value, json};
use tidegate_tests::servers::{Mongo, MongoOptions, Version, shared};
use tidegate_tests::{Cli, Host, Process, TestNames, eventually, program};

const PATIENCE: Duration = Duration::from_secs(100);

/// Two databases on the server all tests share.
struct Two {
    uri: String,
    source: Database,
    target: Database,
}

impl Two {
    async fn new() -> Self {
        let shared = shared().await;
        let (client, names) = (shared.mongodb().await, TestNames::new());
        let database = |end: &str| client.database(&format!("{}-{end}", names.database()));
        Self { uri: shared.mongodb_uri.clone(), source: database("a"), target: database("b") }
    }

    fn collections(&self, name: &str) -> (Collection<Document>, Collection<Document>) {
        (self.source.collection(name), self.target.collection(name))
    }

    async fn verify(&self, more: &[&str]) -> Output {
        let uri = |database: &Database| self.uri.replace("/?", &format!("/{}?", database.name()));
        let (source, target) = (uri(&self.source), uri(&self.target));
        Cli::run(&[&["verify", &source, &target], more].concat(), b"").await
    }

    /// The report, and the exit code.
    async fn report(&self, more: &[&str]) -> (Value, Option<i32>) {
        let output = self.verify(&[&["--json"], more].concat()).await;
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (report, output.status.code())
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// An `_id` of every type that may be one.
fn ids() -> Vec<Bson> {
    let mut ids: Vec<Bson> = vec![
        Bson::MinKey,
        Bson::MaxKey,
        Bson::Null,
        true.into(),
        f64::NAN.into(),
        "text".into(),
        "".into(),
        Bson::Symbol("symbol".into()),
        ObjectId::new().into(),
        DateTime::from_millis(-1).into(),
        Bson::Timestamp(Timestamp { time: 1, increment: 2 }),
        Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2] }),
        Bson::JavaScriptCode("code".into()),
        doc! { "a": 1, "b": "c" }.into(),
        Bson::Decimal128("0.3".parse::<Decimal128>().unwrap()),
        Bson::Decimal128("1E+400".parse::<Decimal128>().unwrap()),
    ];
    // Ranges end within each of these.
    ids.extend((0..5000).map(Bson::from));
    ids.extend((0..3000).map(|n| (f64::from(n) + 0.5).into()));
    ids.extend((0..4500).map(|n| format!("t{n}").into()));
    ids
}

#[tokio::test]
async fn equal_is_equal_whatever_the_ids_are() {
    let two = Two::new().await;
    let (source, target) = two.collections("mixed");
    let documents: Vec<Document> = ids().into_iter().map(|id| doc! { "_id": id, "n": 1 }).collect();
    source.insert_many(&documents).await.unwrap();
    target.insert_many(documents.iter().rev()).await.unwrap();
    two.source.run_command(doc! { "create": "view", "viewOn": "mixed" }).await.unwrap();
    two.target.collection::<Document>("tidegate_positions").insert_one(doc! { "_id": "p/s" }).await.unwrap();
    let (report, code) = two.report(&["--schema"]).await;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["equal"], true);
    let [collection] = report["collections"].as_array().unwrap().as_slice() else { panic!("{report}") };
    let count = documents.len();
    assert_eq!(collection["documents"], json!({ "source": count, "target": count }));
    assert_eq!(collection["differing_ranges"], 0);
    assert!(collection["ranges"].as_u64().unwrap() >= 4, "{report}");
    let shown = text(&two.verify(&[]).await);
    assert!(shown.contains("12,516 documents, equal\nequal: 12,516 documents of 1 collection in "), "{shown}");

    // Each of the odd ones is seen when it goes.
    for odd in &documents[..16] {
        target.delete_one(doc! { "_id": odd.get("_id").unwrap() }).await.unwrap();
    }
    let (report, code) = two.report(&["--wait", "0s"]).await;
    assert_eq!(code, Some(1));
    assert_eq!(report["collections"][0]["counts"]["missing"], 16, "{report}");
    assert_eq!(report["differences"], 16);
}

#[tokio::test]
async fn each_kind_of_difference_is_told() {
    let two = Two::new().await;
    let (source, target) = two.collections("things");
    source
        .insert_many([
            doc! { "_id": 1, "same": true },
            doc! { "_id": 2, "a": { "b": [1, { "c": "x".repeat(500) }] }, "gone": 1 },
            doc! { "_id": 3, "a": 1, "b": 2 },
            doc! { "_id": 4, "n": 1 },
            doc! { "_id": "5" },
            doc! { "_id": 7_i64 },
        ])
        .await
        .unwrap();
    target
        .insert_many([
            doc! { "_id": 1, "same": true },
            doc! { "_id": 2, "a": { "b": [1, { "c": "y" }] }, "more": DateTime::from_millis(0) },
            doc! { "_id": 3, "b": 2, "a": 1 },
            doc! { "_id": 4, "n": 1_i64 },
            doc! { "_id": "6" },
            doc! { "_id": 7.0 },
        ])
        .await
        .unwrap();
    two.target.collection::<Document>("strange").insert_one(doc! { "_id": 1 }).await.unwrap();
    two.source.collection::<Document>("forgotten").insert_one(doc! { "_id": 1 }).await.unwrap();
    let (report, code) = two.report(&["--wait", "0s"]).await;
    assert_eq!(code, Some(1));
    let [forgotten, strange, things] = report["collections"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!((&forgotten["counts"]["missing"], &strange["counts"]["extra"]), (&json!(1), &json!(1)), "{report}");
    let counts =
        json!({ "missing": 1, "extra": 1, "different": 1, "number_type": 2, "field_order": 1, "unsettled": 0 });
    assert_eq!(things["counts"], counts, "{report}");
    let of = |id: Value| things["differences"].as_array().unwrap().iter().find(|found| found["_id"] == id).unwrap();
    let cut = format!("{}...", "x".repeat(77));
    let fields = json!([
        { "path": "a.b.1.c", "kind": "different", "source": cut, "target": "y" },
        { "path": "gone", "kind": "missing", "source": 1, "target": null },
        { "path": "more", "kind": "extra", "source": null, "target": { "$date": { "$numberLong": "0" } } },
    ]);
    assert_eq!(of(json!({ "$numberInt": "2" }))["fields"], fields);
    assert_eq!(of(json!({ "$numberInt": "3" }))["kind"], "field_order");
    assert_eq!(of(json!({ "$numberInt": "4" }))["fields"][0]["target"], json!({ "$numberLong": "1" }));
    assert_eq!(of(json!("5"))["kind"], "missing");
    assert_eq!(of(json!("6"))["kind"], "extra");
    assert_eq!(of(json!({ "$numberLong": "7" }))["kind"], "number_type");

    let shown = text(&two.verify(&["--wait", "0s", "--max-differences", "2"]).await);
    for line in [
        "6 documents: 1 missing, 1 extra, 1 different, 2 number type, 1 field order\n",
        "  and 4 more\n",
        "not equal: 7 documents of 3 collections in ",
        ", 8 differ\n",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(
        two.report(&["--wait", "0s", "--collection", "strange"]).await.0["collections"].as_array().unwrap().len() == 1
    );
    let map = format!("{}.things={}.strange", two.source.name(), two.target.name());
    let (mapped, _) = two.report(&["--wait", "0s", "--collection", "things", "--map", &map]).await;
    assert_eq!(mapped["collections"][0]["counts"]["missing"], 5, "{mapped}");
}

#[tokio::test]
async fn schemas_are_compared_when_asked() {
    let two = Two::new().await;
    let (source, target) = two.collections("things");
    two.source.create_collection("things").validator(doc! { "a": { "$type": "int" } }).await.unwrap();
    two.target.create_collection("things").await.unwrap();
    let index = |unique| {
        let options = IndexOptions::builder().unique(unique).build();
        IndexModel::builder().keys(doc! { "a": 1 }).options(options).build()
    };
    source.create_index(index(true)).await.unwrap();
    target.create_index(index(false)).await.unwrap();
    assert_eq!(two.report(&[]).await.1, Some(0));
    let output = two.verify(&["--schema"]).await;
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output);
    assert!(
        shown.contains(
            "  schema       option `validator` is {\"a\":{\"$type\":\"int\"}} in the source and not set in the target\n"
        ),
        "{shown}"
    );
    assert!(shown.contains("  schema       index `a_1` differs: unique is true in the source"), "{shown}");
}

#[tokio::test]
async fn what_has_no_common_order_is_compared_as_a_whole() {
    let two = Two::new().await;
    two.source.run_command(doc! { "create": "words", "collation": { "locale": "de" } }).await.unwrap();
    let (words, copied) = two.collections("words");
    let series = doc! { "timeField": "at", "metaField": "of" };
    for database in [&two.source, &two.target] {
        database.run_command(doc! { "create": "series", "timeseries": series.clone() }).await.unwrap();
    }
    let (measured, kept) = two.collections("series");
    let documents: Vec<Document> = ["Z", "a", "Ä"].map(|word| doc! { "_id": word }).to_vec();
    words.insert_many(&documents).await.unwrap();
    copied.insert_many(&documents).await.unwrap();
    let measure = |n: i32| doc! { "_id": n, "at": DateTime::from_millis(i64::from(n) * 1000), "of": n % 3, "value": n };
    measured.insert_many((0..100).map(measure)).await.unwrap();
    kept.insert_many((0..100).rev().map(measure)).await.unwrap();
    let output = two.verify(&[]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output);
    assert!(shown.contains("  3 documents, equal (compared as a whole: different collations)\n"), "{shown}");
    assert!(shown.contains("  100 documents, equal (compared as a whole: time-series)\n"), "{shown}");
    copied.update_one(doc! { "_id": "a" }, doc! { "$set": { "n": 1 } }).await.unwrap();
    kept.insert_one(measure(7)).await.unwrap();
    let (report, code) = two.report(&["--wait", "0s"]).await;
    assert_eq!(code, Some(1));
    let differs: Vec<&Value> = report["collections"].as_array().unwrap().iter().map(|c| &c["whole_differs"]).collect();
    assert_eq!(differs, [true, true], "{report}");
    // Nothing is not equal to nothing.
    let output = two.verify(&["--collection", "no*"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output).contains("TG0812"), "{output:?}");
}

#[tokio::test]
async fn no_password_is_shown() {
    let bad = "mongodb://me:hunter2@127.0.0.1:1/shop?serverSelectionTimeoutMS=200";
    for args in [
        vec!["verify", bad, bad],
        vec!["verify", bad],
        vec!["verify", bad, bad, bad],
        vec!["verify", bad, "hunter2://x"],
    ] {
        let output = Cli::run(&args, b"").await;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!text(&output).contains("hunter2:") && !text(&output).contains(":hunter2"), "{output:?}");
    }
    let mongo = Mongo::start(MongoOptions::with_auth()).await;
    let wrong = mongo.uri_as(Some(("root", "hunter2")));
    let output = Cli::run(&["verify", &wrong, mongo.uri()], b"").await;
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(
        shown.contains("error[TG0811]: the source (MongoDB at 127.0.0.1:") && !shown.contains("hunter2"),
        "{shown}"
    );
    // A user that may not read what is asked for.
    let client = mongo.client().await;
    client.database("shop").collection::<Document>("things").insert_one(doc! { "_id": 1 }).await.unwrap();
    let user = doc! { "createUser": "poor", "pwd": "hunter2", "roles": [] };
    client.database("admin").run_command(user).await.unwrap();
    let output =
        Cli::run(&["verify", mongo.uri(), &mongo.uri_as(Some(("poor", "hunter2"))), "--database", "shop"], b"").await;
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(shown.contains("the target (MongoDB at 127.0.0.1:"), "{shown}");
}

#[tokio::test]
async fn an_old_server_is_compared_with_a_new_one() {
    let (old, new) =
        tokio::join!(Mongo::start(MongoOptions::of(Version::V4_4)), Mongo::start(MongoOptions::of(Version::V6_0)));
    let of = async |mongo: &Mongo| mongo.client().await.database("d").collection::<Document>("c");
    let (source, target) = (of(&old).await, of(&new).await);
    let documents: Vec<Document> = ids().into_iter().map(|id| doc! { "_id": id, "n": 1 }).collect();
    source.insert_many(&documents).await.unwrap();
    target.insert_many(&documents).await.unwrap();
    for (from, to) in [(&old, &new), (&new, &old)] {
        let output = Cli::run(&["verify", from.uri(), to.uri(), "--schema"], b"").await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output).contains("12,516 documents, equal"), "{output:?}");
    }
    source.update_one(doc! { "_id": "t17" }, doc! { "$set": { "n": 2 } }).await.unwrap();
    for (from, to, expected) in [(&old, &new, "n: 2 -> 1"), (&new, &old, "n: 1 -> 2")] {
        let output = Cli::run(&["verify", from.uri(), to.uri(), "--wait", "0s"], b"").await;
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(&format!("  different    _id \"t17\"  {expected}\n")), "{output:?}");
    }
}

#[tokio::test]
async fn a_mirror_that_is_written_to_settles() {
    let two = Two::new().await;
    let config = format!(
        "admin: {{ listen: 127.0.0.1:0 }}\nlog: {{ format: json }}\npipelines:\n  mirror:\n    source: {{ mongodb: {{ uri: \"{uri}\", database: \"{}\" }} }}\n    \
         sinks: {{ out: {{ mongodb: {{ uri: \"{uri}\", database: \"{}\" }} }} }}\n",
        two.source.name(),
        two.target.name(),
        uri = two.uri
    );
    let mut host = Host::start(&config);
    host.wait_ready().await;
    let (source, target) = two.collections("things");
    source.insert_many((0..3000).map(|n| doc! { "_id": n, "n": 0 })).await.unwrap();
    let writer = {
        let source = source.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let id = n * 7919 % 2000;
                source.update_one(doc! { "_id": id }, doc! { "$inc": { "n": 1 } }).await.unwrap();
                source.insert_one(doc! { "_id": 3000 + n }).await.unwrap();
                source.delete_one(doc! { "_id": 3000 + n - 50 }).await.unwrap();
            }
        })
    };
    eventually(PATIENCE, "the mirror works", async || {
        target.find_one(doc! { "n": { "$gte": 1 } }).await.unwrap().is_some()
    })
    .await;
    let dir = host.dir().to_owned();
    let args = ["verify", "--pipeline", "mirror", "tidegate.yaml", "--wait", "10s", "--json"];
    for _ in 0..3 {
        let output = Cli::run_in(&dir, &args, b"").await;
        assert!(!writer.is_finished());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
    // A document that the mirror lost is found among those that move.
    target.delete_one(doc! { "_id": 2500 }).await.unwrap();
    let output = Cli::run_in(&dir, &args, b"").await;
    assert!(!writer.is_finished());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = json!([{ "kind": "missing", "_id": { "$numberInt": "2500" } }]);
    assert_eq!(report["collections"][0]["differences"], found, "{report}");
    writer.abort();
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn a_pipeline_without_a_mirror_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = "pipelines:\n  a: { source: stdin, sinks: { out: stdout } }\n  b:\n    source: { mongodb: { uri: \"mongodb://h\" } }\n    \
                  sinks: { log: { mongodb: { uri: \"mongodb://h\", mode: append, database: d, collection: c } } }\n";
    std::fs::write(dir.path().join("c.yaml"), config).unwrap();
    for (name, expected) in [
        ("none", "there is no pipeline `none`; there are: a, b"),
        ("a", "the source of pipeline `a` is not MongoDB"),
        ("b", "a journal of changes is no mirror"),
    ] {
        let output = Cli::run_in(dir.path(), &["verify", "--pipeline", name, "c.yaml"], b"").await;
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output).contains("error[TG0813]") && text(&output).contains(expected), "{output:?}");
    }
}

/// Runs it, and returns its exit code and the most memory it had, in MB.
async fn measured(args: &[&str]) -> (Option<i32>, u64) {
    let mut command = Command::new(program("tidegate"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = Process::spawn("tidegate", command).unwrap();
    let status = format!("/proc/{}/status", process.id());
    let mut most = 0;
    let code = eventually(PATIENCE, "the end of tidegate", async || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
        most = most.max(peak.map_or(0, |peak| peak.trim().parse::<u64>().unwrap() / 1024));
        process.exit_status()
    })
    .await;
    (code.code(), most)
}

#[tokio::test]
async fn two_hundred_thousand_documents_take_little_memory() {
    const COUNT: i32 = 200_000;
    let two = Two::new().await;
    let (source, target) = two.collections("many");
    let filler = "x".repeat(200);
    for from in (0..COUNT).step_by(20_000) {
        source.insert_many((from..from + 20_000).map(|n| doc! { "_id": n, "filler": &filler })).await.unwrap();
    }
    let out = doc! { "$out": { "db": two.target.name(), "coll": "many" } };
    source.aggregate([out]).await.unwrap();
    let uri = |database: &Database| two.uri.replace("/?", &format!("/{}?", database.name()));
    let (from, to) = (uri(&two.source), uri(&two.target));
    let (code, most) = measured(&["verify", &from, &to]).await;
    assert_eq!(code, Some(0));
    assert!(most < 100, "{most} MB for equal ones");
    // Every one differs, twice as many as are looked at again together.
    target.update_many(doc! {}, doc! { "$set": { "more": 1 } }).await.unwrap();
    let (code, most) = measured(&["verify", &from, &to, "--wait", "0s"]).await;
    assert_eq!(code, Some(1));
    assert!(most < 120, "{most} MB for different ones");
}
