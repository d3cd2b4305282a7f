//! The way of a new file: the shadow, the probation, the way back, by the host and by hand. Each rule from both sides.

use serde_json::Value;
use tidegate_tests::guests::{Deed, Guest, MARKER, Role};
use tidegate_tests::{Cli, Host, HostOptions, eventually, field};

use crate::rig::{PATIENCE, Rig, changes, config, id, ids, ids_without};

const STAGE: &str = "[{ plugin: guest }]";
/// Every candidate takes over at once, and is on probation for long.
const PROBATION: &str = "{ probation: { time: 1h, failures: 10, rejects: 50, factor: 3 } }";

fn validator(version: &str) -> Guest {
    Guest::new(Role::Validator).version(version)
}

fn staged(swap: &str, stages: &str) -> String {
    config(2, stages).replace("plugins: { dir: plugins,", &format!("plugins: {{ dir: plugins, swap: {swap},"))
}

async fn start(rig: &Rig, config: &str) -> Host {
    let options = HostOptions { dir: Some(rig.dir().to_owned()), keep_input: true, ..HostOptions::default() };
    let mut host = Host::start_with(config, options);
    host.wait_ready().await;
    host
}

fn events(host: &Host, event: &str) -> usize {
    host.log().iter().filter(|line| field(line, "event").and_then(Value::as_str) == Some(event)).count()
}

async fn plugin(host: &mut Host) -> Value {
    host.status().await["plugins"]["guest"].clone()
}

/// How it stands with the swap of the plugin, with what stands in documents.
async fn live(host: &mut Host) -> Value {
    let (code, body) = host.get("/api/v1/plugins").await;
    assert_eq!(code, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    body["plugins"][0].clone()
}

async fn cli(host: &mut Host, args: &[&str]) -> (Option<i32>, String) {
    let admin = host.admin_address().await.to_string();
    let file = host.dir().join("tidegate.yaml");
    let mut all = vec!["plugin", args[0], file.to_str().unwrap()];
    all.extend(&args[1..]);
    all.extend(["--admin", &admin]);
    let done = Cli::run(&all, b"").await;
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (done.status.code(), text)
}

/// Installs another version and waits until it runs.
async fn swap(rig: &Rig, host: &mut Host, guest: &Guest, generation: u64) {
    guest.install(&rig.plugins(), "guest");
    wait_generation(host, generation).await;
}

async fn wait_generation(host: &mut Host, generation: u64) {
    eventually(PATIENCE, "another generation", async || {
        let running = plugin(host).await["generation"].as_u64();
        if running == Some(generation) { Ok(()) } else { Err(running) }
    })
    .await;
}

async fn end(mut host: Host) {
    host.end_input();
    assert_eq!(host.wait_exit(PATIENCE).await, Some(0), "{}", host.stderr());
}

/// Runs v1 over good changes, swaps in `bad`, feeds it changes of which every fourth is marked, and sees it taken back: what the old
/// version accepts all arrives, and nothing is in the dead letter.
async fn taken_back(bad: &Guest, stages: &str, swap_config: &str, reason: &str) -> (Rig, Host) {
    let rig = Rig::with(&validator("1"));
    let mut host = start(&rig, &staged(swap_config, stages)).await;
    host.feed(changes(0..200, |_| "good"));
    rig.wait_delivered(&mut host, 200).await;
    swap(&rig, &mut host, bad, 2).await;
    assert_eq!(live(&mut host).await["state"], "probation");
    host.feed(changes(200..1200, |number| if number % 4 == 0 { MARKER } else { "good" }));
    let line = host.wait_event("plugin_taken_back").await;
    assert_eq!(field(&line, "generation").and_then(Value::as_u64), Some(2));
    let said = field(&line, "message").and_then(Value::as_str).unwrap();
    assert!(said.contains(reason), "{said}");
    rig.wait_delivered(&mut host, 1200).await;
    assert_eq!(ids(&rig.delivered()), ids_without(0..1200, &[]), "each once, in order");
    assert_eq!(rig.dead_letters().len(), 0, "the batch was processed again, whole, by the one before");
    let status = plugin(&mut host).await;
    assert_eq!((&status["generation"], &status["version"]), (&3.into(), &"1".into()));
    assert_eq!(status["error"]["code"], "TG0224", "{status}");
    assert_eq!(status["swap"]["barred"][0]["version"], bad_version(), "{status}");
    let (code, health) = host.get("/health").await;
    assert!(code == 200 && health.contains("TG0224"), "{code} {health}");
    assert_eq!(host.metric("tidegate_plugin_taken_back_total", &[("plugin", "guest")]).await, Some(1.0));
    assert_eq!(host.metric("tidegate_plugin_probation", &[("plugin", "guest")]).await, Some(0.0));
    (rig, host)
}

fn bad_version() -> &'static str {
    "2"
}

