//! Replay: dead letters once more through the plugins of today and into the sinks.
//!
//! A letter goes in as the source read it, through all stages, and is marked as replayed after the sinks have it. Letters of
//! one document keep their order: no two of them are under way together, and when one fails again the later ones are held back.
//! A crash between the sinks and the mark makes the next replay deliver it once more, with the same id.

use std::{collections::HashSet, sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytestring::ByteString;
use xxhash_rust::xxh3::Xxh3;

use super::lane::{Done, Lane};
use crate::{
    batch::{Outbound, Routed},
    change::Change,
    config::{PipelineConfig, SinkConfig},
    dead_letter::{Again, Kept, Letters, Mark, MarkState, State},
    error::{Code, Fault},
    format::time::{iso8601, now_millis},
    plugin::{
        PluginHost, StageChain,
        stage::{Halt, Item},
    },
    sink::{AnySink, Sink as _, Writes, Wrote},
    telemetry::metrics::{DeadLetterKind, Metrics},
};

/// Name of the header that tells a replayed change from others: when it was replayed.
pub const REPLAYED_AT: &str = "replayed_at";

/// Letters under way together, and their bytes.
const TOGETHER: usize = 200;
const TOGETHER_BYTES: usize = 8 << 20;
/// How often a sink is tried that cannot take writes now: about ten seconds in all. A person is waiting.
const TRIES: usize = 6;

/// What became of one letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sinks have it.
    Replayed,
    /// The plugins of today drop it on purpose.
    Filtered,
    /// It failed again.
    Failed(Again),
    /// An earlier letter of the same document failed again.
    HeldBack,
    /// It was replayed before.
    Done,
    /// It cannot be replayed, and why.
    Skipped(String),
}

/// How many letters became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Delivered, or dropped on purpose by a plugin.
    pub replayed: u64,
    /// Failed again; they stay.
    pub failed: u64,
    /// Held back behind one that failed again.
    pub held_back: u64,
    /// Replayed before, or fit for no replay.
    pub skipped: u64,
}

/// One run of a replay.
pub struct Replay {
    lane: Option<(Lane, Arc<StageChain>)>,
    sinks: Vec<Target>,
    /// Letters are replayed even when they were before.
    again: bool,
    /// Documents of which a letter failed again.
    blocked: HashSet<u128>,
    summary: Summary,
}

struct Target {
    name: String,
    sink: AnySink,
    open: bool,
}

/// The sink that a replay writes to: told that what comes is old, unless the operator wants it all the same. It is never claimed,
/// so it neither takes the pipeline's positions from the host nor skips what is older than they are.
fn replay_sink(config: &SinkConfig, pipeline: (&str, &PipelineConfig), name: &str, overwrite: bool) -> AnySink {
    let sink = AnySink::new(config, pipeline.0, name).from_source(&pipeline.1.source);
    if overwrite { sink } else { sink.late() }
}

/// What the operator wants of a replay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Letters are replayed even when they were before.
    pub again: bool,
    /// Documents of a mirror are taken back to what they were in the letter.
    pub overwrite: bool,
}

impl Replay {
    /// Makes a replay of a pipeline; no sink is opened before there is something to write to it.
    ///
    /// # Errors
    /// When the thread for the plugins cannot be started.
    pub fn new(name: &str, config: &PipelineConfig, plugins: &PluginHost, wishes: Wishes) -> Result<Self, Fault> {
        let lane = match plugins.chain(name) {
            Some(chain) if !config.stages.is_empty() => {
                Some((Lane::start(name, 0, plugins.engine(), Metrics::new())?, chain))
            }
            _ => None,
        };
        let sinks = config
            .sinks
            .iter()
            .map(|(target, sink)| Target {
                name: target.clone(),
                sink: replay_sink(sink, (name, config), target, wishes.overwrite),
                open: false,
            })
            .collect();
        Ok(Self { lane, sinks, again: wishes.again, blocked: HashSet::new(), summary: Summary::default() })
    }

