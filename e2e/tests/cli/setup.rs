//! `tidegate setup` on Google's emulator of Pub/Sub: what it makes, what it leaves alone, and what it cannot do.

use std::process::Output;
use std::time::Duration;

use google_cloud_pubsub::model::{Subscription, Topic};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_tests::servers::{PROJECT, PubSub};
use tidegate_tests::{Cli, TestNames};

/// How long a subscription is quiet that has no more.
const QUIET: Duration = Duration::from_secs(2);

/// A configuration with a topic, and one subscription for each end of it.
struct Rig {
    server: PubSub,
    names: TestNames,
    dir: TempDir,
}

impl Rig {
    async fn new() -> Self {
        let (server, names) = (PubSub::shared().await, TestNames::new());
        Self { server, names, dir: tempfile::tempdir().unwrap() }
    }

    /// A name of this test's own. It begins with a letter.
    fn name(&self, name: &str) -> String {
        format!("t-{}.{name}", self.names.prefix())
    }

    fn full(&self, kind: &str, name: &str) -> String {
        format!("projects/{PROJECT}/{kind}/{}", self.name(name))
    }

    fn at(&self) -> String {
        format!("project: {PROJECT}, endpoint: \"{}\"", self.server.endpoint())
    }

    /// A sink with this `setup`.
    fn out(&self, topic: &str, setup: &str) -> String {
        let (at, topic) = (self.at(), self.name(topic));
        format!(
            "  out: {{ source: stdin, sinks: {{ events: {{ pubsub: {{ {at}, topic: \"{topic}\"{setup} }} }} }} }}\n"
        )
    }

    /// A source with this `setup`, into a file.
    fn reading(&self, subscription: &str, setup: &str) -> String {
        let (at, subscription) = (self.at(), self.name(subscription));
        format!(
            "  in: {{ source: {{ pubsub: {{ {at}, subscription: {subscription}{setup} }} }}, sinks: {{ log: {{ file: {{ path: in.jsonl }} }} }} }}\n"
        )
    }

    /// All that can be asked for, a `retention` of the workers, and a `retry`.
    fn whole(&self, retention: &str, retry: &str) -> String {
        let (stock, reader, dead) = (self.name("stock"), self.name("reader"), self.name("dead"));
        let out = self.out(
            "stock",
            &format!(", setup: {{ retention: 1d, labels: {{ team: shop }}, subscriptions: {{ {reader}: {{}} }} }}"),
        );
        let into = self.reading(
            "workers",
            &format!(
                ", ack_deadline: 30s, setup: {{ topic: {stock}, retention: {retention}, labels: {{ for: workers }}, retry: {retry}, \
                 filter: 'attributes.operation = \"insert\"', exactly_once: true, dead_letter: {{ topic: {dead}, attempts: 7, retention: 6d }} }}"
            ),
        );
        out + &into
    }

    async fn setup(&self, pipelines: &str, more: &[&str]) -> Output {
        let text = format!("admin: {{ listen: 127.0.0.1:0 }}\npipelines:\n{pipelines}");
        std::fs::write(self.dir.path().join("tide.yaml"), text).unwrap();
        Cli::run_in(self.dir.path(), &[&["setup", "tide.yaml"], more].concat(), b"").await
    }

    /// The report as JSON, and the exit code.
    async fn report(&self, pipelines: &str, more: &[&str]) -> (Vec<Value>, Option<i32>) {
        let output = self.setup(pipelines, &[&["--json"], more].concat()).await;
        let lines: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (lines.as_array().unwrap().clone(), output.status.code())
    }

    /// All that the configuration of [`Rig::whole`] needs.
    async fn found(&self) -> (Vec<Option<Topic>>, Vec<Option<Subscription>>) {
        let (mut topics, mut subscriptions) = (Vec::new(), Vec::new());
        for topic in ["stock", "dead"] {
            topics.push(self.server.find_topic(&self.name(topic)).await);
        }
        for subscription in ["reader", "dead", "workers"] {
            subscriptions.push(self.server.find_subscription(&self.name(subscription)).await);
        }
        (topics, subscriptions)
    }
}

fn outcomes(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect()
}

fn seconds(time: Option<impl TryInto<Duration>>) -> u64 {
    time.and_then(|time| time.try_into().ok()).unwrap_or_default().as_secs()
}