#[tokio::test]
async fn a_plugin_that_traps_is_taken_back_and_stays_out() {
    let bad = validator("2").when_marked(Deed::Trap);
    let (rig, mut host) = taken_back(&bad, STAGE, PROBATION, "it failed on 10 of its newest").await;

    // The same bytes again are not loaded.
    std::fs::remove_file(rig.plugins().join("guest.wasm")).unwrap();
    host.wait_event("plugin_file_gone").await;
    bad.install(&rig.plugins(), "guest");
    let refused = host.wait_event("plugin_refused").await;
    assert_eq!(field(&refused, "code").and_then(Value::as_str), Some("TG0222"));
    end(host).await;

    // Nor after a restart, which runs the last good one from the host's own copy.
    let config = staged(PROBATION, STAGE);
    let mut host = start(&rig, &config).await;
    host.wait_event("plugin_last_good").await;
    assert_eq!(plugin(&mut host).await["version"], "1");
    eventually(PATIENCE, "the status says so", async || {
        let status = plugin(&mut host).await;
        if status["error"]["code"] == "TG0222" { Ok(()) } else { Err(status) }
    })
    .await;
    host.feed(changes(1200..1300, |_| MARKER));
    rig.wait_delivered(&mut host, 1300).await;

    // Another build is tried as usual.
    swap(&rig, &mut host, &validator("3"), 2).await;
    assert_eq!(plugin(&mut host).await["error"], Value::Null);
    let (code, history) = cli(&mut host, &["history", "guest"]).await;
    assert_eq!(code, Some(0), "{history}");
    let told: Vec<&str> = history.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(told, ["loaded", "promoted", "taken_back", "barred", "loaded", "promoted"], "{history}");
    end(host).await;

    // Without a copy there is nothing to run.
    bad.install(&rig.plugins(), "guest");
    std::fs::remove_dir_all(rig.dir().join("state/plugins")).unwrap();
    let options = HostOptions { dir: Some(rig.dir().to_owned()), ..HostOptions::default() };
    let mut host = Host::start_with(&config, options);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(2));
    assert!(host.stderr().contains("TG0222"), "{}", host.stderr());
}

#[tokio::test]
async fn results_that_cannot_be_used_take_a_plugin_back() {
    let rig = Rig::with(&Guest::new(Role::Migrator).version("1"));
    let mut host = start(&rig, &staged(PROBATION, STAGE)).await;
    host.feed(changes(0..200, |_| "good"));
    rig.wait_delivered(&mut host, 200).await;
    let bad = Guest::new(Role::Migrator).version("2").when_marked(Deed::InvalidDocument);
    swap(&rig, &mut host, &bad, 2).await;
    host.feed(changes(200..400, |number| if number % 4 == 0 { MARKER } else { "good" }));
    host.wait_event("plugin_taken_back").await;
    rig.wait_delivered(&mut host, 400).await;
    assert_eq!(rig.dead_letters().len(), 0);
    let delivered = rig.delivered();
    assert!(delivered.iter().all(|line| line["headers"]["schema_version"] == "1"), "one batch, one set");
    end(host).await;
}

