//! Compares what two MongoDB deployments hold, byte by byte, while both may be written to.
//!
//! Each collection is cut into ranges of `_id` by the servers themselves, which know the order of their values; a range is read from both
//! sides at once and hashed here, since a server's own hash wants locks and differs between versions. Only where the hashes differ are the
//! documents looked at one by one. What differs then is read again by its `_id` for a while: a mirror is always a little behind.

mod diff;
mod read;
mod report;
mod schema;
mod scope;
mod settle;
mod side;
mod text;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bson::Bson;
use futures::{StreamExt as _, TryStreamExt as _};

use self::{
    read::{Listed, Range},
    report::Sides,
    scope::{Pair, Unordered},
    settle::{Candidate, Settler},
    side::Side,
};
pub use self::{
    report::{CollectionReport, Difference, FieldDifference, Kind, Report},
    scope::{Scope, of_pipeline},
    text::{count, text},
};
use crate::{config::Secret, error::Fault};

/// Documents of a range, at most, on either side.
const RANGE: u64 = 4000;
/// Ranges read at once: the servers' answers overlap with hashing.
const AT_ONCE: usize = 3;

/// How two databases are compared.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long what differs is read again before it is called a difference.
    pub wait: Duration,
    /// Differences of each collection that are told one by one; the others are counted.
    pub max_differences: usize,
    /// Compare options and indexes of the collections too.
    pub schema: bool,
}

/// How far a comparison is, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    documents: AtomicU64,
    expected: AtomicU64,
    waiting: AtomicU64,
    now: Mutex<String>,
}

impl Progress {
    /// Documents of the source read so far, and about how many there are.
    pub fn documents(&self) -> (u64, u64) {
        (self.documents.load(Ordering::Relaxed), self.expected.load(Ordering::Relaxed))
    }

    /// Documents that differ so far, and are read again.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The collection that is compared now.
    pub fn now(&self) -> String {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begins(&self, name: &str) {
        name.clone_into(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Compares.
///
/// # Errors
/// When a side cannot be read, or the scope makes no sense.
pub async fn verify(
    source: &Secret,
    target: &Secret,
    scope: &Scope,
    options: &Options,
    progress: &Progress,
) -> Result<Report, Fault> {
    let begun = Instant::now();
    let (source, target) = tokio::try_join!(Side::connect("source", source), Side::connect("target", target))?;
    let pairs = scope::pairs(&source, &target, scope).await?;
    let mut reports: Vec<CollectionReport> = pairs.iter().map(CollectionReport::new).collect();
    for pair in &pairs {
        progress.expected.fetch_add(pair.source.estimate().await?, Ordering::Relaxed);
    }
    let mut settler = Settler::new(options.wait, options.max_differences);
    for (index, pair) in pairs.iter().enumerate() {
        progress.begins(&pair.source.name());
        if options.schema {
            reports[index].schema = schema::compare(pair).await?;
        }
        if let Some(why) = pair.unordered() {
            as_a_whole(pair, why, options.wait, &mut reports[index]).await?;
            continue;
        }
        let mut ranges = std::pin::pin!(
            futures::stream::try_unfold(Some(None), |from| next_range(pair, from))
                .map_ok(|range| compare(pair, index, range))
                .try_buffered(AT_ONCE)
        );
        while let Some(compared) = ranges.next().await {
            let compared = compared?;
            let report = &mut reports[index];
            report.documents.source += compared.documents.0;
            report.documents.target += compared.documents.1;
            report.ranges += 1;
            report.differing_ranges += u64::from(!compared.candidates.is_empty());
            progress.documents.fetch_add(compared.documents.0, Ordering::Relaxed);
            settler.add(compared.candidates);
            progress.waiting.store(settler.waiting(), Ordering::Relaxed);
            if settler.is_full() {
                settler.settle(&pairs, &mut reports, progress).await?;
            }
        }
    }
    settler.settle(&pairs, &mut reports, progress).await?;
    Ok(Report::new(reports, begun.elapsed()))
}

/// Compares all documents at once, and again while they differ and there is time.
async fn as_a_whole(
    pair: &Pair<'_>,
    why: Unordered,
    wait: Duration,
    report: &mut CollectionReport,
) -> Result<(), Fault> {
    let (begun, mut pause) = (Instant::now(), Duration::from_millis(100));
    loop {
        let last = begun.elapsed() >= wait;
        let sort = why == Unordered::TimeSeries;
        let (source, target) = tokio::try_join!(pair.source.hash_unordered(sort), pair.target.hash_unordered(sort))?;
        report.documents = Sides { source: source.documents, target: target.documents };
        report.whole_differs = source != target;
        if last || !report.whole_differs {
            return Ok(());
        }
        tokio::time::sleep(pause.min(wait.saturating_sub(begun.elapsed()))).await;
        pause *= 2;
    }
}

/// The range that begins here, with its end where the one side or the other has enough documents; and where the next begins.
async fn next_range(
    pair: &Pair<'_>,
    from: Option<Option<Bson>>,
) -> Result<Option<(Range, Option<Option<Bson>>)>, Fault> {
    let Some(from) = from else { return Ok(None) };
    let mut range = Range { from, to: None };
    range.to = pair.source.nth(&range, RANGE).await?;
    // The target may have more between the two, or all there is.
    if let Some(nearer) = pair.target.nth(&range, RANGE).await? {
        range.to = Some(nearer);
    }
    let next = match (&range.from, &range.to) {
        (_, Some(to)) => Some(Some(to.clone())),
        // What begins somewhere and has no end does not reach over MaxKey itself.
        (Some(from), None) if *from != Bson::MaxKey => Some(Some(Bson::MaxKey)),
        _ => None,
    };
    Ok(Some((range, next)))
}

/// What came of a range.
struct Compared {
    documents: (u64, u64),
    candidates: Vec<Candidate>,
}

async fn compare(pair: &Pair<'_>, collection: usize, range: Range) -> Result<Compared, Fault> {
    let (source, target) = tokio::try_join!(pair.source.hash(&range), pair.target.hash(&range))?;
    let documents = (source.documents, target.documents);
    if source == target {
        return Ok(Compared { documents, candidates: Vec::new() });
    }
    let since = tokio::time::Instant::now();
    let (source, mut target) = tokio::try_join!(pair.source.list(&range), pair.target.list(&range))?;
    let mut candidates = Vec::new();
    for (key, Listed { id, hash, size }) in source {
        let other = target.remove(&key);
        if other.as_ref().is_none_or(|other| other.hash != hash) {
            let size = size.max(other.map_or(0, |other| other.size));
            candidates.push(Candidate { collection, key, id, since, states: vec![Some(hash)], size });
        }
    }
    for (key, Listed { id, size, .. }) in target {
        candidates.push(Candidate { collection, key, id, since, states: vec![None], size });
    }
    Ok(Compared { documents, candidates })
}
