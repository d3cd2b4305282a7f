//! How far a copy is, for people.

use std::time::{Duration, Instant};

use indexmap::IndexMap;
use serde::Serialize;

/// How long ago the rate looks back, about.
const WINDOW: Duration = Duration::from_secs(10);

/// How far a copy is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CopyProgress {
    /// Whether all is read.
    pub done: bool,
    /// Documents that were read.
    pub documents: u64,
    /// Documents in all, as the server estimated them when the copy began.
    pub of_documents: u64,
    /// Documents a second, over the last seconds.
    pub rate: u64,
    /// Seconds until all is read, at that rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// The same by collection.
    pub collections: IndexMap<String, CollectionProgress>,
}

/// How far one collection is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CollectionProgress {
    /// Whether all of it is read.
    pub done: bool,
    /// Documents that were read.
    pub documents: u64,
    /// Documents in all, about.
    pub of_documents: u64,
    #[serde(skip)]
    ranges: (u64, u64),
}

impl CopyProgress {
    /// Hundredths that are read.
    pub fn percent(&self) -> u64 {
        percent(self.done, self.documents, self.of_documents)
    }
}

impl CollectionProgress {
    /// Hundredths that are read.
    pub fn percent(&self) -> u64 {
        percent(self.done, self.documents, self.of_documents)
    }
}

fn percent(done: bool, documents: u64, of: u64) -> u64 {
    match done {
        true => 100,
        // The estimate may be too low.
        false => (documents.saturating_mul(100) / of.max(1)).min(99),
    }
}

/// Counts what is read.
#[derive(Debug)]
pub(super) struct Counter {
    progress: CopyProgress,
    /// When the window of the rate began, and how much was read then.
    window: (Instant, u64),
}

impl Counter {
    pub(super) fn new() -> Self {
        Self { progress: CopyProgress::default(), window: (Instant::now(), 0) }
    }

    /// A collection is to be copied, with so many documents, and so many of its ranges are read already.
    pub(super) fn add(&mut self, namespace: &str, documents: u64, done: u64, ranges: u64) {
        let read = documents * done / ranges.max(1);
        let collection = CollectionProgress {
            done: done >= ranges,
            documents: read,
            of_documents: documents,
            ranges: (done, ranges),
        };
        self.progress.collections.insert(namespace.to_owned(), collection);
        self.progress.documents += read;
        self.progress.of_documents += documents;
        self.window.1 = self.progress.documents;
    }

    /// So many documents of it were read.
    pub(super) fn read(&mut self, namespace: &str, documents: u64) {
        self.progress.documents += documents;
        if let Some(collection) = self.progress.collections.get_mut(namespace) {
            collection.documents += documents;
        }
        let elapsed = self.window.0.elapsed();
        if elapsed >= Duration::from_millis(500) {
            self.progress.rate = per_second(self.progress.documents - self.window.1, elapsed);
            let left = self.progress.of_documents.saturating_sub(self.progress.documents);
            self.progress.seconds_left = (self.progress.rate > 0).then(|| left.div_ceil(self.progress.rate));
        }
        if elapsed >= WINDOW {
            self.window = (Instant::now(), self.progress.documents);
        }
    }

    /// A range of it is read to its end; the collection, when it is done with that.
    pub(super) fn range_done(&mut self, namespace: &str) -> Option<&CollectionProgress> {
        let collection = self.progress.collections.get_mut(namespace)?;
        collection.ranges.0 += 1;
        if collection.ranges.0 < collection.ranges.1 {
            return None;
        }
        collection.done = true;
        // The estimate has served its time.
        self.progress.of_documents =
            (self.progress.of_documents + collection.documents).saturating_sub(collection.of_documents);
        collection.of_documents = collection.documents;
        Some(collection)
    }

    /// All is read.
    pub(super) fn finish(&mut self) {
        self.progress.done = true;
        self.progress.seconds_left = None;
    }

    pub(super) fn now(&self) -> &CopyProgress {
        &self.progress
    }
}

fn per_second(documents: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    documents.saturating_mul(1000) / millis
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn a_collection_is_done_with_its_last_range_and_the_estimate_is_corrected() {
        let mut counter = Counter::new();
        counter.add("d.a", 100, 1, 3);
        counter.add("d.b", 10, 0, 1);
        assert_eq!((counter.now().documents, counter.now().of_documents), (33, 110));
        counter.read("d.a", 40);
        assert!(counter.range_done("d.a").is_none());
        counter.read("d.a", 40);
        let done = counter.range_done("d.a").expect("it is done");
        assert_eq!((done.documents, done.of_documents, done.percent()), (113, 113, 100));
        assert_eq!((counter.now().documents, counter.now().of_documents, counter.now().percent()), (113, 123, 91));
        counter.read("d.b", 30);
        assert_eq!(counter.now().percent(), 99, "never all before it is");
        counter.range_done("d.b");
        counter.finish();
        assert_eq!((counter.now().documents, counter.now().percent()), (143, 100));
    }
}