#[tokio::test]
async fn a_jump_of_rejections_takes_a_plugin_back() {
    let bad = validator("2").when_marked(Deed::Reject(3));
    let (_rig, host) = taken_back(&bad, STAGE, PROBATION, "of its newest").await;
    end(host).await;
}

#[tokio::test]
async fn a_breaker_that_trips_takes_a_plugin_back_instead_of_pausing() {
    let bad = validator("2").when_marked(Deed::Trap);
    let stages = "[{ plugin: guest, breaker: { after: 2 } }]";
    // Nothing but the breaker can do it: so many failures there are not.
    let swap = "{ probation: { time: 1h, failures: 100000 } }";
    let rig = Rig::with(&validator("1"));
    let mut host = start(&rig, &staged(swap, stages)).await;
    host.feed(changes(0..100, |_| "good"));
    rig.wait_delivered(&mut host, 100).await;
    self::swap(&rig, &mut host, &bad, 2).await;
    host.feed(changes(100..200, |_| MARKER));
    let line = host.wait_event("plugin_taken_back").await;
    assert!(field(&line, "message").and_then(Value::as_str).unwrap().contains("2 changes in a row"), "{line}");
    rig.wait_delivered(&mut host, 200).await;
    assert_eq!((rig.dead_letters().len(), events(&host, "plugin_breaker_open")), (0, 0));
    end(host).await;
}

#[tokio::test]
async fn a_few_bad_documents_take_nothing_back() {
    let rig = Rig::with(&validator("1"));
    let mut host = start(&rig, &staged(PROBATION, STAGE)).await;
    host.feed(changes(0..200, |_| "good"));
    rig.wait_delivered(&mut host, 200).await;
    swap(&rig, &mut host, &validator("2").when_marked(Deed::Trap), 2).await;
    host.feed(changes(200..400, |number| if (300..309).contains(&number) { MARKER } else { "good" }));
    rig.wait_delivered(&mut host, 391).await;
    assert_eq!(rig.dead_letters().len(), 9);
    let letter = &rig.dead_letters()[0];
    assert_eq!(
        (&letter["plugin"], &letter["generation"], &letter["plugin_version"]),
        (&"guest".into(), &2.into(), &"2".into())
    );
    assert_eq!(letter["plugin_digest"], plugin(&mut host).await["digest"]);
    assert_eq!((plugin(&mut host).await["generation"].as_u64(), events(&host, "plugin_taken_back")), (Some(2), 0));
    end(host).await;
}

#[tokio::test]
async fn what_the_one_before_rejected_too_is_no_jump() {
    let strict = |version| validator(version).when_marked(Deed::Reject(3));
    let rig = Rig::with(&strict("1"));
    let mut host = start(&rig, &staged(PROBATION, STAGE)).await;
    let half = |number: usize| if number.is_multiple_of(2) { MARKER } else { "good" };
    host.feed(changes(0..400, half));
    rig.wait_delivered(&mut host, 200).await;
    swap(&rig, &mut host, &strict("2"), 2).await;
    host.feed(changes(400..1000, half));
    rig.wait_delivered(&mut host, 500).await;
    assert_eq!((plugin(&mut host).await["generation"].as_u64(), events(&host, "plugin_taken_back")), (Some(2), 0));
    end(host).await;
}

#[tokio::test]
async fn without_a_probation_nothing_is_taken_back() {
    let rig = Rig::with(&validator("1"));
    let mut host = start(&rig, &staged("{ probation: off }", STAGE)).await;
    host.feed(changes(0..200, |_| "good"));
    rig.wait_delivered(&mut host, 200).await;
    swap(&rig, &mut host, &validator("2").when_marked(Deed::Reject(3)), 2).await;
    assert_eq!(live(&mut host).await["state"], "running");
    host.feed(changes(200..400, |number| if number < 399 { MARKER } else { "good" }));
    rig.wait_delivered(&mut host, 201).await;
    assert_eq!((rig.dead_letters().len(), events(&host, "plugin_taken_back")), (199, 0));
    end(host).await;
}