    /// How many letters became what so far.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Replays what `letters` selects, oldest first, and tells what became of each.
    ///
    /// # Errors
    /// When the letters cannot be read or marked, a plugin cannot be started, or a sink takes nothing. What was under way then
    /// may be in some sinks, and is replayed again the next time.
    pub async fn run(&mut self, letters: &mut Letters, tell: &mut dyn FnMut(&Kept, &Outcome)) -> Result<(), Fault> {
        let mut next = None;
        loop {
            let (mut together, mut documents, mut bytes) = (Vec::new(), HashSet::new(), 0);
            while let Some(kept) = match next.take() {
                Some(kept) => Some(kept),
                None => letters.next().await?,
            } {
                let document = document_of(&kept);
                let passed = match self.passed(&kept) {
                    None if document.is_some_and(|document| self.blocked.contains(&document)) => {
                        Some(Outcome::HeldBack)
                    }
                    passed => passed,
                };
                if let Some(outcome) = passed {
                    self.count(&outcome);
                    tell(&kept, &outcome);
                    continue;
                }
                let full = together.len() >= TOGETHER || bytes > TOGETHER_BYTES;
                if full || document.is_some_and(|document| !documents.insert(document)) {
                    next = Some(kept);
                    break;
                }
                bytes += kept.size;
                together.push(kept);
            }
            if together.is_empty() {
                return Ok(());
            }
            let outcomes = self.replay(&together).await?;
            let marks = together.iter().zip(&outcomes).filter_map(|(kept, outcome)| mark(kept, outcome)).collect();
            letters.mark(marks).await?;
            for (kept, outcome) in together.iter().zip(&outcomes) {
                if matches!(outcome, Outcome::Failed(_)) {
                    self.blocked.extend(document_of(kept));
                }
                self.count(outcome);
                tell(kept, outcome);
            }
        }
    }

    /// What is not replayed at all.
    fn passed(&self, kept: &Kept) -> Option<Outcome> {
        if matches!(kept.state, State::Replayed(_)) && !self.again {
            return Some(Outcome::Done);
        }
        if kept.letter.change().is_none() {
            let reason = "it holds text that was no change; mend it and put it in as a change".to_owned();
            return Some(Outcome::Skipped(reason));
        }
        let wanted = wanted_sinks(kept);
        let known = |name: &&str| self.sinks.iter().any(|target| target.name == **name);
        (!wanted.is_empty() && !wanted.iter().any(known))
            .then(|| Outcome::Skipped(format!("the pipeline has no sink `{}` any more", wanted.join("`, `"))))
    }

    fn count(&mut self, outcome: &Outcome) {
        let Summary { replayed, failed, held_back, skipped } = &mut self.summary;
        *match outcome {
            Outcome::Replayed | Outcome::Filtered => replayed,
            Outcome::Failed(_) => failed,
            Outcome::HeldBack => held_back,
            Outcome::Done | Outcome::Skipped(_) => skipped,
        } += 1;
    }

    /// Letters of different documents through the stages and into the sinks.
    async fn replay(&mut self, letters: &[Kept]) -> Result<Vec<Outcome>, Fault> {
        let changes = letters.iter().filter_map(|kept| kept.letter.original.as_deref().or(kept.letter.change()));
        let items: Vec<Item> = (0..).zip(changes).map(|(order, change)| Item::new(order, change.clone())).collect();
        let done = match &self.lane {
            Some((lane, chain)) => lane
                .process(chain.current(), items)
                .await
                .map_err(|_| {
                    Fault::fatal(
                        Code::Internal,
                        "the lane of a replay broke; this is a defect of tidegate, please report it",
                    )
                })?
                .map_err(|halt| match halt {
                    Halt::Fault(fault) => fault,
                    // Nothing swaps in a replay.
                    Halt::TakenBack => Fault::fatal(Code::Internal, "a plugin was taken back in a replay"),
                })?,
            None => Done { items, ..Done::default() },
        };
        let mut outcomes = vec![Outcome::Filtered; letters.len()];
        let mut routed = sort_out(letters, done, &mut outcomes);
        let now = ByteString::from(iso8601(now_millis()));
        for (_, routed) in &mut routed {
            routed.change.headers.set(ByteString::from_static(REPLAYED_AT), now.clone());
        }
        for index in 0..self.sinks.len() {
            self.write(index, letters, &routed, &mut outcomes).await?;
        }
        Ok(outcomes)
    }

