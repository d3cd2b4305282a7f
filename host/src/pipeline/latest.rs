//! Only the newest change of each document, held by a sink's task until it is time to write them all.
//!
//! A batch that is held is not safe: its position moves when all that is held was written, never before. What it holds of the
//! pipeline's bytes is given back at once, since the changes are copied out of it: the bounds of the hold are its own, so
//! a hold that waits for its time keeps nobody from reading on.

use std::collections::{BTreeMap, HashMap};

use bytestring::ByteString;
use tokio::time::{Duration, Instant};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    batch::{Delivery, Outbound, Route, Routed, SharedOutbound},
    change::Operation,
    config::LatestConfig,
    position::Position,
};

/// What a held change takes beside its documents.
const OVERHEAD: usize = 256;

/// What a sink holds.
pub(super) struct Hold {
    config: LatestConfig,
    parts: Vec<Part>,
    /// When the oldest of it came.
    since: Option<Instant>,
    /// Counts what was held, so that it is written in the order of the source.
    order: u64,
    bytes: usize,
    overtaken: u64,
    /// Number of the last batch.
    last: u64,
}

/// What is held of one partition of the source: only positions of the same one can be compared.
struct Part {
    partition: ByteString,
    position: Option<Position>,
    changes: BTreeMap<u64, Routed>,
    /// Where the change of a document stands.
    newest: HashMap<u128, u64>,
}

/// All that was held, as batches that stand for many.
pub(super) struct Flush {
    pub(super) batches: Vec<SharedOutbound>,
    /// The last batch they stand for.
    pub(super) through: u64,
    /// Changes in them.
    pub(super) changes: usize,
    /// Changes that newer ones took the place of.
    pub(super) overtaken: u64,
}

impl Hold {
    pub(super) fn new(config: LatestConfig) -> Self {
        Self { config, parts: Vec::new(), since: None, order: 0, bytes: 0, overtaken: 0, last: 0 }
    }

    /// Whether no batch is held.
    pub(super) fn is_empty(&self) -> bool {
        self.since.is_none()
    }

    /// When it is to be written at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let every: Duration = self.config.flush_every.0;
        self.since.map(|since| since + every)
    }

    fn changes(&self) -> usize {
        self.parts.iter().map(|part| part.changes.len()).sum()
    }

    /// Whether it is to be written now.
    pub(super) fn is_full(&self) -> bool {
        self.changes() >= self.config.flush_max as usize || self.bytes >= self.config.flush_bytes.as_usize()
    }

    /// Holds what a batch has for the sink at `index`.
    pub(super) fn add(&mut self, batch: &Outbound, index: usize) {
        self.since.get_or_insert_with(Instant::now);
        self.last = batch.number;
        let at = self.parts.iter().position(|part| part.partition == batch.partition).unwrap_or_else(|| {
            self.parts.push(Part {
                partition: batch.partition.clone(),
                position: None,
                changes: BTreeMap::new(),
                newest: HashMap::new(),
            });
            self.parts.len() - 1
        });
        let Some(part) = self.parts.get_mut(at) else { return };
        if let Some(position) = &batch.position {
            part.position = Some(position.detached());
        }
        for routed in &batch.changes {
            for delivery in routed.for_sink(index) {
                self.order += 1;
                if let Some(document) = document_of(&delivery)
                    && let Some(before) = part.newest.insert(document, self.order)
                    && let Some(overtaken) = part.changes.remove(&before)
                {
                    self.bytes = self.bytes.saturating_sub(size(&overtaken));
                    self.overtaken += 1;
                }
                let held = detached(routed, &delivery, index);
                self.bytes += size(&held);
                part.changes.insert(self.order, held);
            }
        }
    }

    /// Hands over all of it.
    pub(super) fn take(&mut self) -> Flush {
        let held = std::mem::replace(self, Self::new(self.config));
        let (changes, overtaken, through) = (held.changes(), held.overtaken, held.last);
        let batches = held.parts.into_iter().map(|part| {
            SharedOutbound::new(Outbound {
                number: through,
                changes: part.changes.into_values().collect(),
                partition: part.partition,
                position: part.position,
            })
        });
        Flush { batches: batches.collect(), through, changes, overtaken }
    }
}

fn size(routed: &Routed) -> usize {
    let original = routed.original.as_ref().map_or(0, |original| original.size());
    routed.change.size() + original + OVERHEAD
}

/// What a newer change takes the place of: the same document at the same target. A change without its document, but for a delete,
/// stands for itself, as do changes of collections.
fn document_of(delivery: &Delivery<'_>) -> Option<u128> {
    let change = delivery.change;
    if change.operation.is_ddl() || (change.document.is_none() && change.operation != Operation::Delete) {
        return None;
    }
    let mut hash = Xxh3::new();
    for part in [change.namespace.as_str().as_bytes(), change.key.as_ref()?.as_bytes()] {
        hash.update(&part.len().to_le_bytes());
        hash.update(part);
    }
    if let Some(target) = delivery.target() {
        hash.update(target.as_bytes());
    }
    Some(hash.digest128())
}

