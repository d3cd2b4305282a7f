//! A pipeline from standard input to a file: no server, and what stands in one batch is known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tidegate_tests::guests::Guest;
use tidegate_tests::{Host, HostOptions, eventually};

/// What anything here may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with plugins, and what a pipeline makes there.
pub(crate) struct Rig {
    dir: TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("tidegate-plugins-").tempdir().unwrap();
        std::fs::create_dir(dir.path().join("plugins")).unwrap();
        Self { dir }
    }

    /// A rig with one plugin, `guest`.
    pub(crate) fn with(guest: &Guest) -> Self {
        let rig = Self::new();
        guest.install(&rig.plugins(), "guest");
        rig
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// Starts the pipeline with these stages (YAML, flow style), and waits until it is ready. A batch is cut at 1000 changes,
    /// or when nothing more came for a while: what is fed at once stands in one batch.
    pub(crate) async fn start(&self, lanes: usize, stages: &str) -> Host {
        let mut host = self.launch(lanes, stages);
        host.wait_ready().await;
        host
    }

    /// [`Rig::start`] without waiting.
    pub(crate) fn launch(&self, lanes: usize, stages: &str) -> Host {
        let config = config(lanes, stages);
        let options = HostOptions { dir: Some(self.dir().to_owned()), keep_input: true, ..HostOptions::default() };
        Host::start_with(&config, options)
    }

    /// What arrived at the sink so far.
    pub(crate) fn delivered(&self) -> Vec<Value> {
        lines(&self.dir().join("out.jsonl"))
    }

    /// What went to the dead letter so far.
    pub(crate) fn dead_letters(&self) -> Vec<Value> {
        lines(&self.dir().join("state/p.dead.jsonl"))
    }

    /// Whole lines of a file of JSON Lines in its folder.
    pub(crate) fn lines(&self, file: &str) -> Vec<Value> {
        lines(&self.dir().join(file))
    }

    /// Waits until so many changes arrived at the sink.
    pub(crate) async fn wait_delivered(&self, host: &mut Host, count: usize) -> Vec<Value> {
        eventually(PATIENCE, "changes at the sink", async || {
            assert!(host.is_running(), "tidegate ended:\n{}", host.stderr());
            let there = self.delivered();
            if there.len() >= count { Ok(there) } else { Err(format!("{} of {count}", there.len())) }
        })
        .await
    }
}

pub(crate) fn config(lanes: usize, stages: &str) -> String {
    format!(
        "admin: {{ listen: 127.0.0.1:0 }}
log: {{ level: info, format: json }}
state: {{ dir: state }}
plugins: {{ dir: plugins, limits: {{ time: 50ms }} }}
pipelines:
  p:
    source: stdin
    batch: {{ max_events: 1000, linger: 300ms }}
    lanes: {lanes}
    stages: {stages}
    sinks: {{ out: {{ file: {{ path: out.jsonl }} }} }}
"
    )
}

/// A line with the change of document `number`; `text` stands in the document.
pub(crate) fn change(number: usize, text: &str) -> String {
    format!(
        "{{\"id\":\"{}\",\"op\":\"insert\",\"ns\":\"shop.items\",\"doc\":{{\"_id\":{number},\"text\":\"{text}\"}}}}\n",
        id(number)
    )
}

/// The id of the change of document `number`.
pub(crate) fn id(number: usize) -> String {
    format!("c-{number}")
}

/// Changes of these documents; `text` says what stands in each.
pub(crate) fn changes(numbers: impl Iterator<Item = usize>, text: impl Fn(usize) -> &'static str) -> String {
    numbers.map(|number| change(number, text(number))).collect()
}

pub(crate) fn ids(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["id"].as_str().unwrap_or_else(|| panic!("no id: {line}"))).collect()
}

/// The ids of the documents in this range, without some.
pub(crate) fn ids_without(numbers: std::ops::Range<usize>, without: &[usize]) -> Vec<String> {
    let without: BTreeSet<usize> = without.iter().copied().collect();
    numbers.filter(|number| !without.contains(number)).map(id).collect()
}

/// Whole lines of a file of JSON Lines; none where there is no file yet.
fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", file.display())))
        .collect()
}