#[tokio::test]
async fn a_probation_is_served_by_time_and_work() {
    let rig = Rig::with(&validator("1"));
    let mut host = start(&rig, &staged("{ probation: { time: 1ms } }", STAGE)).await;
    swap(&rig, &mut host, &validator("2"), 2).await;
    // A third comes while the second did nothing: the way back still leads to the first.
    swap(&rig, &mut host, &validator("3"), 3).await;
    assert_eq!(events(&host, "plugin_confirmed"), 0, "it saw no change yet");
    assert_eq!(live(&mut host).await["previous"]["version"], "1");
    host.feed(changes(0..10, |_| "good"));
    let line = host.wait_event("plugin_confirmed").await;
    assert_eq!(field(&line, "generation").and_then(Value::as_u64), Some(3));
    assert_eq!(live(&mut host).await["state"], "running");
    swap(&rig, &mut host, &validator("4"), 4).await;
    assert_eq!(live(&mut host).await["previous"]["version"], "3");
    end(host).await;
}

fn shadow(options: &str) -> String {
    format!("{{ shadow: {{ changes: 100, time: 1h{options} }} }}")
}

#[tokio::test]
async fn a_candidate_that_does_the_same_is_promoted_by_rule() {
    let rig = Rig::with(&validator("1"));
    let mut host = start(&rig, &staged(&shadow(""), STAGE)).await;
    validator("2").install(&rig.plugins(), "guest");
    host.wait_event("plugin_shadowed").await;
    host.feed(changes(0..50, |_| MARKER));
    rig.wait_delivered(&mut host, 50).await;
    let candidate = eventually(PATIENCE, "50 compared", async || {
        let candidate = live(&mut host).await["candidate"].clone();
        if candidate["compared"] == 50 { Ok(candidate) } else { Err(candidate) }
    })
    .await;
    assert_eq!((&candidate["equal"], &candidate["version"]), (&50.into(), &"2".into()));
    assert!(
        candidate["running_micros"].as_f64().unwrap() > 0.0 && candidate["candidate_micros"].as_f64().unwrap() > 0.0
    );
    assert_eq!(plugin(&mut host).await["generation"], 1, "half of what is asked for");
    assert_eq!(host.metric("tidegate_plugin_shadow", &[("plugin", "guest")]).await, Some(1.0));
    host.feed(changes(50..100, |_| "good"));
    wait_generation(&mut host, 2).await;
    let equal = [("plugin", "guest"), ("result", "equal")];
    assert_eq!(host.metric("tidegate_plugin_shadow_changes_total", &equal).await, Some(100.0));
    assert_eq!(live(&mut host).await["state"], "probation");
    rig.wait_delivered(&mut host, 100).await;
    assert_eq!(ids(&rig.delivered()), ids_without(0..100, &[]), "what the candidate made is delivered nowhere");
    end(host).await;
}

/// A candidate that is refused by rule, its reason, and what the live stream had of it: nothing.
async fn refused(good: &Guest, bad: &Guest, options: &str, reason: &str) {
    let rig = Rig::with(good);
    let mut host = start(&rig, &staged(&shadow(options), STAGE)).await;
    bad.install(&rig.plugins(), "guest");
    host.wait_event("plugin_shadowed").await;
    host.feed(changes(0..90, |number| if number == 40 { MARKER } else { "good" }));
    let line = host.wait_event("plugin_candidate_dropped").await;
    let said = field(&line, "message").and_then(Value::as_str).unwrap();
    assert!(said.contains(reason) && said.contains("c-40"), "{said}");
    rig.wait_delivered(&mut host, 90).await;
    assert_eq!(rig.dead_letters().len(), 0);
    let status = plugin(&mut host).await;
    assert_eq!((&status["generation"], &status["error"]["code"]), (&1.into(), &"TG0223".into()), "{status}");
    assert_eq!(status["swap"]["barred"].as_array().unwrap().len(), 1);
    assert_eq!(events(&host, "plugin_call_failed"), 0, "what fails in the shadow alarms nobody");
    end(host).await;
}

