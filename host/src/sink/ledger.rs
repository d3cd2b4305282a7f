//! What a sink knows of the positions it keeps: the fence it writes by, and what is stored. The same for every system.

use std::time::{Duration, Instant};

use bytestring::ByteString;

use crate::{
    checkpoint::Found,
    error::{Code, Fault},
    position::{Position, Positions},
    sink::Writes,
};

/// How long the position of batches that had nothing for the sink may wait to be stored.
const IDLE: Duration = Duration::from_millis(500);

/// The sink's own copy of its record.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) fence: u64,
    pub(super) lease: Duration,
    /// What is stored, as far as this host knows.
    stored: Positions,
    /// Behind what is stored, with nothing for the sink in between; in the order in which they were passed.
    passed: Vec<(ByteString, Position)>,
    /// An attempt ended without an answer, or the connection is new: the record is read before the next write.
    pub(super) unsure: bool,
    written: Instant,
}

/// What is to be done with a batch.
pub(super) enum Plan {
    /// Nothing: the sink has it, or there is nothing for it and its position can wait.
    Done,
    /// Write what is pending, from the stored position on.
    Write,
}

impl Ledger {
    /// Of a record that was just claimed.
    pub(super) fn new(found: &Found, lease: Duration) -> Self {
        Self {
            fence: found.fence,
            lease,
            stored: found.positions.clone(),
            passed: Vec::new(),
            unsure: false,
            written: Instant::now(),
        }
    }

    /// The stored position of a partition.
    pub(super) fn stored(&self, partition: &str) -> Option<&Position> {
        self.stored.get(partition)
    }

    /// Positions were stored.
    pub(super) fn set(&mut self, positions: &Positions) {
        for (partition, position) in positions.iter() {
            self.stored.set(partition, position.clone());
        }
    }

    /// A position was stored with the data before it.
    pub(super) fn moved(&mut self, partition: &str, to: &Position) {
        self.stored.set(partition, to.clone());
        self.written = Instant::now();
    }

    /// Looks at a batch; confirms in it what the sink has.
    pub(super) fn plan(&mut self, writes: &mut Writes<'_>) -> Plan {
        let partition = writes.partition().clone();
        if let Some(stored) = self.stored.get(&partition) {
            writes.confirm_through(stored);
            if writes.position().is_none_or(|to| to <= stored) {
                return Plan::Done;
            }
        }
        if writes.pending().next().is_none()
            && let Some(to) = writes.position()
            && self.written.elapsed() < IDLE
        {
            self.passed.retain(|(other, _)| *other != partition);
            self.passed.push((partition, to.clone()));
            return Plan::Done;
        }
        Plan::Write
    }

    /// Positions that are to be stored although nothing was written up to them, in their order.
    pub(super) fn passed(&self) -> Vec<(ByteString, Position)> {
        let is_ahead =
            |(partition, position): &&(ByteString, Position)| self.stored(partition).is_none_or(|at| at < position);
        self.passed.iter().filter(is_ahead).cloned().collect()
    }

    /// Whether other partitions have such positions. They are stored before anything of this one is: a position of the stream may count on
    /// those of a copy that were told before it.
    pub(super) fn passed_others(&self, partition: &str) -> bool {
        self.passed().iter().any(|(passed, _)| passed != partition)
    }

    /// Takes up what the record says now.
    ///
    /// # Errors
    /// [`Code::PositionBehind`] when the server lost what it had confirmed: the source must go back.
    pub(super) fn take_up(&mut self, found: &Found, place: &str) -> Result<(), Fault> {
        self.fence = found.fence;
        for (partition, known) in self.stored.iter() {
            match found.positions.get(partition) {
                Some(now) if now >= known => {}
                Some(_) => {
                    let message = format!(
                        "the position in {place} is older than what was confirmed: the server lost its last writes, and the source \
                         goes back to where the server stands"
                    );
                    return Err(Fault::rewind(Code::PositionBehind, message));
                }
                None => return Err(gone(place)),
            }
        }
        self.stored = found.positions.clone();
        self.unsure = false;
        Ok(())
    }
}