#[tokio::test]
async fn d6_setup_makes_all_that_is_needed_as_it_is_asked_for_and_may_be_run_again() {
    let rig = Rig::new().await;
    let whole = rig.whole("3d", "{ min: 15s, max: 2m }");
    // A dry run tells all of it, and makes nothing.
    let (lines, code) = rig.report(&whole, &["--dry-run"]).await;
    assert_eq!((outcomes(&lines), code), (vec!["to_make"; 5], Some(0)), "{lines:#?}");
    assert_eq!(rig.found().await, (vec![None; 2], vec![None; 3]));
    let told: Vec<_> = lines.iter().map(|line| (&line["what"], &line["properties"], &line["wanted_by"])).collect();

    let (made, code) = rig.report(&whole, &[]).await;
    assert_eq!((outcomes(&made), code), (vec!["made"; 5], Some(0)), "{made:#?}");
    let done: Vec<_> = made.iter().map(|line| (&line["what"], &line["properties"], &line["wanted_by"])).collect();
    assert_eq!(told, done, "what was told is what was done");

    let (topics, subscriptions) = rig.found().await;
    let [Some(stock), Some(_)] = &*topics else { panic!("{topics:?}") };
    assert_eq!((stock.labels["team"].as_str(), seconds(stock.message_retention_duration)), ("shop", 86_400));
    let [Some(reader), Some(dead), Some(workers)] = &*subscriptions else { panic!("{subscriptions:?}") };
    assert_eq!((&reader.topic, reader.enable_message_ordering), (&rig.full("topics", "stock"), true));
    assert_eq!((reader.ack_deadline_seconds, &*reader.filter), (60, ""));
    assert_eq!(reader.expiration_policy.as_ref().map(|policy| policy.ttl.is_none()), Some(true), "it never expires");
    assert_eq!((&dead.topic, seconds(dead.message_retention_duration)), (&rig.full("topics", "dead"), 6 * 86_400));
    assert_eq!(dead.expiration_policy.as_ref().map(|policy| policy.ttl.is_none()), Some(true));
    assert_eq!((&workers.topic, workers.enable_message_ordering), (&rig.full("topics", "stock"), true));
    assert_eq!((workers.ack_deadline_seconds, seconds(workers.message_retention_duration)), (30, 3 * 86_400));
    assert_eq!((&*workers.filter, workers.labels["for"].as_str()), ("attributes.operation = \"insert\"", "workers"));
    assert!(workers.enable_exactly_once_delivery);
    let retry = workers.retry_policy.as_ref().unwrap();
    assert_eq!((seconds(retry.minimum_backoff), seconds(retry.maximum_backoff)), (15, 120));
    let policy = workers.dead_letter_policy.as_ref().unwrap();
    assert_eq!((&policy.dead_letter_topic, policy.max_delivery_attempts), (&rig.full("topics", "dead"), 7));

    let (again, code) = rig.report(&whole, &[]).await;
    assert_eq!((outcomes(&again), code), (vec!["there"; 5], Some(0)), "{again:#?}");
    assert_eq!(rig.found().await, (topics, subscriptions), "the second run changes nothing");
    let shown = rig.setup(&whole, &[]).await;
    assert!(String::from_utf8_lossy(&shown.stdout).ends_with("tide.yaml: nothing to do\n"), "{shown:?}");
}

#[tokio::test]
async fn d6_setup_changes_what_differs_and_tells_from_what_to_what() {
    let rig = Rig::new().await;
    let (_, code) = rig.report(&rig.whole("3d", "{ min: 15s, max: 2m }"), &[]).await;
    assert_eq!(code, Some(0));
    let before = rig.found().await;
    let other = rig.whole("5d", "{}").replace("30s", "90s").replace("attempts: 7", "attempts: 9");
    let expected = json!([
        { "name": "ack_deadline", "from": "30s", "to": "1m 30s" },
        { "name": "retention", "from": "3d", "to": "5d" },
        { "name": "retry", "from": "15s to 2m", "to": "10s to 10m" },
        { "name": "dead_letter", "from": format!("{} after 7 deliveries", rig.full("topics", "dead")),
          "to": format!("{} after 9 deliveries", rig.full("topics", "dead")) },
    ]);
    for (more, outcome) in [(&["--dry-run"][..], "to_change"), (&[], "changed")] {
        assert_eq!(rig.found().await, before);
        let (lines, code) = rig.report(&other, more).await;
        assert_eq!(
            (outcomes(&lines), code),
            (vec!["there", "there", "there", "there", outcome], Some(0)),
            "{lines:#?}"
        );
        assert_eq!(lines[4]["properties"], expected);
    }
    let (_, subscriptions) = rig.found().await;
    let workers = subscriptions[2].as_ref().unwrap();
    assert_eq!((workers.ack_deadline_seconds, seconds(workers.message_retention_duration)), (90, 5 * 86_400));
    assert_eq!(seconds(workers.retry_policy.as_ref().unwrap().minimum_backoff), 10);
    assert_eq!(workers.dead_letter_policy.as_ref().unwrap().max_delivery_attempts, 9);
    // What was not asked to change is as it was.
    assert_eq!((&*workers.filter, workers.labels["for"].as_str()), ("attributes.operation = \"insert\"", "workers"));
    // What the service refuses to change is told, and the rest goes on. The emulator changes no labels.
    let labels = other.replace("team: shop", "team: store").replace("attempts: 9", "attempts: 8");
    let (lines, code) = rig.report(&labels, &[]).await;
    assert_eq!((outcomes(&lines)[0], outcomes(&lines)[4], code), ("failed", "changed", Some(1)), "{lines:#?}");
    assert_eq!(lines[0]["code"], "TG1006");
}

