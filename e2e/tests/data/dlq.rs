//! Dead letters as their operators meet them: listed, shown, replayed after the plugin was mended, dropped; in each of their places.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mongodb::bson::{Document, doc};
use serde_json::Value;
use tidegate_tests::guests::{Deed, Guest, MARKER, Role};
use tidegate_tests::servers::{Mongo, MongoOptions, Redis, RedisOptions};
use tidegate_tests::{Cli, Host, HostOptions, eventually, program};

use crate::scene::{PATIENCE, Scene, all, numbers, without_doubles};

/// A pipeline of one plugin, `guest`, which this test makes and replaces.
struct Bench {
    scene: Scene,
    dead_letter: String,
    sinks: String,
}

impl Bench {
    async fn new(dead_letter: &str) -> Self {
        let scene = Scene::shared().await;
        std::fs::create_dir(scene.dir.path().join("plugins")).unwrap();
        let sinks = format!("{{ out: {} }}", scene.stream_sink("out", "json"));
        let bench = Self { scene, dead_letter: dead_letter.to_owned(), sinks };
        bench.install(&rejecting());
        bench
    }

    fn install(&self, guest: &Guest) {
        guest.install(&self.scene.dir.path().join("plugins"), "guest");
    }

    fn write_config(&self) -> String {
        let config = format!(
            "admin: {{ listen: 127.0.0.1:0 }}\nlog: {{ level: info, format: json }}\nplugins: {{ dir: plugins }}\npipelines:\n  main:\n    \
             source: {}\n    stages: [{{ plugin: guest }}]\n    sinks: {}\n    {}\n",
            self.scene.source(),
            self.sinks,
            self.dead_letter
        );
        std::fs::write(self.scene.dir.path().join("tidegate.yaml"), &config).unwrap();
        config
    }

    fn launch(&self) -> Host {
        let options = HostOptions { dir: Some(self.scene.dir.path().to_owned()), ..HostOptions::default() };
        Host::start_with(&self.write_config(), options)
    }

    async fn host(&self) -> Host {
        let mut host = self.launch();
        host.wait_ready().await;
        host
    }

    async fn dlq(&self, command: &str, args: &[&str]) -> (Option<i32>, String) {
        self.write_config();
        let all: Vec<&str> = ["dlq", command, "tidegate.yaml", "main"].iter().chain(args).copied().collect();
        let Output { status, stdout, stderr } = Cli::run_in(self.scene.dir.path(), &all, b"").await;
        let text = String::from_utf8(stdout).unwrap();
        (status.code(), if text.is_empty() { String::from_utf8(stderr).unwrap() } else { text })
    }

