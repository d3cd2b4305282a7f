//! How a source that must acknowledge what it read learns what became of it.
//!
//! Some systems keep for themselves what a consumer has: it must say so, and until then they hold the messages back or deliver them
//! again. Such a source gives each batch a [`Receipt`]. It travels with the batch, and comes back as an [`Outcome`]: when the batch is
//! safe in every sink, with all before it, or when it was given up. Nothing else in the pipeline knows of it.

use smallvec::SmallVec;
use tokio::sync::mpsc::UnboundedSender;

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every sink has it, or its dead letters are safe, and so have all batches before it.
    Safe(u64),
    /// It will not be delivered in this session: it must come again.
    GivenUp(u64),
}

/// The claim of one batch to be acknowledged. Dropping it gives the batch up.
#[derive(Debug)]
pub struct Receipt {
    number: u64,
    to: Option<UnboundedSender<Outcome>>,
}

/// Of a batch that was joined from several, or of one alone; none of a source that need not acknowledge.
pub type Receipts = SmallVec<[Receipt; 1]>;

impl Receipt {
    /// For the batch that the source knows by this number.
    pub fn new(number: u64, to: UnboundedSender<Outcome>) -> Self {
        Self { number, to: Some(to) }
    }

    /// The batch is safe.
    pub fn safe(mut self) {
        if let Some(to) = self.to.take() {
            // A source that is gone has no use for it: what it did not acknowledge comes again.
            let _ = to.send(Outcome::Safe(self.number));
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let _ = to.send(Outcome::GivenUp(self.number));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::{Outcome, Receipt};

    #[test]
    fn each_receipt_tells_one_outcome() {
        let (to, mut outcomes) = unbounded_channel();
        Receipt::new(1, to.clone()).safe();
        drop(Receipt::new(2, to));
        assert_eq!(outcomes.try_recv(), Ok(Outcome::Safe(1)));
        assert_eq!(outcomes.try_recv(), Ok(Outcome::GivenUp(2)));
        assert!(outcomes.try_recv().is_err() && outcomes.is_closed());
    }
}