#[tokio::test]
async fn d6_setup_says_what_cannot_be_changed_and_removes_nothing() {
    let rig = Rig::new().await;
    for topic in ["stock", "other"] {
        rig.server.topic(&rig.name(topic)).await;
    }
    let filter = "attributes.region = \"eu\"";
    let plain = |subscription: Subscription| subscription.set_filter(filter);
    rig.server.subscription_with(&rig.name("workers"), &rig.name("other"), plain).await;
    let before = rig.server.find_subscription(&rig.name("workers")).await;
    let into = rig.reading("workers", &format!(", setup: {{ topic: {}, retention: 3d }}", rig.name("stock")));
    for more in [&["--dry-run"][..], &[]] {
        let (lines, code) = rig.report(&into, more).await;
        assert_eq!((outcomes(&lines), code), (vec!["there", "failed"], Some(1)), "{lines:#?}");
        assert_eq!(lines[1]["code"], "TG1008");
        let names: Vec<_> = lines[1]["properties"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["topic", "ordering", "filter"]);
        assert!(lines[1]["help"].as_str().unwrap().contains("gcloud pubsub subscriptions delete"), "{lines:#?}");
        assert_eq!(rig.server.find_subscription(&rig.name("workers")).await, before);
    }
    let shown = rig.setup(&into, &[]).await;
    let told = String::from_utf8_lossy(&shown.stdout);
    assert!(told.contains("ordering: off, and not on") && told.contains("1 to mend"), "{told}");
    // With what it has it is good, but for what can be changed.
    let setup = format!(", setup: {{ topic: {}, ordering: false, filter: '{filter}' }}", rig.name("other"));
    let (lines, code) = rig.report(&rig.reading("workers", &setup), &[]).await;
    assert_eq!((outcomes(&lines), code), (vec!["there", "changed"], Some(0)), "{lines:#?}");
}

#[tokio::test]
async fn d6_setup_says_what_is_not_known() {
    let rig = Rig::new().await;
    // A subscription without its topic, and topics that each change names.
    let template = rig.out("{collection}", "");
    let (lines, code) = rig.report(&(rig.reading("workers", "") + &template), &[]).await;
    assert_eq!((outcomes(&lines), code), (vec!["note", "failed"], Some(1)), "{lines:#?}");
    assert!(lines[0]["help"].as_str().unwrap().contains("setup.topics"), "{lines:#?}");
    assert_eq!(lines[1]["code"], "TG1020");
    assert!(lines[1]["what"].as_str().unwrap().contains("setup: { topic: NAME }"), "{lines:#?}");
    // One that is there is enough for a source that says no more.
    rig.server.topic(&rig.name("stock")).await;
    rig.server.subscription(&rig.name("workers"), &rig.name("stock")).await;
    let (lines, code) = rig.report(&rig.reading("workers", ""), &[]).await;
    assert_eq!((outcomes(&lines), code), (vec!["there"], Some(0)), "{lines:#?}");
    // Topics that are named are made; of those that nobody reads that is said.
    let names = format!(", setup: {{ topics: [{}, {}] }}", rig.name("items"), rig.name("stock"));
    let template = rig.out("{collection}", &names);
    let (lines, code) = rig.report(&template, &[]).await;
    assert_eq!((outcomes(&lines), code), (vec!["note", "made", "there", "note"], Some(0)), "{lines:#?}");
    let last = lines[3]["what"].as_str().unwrap();
    assert_eq!(last, format!("nothing subscribes to {}: what is published there is gone", rig.full("topics", "items")));
    // Two wishes for one thing are none.
    let wish = |time: &str| format!(", setup: {{ retention: {time} }}");
    let two = rig.out("two", &wish("1d"))
        + &rig.out("two", &wish("2d")).replace("out:", "out2:").replace("stdin", "{ file: { path: x } }");
    let (lines, code) = rig.report(&two, &[]).await;
    assert_eq!((outcomes(&lines), code), (vec!["failed"], Some(1)), "{lines:#?}");
    assert!(lines[0]["what"].as_str().unwrap().contains("more than one `retention`"), "{lines:#?}");
    assert_eq!(rig.server.find_topic(&rig.name("two")).await, None);
}