    /// Writes to one sink what is for it.
    async fn write(
        &mut self,
        index: usize,
        letters: &[Kept],
        routed: &[(usize, Routed)],
        outcomes: &mut [Outcome],
    ) -> Result<(), Fault> {
        let Some(target) = self.sinks.get_mut(index) else { return Ok(()) };
        let wants = |kept: &Kept| {
            let wanted = wanted_sinks(kept);
            wanted.is_empty() || wanted.contains(&&*target.name)
        };
        let (orders, changes): (Vec<usize>, Vec<Routed>) =
            routed.iter().filter(|(order, _)| letters.get(*order).is_some_and(wants)).cloned().unzip();
        let batch = Outbound { number: 0, changes, partition: ByteString::new(), position: None };
        let mut writes = Writes::of(&batch, index);
        if writes.is_empty() {
            return Ok(());
        }
        target.write(&mut writes).await?;
        for refused in writes.refused() {
            let Some(delivery) = writes.get(refused.index) else { continue };
            let place = batch.changes.iter().position(|routed| std::ptr::eq(&raw const routed.change, delivery.change));
            let Some(outcome) = place.and_then(|place| orders.get(place)).and_then(|order| outcomes.get_mut(*order))
            else {
                continue;
            };
            match outcome {
                Outcome::Failed(again) if again.sinks.contains(&target.name) => {}
                Outcome::Failed(again) => again.sinks.push(target.name.clone()),
                _ => {
                    *outcome = Outcome::Failed(Again {
                        plugin_version: None,
                        plugin_digest: None,
                        kind: DeadLetterKind::Refused.as_str().to_owned(),
                        stage: format!("sinks.{}", target.name),
                        plugin: None,
                        generation: None,
                        reason: format!("sink `{}` refused it: {}", target.name, refused.reason),
                        violations: Vec::new(),
                        sinks: vec![target.name.clone()],
                    });
                }
            }
        }
        Ok(())
    }
}

impl Target {
    /// Writes all, with some patience for a sink that is away.
    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<(), Fault> {
        let builder = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .with_max_times(TRIES);
        let mut waits = builder.build();
        loop {
            let tried = async {
                if !self.open {
                    self.sink.open().await?;
                    self.open = true;
                }
                self.sink.write(writes).await
            };
            let fault = match tried.await {
                Ok(Wrote::All) => return Ok(()),
                // Only a sink that keeps positions stops at what it refuses.
                Ok(Wrote::Refused) => continue,
                Err(fault) => fault,
            };
            let wait = waits.next().filter(|_| fault.is_transient());
            let Some(wait) = wait else {
                return Err(Fault::fatal(fault.code, format!("sink `{}`: {}", self.name, fault.message)));
            };
            tracing::warn!(
                event = "sink_retry",
                sink = %self.name,
                code = fault.code.as_str(),
                "sink {} is tried again: {}",
                self.name,
                fault.message
            );
            tokio::time::sleep(wait).await;
        }
    }
}

/// What the stages made of each letter: where it goes, or how it failed again. Of a change that became several, a letter about one
/// of them takes this one alone.
fn sort_out(letters: &[Kept], done: Done, outcomes: &mut [Outcome]) -> Vec<(usize, Routed)> {
    let mut routed: Vec<(usize, Routed)> = done
        .items
        .into_iter()
        .map(|Item { order, change, route, original, .. }| (order as usize, Routed { change, route, original }))
        .collect();
    let mut casualties = done.left.casualties;
    for (order, (kept, outcome)) in letters.iter().zip(outcomes.iter_mut()).enumerate() {
        let id = kept.letter.id();
        let mine = |at: usize, change: &Change| at == order && *change.id == *id;
        let named = routed.iter().any(|(at, routed)| mine(*at, &routed.change))
            || casualties.iter().any(|casualty| mine(casualty.order as usize, &casualty.change));
        if named {
            routed.retain(|(at, routed)| *at != order || mine(*at, &routed.change));
            casualties.retain(|casualty| casualty.order as usize != order || *casualty.change.id == *id);
        }
        if let Some(casualty) = casualties.iter().find(|casualty| casualty.order as usize == order) {
            routed.retain(|(at, _)| *at != order);
            *outcome = Outcome::Failed(Again {
                kind: casualty.kind.as_str().to_owned(),
                stage: format!("stages[{}]", casualty.stage),
                plugin: Some(casualty.plugin.to_string()),
                generation: Some(casualty.generation),
                plugin_version: Some(casualty.version.to_string()),
                plugin_digest: Some(casualty.digest.to_string()),
                reason: casualty.reason.clone(),
                violations: casualty.violations.iter().map(|v| (v.path.clone(), v.message.clone())).collect(),
                sinks: wanted_sinks(kept).into_iter().map(str::to_owned).collect(),
            });
        } else if routed.iter().any(|(at, _)| *at == order) {
            *outcome = Outcome::Replayed;
        }
    }
    routed
}

/// The sinks a letter is still to be written to, where all others have it; none: all.
fn wanted_sinks(kept: &Kept) -> Vec<&str> {
    match kept.letter.stage.strip_prefix("sinks.") {
        _ if !kept.sinks.is_empty() => kept.sinks.iter().map(String::as_str).collect(),
        Some(sink) => vec![sink],
        None => Vec::new(),
    }
}