/// The fault for a record that is not there any more.
pub(super) fn gone(place: &str) -> Fault {
    Fault::fatal(
        Code::CheckpointMissing,
        format!(
            "the position in {place} is gone while the pipeline runs: the server was emptied or lost its data; bring it back, or run \
             `tidegate checkpoint reset` to begin anew"
        ),
    )
}

/// The end of the next chunk of pending deliveries: as many as `fits` lets pass, but never a part of what one change became, since
/// they share a position.
pub(super) fn chunk_end<'w>(
    pending: &[(usize, crate::batch::Delivery<'w>)],
    mut fits: impl FnMut(usize, &crate::batch::Delivery<'w>) -> bool,
) -> usize {
    let mut end = 0;
    while end < pending.len() {
        let Some((_, first)) = pending.get(end) else { break };
        let mut next = end + 1;
        let mut all_fit = fits(end, first);
        while let Some((_, delivery)) = pending.get(next)
            && delivery.change.position.is_some()
            && delivery.change.position == first.change.position
        {
            all_fit &= fits(next, delivery);
            next += 1;
        }
        if !all_fit && end > 0 {
            break;
        }
        end = next;
        if !all_fit {
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::{Duration, Found, Ledger, Plan, Position, Writes};
    use crate::error::{Code, Severity};

    fn at(byte: u8) -> Position {
        Position::new(vec![byte])
    }

    #[test]
    fn a_record_that_went_back_rewinds_and_one_that_is_gone_stops() {
        let found =
            |fence, position: Option<u8>| Found { fence, positions: position.map(at).into(), ..Found::default() };
        let mut ledger = Ledger::new(&found(1, Some(3)), Duration::ZERO);
        ledger.take_up(&found(1, Some(5)), "here").unwrap();
        assert_eq!(ledger.stored("all"), Some(&at(5)));
        let fault = ledger.take_up(&found(1, Some(4)), "here").unwrap_err();
        assert_eq!((fault.severity, fault.code), (Severity::Rewind, Code::PositionBehind));
        let fault = ledger.take_up(&found(1, None), "here").unwrap_err();
        assert_eq!((fault.severity, fault.code), (Severity::Fatal, Code::CheckpointMissing));
    }

    #[test]
    fn a_batch_without_anything_waits_and_is_stored_in_the_end() {
        let mut ledger = Ledger::new(&Found { positions: at(1).into(), ..Found::default() }, Duration::ZERO);
        let outbound =
            crate::batch::Outbound { number: 1, changes: Vec::new(), partition: "all".into(), position: Some(at(2)) };
        assert!(matches!(ledger.plan(&mut Writes::of(&outbound, 0)), Plan::Done));
        assert_eq!(ledger.passed(), [("all".into(), at(2))]);
        ledger.moved("all", &at(2));
        assert!(ledger.passed().is_empty());
    }

    #[test]
    fn positions_that_wait_keep_their_order_and_are_stored_before_those_of_others() {
        let mut ledger = Ledger::new(&Found { positions: at(1).into(), ..Found::default() }, Duration::ZERO);
        let mut pass = |partition: &'static str, position| {
            let (changes, partition) = (Vec::new(), partition.into());
            let outbound = crate::batch::Outbound { number: 1, changes, partition, position: Some(at(position)) };
            assert!(matches!(ledger.plan(&mut Writes::of(&outbound, 0)), Plan::Done));
        };
        pass("all", 2);
        pass("copy a 0", 1);
        pass("copy b 0", 1);
        pass("all", 3);
        assert_eq!(ledger.passed(), [("copy a 0".into(), at(1)), ("copy b 0".into(), at(1)), ("all".into(), at(3))]);
        assert!(ledger.passed_others("copy a 0"));
        ledger.moved("copy a 0", &at(1));
        ledger.moved("copy b 0", &at(1));
        assert!(!ledger.passed_others("all"));
    }
}
