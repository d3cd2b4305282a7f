//! In which order batches become safe, apart from everything that costs time.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::Sent;

/// A batch on its way, or several that follow each other and wait for the same holds.
pub(super) struct Waiting {
    pub(super) sent: Sent,
    /// The sinks that lack it. By name, not by count: a sink that confirms twice does not speak for another.
    pub(super) lacking: SmallVec<[usize; 4]>,
    /// The sinks that hold it.
    holding: SmallVec<[usize; 2]>,
    /// How many batches it stands for.
    batches: u64,
    /// Nobody but holds keeps it from being safe, and its changes are counted as held.
    counted: bool,
}

impl Waiting {
    /// Whether nobody but holds keeps it from being safe. Once it is, it stays so.
    fn is_held(&self) -> bool {
        !self.holding.is_empty() && self.lacking.iter().all(|sink| self.holding.contains(sink))
    }

    /// Takes the place of the one before it.
    fn follow(&mut self, before: Self) {
        self.batches += before.batches;
        self.sent.changes += before.sent.changes;
        self.sent.newest = self.sent.newest.or(before.sent.newest);
        let mut earlier = before.sent.earlier;
        if let Some(position) = before.sent.position {
            earlier.set(&before.sent.partition, position);
        }
        for (partition, position) in self.sent.earlier.iter() {
            earlier.set(partition, position.clone());
        }
        self.sent.earlier = earlier;
        let receipts = std::mem::replace(&mut self.sent.receipts, before.sent.receipts);
        self.sent.receipts.extend(receipts);
    }
}

/// Batches are numbered without holes, in the order they are sent in.
///
/// What is told of one batch costs a search, whatever number is on its way. Only a flush walks over the batches that it is for: those that are
/// held alone stand there as one, so that these are the ones another sink still lacks.
#[derive(Default)]
pub(super) struct Order {
    pub(super) waiting: VecDeque<Waiting>,
    batches: u64,
    held: u64,
}

impl Order {
    /// A batch is on its way to so many sinks.
    pub(super) fn sent(&mut self, sent: Sent, sinks: usize) {
        self.batches += 1;
        let (lacking, holding) = ((0..sinks).collect(), SmallVec::new());
        self.waiting.push_back(Waiting { sent, lacking, holding, batches: 1, counted: false });
    }

    /// A sink has a batch; returns those that are now safe everywhere, with all before them. What was said before, or of a
    /// batch that is not on its way, changes nothing.
    pub(super) fn safe(&mut self, batch: u64, sink: usize) -> Vec<Sent> {
        self.told(batch, |waiting| waiting.lacking.retain(|lacking| *lacking != sink));
        self.ready()
    }

    /// A sink holds a batch. What nobody but holds keeps from being safe gives its bytes back.
    pub(super) fn held(&mut self, batch: u64, sink: usize) {
        self.told(batch, |waiting| waiting.holding.push(sink));
    }

    /// A sink has all batches up to this one, which it held; returns those that are now safe everywhere, as [`Order::safe`].
    pub(super) fn flushed(&mut self, through: u64, sink: usize) -> Vec<Sent> {
        let count = self.waiting.partition_point(|waiting| waiting.sent.batch <= through);
        for waiting in self.waiting.iter_mut().take(count) {
            waiting.lacking.retain(|lacking| *lacking != sink);
        }
        let ready = self.ready();
        for at in (0..count.saturating_sub(ready.len())).rev() {
            self.settle(at);
        }
        ready
    }

    /// Changes of batches that nobody but holds keeps from being safe.
    pub(super) fn held_changes(&self) -> u64 {
        self.held
    }

    /// How many batches are on their way.
    pub(super) fn batches(&self) -> u64 {
        self.batches
    }

    /// Takes out, in order, what is safe everywhere with all before it.
    pub(super) fn ready(&mut self) -> Vec<Sent> {
        let mut ready = Vec::new();
        while let Some(waiting) = self.waiting.pop_front_if(|waiting| waiting.lacking.is_empty()) {
            self.batches -= waiting.batches;
            if waiting.counted {
                self.held -= waiting.sent.changes;
            }
            ready.push(waiting.sent);
        }
        ready
    }

    fn told(&mut self, batch: u64, act: impl FnOnce(&mut Waiting)) {
        let at = self.waiting.partition_point(|waiting| waiting.sent.batch < batch);
        if let Some(waiting) = self.waiting.get_mut(at).filter(|waiting| waiting.sent.batch == batch) {
            act(waiting);
            self.settle(at);
        }
    }

    /// Looks at one of which something was told. Where nobody but holds keeps it from being safe, it gives its bytes back, and is joined with
    /// its neighbours: a hold of an hour takes no more room here than one of a second. A sink that holds them confirms them together, so
    /// nobody asks for a single one of them again.
    fn settle(&mut self, at: usize) {
        let Some(waiting) = self.waiting.get_mut(at).filter(|waiting| waiting.is_held()) else { return };
        waiting.sent.permit = None;
        if !std::mem::replace(&mut waiting.counted, true) {
            self.held += waiting.sent.changes;
        }
        self.join(at);
        if let Some(before) = at.checked_sub(1) {
            self.join(before);
        }
    }

    /// Lets the one behind stand for this one too, where both wait for the same holds.
    fn join(&mut self, at: usize) {
        let (Some(one), Some(next)) = (self.waiting.get(at), self.waiting.get(at + 1)) else { return };
        if one.counted
            && next.counted
            && one.lacking == next.lacking
            && let Some(one) = self.waiting.remove(at)
            && let Some(next) = self.waiting.get_mut(at)
        {
            next.follow(one);
        }
    }
}
