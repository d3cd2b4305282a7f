//! Reads what differs again by its `_id`, until it is equal or the time is over.
//!
//! The two sides are never read at one moment, and a mirror is a little behind. So a document is well when both sides are equal, and
//! also when the target is in a state that the source was seen in since the comparison began with it: it follows. A document that is written
//! without a pause would never be seen equal otherwise.

use std::time::Duration;

use bson::{Bson, RawDocumentBuf};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    Progress,
    diff::{Verdict, diff},
    report::{CollectionReport, Difference, Kind},
    scope::Pair,
};
use crate::error::Fault;

/// Documents that wait at most; then their time is waited out before more is read.
const MOST: usize = 100_000;
/// Bytes of their `_id`s, likewise.
const MOST_BYTES: usize = 32 << 20;
/// Documents of one look, and their bytes, as far as they were known.
const LOOK: usize = 500;
const LOOK_BYTES: usize = 8 << 20;
/// States of the source that are remembered of a document.
const STATES: usize = 64;
/// Between two looks, growing.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// A document that differed when it was last looked at.
pub(super) struct Candidate {
    /// Which pair it is of.
    pub(super) collection: usize,
    pub(super) key: Vec<u8>,
    pub(super) id: Bson,
    /// Bytes of the bigger of the two.
    pub(super) size: usize,
    pub(super) since: Instant,
    /// Hashes of the source's states so far; none where it had no such document.
    pub(super) states: Vec<Option<u128>>,
}

/// All that wait.
pub(super) struct Settler {
    wait: Duration,
    most_told: usize,
    pending: Vec<Candidate>,
    bytes: usize,
}

impl Settler {
    pub(super) fn new(wait: Duration, most_told: usize) -> Self {
        Self { wait, most_told, pending: Vec::new(), bytes: 0 }
    }

    pub(super) fn add(&mut self, candidates: Vec<Candidate>) {
        self.bytes += candidates.iter().map(|candidate| candidate.key.len() * 2).sum::<usize>();
        self.pending.extend(candidates);
    }

    pub(super) fn waiting(&self) -> u64 {
        u64::try_from(self.pending.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MOST || self.bytes >= MOST_BYTES
    }

    /// Looks again and again, until none is left.
    pub(super) async fn settle(
        &mut self,
        pairs: &[Pair<'_>],
        reports: &mut [CollectionReport],
        progress: &Progress,
    ) -> Result<(), Fault> {
        let [mut pause, longest] = PAUSES;
        // In the order of `_id`, in which they are then told.
        self.pending.sort_by(|a, b| (a.collection, &a.key).cmp(&(b.collection, &b.key)));
        while !self.pending.is_empty() {
            let mut left = Vec::new();
            let mut pending = std::mem::take(&mut self.pending).into_iter().peekable();
            while let Some(first) = pending.next() {
                let (of, mut bytes, mut look) = (first.collection, first.size, vec![first]);
                while let Some(next) = pending.next_if(|next| {
                    bytes += next.size;
                    next.collection == of && look.len() < LOOK && bytes <= LOOK_BYTES
                }) {
                    look.push(next);
                }
                left.extend(self.look(look, &pairs[of], &mut reports[of]).await?);
                let waiting = left.len() + pending.len();
                progress
                    .waiting
                    .store(u64::try_from(waiting).unwrap_or(u64::MAX), std::sync::atomic::Ordering::Relaxed);
            }
            self.pending = left;
            if let Some(first) = self.pending.iter().map(|candidate| candidate.since).min() {
                tokio::time::sleep_until((first + self.wait).min(Instant::now() + pause)).await;
                pause = (pause * 2).min(longest);
            }
        }
        self.bytes = 0;
        Ok(())
    }

    /// Reads these once more. Returns those that may still become equal.
    async fn look(
        &self,
        look: Vec<Candidate>,
        pair: &Pair<'_>,
        report: &mut CollectionReport,
    ) -> Result<Vec<Candidate>, Fault> {
        let begun = Instant::now();
        let ids: Vec<&Bson> = look.iter().map(|candidate| &candidate.id).collect();
        let (source, target) = tokio::try_join!(pair.source.fetch(&ids), pair.target.fetch(&ids))?;
        let mut left = Vec::new();
        for mut candidate in look {
            let (ours, theirs) = (source.get(&candidate.key), target.get(&candidate.key));
            let hash = |document: Option<&RawDocumentBuf>| document.map(|document| xxh3_128(document.as_bytes()));
            let (now, there) = (hash(ours), hash(theirs));
            let moved = candidate.states.last() != Some(&now);
            if moved {
                if candidate.states.len() >= STATES {
                    candidate.states.remove(0);
                }
                candidate.states.push(now);
            }
            if candidate.states.contains(&there) {
                report.settled += 1;
            } else if begun < candidate.since + self.wait {
                candidate.size = [ours, theirs].into_iter().flatten().map(|d| d.as_bytes().len()).max().unwrap_or(0);
                left.push(candidate);
            } else {
                self.tell(report, candidate.id, verdict(ours, theirs, moved));
            }
        }
        Ok(left)
    }

    fn tell(&self, report: &mut CollectionReport, id: Bson, verdict: Verdict) {
        report.count(verdict.kind);
        if report.differences.len() < self.most_told {
            report.differences.push(Difference {
                kind: verdict.kind,
                id: id.into_canonical_extjson(),
                fields: verdict.fields,
                more_fields: verdict.more_fields,
            });
        }
    }
}

fn verdict(source: Option<&RawDocumentBuf>, target: Option<&RawDocumentBuf>, moved: bool) -> Verdict {
    let bare = |kind| Verdict { kind, fields: Vec::new(), more_fields: 0 };
    match (source, target) {
        (Some(source), Some(target)) => {
            let mut verdict = diff(source.as_bytes(), target.as_bytes());
            if moved {
                verdict.kind = Kind::Unsettled;
            }
            verdict
        }
        (Some(_), None) => bare(Kind::Missing),
        (None, _) => bare(Kind::Extra),
    }
}