#[tokio::test]
async fn d6_setup_tells_of_a_service_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let text = "pipelines: { p: { source: stdin, sinks: { out: { pubsub: { project: demo, topic: stock } } } } }\n";
    std::fs::write(dir.path().join("tide.yaml"), text).unwrap();
    let env = [("PUBSUB_EMULATOR_HOST".to_owned(), "127.0.0.1:1".to_owned())];
    for args in [&["setup", "tide.yaml"][..], &["setup", "tide.yaml", "--dry-run"]] {
        let output = Cli::run_with(dir.path(), args, b"", &env, Duration::from_secs(60)).await;
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(told.contains("[TG1001] Pub/Sub at 127.0.0.1:1 cannot be reached"), "{told}");
        assert!(told.contains("1 to mend"), "{told}");
    }
    let none = "pipelines: { p: { source: stdin, sinks: { out: stdout } } }\n";
    std::fs::write(dir.path().join("none.yaml"), none).unwrap();
    let output = Cli::run_in(dir.path(), &["setup", "none.yaml"], b"").await;
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!((output.status.code(), &*told), (Some(0), "none.yaml: no pipeline uses Pub/Sub: nothing to do\n"));
}

#[tokio::test]
async fn d6_a_pipeline_runs_with_what_setup_made() {
    let rig = Rig::new().await;
    let out = rig.out("stock", &format!(", setup: {{ subscriptions: {{ {}: {{}} }} }}", rig.name("reader")));
    let change = json!({ "id": "a", "op": "insert", "ns": "shop.items", "doc": { "_id": "a", "n": 1 } });
    let run = async || Cli::run_in(rig.dir.path(), &["run", "tide.yaml"], format!("{change}\n").as_bytes()).await;
    // Without it the pipeline stops, and names it.
    let (_, code) = rig.report(&out, &["--dry-run"]).await;
    assert_eq!(code, Some(0));
    let output = run().await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("TG1003") && told.contains("`tidegate setup CONFIG`"), "{told}");
    let (_, code) = rig.report(&out, &[]).await;
    assert_eq!(code, Some(0));
    let output = run().await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let messages = rig.server.drain(&rig.name("reader"), QUIET).await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert_eq!((messages[0].attributes["change_id"].as_str(), &*messages[0].ordering_key), ("a", "a"));
}

#[tokio::test]
async fn d6_the_doctor_tells_what_setup_would_make_and_change() {
    let rig = Rig::new().await;
    let whole = rig.whole("3d", "{ min: 15s, max: 2m }");
    let (_, code) = rig.report(&whole, &[]).await;
    assert_eq!(code, Some(0));
    let doctor = async |pipelines: &str| {
        std::fs::write(rig.dir.path().join("tide.yaml"), format!("pipelines:\n{pipelines}")).unwrap();
        let output = Cli::run_in(rig.dir.path(), &["doctor", "tide.yaml", "--json"], b"").await;
        let parts: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let part = parts.into_iter().find(|part| part["part"] == "setup");
        part.map(|part| part["findings"].as_array().unwrap().clone()).unwrap_or_default()
    };
    let verdicts = |findings: &[Value]| -> Vec<String> {
        findings.iter().map(|finding| finding["verdict"].as_str().unwrap().to_owned()).collect()
    };
    let findings = doctor(&whole).await;
    assert_eq!(verdicts(&findings), ["good"], "{findings:#?}");
    assert!(findings[0]["what"].as_str().unwrap().starts_with("5 of them"), "{findings:#?}");
    // One that differs, and one that is gone.
    rig.server.remove_subscription(&rig.name("reader")).await;
    let before = rig.found().await;
    let findings = doctor(&whole.replace("30s", "90s")).await;
    assert_eq!(verdicts(&findings), ["good", "warning", "warning"], "{findings:#?}");
    let told: Vec<_> = findings.iter().map(|finding| finding["what"].as_str().unwrap()).collect();
    assert!(told[1].ends_with(&format!("{} is not there", rig.full("subscriptions", "reader"))), "{told:?}");
    assert!(told[2].ends_with("workers: `ack_deadline` is 30s and should be 1m 30s"), "{told:?}");
    assert!(findings[2]["help"].as_str().unwrap().contains("tidegate setup"), "{findings:#?}");
    assert_eq!(rig.found().await, before, "it makes and changes nothing");
    assert!(doctor("  p: { source: stdin, sinks: { out: stdout } }\n").await.is_empty());
}
