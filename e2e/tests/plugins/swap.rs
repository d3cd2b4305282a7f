//! Plugins replaced while a stream runs from MongoDB to Redis, with writers that never pause: nothing is lost, doubled, or
//! processed by a mixed set, and each way of replacing a file is noticed.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::guests::{Deed, Guest, Role};
use tidegate_tests::servers::{StreamEntry, read_stream, shared};
use tidegate_tests::{Host, HostOptions, TestNames, eventually, field};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);
/// A replaced plugin is live within two seconds and the time to compile it; the rest is for a machine with other tests on it.
const LIVE: Duration = Duration::from_secs(6);

/// A stream under load.
struct Stream {
    dir: TempDir,
    names: TestNames,
    host: Host,
    writer: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicI64>,
}

/// One change at the sink.
#[derive(Debug)]
struct Arrival {
    n: i64,
    /// When Redis took it, in milliseconds since 1970.
    at: u64,
    headers: Vec<(String, String)>,
}

impl Arrival {
    fn read((entry, fields): &StreamEntry) -> Self {
        let doc: Value = serde_json::from_slice(&fields["doc"]).unwrap();
        let headers = fields
            .iter()
            .filter_map(|(name, value)| {
                Some((name.strip_prefix("h.")?.to_owned(), String::from_utf8(value.clone()).unwrap()))
            })
            .collect();
        let at = entry.split_once('-').expect("the id of an entry").0.parse().expect("a time");
        Self { n: doc["n"].as_i64().unwrap_or_else(|| panic!("no n: {doc}")), at, headers }
    }

    /// `v1/000017`
    fn stamp(&self, header: &str) -> &str {
        let found = self.headers.iter().find(|(name, _)| name == header);
        &found.unwrap_or_else(|| panic!("no header {header}: {self:?}")).1
    }

    /// `v1`
    fn version(&self, header: &str) -> &str {
        self.stamp(header).split_once('/').expect("a stamp").0
    }
}

