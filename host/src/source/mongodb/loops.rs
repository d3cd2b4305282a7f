//! Two mirrors that watch each other: what one has written, the other must not take for a change.
//!
//! Nothing of tidegate's is in anybody's documents, so the change itself tells nothing. But a sink that keeps its position beside its data
//! writes both in one transaction, the position first. Events of a transaction name it (`lsid` and `txnNumber`) and stand
//! together. So a transaction whose first event is of the collection of positions is a mirror's, and all of it is passed over. The
//! position of the stream stays in front of it until its end is seen: opened within, nobody could tell whose it is.

use super::event::Event;
use crate::{position::Position, sink::mongodb::POSITIONS};

/// Whether a collection is tidegate's own: each change that is written would cause the next one there.
pub(super) fn is_own(database: &str, collection: &str) -> bool {
    collection.starts_with("tidegate_") || (database == "tidegate" && collection == "checkpoints")
}

/// Tells what mirrors wrote from the rest.
#[derive(Clone, Debug, Default)]
pub(super) struct Loops {
    on: bool,
    open: Option<Open>,
}

/// A mirror's transaction of which more may come.
#[derive(Clone, Debug)]
struct Open {
    session: Vec<u8>,
    number: i64,
    /// Where the stream stood in front of it.
    before: Option<Position>,
}

impl Loops {
    /// For a stream that is opened outside of all such transactions.
    pub(super) fn new(on: bool) -> Self {
        Self { on, open: None }
    }

    /// Whether the next event is a mirror's own.
    pub(super) fn is_mirrored(&mut self, event: &Event<'_>, before: impl FnOnce() -> Option<Position>) -> bool {
        if !self.on {
            return false;
        }
        let (Some(session), Some(number)) = (event.session, event.transaction) else {
            self.open = None;
            return false;
        };
        if self.open.as_ref().is_some_and(|open| open.number == number && open.session == session) {
            return true;
        }
        self.open =
            (event.collection == POSITIONS).then(|| Open { session: session.to_vec(), number, before: before() });
        self.open.is_some()
    }

    /// Nothing more of a transaction can come: the server has no more events, and its own token is behind the last one.
    pub(super) fn end(&mut self) {
        self.open = None;
    }

    /// Where the stream may go on: `position`, or in front of a transaction of which more may come.
    pub(super) fn hold(&self, position: Option<Position>) -> Option<Position> {
        match &self.open {
            Some(open) => open.before.clone(),
            None => position,
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::{Event, Loops, Position, is_own};

    fn event(collection: &str, transaction: Option<(&str, i64)>) -> Vec<u8> {
        let mut made = doc! { "operationType": "update", "ns": { "db": "d", "coll": collection } };
        if let Some((session, number)) = transaction {
            made.extend(doc! { "lsid": { "id": session }, "txnNumber": number });
        }
        Document::to_vec(&made).unwrap()
    }

    fn at(byte: u8) -> Option<Position> {
        Some(Position::new(vec![byte]))
    }

    #[test]
    fn a_transaction_that_begins_with_a_position_is_passed_over() {
        let mut loops = Loops::new(true);
        let mut passed = |collection: &str, transaction, byte| {
            let bytes = event(collection, transaction);
            let mirrored = loops.is_mirrored(&Event::read(&bytes).unwrap(), || at(byte));
            (mirrored, loops.hold(at(byte + 1)))
        };
        assert_eq!(passed("things", None, 1), (false, at(2)));
        assert_eq!(passed("tidegate_positions", Some(("a", 1)), 2), (true, at(2)));
        assert_eq!(passed("things", Some(("a", 1)), 3), (true, at(2)));
        assert_eq!(passed("things", Some(("a", 1)), 4), (true, at(2)));
        // Another transaction, of the same session or another, or none.
        assert_eq!(passed("things", Some(("a", 2)), 5), (false, at(6)));
        assert_eq!(passed("tidegate_positions", Some(("a", 3)), 6), (true, at(6)));
        assert_eq!(passed("things", Some(("b", 3)), 7), (false, at(8)));
        assert_eq!(passed("tidegate_positions", Some(("a", 4)), 8), (true, at(8)));
        assert_eq!(passed("tidegate_positions", Some(("a", 5)), 9), (true, at(9)));
        assert_eq!(passed("things", None, 10), (false, at(11)));
    }

    #[test]
    fn the_end_of_the_stream_ends_a_transaction() {
        let mut loops = Loops::new(true);
        let bytes = event("tidegate_positions", Some(("a", 1)));
        assert!(loops.is_mirrored(&Event::read(&bytes).unwrap(), || at(1)));
        assert_eq!(loops.hold(at(2)), at(1));
        loops.end();
        assert_eq!(loops.hold(at(2)), at(2));
    }

    #[test]
    fn what_is_our_own_is_known_by_name() {
        assert!(is_own("shop", "tidegate_positions") && is_own("tidegate", "checkpoints"));
        assert!(!is_own("shop", "checkpoints") && !is_own("shop", "tidegates"));
    }
}
