//! Places in a copy, as positions that sort as the documents do.
//!
//! A copy is made in ranges of `_id`; each is a partition of the source, named `copy NAMESPACE NUMBER`. What makes a collection in the target
//! has partitions of its own, `copy NAMESPACE create` and `copy NAMESPACE indexes`, which are begun or done. A position is
//! `[epoch, 4 bytes][phase 0][state, 1 byte][what sorts][a BSON document][length of the document, 4 bytes]`. The document holds what is
//! needed to go on: `max`, where the range ends, and `_id`: where it begins, or the document that was read last.
//!
//! | state | means | what sorts |
//! |---|---|---|
//! | 0 | nothing was read yet | |
//! | 1 | up to a document, in a range whose order is known | the bytes of its `_id` ([`super::super::order`]) |
//! | 2 | up to a document that has no such bytes, or behind one | when the reading began, and a count |
//! | 255 | all was read | |
//!
//! What sorts is prefix-free, so the document behind it never decides which of two positions comes first.

use bson::{Bson, Document};

use super::super::event::{EPOCH_BYTES, PHASE_COPY};
use crate::position::Position;

/// What the names of these partitions begin with.
const PREFIX: &str = "copy ";

const BEGIN: u8 = 0;
const ORDERED: u8 = 1;
const COUNTED: u8 = 2;
const DONE: u8 = 255;

/// What a range is of, and where it goes on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    /// Its first document; none: the first there is. The document itself may have been read: its position tells.
    pub(super) min: Option<Bson>,
    /// The first document behind it; none: it has no end.
    pub(super) max: Option<Bson>,
    /// How it is read.
    pub(super) by: By,
}

/// How a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// In the order of `_id`, and a document has a place as long as its `_id` has one.
    Order,
    /// In the order of `_id`, which is not known here (a collation): from the start each time.
    Count,
    /// As the documents lie in a capped or time-series collection: from the start each time.
    Natural,
}

impl By {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Count => "count",
            Self::Natural => "natural",
        }
    }
}

/// Where a range stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// There is more to read.
    Underway(Box<Span>),
    /// All of it was read.
    Done,
}

/// What a partition of a copy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Documents.
    Range(usize),
    /// The collection itself, before its documents.
    Create,
    /// Its indexes, behind all documents.
    Indexes,
}

/// The name of a partition.
pub(super) fn partition(namespace: &str, part: Part) -> String {
    match part {
        Part::Range(number) => format!("{PREFIX}{namespace} {number}"),
        Part::Create => format!("{PREFIX}{namespace} create"),
        Part::Indexes => format!("{PREFIX}{namespace} indexes"),
    }
}

/// Namespace and part of a partition; none for one that is none of a copy.
pub(super) fn part_of(partition: &str) -> Option<(&str, Part)> {
    let (namespace, part) = partition.strip_prefix(PREFIX)?.rsplit_once(' ')?;
    let part = match part {
        "create" => Part::Create,
        "indexes" => Part::Indexes,
        number => Part::Range(number.parse().ok()?),
    };
    Some((namespace, part))
}

/// The position before the first document of a range.
pub(super) fn begin(epoch: u32, span: &Span) -> Option<Position> {
    write(epoch, BEGIN, &[], span)
}

/// The position behind the last document.
pub(super) fn done(epoch: u32) -> Position {
    let mut bytes = head(epoch);
    bytes.push(DONE);
    Position::new(bytes)
}

/// The position behind the document that `span` now begins with, whose `_id` has these sorting bytes.
pub(super) fn behind(epoch: u32, key: &[u8], span: &Span) -> Option<Position> {
    write(epoch, ORDERED, key, span)
}

/// The position behind so many documents of a reading that began then; the next reading begins anew where `span` does.
pub(super) fn counted(epoch: u32, began: u64, count: u64, span: &Span) -> Option<Position> {
    let sorts = [began.to_be_bytes(), count.to_be_bytes()].concat();
    write(epoch, COUNTED, &sorts, span)
}

fn head(epoch: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.push(PHASE_COPY);
    bytes
}