    /// The letters, as `tidegate dlq list --json` tells of them.
    async fn letters(&self, args: &[&str]) -> Vec<Value> {
        let args: Vec<&str> = ["--json"].iter().chain(args).copied().collect();
        let (code, text) = self.dlq("list", &args).await;
        assert_eq!(code, Some(0), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    async fn wait_letters(&self, count: usize) -> Vec<Value> {
        eventually(PATIENCE, &format!("{count} letters"), async || {
            let letters = self.letters(&[]).await;
            if letters.len() >= count { Ok(letters) } else { Err(letters.len()) }
        })
        .await
    }
}

fn rejecting() -> Guest {
    Guest::new(Role::Validator).when_marked(Deed::Reject(10))
}

fn mended() -> Guest {
    Guest::new(Role::Validator).version("2.0.0")
}

fn bad(id: i32, n: i32) -> Document {
    doc! { "_id": id, "n": n, "text": MARKER }
}

fn ids(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["id"].as_str().unwrap()).collect()
}

async fn rejected_then_replayed_then_dropped(bench: &Bench) {
    let mut host = bench.host().await;
    let things = bench.scene.collection("things");
    things.insert_one(bad(1, 0)).await.unwrap();
    things.replace_one(doc! { "_id": 1 }, bad(1, 1)).await.unwrap();
    things.insert_one(bad(2, 2)).await.unwrap();
    things.insert_one(doc! { "_id": 3, "n": 3 }).await.unwrap();
    let letters = bench.wait_letters(3).await;
    bench.scene.wait_length("out", 1).await;
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|letter| letter["kind"] == "rejected" && letter["pipeline"] == "main"), "{letters:?}");
    let all = ids(&letters);

    // What people see.
    let (code, table) = bench.dlq("list", &["--limit", "2", "--plugin", "guest"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((code, lines.len()), (Some(0), 4), "{table}");
    assert!(
        lines[0].starts_with("TIME") && lines[1].contains(all[0]) && lines[1].contains("stages[0] guest"),
        "{table}"
    );
    assert_eq!(lines[3], "3 dead letters, the oldest 2 shown; --limit shows more");
    let (code, shown) = bench.dlq("show", &[all[2]]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &shown["change"]["doc"]["n"]["$numberInt"]), (Some(0), &"2".into()));
    assert_eq!(shown["violations"][0]["path"], "a.b");
    let (code, told) = bench.dlq("show", &["nothing"]).await;
    assert!(code == Some(1) && told.contains("TG0607"), "{told}");
    assert!(bench.letters(&["--kind", "trap"]).await.is_empty());
    assert_eq!(ids(&bench.letters(&["--document", "2"]).await), [all[2]]);

    // Nothing was mended: they stay, and the second one of document 1 waits for the first.
    let (code, told) = bench.dlq("replay", &["--all", "--yes"]).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.ends_with("replayed 0, failed again 2, held back 1, skipped 0\n"), "{told}");
    let again = bench.letters(&[]).await;
    assert_eq!(ids(&again), all, "no letter is doubled or lost");
    let failed: Vec<bool> = again.iter().map(|letter| letter.get("failed_again_at").is_some()).collect();
    assert_eq!(failed, [true, false, true]);

    // Mended, while the host runs.
    bench.install(&mended());
    let (code, told) = bench.dlq("replay", &[all[2], "--yes"]).await;
    assert_eq!((code, &*told), (Some(0), "replayed 1, failed again 0, held back 0, skipped 0\n"));
    let (code, told) = bench.dlq("replay", &["--all", "--yes"]).await;
    assert_eq!((code, &*told), (Some(0), "replayed 2, failed again 0, held back 0, skipped 1\n"));
    let delivered = bench.scene.entries("out").await;
    assert_eq!(numbers(&delivered), [3, 2, 0, 1], "in order by document");
    let replayed = [all[2], all[0], all[1]];
    assert_eq!(delivered[1..].iter().map(|entry| entry.id()).collect::<Vec<_>>(), replayed, "with their ids");
    for entry in &delivered[1..] {
        assert!(super::dead_letters::is_time(&entry.text("h.replayed_at").into()));
    }
    assert!(!delivered[0].names().contains(&"h.replayed_at"));
    let (code, told) = bench.dlq("replay", &["--all", "--yes"]).await;
    assert_eq!((code, &*told), (Some(0), "replayed 0, failed again 0, held back 0, skipped 3\n"));
    assert_eq!(bench.scene.entries("out").await.len(), 4, "nothing is delivered again");
    let (code, told) = bench.dlq("replay", &[all[0], "--again", "--yes"]).await;
    assert_eq!((code, &*told), (Some(0), "replayed 1, failed again 0, held back 0, skipped 0\n"));
    assert_eq!(numbers(&bench.scene.entries("out").await), [3, 2, 0, 1, 0], "but when that is asked for");

    assert!(bench.letters(&["--open"]).await.is_empty());
    assert_eq!(bench.letters(&["--replayed"]).await.len(), 3);
    let (_, told) = bench.dlq("drop", &["--yes"]).await;
    assert!(told.contains("say which letters"), "{told}");
    let (code, told) = bench.dlq("drop", &[all[0], "--yes"]).await;
    assert!(code == Some(0) && told.ends_with("dropped 1 letter\n"), "{told}");
    assert_eq!(ids(&bench.letters(&[]).await), all[1..]);
    assert_eq!(host.stop().await, Some(0));
    let (code, told) = bench.dlq("drop", &["--replayed", "--yes"]).await;
    assert_eq!((code, &*told), (Some(0), "dropped 2 letters\n"));
    assert!(bench.letters(&[]).await.is_empty());
}

