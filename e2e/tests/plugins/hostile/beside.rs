//! A hostile plugin in pipeline `p`, beside pipeline `q` of the same host with an honest one.

use serde_json::Value;
use tidegate_tests::guests::{Guest, MARKER, Role};
use tidegate_tests::{Host, HostOptions, eventually, field};

use crate::rig::{PATIENCE, Rig, id, ids, ids_without};

/// Changes in each of the two batches of `p`.
const BATCH: usize = 300;
/// The one that is marked.
const GUILTY: usize = 117;
/// Changes of `q`: some hundred milliseconds of work beside what `p` does.
const HONEST: usize = 10_000;

/// The most a host may hold at any time, whatever a plugin with the default limits does: what it holds with good ones (60 MB),
/// the 64 MiB of an instance, and what one call may return (32 MiB) in the shapes it has on its way through.
pub(super) const MOST_MEMORY: u64 = 256 << 20;

/// What a case has besides its guest.
#[derive(Debug, Clone, Default)]
pub(super) struct Case {
    /// Settings of the stage.
    pub(super) stage: &'static str,
    /// Bytes that the document of the guilty change is made longer by.
    pub(super) padding: usize,
}

/// What is expected of the guilty change: the kind of its dead letter, and parts of the reason; none: it is delivered as all others.
pub(super) type Expected = Option<(&'static str, &'static [&'static str])>;

/// A host with both pipelines, whose input is open.
pub(super) struct Beside {
    pub(super) rig: Rig,
    pub(super) host: Host,
}

impl Beside {
    /// Starts it with this guest; `stage` are more settings of its stage.
    pub(super) async fn start(guest: &Guest, stage: &str) -> Self {
        Self::start_with_batches(BATCH, guest, stage).await
    }

    /// The same, with so many changes in a batch of `p` at most.
    pub(super) async fn start_with_batches(most: usize, guest: &Guest, stage: &str) -> Self {
        let rig = Rig::with(guest);
        Guest::new(Role::Stamper).install(&rig.plugins(), "honest");
        let lines: String = (0..HONEST).map(|number| change(number, "honest")).collect();
        std::fs::write(rig.dir().join("honest.jsonl"), lines).unwrap();
        let config = format!(
            "admin: {{ listen: 127.0.0.1:0 }}
log: {{ level: info, format: json }}
state: {{ dir: state }}
plugins: {{ dir: plugins, limits: {{ time: 50ms }}, swap: {{ probation: off }} }}
pipelines:
  p:
    source: stdin
    batch: {{ max_events: {most}, linger: 100ms }}
    lanes: 1
    stages: [{{ plugin: guest{stage} }}]
    sinks: {{ out: {{ file: {{ path: out.jsonl }} }} }}
  q:
    source: {{ file: {{ path: honest.jsonl }} }}
    batch: {{ max_events: 500 }}
    lanes: 1
    stages: [{{ plugin: honest }}]
    sinks: {{ out: {{ file: {{ path: honest.out.jsonl }} }} }}
"
        );
        let options = HostOptions { dir: Some(rig.dir().to_owned()), keep_input: true, ..HostOptions::default() };
        let mut host = Host::start_with(&config, options);
        host.wait_ready().await;
        Self { rig, host }
    }

    /// Feeds changes of these documents to `p`.
    pub(super) fn feed(&self, numbers: impl Iterator<Item = usize>, text: impl Fn(usize) -> String) {
        self.host.feed(numbers.map(|number| change(number, &text(number))).collect::<String>());
    }

    /// Waits until so many changes of `p` arrived.
    pub(super) async fn wait_delivered(&mut self, count: usize) -> Vec<Value> {
        self.rig.wait_delivered(&mut self.host, count).await
    }

    /// `q` delivers all of its changes, in order, while `p` is still there; and the host never held more than it may.
    pub(super) async fn is_unharmed(&mut self) {
        let (rig, host) = (&self.rig, &mut self.host);
        let honest = eventually(PATIENCE, "all changes of the pipeline beside it", async || {
            assert!(host.is_running(), "tidegate ended:\n{}", host.stderr());
            let there = rig.lines("honest.out.jsonl");
            if there.len() >= HONEST { Ok(there) } else { Err(format!("{} of {HONEST}", there.len())) }
        })
        .await;
        assert_eq!(ids(&honest), ids_without(0..HONEST, &[]), "delivered beside it, in order");
        let now = host.metric("process_resident_memory_bytes", &[]).await.unwrap();
        assert!(now < MOST_MEMORY as f64, "the host holds {now} bytes");
        let most = most_memory(host);
        assert!(most < MOST_MEMORY, "the host held {most} bytes");
    }

    /// Ends the input; the host ends in peace, and its dead letters are exactly these.
    pub(super) async fn ends_with_dead_letters(mut self, expected: &[usize]) -> Vec<Value> {
        self.host.end_input();
        assert_eq!(self.host.wait_exit(PATIENCE).await, Some(0), "{}", self.host.stderr());
        let dead = self.rig.dead_letters();
        assert_eq!(ids(&dead), expected.iter().map(|number| id(*number)).collect::<Vec<_>>(), "dead letters");
        dead
    }

    pub(super) fn events(&self, event: &str) -> usize {
        self.host.log().iter().filter(|line| field(line, "event").and_then(Value::as_str) == Some(event)).count()
    }
}

/// The most memory the host ever had, as the system counts it.
fn most_memory(host: &Host) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}

fn change(number: usize, text: &str) -> String {
    crate::rig::change(number, text)
}

/// A batch with one guilty change in it, then a batch of innocent ones.
pub(super) async fn costs(guest: Guest, case: Case, expected: Expected) {
    let mut beside = Beside::start(&guest, case.stage).await;
    let guilty: &[usize] = if expected.is_some() { &[GUILTY] } else { &[] };
    let text = |number: usize| match number == GUILTY {
        true => format!("{MARKER}{}", "x".repeat(case.padding)),
        false => "good".to_owned(),
    };
    beside.feed(0..BATCH, text);
    beside.wait_delivered(BATCH - guilty.len()).await;
    beside.feed(BATCH..2 * BATCH, |_| "good".to_owned());
    let delivered = beside.wait_delivered(2 * BATCH - guilty.len()).await;
    assert_eq!(ids(&delivered), ids_without(0..2 * BATCH, guilty), "delivered, in order");
    beside.is_unharmed().await;
    let dead = beside.ends_with_dead_letters(guilty).await;
    let Some((kind, parts)) = expected else { return };
    for letter in dead {
        let reason = letter["reason"].as_str().unwrap();
        assert_eq!(letter["kind"], kind, "{reason}");
        for part in parts {
            assert!(reason.contains(part), "nothing of `{part}`: {reason}");
        }
        assert!(reason.len() < 5000, "a reason of {} bytes", reason.len());
        assert_eq!((&letter["plugin"], &letter["stage"]), (&"guest".into(), &"stages[0]".into()));
        assert_eq!(letter["change"]["doc"]["text"], text(GUILTY), "the change is whole");
    }
}

/// A test for each line: `NAME: GUEST => KIND, PARTS OF THE REASON;`
macro_rules! hostile {
    ($($name:ident: $guest:expr => $kind:literal, $($part:literal),+;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::hostile::beside::costs($guest, Default::default(), Some(($kind, &[$($part),+]))).await;
            }
        )+
    };
}
pub(super) use hostile;