fn write(epoch: u32, state: u8, sorts: &[u8], span: &Span) -> Option<Position> {
    let mut document = Document::new();
    document.extend(span.min.as_ref().map(|min| ("_id".to_owned(), min.clone())));
    document.extend(span.max.as_ref().map(|max| ("max".to_owned(), max.clone())));
    if span.by != By::Order {
        document.insert("by", span.by.as_str());
    }
    let document = document.to_vec().ok()?;
    let mut bytes = head(epoch);
    bytes.push(state);
    bytes.extend_from_slice(sorts);
    bytes.extend_from_slice(&document);
    bytes.extend_from_slice(&u32::try_from(document.len()).ok()?.to_be_bytes());
    Some(Position::new(bytes))
}

/// The epoch of a position, and what it says; none for bytes that are no place in a copy.
pub(super) fn read(position: &Position) -> Option<(u32, Place)> {
    let (epoch, rest) = position.as_bytes().split_first_chunk::<EPOCH_BYTES>()?;
    let epoch = u32::from_be_bytes(*epoch);
    let (state, rest) = rest.strip_prefix(&[PHASE_COPY])?.split_first()?;
    if *state == DONE {
        return Some((epoch, Place::Done));
    }
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let document = rest.get(rest.len().checked_sub(length)?..)?;
    let mut document = Document::from_reader(document).ok()?;
    let by = match document.get_str("by") {
        Err(_) => By::Order,
        Ok(name) => [By::Count, By::Natural].into_iter().find(|by| by.as_str() == name)?,
    };
    match *state {
        BEGIN | ORDERED | COUNTED => {
            let (min, max) = (document.remove("_id"), document.remove("max"));
            Some((epoch, Place::Underway(Box::new(Span { min, max, by }))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::Bson;

    use super::{By, Part, Place, Span, begin, behind, counted, done, part_of, partition, read};
    use crate::position::Position;

    fn span(min: Option<i32>, max: Option<i32>, by: By) -> Span {
        Span { min: min.map(Bson::from), max: max.map(Bson::from), by }
    }

    #[test]
    fn places_sort_as_they_are_reached_and_come_back() {
        let from = |id: i32| span(Some(id), Some(100), By::Order);
        let at = |key: &[u8], id: i32| behind(0, key, &from(id)).expect("a place");
        let count = |began, count| counted(0, began, count, &span(None, Some(9), By::Order)).expect("a place");
        let first = begin(0, &from(1)).expect("a place");
        let places =
            [first.clone(), at(b"a", 2), at(b"b", 300), at(b"ba", 4), count(1, 0), count(1, 256), count(2, 0), done(0)];
        assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
        let later = begin(1, &from(1)).expect("a place");
        assert!(done(0) < later, "a later copy comes behind");
        assert_eq!(read(&first), Some((0, Place::Underway(Box::new(from(1))))));
        assert_eq!(read(&places[2]), Some((0, Place::Underway(Box::new(from(300))))));
        assert_eq!(read(&count(1, 5)), Some((0, Place::Underway(Box::new(span(None, Some(9), By::Order))))));
        assert_eq!(read(&later), Some((1, Place::Underway(Box::new(from(1))))));
        assert_eq!(read(&done(7)), Some((7, Place::Done)));
        for by in [By::Count, By::Natural] {
            let span = span(None, None, by);
            assert_eq!(read(&begin(3, &span).expect("a place")), Some((3, Place::Underway(Box::new(span)))));
        }
        assert_eq!(read(&Position::new(vec![0, 0, 0, 0, 1, 65])), None);
        for cut in 0..first.as_bytes().len() {
            drop(read(&Position::new(first.as_bytes()[..cut].to_vec())));
        }
    }

    #[test]
    fn ranges_are_partitions_of_their_own() {
        for part in [Part::Range(3), Part::Create, Part::Indexes] {
            assert_eq!(part_of(&partition("shop.a collection 7", part)), Some(("shop.a collection 7", part)));
        }
        assert_eq!(part_of("all"), None);
    }
}