#[tokio::test]
async fn a_candidate_that_rejects_more_is_refused() {
    let bad = validator("2").when_marked(Deed::Reject(3));
    refused(&validator("1"), &bad, "", "rejects, as the running one does not, 1 changes, and may 0").await;
}

#[tokio::test]
async fn a_candidate_that_fails_is_refused() {
    refused(&validator("1"), &validator("2").when_marked(Deed::Trap), "", "it failed on 1 changes").await;
    let slow = validator("2").when_marked(Deed::LoopForever);
    refused(&validator("1"), &slow, ", max_different: 5, max_new_rejects: 5", "it failed on 1 changes").await;
}

#[tokio::test]
async fn a_candidate_that_does_something_else_is_refused_and_may_be_let_through() {
    let migrator = |version| Guest::new(Role::Migrator).version(version);
    // The version that a migrator says stands in a header: every change is different.
    let rig = Rig::with(&migrator("1"));
    let config = staged(&shadow(", max_different: 100"), STAGE);
    let mut host = start(&rig, &config).await;
    migrator("2").install(&rig.plugins(), "guest");
    host.wait_event("plugin_shadowed").await;
    host.feed(changes(0..100, |_| "good"));
    wait_generation(&mut host, 2).await;
    end(host).await;

    let mut host = start(&rig, &config.replace("max_different: 100", "max_different: 9")).await;
    migrator("3").install(&rig.plugins(), "guest");
    host.wait_event("plugin_shadowed").await;
    host.feed(changes(100..110, |_| "good"));
    let line = host.wait_event("plugin_candidate_dropped").await;
    assert!(field(&line, "message").and_then(Value::as_str).unwrap().contains("made something else of 10"), "{line}");
    rig.wait_delivered(&mut host, 110).await;
    let delivered = rig.delivered();
    let versions: Vec<&str> =
        delivered.iter().map(|line| line["headers"]["schema_version"].as_str().unwrap()).collect();
    assert!(
        versions[..100].iter().all(|version| *version == "1") && versions[100..].iter().all(|version| *version == "2")
    );
    end(host).await;
}

#[tokio::test]
async fn the_operator_decides_where_nobody_else_may() {
    let rig = Rig::with(&validator("1"));
    let config = staged(&shadow(", promote: manual"), STAGE);
    let mut host = start(&rig, &config).await;
    validator("2").when_marked(Deed::Reject(3)).install(&rig.plugins(), "guest");
    host.wait_event("plugin_shadowed").await;
    host.feed(changes(0..150, |number| if number == 3 { MARKER } else { "good" }));
    let candidate = eventually(PATIENCE, "all is compared", async || {
        let candidate = live(&mut host).await["candidate"].clone();
        if candidate["complete"] == true { Ok(candidate) } else { Err(candidate) }
    })
    .await;
    assert_eq!((&candidate["equal"], &candidate["new_rejects"]), (&149.into(), &1.into()));
    assert_eq!(candidate["examples"][0]["change"], id(3));
    assert!(candidate["examples"][0]["after"].as_str().unwrap().starts_with("rejected: "), "{candidate}");
    let (code, list) = cli(&mut host, &["list"]).await;
    assert!(code == Some(0) && list.contains("it waits for you") && list.contains("149 equal"), "{list}");
    assert_eq!(plugin(&mut host).await["swap"]["candidate"]["examples"][0].get("after"), None, "not for everybody");

    // A restart does not let it in by the back door.
    end(host).await;
    let mut host = start(&rig, &config).await;
    host.wait_event("plugin_last_good").await;
    assert_eq!(plugin(&mut host).await["version"], "1");
    host.wait_event("plugin_shadowed").await;
    let (code, said) = cli(&mut host, &["promote", "guest"]).await;
    assert!(code == Some(0) && said.contains("guest 2 runs now (generation 2)"), "{said}");
    host.feed(changes(150..160, |number| if number == 155 { MARKER } else { "good" }));
    rig.wait_delivered(&mut host, 159).await;
    assert_eq!(rig.dead_letters().len(), 1);

    // And one is given up.
    validator("3").install(&rig.plugins(), "guest");
    eventually(PATIENCE, "the third is tried", async || live(&mut host).await["candidate"]["version"] == "3").await;
    let (code, said) = cli(&mut host, &["rollback", "guest"]).await;
    assert!(code == Some(0) && said.contains("candidate guest 3 (generation 3) is given up"), "{said}");
    assert_eq!(plugin(&mut host).await["version"], "2");
    end(host).await;
}