impl Stream {
    /// Starts the host with the plugins that `install` puts into the directory, and the writer.
    async fn start(lanes: usize, stages: &str, install: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::Builder::new().prefix("tidegate-swap-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("plugins")).unwrap();
        install(&dir.path().join("plugins"));
        let names = TestNames::new();
        let servers = shared().await;
        let config = format!(
            "admin: {{ listen: 127.0.0.1:0 }}
log: {{ level: info, format: json }}
plugins: {{ dir: plugins }}
pipelines:
  p:
    source: {{ mongodb: {{ uri: \"{}\", database: {}, collections: [items] }} }}
    batch: {{ max_events: 100 }}
    lanes: {lanes}
    stages: {stages}
    sinks: {{ out: {{ redis: {{ url: \"{}\", stream: \"{}\" }} }} }}
",
            servers.mongodb_uri,
            names.database(),
            servers.redis_url,
            names.key("out"),
        );
        let options = HostOptions { dir: Some(dir.path().to_owned()), ..HostOptions::default() };
        let mut host = Host::start_with(&config, options);
        host.wait_ready().await;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let collection = servers.mongodb().await.database(names.database()).collection::<Document>("items");
        let writer = tokio::spawn({
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let from = written.load(Ordering::Relaxed);
                    collection.insert_many((from..from + 25).map(|n| doc! { "_id": n, "n": n })).await.unwrap();
                    written.store(from + 25, Ordering::Relaxed);
                }
            }
        });
        let mut stream = Self { dir, names, host, writer, stop, written };
        stream.wait_arrivals(50).await;
        stream
    }

    /// A stream through one router, which stamps `version`.
    async fn through_router() -> Self {
        Self::start(2, "[{ plugin: router }]", |plugins| drop(router("v1").install(plugins, "router"))).await
    }

    fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// Waits until so many more changes arrived at the sink.
    async fn wait_arrivals(&mut self, more: u64) {
        let mut redis = shared().await.redis().await;
        let key = self.names.key("out");
        let mut first = None;
        eventually(PATIENCE, "arrivals at the sink", async || {
            assert!(self.host.is_running(), "tidegate ended");
            let length: u64 = redis::cmd("XLEN").arg(&key).query_async(&mut redis).await.unwrap();
            let begun = *first.get_or_insert(length);
            if length >= begun + more { Ok(()) } else { Err(format!("{length} now, {begun} at first")) }
        })
        .await;
    }

    /// Waits until that generation is the running one.
    async fn wait_generation(&mut self, plugin: &str, generation: u64) {
        self.wait_generation_within(LIVE, plugin, generation).await;
    }

    async fn wait_generation_within(&mut self, deadline: Duration, plugin: &str, generation: u64) {
        let what = format!("generation {generation} of {plugin}");
        eventually(deadline, &what, async || {
            match self.host.metric("tidegate_plugin_generation", &[("plugin", plugin)]).await {
                Some(running) if running >= generation as f64 => Ok(()),
                running => Err(format!("{running:?} runs")),
            }
        })
        .await;
        assert_eq!(self.generation(plugin).await, generation, "more swaps than there were");
    }

    async fn generation(&mut self, plugin: &str) -> u64 {
        self.host.status().await["plugins"][plugin]["generation"].as_u64().unwrap()
    }

    async fn error(&mut self, plugin: &str) -> Value {
        self.host.status().await["plugins"][plugin]["error"].clone()
    }

    fn events(&self, event: &str) -> usize {
        self.host.log().iter().filter(|line| field(line, "event").and_then(Value::as_str) == Some(event)).count()
    }

    /// Stops the writer, waits until all is through, stops the host, and gives what arrived: each change once, in order.
    async fn finish(mut self) -> Vec<Arrival> {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.writer).await.unwrap();
        let written = self.written.load(Ordering::Relaxed);
        let mut redis = shared().await.redis().await;
        let key = self.names.key("out");
        eventually(PATIENCE, "all that was written at the sink", async || {
            let length: i64 = redis::cmd("XLEN").arg(&key).query_async(&mut redis).await.unwrap();
            if length >= written { Ok(()) } else { Err(format!("{length} of {written}")) }
        })
        .await;
        assert_eq!(self.host.metric("tidegate_dead_letters_total", &[]).await.unwrap_or(0.0), 0.0, "dead letters");
        assert_eq!(self.host.stop().await, Some(0));
        let arrivals: Vec<Arrival> = read_stream(&mut redis, &key).await.iter().map(Arrival::read).collect();
        let numbers: Vec<i64> = arrivals.iter().map(|arrival| arrival.n).collect();
        if let Some(at) = (0..written).zip(&numbers).position(|(expected, n)| expected != *n) {
            panic!("change {at} of {written} is {}: one was lost, doubled or overtaken", numbers[at]);
        }
        assert_eq!(numbers.len() as i64, written, "arrivals after the last change");
        arrivals
    }
}

fn router(version: impl Into<String>) -> Guest {
    Guest::new(Role::Router).version(version)
}

/// The versions in the order of arrival, each once for as long as it lasted.
fn phases<'a>(arrivals: &'a [Arrival], header: &str) -> Vec<&'a str> {
    let mut phases: Vec<&str> = arrivals.iter().map(|arrival| arrival.version(header)).collect();
    phases.dedup();
    phases
}

/// Runs a stream through `router`, has it replaced by version 2, and sees that it was, once.
async fn replaced(replace: impl AsyncFnOnce(&mut Stream, &Path, Vec<u8>)) {
    replaced_in(Stream::through_router().await, replace).await;
}

async fn replaced_in(mut stream: Stream, replace: impl AsyncFnOnce(&mut Stream, &Path, Vec<u8>)) {
    let file = stream.plugins().join("router.wasm");
    replace(&mut stream, &file, router("v2").component()).await;
    let begun = Instant::now();
    stream.wait_generation("router", 2).await;
    eprintln!("live after {:?}", begun.elapsed());
    stream.wait_arrivals(200).await;
    let status = stream.host.status().await;
    assert_eq!(status["plugins"]["router"]["version"], "v2");
    assert_eq!(status["plugins"]["router"]["error"], Value::Null);
    assert_eq!(stream.host.metric("tidegate_plugin_swaps_total", &[("plugin", "router")]).await, Some(1.0));
    assert_eq!(stream.host.metric("tidegate_plugin_swap_failures_total", &[]).await.unwrap_or(0.0), 0.0);
    assert_eq!(stream.events("plugin_swapped"), 1);
    let arrivals = stream.finish().await;
    assert_eq!(phases(&arrivals, "version"), ["v1", "v2"]);
}

#[tokio::test]
async fn moved_over() {
    replaced(async |_, file, bytes| {
        let beside = file.with_extension("new");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(beside, file).unwrap();
    })
    .await;
}

#[tokio::test]
async fn copied_over() {
    replaced(async |_, file, bytes| std::fs::write(file, bytes).unwrap()).await;
}

#[tokio::test]
async fn copied_over_slowly() {
    replaced(async |stream, file, bytes| {
        use std::io::Write as _;
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        let mut target = std::fs::File::create(file).unwrap();
        target.write_all(first).unwrap();
        // The pause is what is tested: long enough for some looks at a file that is not whole.
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(stream.generation("router").await, 1, "a half-written file was taken");
        assert_eq!(stream.events("plugin_refused"), 0, "a file that was still being written was reported");
        target.write_all(rest).unwrap();
    })
    .await;
}

#[tokio::test]
async fn deleted_and_made_again() {
    replaced(async |_, file, bytes| {
        std::fs::remove_file(file).unwrap();
        std::fs::write(file, bytes).unwrap();
    })
    .await;
}

#[tokio::test]
async fn deleted_and_made_again_much_later() {
    replaced(async |stream, file, bytes| {
        std::fs::remove_file(file).unwrap();
        stream.host.wait_event("plugin_file_gone").await;
        std::fs::write(file, bytes).unwrap();
    })
    .await;
}

#[tokio::test]
async fn symlink_switched() {
    let stream = Stream::start(2, "[{ plugin: router }]", |plugins| {
        let releases = plugins.parent().unwrap().join("releases");
        std::fs::create_dir(&releases).unwrap();
        std::fs::write(releases.join("1.wasm"), router("v1").component()).unwrap();
        symlink("../releases/1.wasm", plugins.join("router.wasm")).unwrap();
    })
    .await;
    replaced_in(stream, async |_, file, bytes| {
        let releases = file.parent().unwrap().parent().unwrap().join("releases");
        std::fs::write(releases.join("2.wasm"), bytes).unwrap();
        let beside = file.with_extension("new");
        symlink("../releases/2.wasm", &beside).unwrap();
        std::fs::rename(beside, file).unwrap();
    })
    .await;
}

#[tokio::test]
async fn config_map_switched() {
    let stream = Stream::start(2, "[{ plugin: router }]", |plugins| {
        std::fs::create_dir(plugins.join("..2026_1")).unwrap();
        std::fs::write(plugins.join("..2026_1/router.wasm"), router("v1").component()).unwrap();
        symlink("..2026_1", plugins.join("..data")).unwrap();
        symlink("..data/router.wasm", plugins.join("router.wasm")).unwrap();
    })
    .await;
    replaced_in(stream, async |_, file, bytes| {
        let plugins = file.parent().unwrap();
        std::fs::create_dir(plugins.join("..2026_2")).unwrap();
        std::fs::write(plugins.join("..2026_2/router.wasm"), bytes).unwrap();
        symlink("..2026_2", plugins.join("..data_tmp")).unwrap();
        std::fs::rename(plugins.join("..data_tmp"), plugins.join("..data")).unwrap();
        std::fs::remove_dir_all(plugins.join("..2026_1")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn directory_switched() {
    // The plugin directory itself is a link, as a release tool leaves it.
    let stream = Stream::start(2, "[{ plugin: router }]", |plugins| {
        let top = plugins.parent().unwrap();
        std::fs::rename(plugins, top.join("release-1")).unwrap();
        router("v1").install(&top.join("release-1"), "router");
        symlink("release-1", plugins).unwrap();
    })
    .await;
    replaced_in(stream, async |stream, _, _| {
        let top = stream.dir.path();
        std::fs::create_dir(top.join("release-2")).unwrap();
        router("v2").install(&top.join("release-2"), "router");
        symlink("release-2", top.join("plugins.new")).unwrap();
        std::fs::rename(top.join("plugins.new"), top.join("plugins")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn broken_file_is_reported_and_a_good_one_heals() {
    let mut stream = Stream::through_router().await;
    let plugins = stream.plugins();
    let broken = router("v2").component();
    std::fs::write(plugins.join("new"), &broken[..broken.len() / 2]).unwrap();
    std::fs::rename(plugins.join("new"), plugins.join("router.wasm")).unwrap();
    let line = stream.host.wait_event("plugin_refused").await;
    assert_eq!(field(&line, "plugin").and_then(Value::as_str), Some("router"));
    assert_eq!(field(&line, "generation").and_then(Value::as_u64), Some(1));
    // Half a component may by chance end where a section does: then it is a whole one that lacks the contract.
    let code = field(&line, "code").and_then(Value::as_str).unwrap();
    assert!(matches!(code, "TG0202" | "TG0204"), "{line}");
    stream.wait_arrivals(200).await;
    assert_eq!(stream.host.metric("tidegate_plugin_swap_failures_total", &[("plugin", "router")]).await, Some(1.0));
    let error = stream.error("router").await;
    assert_eq!(error["code"], code, "{error}");
    assert_eq!(stream.generation("router").await, 1);

    // One that loads and then fails is no better.
    router("v3").in_configure(Deed::Recurse).install(&plugins, "router");
    eventually(LIVE, "the second refusal", async || {
        stream.host.metric("tidegate_plugin_swap_failures_total", &[("plugin", "router")]).await == Some(2.0)
    })
    .await;
    assert_eq!(stream.error("router").await["code"], "TG0206");
    assert_eq!(stream.generation("router").await, 1);

    router("v4").install(&plugins, "router");
    stream.wait_generation("router", 2).await;
    assert_eq!(stream.error("router").await, Value::Null, "a good file heals");
    stream.wait_arrivals(200).await;
    assert_eq!(phases(&stream.finish().await, "version"), ["v1", "v4"]);
}

#[tokio::test]
async fn rollback_to_what_runs_heals_without_a_swap() {
    let mut stream = Stream::through_router().await;
    let file = stream.plugins().join("router.wasm");
    std::fs::write(&file, b"nonsense").unwrap();
    stream.host.wait_event("plugin_refused").await;
    assert_eq!(stream.error("router").await["code"], "TG0202");
    router("v1").install(&stream.plugins(), "router");
    eventually(LIVE, "no error any more", async || match stream.error("router").await {
        Value::Null => Ok(()),
        error => Err(error),
    })
    .await;
    assert_eq!(stream.generation("router").await, 1);
    assert_eq!(phases(&stream.finish().await, "version"), ["v1"]);
}

#[tokio::test]
async fn removed_file_leaves_the_last_generation_running() {
    let mut stream = Stream::through_router().await;
    let file = stream.plugins().join("router.wasm");
    std::fs::remove_file(&file).unwrap();
    let line = stream.host.wait_event("plugin_file_gone").await;
    assert_eq!(field(&line, "plugin").and_then(Value::as_str), Some("router"));
    eventually(LIVE, "the status says so", async || stream.error("router").await["code"] == "TG0201").await;
    stream.wait_arrivals(200).await;
    assert_eq!(stream.generation("router").await, 1);
    assert_eq!(stream.events("plugin_file_gone"), 1, "said once");
    // The same file again is no swap, and no error any more.
    router("v1").install(&stream.plugins(), "router");
    stream.host.wait_event("plugin_file_back").await;
    eventually(LIVE, "no error any more", async || stream.error("router").await == Value::Null).await;
    assert_eq!(stream.generation("router").await, 1);
    assert_eq!(phases(&stream.finish().await, "version"), ["v1"]);
}

#[tokio::test]
async fn two_stages_of_one_file_never_mix() {
    // One file in two stages, in two lanes: whatever the moment, both stages of a change have the same version.
    let stages = "[{ plugin: stamper }, { plugin: stamper }]";
    let mut stream = Stream::start(2, stages, |plugins| {
        Guest::new(Role::Stamper).version("v1").install(plugins, "stamper");
    })
    .await;
    for generation in 2..=6 {
        Guest::new(Role::Stamper).version(format!("v{generation}")).install(&stream.plugins(), "stamper");
        stream.wait_generation("stamper", generation).await;
        stream.wait_arrivals(100).await;
    }
    let arrivals = stream.finish().await;
    for arrival in &arrivals {
        assert_eq!(arrival.version("s0"), arrival.version("s1"), "{arrival:?}");
    }
    assert_eq!(phases(&arrivals, "s0"), ["v1", "v2", "v3", "v4", "v5", "v6"]);
}

#[tokio::test]
async fn two_plugins_replaced_at_once_never_mix_within_a_batch() {
    // In one lane a batch is one call of each stage: what came in one call of the first has one version of the second.
    let stages = "[{ plugin: first }, { plugin: second }]";
    let stampers = |version: u64, plugins: &Path| {
        for name in ["first", "second"] {
            Guest::new(Role::Stamper).version(format!("v{version}")).install(plugins, name);
        }
    };
    let mut stream = Stream::start(1, stages, |plugins| stampers(1, plugins)).await;
    for generation in 2..=5 {
        stampers(generation, &stream.plugins());
        stream.wait_generation("first", generation).await;
        stream.wait_generation("second", generation).await;
        stream.wait_arrivals(100).await;
    }
    let arrivals = stream.finish().await;
    for pair in arrivals.windows(2) {
        assert_eq!(
            pair[0].stamp("s0") == pair[1].stamp("s0"),
            pair[0].stamp("s1") == pair[1].stamp("s1"),
            "a batch met two sets: {pair:?}"
        );
    }
    for header in ["s0", "s1"] {
        assert_eq!(phases(&arrivals, header), ["v1", "v2", "v3", "v4", "v5"], "{header}");
    }
}

/// `TIDEGATE_SWAPS=1000` makes it the long run whose figures stand in decision 0008.
#[tokio::test]
async fn many_swaps_under_load() {
    let swaps: u64 = std::env::var("TIDEGATE_SWAPS").map_or(100, |text| text.parse().expect("a number"));
    // One file in two stages: a batch that met two sets would show it.
    let stages = "[{ plugin: stamper }, { plugin: stamper }]";
    let stamper = |version: u64| Guest::new(Role::Stamper).version(format!("v{version}"));
    let mut stream = Stream::start(2, stages, |plugins| drop(stamper(1).install(plugins, "stamper"))).await;
    stream.wait_arrivals(5000).await;
    for generation in 2..=swaps + 1 {
        stamper(generation).install(&stream.plugins(), "stamper");
        stream.wait_generation("stamper", generation).await;
    }
    stream.wait_arrivals(200).await;
    assert_eq!(stream.host.metric("tidegate_plugin_swaps_total", &[("plugin", "stamper")]).await, Some(swaps as f64));
    let arrivals = stream.finish().await;
    for arrival in &arrivals {
        assert_eq!(arrival.version("s0"), arrival.version("s1"), "{arrival:?}");
    }
    let numbers: Vec<u64> = phases(&arrivals, "s0").iter().map(|version| version[1..].parse().unwrap()).collect();
    // A version may have seen no batch; but never is there one before another.
    assert!(numbers.is_sorted(), "the stream went back to an older version: {numbers:?}");
    assert_eq!((numbers.first(), numbers.last()), (Some(&1), Some(&(swaps + 1))));
    assert!(numbers.len() as u64 > swaps / 2, "most versions saw changes: {numbers:?}");

    // The longest time in which nothing arrived, before the first swap and from there on.
    let longest = |arrivals: &[Arrival]| arrivals.windows(2).map(|pair| pair[1].at - pair[0].at).max().unwrap_or(0);
    let first = arrivals.iter().position(|arrival| arrival.version("s0") != "v1").unwrap();
    let (quiet, busy) = arrivals.split_at(first);
    let seconds = (busy[busy.len() - 1].at - busy[0].at) as f64 / 1000.0;
    eprintln!(
        "{swaps} swaps in {seconds:.0} s, {} changes: the longest gap at the sink is {} ms, and was {} ms before the first swap",
        busy.len(),
        longest(busy),
        longest(quiet)
    );
}