#[tokio::test]
async fn rejected_replayed_dropped_in_a_file() {
    let bench = Bench::new("").await;
    rejected_then_replayed_then_dropped(&bench).await;
    let file = bench.scene.dir.path().join(".tidegate/main.dead.jsonl");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "", "no host ran, so the lines are gone");
}

#[tokio::test]
async fn rejected_replayed_dropped_in_a_redis_stream() {
    let mut bench = Bench::new("").await;
    let (url, stream) = (&bench.scene.redis_url, bench.scene.names.key("dead"));
    bench.dead_letter = format!(r#"dead_letter: {{ redis: {{ url: "{url}", stream: "{stream}" }} }}"#);
    rejected_then_replayed_then_dropped(&bench).await;
    let mut redis = bench.scene.redis().await;
    let (length, marks): (u64, u64) = redis::pipe()
        .cmd("XLEN")
        .arg(&stream)
        .cmd("HLEN")
        .arg(format!("{stream}:marks"))
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!((length, marks), (0, 0));
}

fn collection_of(uri: &str, database: &str) -> String {
    format!(r#"dead_letter: {{ mongodb: {{ uri: "{uri}", database: "{database}", collection: letters }} }}"#)
}

#[tokio::test]
async fn rejected_replayed_dropped_in_a_mongodb_collection() {
    let mut bench = Bench::new("").await;
    let database = format!("{}-d", bench.scene.names.database());
    bench.dead_letter = collection_of(&bench.scene.mongodb_uri, &database);
    rejected_then_replayed_then_dropped(&bench).await;
    let client = mongodb::Client::with_uri_str(&bench.scene.mongodb_uri).await.unwrap();
    let letters = client.database(&database).collection::<Document>("letters");
    assert_eq!(letters.count_documents(doc! {}).await.unwrap(), 0);
}

#[tokio::test]
async fn what_one_sink_refused_is_replayed_into_that_one_alone() {
    let mut bench = Bench::new("").await;
    bench.install(&mended());
    let (a, b) = (bench.scene.stream_sink("a", "json"), bench.scene.stream_sink("b", "json"));
    bench.sinks = format!("{{ a: {a}, b: {b} }}");
    let mut redis = bench.scene.redis().await;
    let key = bench.scene.names.key("b");
    let () = redis::cmd("SET").arg(&key).arg("text").query_async(&mut redis).await.unwrap();
    let mut host = bench.host().await;
    bench.scene.collection("things").insert_many((0..3).map(|n| doc! { "_id": n, "n": n })).await.unwrap();
    let letters = bench.wait_letters(3).await;
    assert!(letters.iter().all(|letter| letter["kind"] == "refused" && letter["stage"] == "sinks.b"), "{letters:?}");
    let (code, told) = bench.dlq("replay", &["--stage", "sinks.b", "--yes"]).await;
    assert!(code == Some(1) && told.ends_with("replayed 0, failed again 3, held back 0, skipped 0\n"), "{told}");
    let () = redis::cmd("DEL").arg(&key).query_async(&mut redis).await.unwrap();
    let (code, told) = bench.dlq("replay", &["--stage", "sinks.b", "--yes"]).await;
    assert_eq!((code, &*told), (Some(0), "replayed 3, failed again 0, held back 0, skipped 0\n"));
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(numbers(&bench.scene.entries("b").await), [0, 1, 2]);
    assert_eq!(numbers(&bench.scene.entries("a").await), [0, 1, 2], "which had them already");
}

/// A letter is old: a mirror that has got further since is not taken back, unless one wants that.
#[tokio::test]
async fn a_mirror_is_not_taken_back_to_the_state_of_a_letter() {
    let mut bench = Bench::new("").await;
    let (uri, copy) = (&bench.scene.mongodb_uri, format!("{}-c", bench.scene.names.database()));
    bench.sinks = format!(r#"{{ out: {{ mongodb: {{ uri: "{uri}", database: "{copy}" }} }} }}"#);
    let copies = bench.scene.database.client().database(&copy).collection::<Document>("things");
    let things = bench.scene.collection("things");
    let mut host = bench.host().await;
    // Both are rejected first; then one is mended at the source, and one only stands there as it was.
    things.insert_many([bad(1, 1), bad(2, 2)]).await.unwrap();
    let letters = bench.wait_letters(2).await;
    assert_eq!(letters.len(), 2, "{letters:?}");
    things.replace_one(doc! { "_id": 1 }, doc! { "_id": 1, "n": 3 }).await.unwrap();
    eventually(PATIENCE, "the mended one", async || {
        let found = copies.count_documents(doc! { "n": 3 }).await.unwrap();
        if found == 1 { Ok(()) } else { Err(found) }
    })
    .await;
    bench.install(&mended());
    let (code, told) = bench.dlq("replay", &["--all", "--yes"]).await;
    assert!(code == Some(1) && told.ends_with("replayed 1, failed again 1, held back 0, skipped 0\n"), "{told}");
    assert!(told.contains("which may be newer; --overwrite replaces it"), "{told}");
    let state = async || all(&copies).await.iter().map(|copy| copy.get_i32("n").unwrap()).collect::<Vec<_>>();
    assert_eq!(state().await, [3, 2]);
    // What is there already as the letter has it is no trouble, as after a replay that was killed before its mark.
    let (_, told) = bench.dlq("replay", &["--document", "2", "--again", "--yes"]).await;
    assert_eq!(told, "replayed 1, failed again 0, held back 0, skipped 0\n");
    let (code, told) = bench.dlq("replay", &["--all", "--overwrite", "--yes"]).await;
    assert_eq!((code, &*told), (Some(0), "replayed 1, failed again 0, held back 0, skipped 1\n"));
    assert_eq!(state().await, [1, 2]);
    assert_eq!(host.stop().await, Some(0));
}

#[tokio::test]
async fn letters_go_through_every_stage_as_the_source_read_them() {
    // The first plugin stamps the change, the second one fails on it: a replay must not stamp it twice.
    let bench = Bench::new("").await;
    let plugins = bench.scene.dir.path().join("plugins");
    let config = |bench: &Bench| {
        let text = bench.write_config().replace("[{ plugin: guest }]", "[{ plugin: stamp }, { plugin: guest }]");
        std::fs::write(bench.scene.dir.path().join("tidegate.yaml"), &text).unwrap();
        text
    };
    Guest::new(Role::Stamper).version("s1").install(&plugins, "stamp");
    let options = HostOptions { dir: Some(bench.scene.dir.path().to_owned()), ..HostOptions::default() };
    let mut host = Host::start_with(&config(&bench), options);
    host.wait_ready().await;
    bench.scene.collection("things").insert_one(bad(1, 0)).await.unwrap();
    let letters = bench.scene.wait_dead_letters(1).await;
    assert_eq!(host.stop().await, Some(0));
    assert!(letters[0]["change"]["headers"]["s0"].is_string(), "as the stage got it: {}", letters[0]);
    assert!(letters[0]["original"].is_object() && letters[0]["original"].get("headers").is_none(), "{}", letters[0]);
    bench.install(&mended());
    config(&bench);
    let args = ["dlq", "replay", "tidegate.yaml", "main", "--all", "--yes"];
    let output = Cli::run_in(bench.scene.dir.path(), &args, b"").await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let delivered = bench.scene.entries("out").await;
    assert_eq!(delivered[0].names(), ["doc", "h.replayed_at", "h.s0", "id", "key", "ns", "op"]);
}

/// A good change behind a bad one waits for the letter, and arrives.
async fn waits_for_its_place(bench: &Bench, host: &mut Host) {
    bench.scene.collection("things").insert_many([bad(1, 1), doc! { "_id": 2, "n": 2 }]).await.unwrap();
    let line = host.wait_event("dead_letter_failed").await;
    assert!(["TG0301", "TG0401"].contains(&line["code"].as_str().unwrap()), "{line}");
    assert!(bench.scene.entries("out").await.is_empty(), "nothing goes on without the letter");
}

#[tokio::test]
async fn a_mongodb_place_that_is_away_is_waited_for() {
    let mut mongo = Mongo::start(MongoOptions::default()).await;
    let mut bench = Bench::new("").await;
    let separator = if mongo.uri().contains('?') { '&' } else { '?' };
    let uri = format!("{}{separator}serverSelectionTimeoutMS=1000", mongo.uri());
    bench.dead_letter = collection_of(&uri, "ops");
    let mut host = bench.host().await;
    mongo.kill(0);
    waits_for_its_place(&bench, &mut host).await;
    mongo.restart(0).await;
    bench.scene.wait_length("out", 1).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(bench.letters(&[]).await.len(), 1);
    assert_eq!(numbers(&bench.scene.entries("out").await), [2]);
}

#[tokio::test]
async fn a_redis_place_that_is_away_is_waited_for() {
    let mut redis = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
    let mut bench = Bench::new("").await;
    bench.dead_letter = format!(r#"dead_letter: {{ redis: {{ url: "{}", stream: dead }} }}"#, redis.url());
    let mut host = bench.host().await;
    redis.kill();
    waits_for_its_place(&bench, &mut host).await;
    redis.restart().await;
    bench.scene.wait_length("out", 1).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(bench.letters(&[]).await.len(), 1);
    assert_eq!(numbers(&bench.scene.entries("out").await), [2]);
}

#[tokio::test]
async fn a_mongodb_place_that_refuses_stops_the_pipeline_before_anything_is_lost() {
    let mut bench = Bench::new("").await;
    let database = format!("{}-d", bench.scene.names.database());
    bench.dead_letter = collection_of(&bench.scene.mongodb_uri, &database);
    let client = mongodb::Client::with_uri_str(&bench.scene.mongodb_uri).await.unwrap();
    let database = client.database(&database);
    let rule = doc! { "create": "letters", "validator": { "never": true } };
    database.run_command(rule).await.unwrap();
    let mut host = bench.host().await;
    bench.scene.collection("things").insert_many([bad(1, 1), doc! { "_id": 2, "n": 2 }]).await.unwrap();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(1));
    assert!(host.stderr().contains("TG0604") && host.stderr().contains("validation"), "{}", host.stderr());
    database.run_command(doc! { "collMod": "letters", "validator": {} }).await.unwrap();
    let mut host = bench.host().await;
    bench.scene.wait_length("out", 1).await;
    assert_eq!(host.stop().await, Some(0));
    assert_eq!(bench.letters(&[]).await.len(), 1);
    assert_eq!(numbers(&bench.scene.entries("out").await), [2]);
}

/// Kills the host again and again while everything it reads becomes a letter.
async fn killed_in_the_middle(bench: &Bench, count: i32, kept: impl AsyncFn() -> usize) {
    let things = bench.scene.collection("things");
    let mut host = bench.host().await;
    let all: Vec<Document> = (0..count).map(|n| bad(n, n)).collect();
    let flood = tokio::spawn({
        let all = all.clone();
        async move {
            for part in all.chunks(50) {
                things.insert_many(part).await.unwrap();
            }
        }
    });
    for round in 1..=4 {
        let least = usize::try_from(count).unwrap() * round / 6;
        eventually(PATIENCE, "letters", async || kept().await >= least).await;
        host.kill();
        host = bench.launch();
    }
    flood.await.unwrap();
    host.wait_ready().await;
    eventually(PATIENCE, "all letters", async || {
        bench.letters(&["--document", &(count - 1).to_string()]).await.len() == 1
    })
    .await;
    assert_eq!(host.stop().await, Some(0));
    let letters = bench.letters(&[]).await;
    let found: Vec<i32> = letters
        .iter()
        .map(|letter| letter["change"]["doc"]["n"]["$numberInt"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(found, (0..count).collect::<Vec<_>>(), "each once, in the order of the source");
}

#[tokio::test]
async fn kills_leave_no_doubles_in_mongodb() {
    let mut bench = Bench::new("").await;
    let database = format!("{}-d", bench.scene.names.database());
    bench.dead_letter = collection_of(&bench.scene.mongodb_uri, &database);
    let client = mongodb::Client::with_uri_str(&bench.scene.mongodb_uri).await.unwrap();
    let letters = client.database(&database).collection::<Document>("letters");
    let kept = async || usize::try_from(letters.count_documents(doc! {}).await.unwrap()).unwrap();
    killed_in_the_middle(&bench, 3000, kept).await;
    assert_eq!(letters.count_documents(doc! {}).await.unwrap(), 3000);
}

#[tokio::test]
async fn kills_leave_no_doubles_to_be_seen_in_a_file() {
    let bench = Bench::new("").await;
    let file: PathBuf = bench.scene.dir.path().join(".tidegate/main.dead.jsonl");
    let lines = async || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
    killed_in_the_middle(&bench, 3000, lines).await;
    eprintln!("{} lines for 3000 letters", lines().await);
}

#[tokio::test]
async fn a_replay_that_is_killed_goes_on_and_loses_nothing() {
    const COUNT: i32 = 1500;
    let bench = Bench::new("").await;
    let mut host = bench.host().await;
    let all: Vec<Document> = (0..COUNT).map(|n| bad(n, n)).collect();
    bench.scene.collection("things").insert_many(&all).await.unwrap();
    bench.scene.wait_dead_letters(usize::try_from(COUNT).unwrap()).await;
    bench.install(&mended());
    for kill in 1..=2 {
        let mut replay = Command::new(program("tidegate"))
            .args(["dlq", "replay", "tidegate.yaml", "main", "--all", "--yes"])
            .current_dir(bench.scene.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        bench.scene.wait_length("out", 250 * kill).await;
        // It may have come to its end already on a quick machine: then the kill comes too late, and nothing is wrong.
        let _ = replay.kill();
        replay.wait().unwrap();
    }
    let (code, told) = bench.dlq("replay", &["--all", "--yes"]).await;
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(host.stop().await, Some(0));
    let found = bench.scene.entries("out").await;
    let once = without_doubles(&found);
    eprintln!("{} doubles after two kills; {told}", found.len() - once.len());
    assert_eq!(numbers(&once), (0..COUNT).collect::<Vec<_>>());
    assert!(found.len() - once.len() <= 2 * 200, "at most what was under way");
    assert!(bench.letters(&["--open"]).await.is_empty());
}

#[tokio::test]
async fn a_file_sink_of_a_running_host_is_left_alone() {
    let mut bench = Bench::new("").await;
    bench.sinks = "{ out: { file: { path: out.jsonl } } }".to_owned();
    let mut host = bench.host().await;
    bench.scene.collection("things").insert_one(bad(1, 1)).await.unwrap();
    bench.scene.wait_dead_letters(1).await;
    bench.install(&mended());
    let (code, told) = bench.dlq("replay", &["--all", "--yes"]).await;
    assert!(code == Some(1) && told.contains("TG0608"), "{told}");
    assert_eq!(host.stop().await, Some(0));
    let (code, told) = bench.dlq("replay", &["--all", "--yes"]).await;
    assert_eq!((code, &*told), (Some(0), "replayed 1, failed again 0, held back 0, skipped 0\n"));
    assert_eq!(lines(&bench.scene.dir.path().join("out.jsonl")), 1);
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn a_sink_that_is_away_ends_the_replay_and_nothing_is_marked() {
    let mut redis = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
    let mut bench = Bench::new("").await;
    bench.sinks = format!(r#"{{ out: {{ redis: {{ url: "{}", stream: out, timeout: 300ms }} }} }}"#, redis.url());
    let mut host = bench.host().await;
    bench.scene.collection("things").insert_one(bad(1, 1)).await.unwrap();
    bench.scene.wait_dead_letters(1).await;
    assert_eq!(host.stop().await, Some(0));
    bench.install(&mended());
    redis.stop().await;
    let (code, told) = bench.dlq("replay", &["--all", "--yes"]).await;
    assert_eq!((code, &*told), (Some(1), "replayed 0, failed again 0, held back 0, skipped 0\n"));
    redis.restart().await;
    let (code, told) = bench.dlq("replay", &["--all", "--yes"]).await;
    assert_eq!((code, &*told), (Some(0), "replayed 1, failed again 0, held back 0, skipped 0\n"));
}