#[tokio::test]
async fn a_step_back_by_hand_bars_the_file_and_a_step_on_lifts_the_bar() {
    let rig = Rig::with(&validator("1"));
    let mut host = start(&rig, &staged("{}", STAGE)).await;
    let (code, said) = cli(&mut host, &["rollback", "guest"]).await;
    assert!(code == Some(1) && said.contains("TG0225"), "{said}");
    let (code, said) = cli(&mut host, &["promote", "guest"]).await;
    assert!(code == Some(1) && said.contains("TG0225"), "{said}");
    let (code, said) = cli(&mut host, &["promote", "nobody"]).await;
    assert!(code == Some(1) && said.contains("TG0703"), "{said}");
    swap(&rig, &mut host, &validator("2"), 2).await;
    let (code, said) = cli(&mut host, &["rollback", "guest"]).await;
    assert!(code == Some(0) && said.contains("guest 1 runs again (generation 3); the file of 2 is barred"), "{said}");
    host.wait_event("plugin_rolled_back").await;
    let (_, list) = cli(&mut host, &["list"]).await;
    assert!(list.contains("barred     2 "), "{list}");
    let (code, said) = cli(&mut host, &["promote", "guest"]).await;
    assert!(code == Some(0) && said.contains("guest 2 runs now (generation 4)"), "{said}");
    let (_, list) = cli(&mut host, &["list"]).await;
    assert!(!list.contains("barred"), "{list}");
    end(host).await;
}

