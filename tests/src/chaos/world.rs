//! The servers, the network between them and tidegate, and the pipeline.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::scenario::{Mode, Scenario, Servers, Target};
use crate::guests::{Guest, Role};
use crate::servers::{Mongo, MongoOptions, Redis, RedisOptions, shared};
use crate::{Host, HostOptions, Proxy, TestNames};

pub(super) const COLLECTION: &str = "items";
pub(super) const LOG: &str = "log";
pub(super) const COPY: &str = "copy";
pub(super) const STREAM: &str = "out";
pub(super) const PLUGIN: &str = "guest";
const DEAD_LETTERS: &str = "dead.jsonl";

/// What a run happens in.
#[derive(Debug)]
pub(super) struct World {
    /// Where tidegate runs; a host that takes over has a folder of its own.
    pub(super) dir: TempDir,
    /// None where the servers are those of all tests.
    pub(super) mongo: Option<Mongo>,
    /// Where the writer and the checker go: past the proxies.
    pub(super) mongodb_uri: String,
    pub(super) redis: Option<Redis>,
    pub(super) source_proxy: Option<Proxy>,
    pub(super) sink_proxy: Option<Proxy>,
    pub(super) source: String,
    pub(super) sink: String,
    config: String,
}

impl World {
    pub(super) async fn start(scenario: &Scenario) -> Self {
        let has_own = scenario.servers == Servers::Three || scenario.faults.iter().any(|fault| fault.harms_mongodb());
        let redis = async {
            let lasting = RedisOptions { aof: true, ..Default::default() };
            if scenario.target == Target::Redis { Some(Redis::start(lasting).await) } else { None }
        };
        let mongo = async {
            let options = match scenario.servers {
                Servers::One => MongoOptions { cache_mb: 256, ..MongoOptions::default() },
                Servers::Three => MongoOptions::three_members(),
            };
            if has_own { Some(Mongo::start(options).await) } else { None }
        };
        let (redis, mongo) = tokio::join!(redis, mongo);
        let mongodb_uri = match &mongo {
            Some(mongo) => mongo.uri().to_owned(),
            None => shared().await.mongodb_uri.clone(),
        };
        let proxied = |proxy: &Option<Proxy>| match proxy {
            Some(proxy) => format!("mongodb://127.0.0.1:{}/?directConnection=true", proxy.port()),
            None => mongodb_uri.clone(),
        };
        let (mut source_proxy, mut sink_proxy) = (None, None);
        if scenario.servers == Servers::One {
            source_proxy = Some(Proxy::start(port_of(&mongodb_uri)).await);
        }
        match (&redis, scenario.servers) {
            (Some(redis), _) => sink_proxy = Some(Proxy::start(redis.port()).await),
            (None, Servers::One) => sink_proxy = Some(Proxy::start(port_of(&mongodb_uri)).await),
            (None, Servers::Three) => {}
        }
        let names = TestNames::new();
        let (source, sink) = (format!("{}-s", names.database()), format!("{}-t", names.database()));
        let sinks = match (scenario.target, &sink_proxy) {
            (Target::Redis, Some(proxy)) => {
                format!(
                    r#"{{ out: {{ redis: {{ url: "redis://127.0.0.1:{}/", stream: {STREAM}, timeout: 1s }} }} }}"#,
                    proxy.port()
                )
            }
            (Target::Redis, None) => panic!("Redis has a proxy"),
            (Target::Mongodb, proxy) => {
                let uri = proxied(proxy);
                let place = |collection, mode| {
                    format!(
                        r#"{{ mongodb: {{ uri: "{uri}", database: "{sink}", collection: {collection}, mode: {mode} }} }}"#
                    )
                };
                format!("{{ log: {}, copy: {} }}", place(LOG, "append"), place(COPY, "mirror"))
            }
        };
        let has_plugin = scenario.faults.iter().any(|fault| fault.needs_plugin());
        let dir = tempfile::Builder::new().prefix("tidegate-chaos-").tempdir().expect("a folder for the run");
        let world = Self {
            config: format!(
                r#"admin: {{ listen: 127.0.0.1:0 }}
log: {{ level: info, format: json }}
plugins: {{ dir: "{plugins}" }}
pipelines:
  chaos:
    source: {{ mongodb: {{ uri: "{uri}", database: "{source}", collections: [{COLLECTION}] }} }}
    batch: {{ max_events: 200 }}
    stages: [{stages}]
    sinks: {sinks}
    dead_letter: {{ file: {{ path: {DEAD_LETTERS} }} }}
    checkpoint: {checkpoint}
"#,
                plugins = dir.path().join("plugins").display(),
                uri = proxied(&source_proxy),
                stages = if has_plugin { format!("{{ plugin: {PLUGIN} }}") } else { String::new() },
                checkpoint = match scenario.mode {
                    // Longer than any fault lets a host stand still, but for the one in which another takes over.
                    Mode::Once => "{ sink: { lease: 3s } }",
                    Mode::AtLeastOnce => "file",
                },
            ),
            dir,
            mongo,
            mongodb_uri,
            redis,
            source_proxy,
            sink_proxy,
            source,
            sink,
        };
        std::fs::create_dir(world.plugins()).expect("a folder for plugins");
        Guest::new(Role::Validator).version("v0").install(&world.plugins(), PLUGIN);
        world
    }

    pub(super) fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// Where dead letters of hosts are: each host has its own state and so its own folder.
    pub(super) fn dead_letters(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.dir.path()).expect("the folder of the run");
        let folders = entries.flatten().map(|entry| entry.path().join(DEAD_LETTERS));
        folders.filter(|file| file.is_file()).collect()
    }

    /// Starts tidegate in the folder of that number.
    pub(super) fn host(&self, number: usize) -> Host {
        self.host_with(number, &[])
    }

    /// Starts a tidegate that waits until nobody runs the pipeline.
    pub(super) fn standby(&self, number: usize) -> Host {
        self.host_with(number, &["--standby"])
    }

    fn host_with(&self, number: usize, args: &[&str]) -> Host {
        let dir = self.dir.path().join(format!("host-{number}"));
        std::fs::create_dir_all(&dir).expect("a folder for the host");
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let options = HostOptions { dir: Some(dir), args, file_limit_is_error: true, ..HostOptions::default() };
        Host::start_with(&self.config, options)
    }

    pub(super) fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("a Redis of this run")
    }

    pub(super) fn mongo(&mut self) -> &mut Mongo {
        self.mongo.as_mut().expect("a MongoDB of this run's own")
    }

    /// A connection to MongoDB that does not wait long for one that is down.
    pub(super) async fn client(&self) -> mongodb::Client {
        let mut options = mongodb::options::ClientOptions::parse(&self.mongodb_uri)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", self.mongodb_uri));
        options.server_selection_timeout = Some(Duration::from_secs(5));
        mongodb::Client::with_options(options).expect("options taken from a connection string")
    }
}

/// The port of the first server of a connection string of ours.
fn port_of(uri: &str) -> u16 {
    let host = uri.trim_start_matches("mongodb://").split(['/', ',']).next().unwrap_or_default();
    let port = host.rsplit(':').next().unwrap_or_default();
    port.parse().unwrap_or_else(|error| panic!("no port in {uri}: {error}"))
}