/// What has to stay in order: changes of one document, and changes of one collection as a whole; nothing for another change without
/// a key.
fn document_of(kept: &Kept) -> Option<u128> {
    let change = kept.letter.original.as_deref().or(kept.letter.change())?;
    let mut hash = Xxh3::new();
    hash.update(change.namespace.as_str().as_bytes());
    if !change.operation.is_ddl() {
        hash.update(&[0]);
        hash.update(change.key.as_ref()?.as_bytes());
    }
    Some(hash.digest128())
}

fn mark(kept: &Kept, outcome: &Outcome) -> Option<Mark> {
    // Never older than the letter, whose host may have another clock.
    let at = now_millis().max(kept.letter.at);
    let (state, again) = match outcome {
        Outcome::Replayed | Outcome::Filtered => (MarkState::Replayed, None),
        Outcome::Failed(again) => (MarkState::Failed, Some(Box::new(again.clone()))),
        Outcome::HeldBack | Outcome::Done | Outcome::Skipped(_) => return None,
    };
    Some(Mark { key: kept.key.clone(), state, at, again })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Done, Item, Outcome, sort_out};
    use crate::{
        change::Change,
        dead_letter::{DeadLetter, Kept, Letter},
        format::lines::read_change,
        plugin::stage::{Casualty, Left},
        telemetry::metrics::DeadLetterKind,
    };

    fn change(id: &str) -> Change {
        let text = format!(r#"{{"id":"{id}","op":"insert","ns":"d.c","doc":{{"_id":1}}}}"#);
        read_change(text.as_bytes(), "x:1").unwrap()
    }

    fn kept(id: &str) -> Kept {
        let letter = Letter::Change(Box::new(change(id)));
        Kept::of(DeadLetter::new("p", DeadLetterKind::Failed, letter, "stages[0]", "why"))
    }

    fn casualty(order: u32, id: &str) -> Casualty {
        Casualty {
            order,
            change: change(id),
            original: Some(Arc::new(change("c"))),
            kind: DeadLetterKind::Trap,
            reason: "again".to_owned(),
            violations: Vec::new(),
            stage: 1,
            plugin: "p".into(),
            generation: 2,
            version: "1".into(),
            digest: "d".into(),
        }
    }

    fn sorted(
        letters: &[&str],
        items: &[(u32, &str)],
        casualties: &[(u32, &str)],
    ) -> (Vec<Outcome>, Vec<(usize, String)>) {
        let letters: Vec<Kept> = letters.iter().map(|id| kept(id)).collect();
        let items = items.iter().map(|(order, id)| Item::new(*order, change(id))).collect();
        let casualties = casualties.iter().map(|(order, id)| casualty(*order, id)).collect();
        let mut outcomes = vec![Outcome::Filtered; letters.len()];
        let routed = sort_out(&letters, Done { items, left: Left { casualties, filtered: 0 } }, &mut outcomes);
        (outcomes, routed.into_iter().map(|(order, routed)| (order, routed.change.id.to_string())).collect())
    }

    #[test]
    fn of_a_change_that_became_several_a_letter_takes_its_own() {
        let three = [(0, "c.0"), (0, "c.1"), (0, "c.2")];
        let (outcomes, routed) = sorted(&["c.1"], &three, &[]);
        assert_eq!((outcomes, routed), (vec![Outcome::Replayed], vec![(0, "c.1".to_owned())]));
        // Another of them fails: that is not the business of this letter.
        let (outcomes, routed) = sorted(&["c.1"], &three[1..], &[(0, "c.0")]);
        assert_eq!((outcomes, routed.len()), (vec![Outcome::Replayed], 1));
        let (outcomes, routed) = sorted(&["c.0"], &three[1..], &[(0, "c.0")]);
        assert!(
            matches!(&*outcomes, [Outcome::Failed(again)] if again.stage == "stages[1]" && again.reason == "again")
        );
        assert!(routed.is_empty());
        // A letter about the whole takes all of them, or none when one fails.
        assert_eq!(sorted(&["c"], &three, &[]).1.len(), 3);
        let (outcomes, routed) = sorted(&["c"], &three[1..], &[(0, "c.0")]);
        assert!(matches!(&*outcomes, [Outcome::Failed(_)]) && routed.is_empty());
    }

    #[test]
    fn letters_beside_each_other_do_not_mix() {
        let (outcomes, routed) = sorted(&["a", "b", "c"], &[(0, "a"), (2, "c")], &[(1, "b")]);
        assert!(matches!(&*outcomes, [Outcome::Replayed, Outcome::Failed(_), Outcome::Replayed]), "{outcomes:?}");
        assert_eq!(routed, [(0, "a".to_owned()), (2, "c".to_owned())]);
        assert_eq!(sorted(&["a"], &[], &[]).0, [Outcome::Filtered]);
    }
}