#[tokio::test]
async fn a_token_is_asked_of_everybody_who_changes_something() {
    let rig = Rig::with(&validator("1"));
    let config = staged(&shadow(", promote: manual"), STAGE);
    let with = |token: &str| config.replace("listen: 127.0.0.1:0", &format!("listen: 127.0.0.1:0, token: {token}"));
    let mut host = start(&rig, &with("0123456789abcdef")).await;
    validator("2").install(&rig.plugins(), "guest");
    host.wait_event("plugin_shadowed").await;
    let file = host.dir().join("tidegate.yaml");
    for wrong in [config.clone(), with("0123456789abcdeF")] {
        std::fs::write(&file, wrong).unwrap();
        let (code, said) = cli(&mut host, &["promote", "guest"]).await;
        assert!(code == Some(1) && said.contains("TG0704") && !said.contains("0123456789"), "{said}");
        let admin = host.admin_address().await.to_string();
        let paused = Cli::run(&["pipeline", "pause", file.to_str().unwrap(), "p", "--admin", &admin], b"").await;
        assert_eq!(paused.status.code(), Some(1), "{paused:?}");
    }
    assert_eq!(plugin(&mut host).await["generation"], 1);
    std::fs::write(&file, with("0123456789abcdef")).unwrap();
    let (code, said) = cli(&mut host, &["promote", "guest"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(plugin(&mut host).await["generation"], 2);
    assert!(!host.stderr().contains("0123456789abcdef"), "the token is in no log");
    end(host).await;
}

#[tokio::test]
async fn changes_say_which_plugins_they_were_given_to() {
    let rig = Rig::with(&validator("1"));
    Guest::new(Role::Migrator).version("7").install(&rig.plugins(), "second");
    let stages = "[{ plugin: guest, when: { op: [insert] } }, { plugin: second }]";
    let config = config(2, stages).replace("plugins: { dir: plugins,", "plugins: { dir: plugins, provenance: true,");
    let mut host = start(&rig, &config).await;
    let update = r#"{"id":"u","op":"update","ns":"shop.items","doc":{"_id":9}}"#;
    host.feed(changes(0..1, |_| "good") + update + "\n");
    let delivered = rig.wait_delivered(&mut host, 2).await;
    let status = host.status().await;
    let named = |name: &str, version: &str| {
        let digest = status["plugins"][name]["digest"].as_str().unwrap();
        format!("{name}@{version}#{}", &digest[..12])
    };
    let second = named("second", "7");
    assert_eq!(delivered[0]["headers"]["tidegate_plugins"], format!("{},{second}", named("guest", "1")));
    assert_eq!(delivered[1]["headers"]["tidegate_plugins"], second);
    end(host).await;
}

#[tokio::test]
async fn golden_samples_keep_out_what_breaks_them() {
    let rig = Rig::with(&validator("1"));
    let samples = rig.plugins().join("guest.samples.jsonl");
    let sample = |text: &str, expect: &str| {
        format!(
            r#"{{"change":{{"op":"insert","ns":"shop.items","doc":{{"_id":1,"text":"{text}"}}}},"expect":{expect}}}"#
        )
    };
    let both = |marked: &str| format!("{}\n\n{}\n", sample("good", "\"accept\""), sample(MARKER, marked));
    std::fs::write(&samples, both("\"accept\"")).unwrap();
    let mut host = start(&rig, &config(1, STAGE)).await;

    let strict = validator("2").when_marked(Deed::Reject(3));
    strict.install(&rig.plugins(), "guest");
    let line = host.wait_event("plugin_refused").await;
    assert_eq!(field(&line, "code").and_then(Value::as_str), Some("TG0221"));
    let said = field(&line, "message").and_then(Value::as_str).unwrap();
    let expected =
        r#"1 of its 2 samples: line 3: it makes {"reject":[{"path":"a.b","message":"xxx"}]}, and not "accept""#;
    assert!(said.contains(expected), "{said}");
    assert_eq!(plugin(&mut host).await["generation"], 1);

    // The promise has changed: first the samples, then the plugin.
    std::fs::write(&samples, both(r#"{"reject":[{"path":"a.b","message":"xxx"}]}"#)).unwrap();
    swap(&rig, &mut host, &strict.version("3"), 2).await;

    // One that fails on a sample, and samples that are none.
    validator("4").when_marked(Deed::Trap).install(&rig.plugins(), "guest");
    host.wait_log(PATIENCE, "it failed", |line| line.to_string().contains("it makes it trapped")).await;
    std::fs::write(&samples, both("\"perhaps\"")).unwrap();
    validator("5").install(&rig.plugins(), "guest");
    host.wait_log(PATIENCE, "no samples", |line| {
        line.to_string().contains("line 3: what is expected of a validator is")
    })
    .await;
    assert_eq!(plugin(&mut host).await["generation"], 2);
    end(host).await;
    let options = HostOptions { dir: Some(rig.dir().to_owned()), ..HostOptions::default() };
    let mut host = Host::start_with(&config(1, STAGE), options);
    assert_eq!(host.wait_exit(PATIENCE).await, Some(2), "what never ran is held to its samples at the start, too");
    assert!(host.stderr().contains("TG0221"), "{}", host.stderr());
}