/// A copy that keeps nothing alive of what the batch was read into.
fn detached(routed: &Routed, delivery: &Delivery<'_>, index: usize) -> Routed {
    let route = match delivery.destination {
        None => Route::Everywhere,
        Some(destination) => {
            let mut destination = destination.clone();
            destination.sink = Some(index);
            Route::To([destination].into())
        }
    };
    let original = routed.original.as_ref().map(|original| original.detached().into());
    Routed { change: routed.change.detached(), route, original }
}

#[cfg(test)]
mod tests {
    use super::{Flush, Hold};
    use crate::{
        batch::{Destination, Outbound, Route, Routed},
        config::{ByteSize, LatestConfig},
        format::lines::read_change,
        position::Position,
    };

    fn config(flush_max: u32) -> LatestConfig {
        LatestConfig { flush_max, ..LatestConfig::default() }
    }

    /// A batch of changes `op _id n`; its position is its number.
    fn batch(number: u8, partition: &'static str, changes: &[(&str, i32, i32)]) -> Outbound {
        let changes = changes.iter().map(|(op, id, n)| {
            let body = match *op {
                "delete" => format!(r#""key":{{"_id":{id}}}"#),
                _ => format!(r#""doc":{{"_id":{id},"n":{n}}}"#),
            };
            let line = format!(r#"{{"id":"{op}-{id}-{n}","op":"{op}","ns":"d.c",{body}}}"#);
            let change = read_change(line.as_bytes(), "in:1").unwrap();
            Routed { change, route: Route::Everywhere, original: None }
        });
        let position = Some(Position::new(vec![number]));
        Outbound { number: number.into(), changes: changes.collect(), partition: partition.into(), position }
    }

    fn ids(flush: &Flush) -> Vec<Vec<String>> {
        let of = |batch: &Outbound| batch.changes.iter().map(|routed| routed.change.id.to_string()).collect();
        flush.batches.iter().map(|batch| of(batch)).collect()
    }

    #[test]
    fn the_newest_of_each_document_is_left_in_the_order_of_the_source() {
        let mut hold = Hold::new(config(4));
        assert!(hold.is_empty() && hold.deadline().is_none());
        hold.add(&batch(1, "all", &[("insert", 1, 0), ("insert", 2, 0), ("update", 1, 1)]), 0);
        let deadline = hold.deadline();
        hold.add(&batch(2, "all", &[("delete", 2, 0), ("insert", 3, 0)]), 0);
        assert_eq!(hold.deadline(), deadline, "the oldest waits no longer");
        assert!(!hold.is_full());
        hold.add(&batch(3, "other", &[("insert", 1, 7)]), 0);
        assert!(hold.is_full());
        let flush = hold.take();
        assert_eq!(ids(&flush), [vec!["update-1-1", "delete-2-0", "insert-3-0"], vec!["insert-1-7"]]);
        assert_eq!((flush.through, flush.changes, flush.overtaken), (3, 4, 2));
        assert_eq!(flush.batches[0].position, Some(Position::new(vec![2])));
        assert!(hold.is_empty() && !hold.is_full() && hold.bytes == 0);
    }

    #[test]
    fn the_same_document_elsewhere_is_another_one() {
        let mut hold = Hold::new(config(100));
        let mut sent = batch(1, "all", &[("insert", 1, 0)]);
        let to = |sink: Option<usize>, target: &str| Destination {
            sink,
            target: Some(target.to_owned().into()),
            ordering_key: None,
            attributes: Default::default(),
        };
        sent.changes[0].route = Route::To(vec![to(Some(0), "a"), to(Some(1), "a"), to(None, "b")].into());
        hold.add(&sent, 0);
        hold.add(&sent, 0);
        let flush = hold.take();
        let targets: Vec<_> = flush.batches[0].for_sink(0).iter().map(|delivery| delivery.target().unwrap()).collect();
        assert_eq!((targets, flush.overtaken), (vec!["a", "b"], 2));
        assert!(flush.batches[0].for_sink(1).is_empty());
    }

    #[test]
    fn bytes_are_bounded_too_and_given_back() {
        let mut hold = Hold::new(LatestConfig { flush_bytes: ByteSize(5000), ..config(u32::MAX) });
        for number in 1..100 {
            hold.add(&batch(number, "all", &[("update", 1, 1)]), 0);
        }
        assert!(!hold.is_full(), "one document, however often: {} bytes", hold.bytes);
        for id in 0..20 {
            hold.add(&batch(200, "all", &[("insert", id, 1)]), 0);
        }
        assert!(hold.is_full());
    }
}
