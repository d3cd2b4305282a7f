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
//! | 1 | up to a document, in a range whose order is known | the bytes of its `_id` ([`order`]) |
//! | 2 | up to a document that has no such bytes, or behind one | when the reading began, and a count |
//! | 255 | all was read | |
//!
//! What sorts is prefix-free, so the document behind it never decides which of two positions comes first.
//!
//! Behind 255 stands the time at which the last document was read, 8 bytes, and nothing where a version stored it that did not know it yet.
//! A collection that is copied once more in the same epoch, because of a rename, has its positions behind those of the copy before: they
//! begin with `255` and the time behind which the new round began, later than all times before, then go on with a state as above.

use bson::{Bson, Document};

use crate::{
    format::elements::Element,
    position::Position,
    source::mongodb::{
        event::{EPOCH_BYTES, PHASE_COPY},
        order,
    },
};

/// What the names of these partitions begin with.
const PREFIX: &str = "copy ";

const BEGIN: u8 = 0;
const ORDERED: u8 = 1;
const COUNTED: u8 = 2;
const DONE: u8 = 255;

/// The time at which a copy ended that did not say so: behind all others.
const UNKNOWN: u64 = 0xFFFF_FFFF_0000_0000;

/// Which of the copies of a collection a place is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) epoch: u32,
    /// The cluster time behind which it began in its epoch; 0 for the one that the epoch begins with.
    pub(super) began: u64,
}

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
    /// All of it was read by this time.
    Done(u64),
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
pub(super) fn begin(round: Round, span: &Span) -> Option<Position> {
    let mut out = Vec::new();
    Places::new(round, span)?.write(BEGIN, &[], &mut out);
    Some(Position::new(out))
}

/// The position behind the last document, which was read at a time that the server told.
pub(super) fn done(round: Round, time: Option<u64>) -> Position {
    let mut bytes = Vec::with_capacity(EPOCH_BYTES + 10);
    let time = time.unwrap_or(UNKNOWN).max(round.began.saturating_add(1));
    Round { epoch: round.epoch, began: time }.head(&mut bytes);
    Position::new(bytes)
}

impl Round {
    fn head(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.push(PHASE_COPY);
        if self.began > 0 {
            out.push(DONE);
            out.extend_from_slice(&self.began.to_be_bytes());
        }
    }
}

/// Writes the positions in a range: what all of them share is made once, and each document adds its `_id` alone.
#[derive(Clone, Debug)]
pub(super) struct Places {
    round: Round,
    /// Where the next reading begins: an element `_id`, or nothing.
    from: Vec<u8>,
    /// The elements of the document behind that one.
    rest: Vec<u8>,
}

impl Places {
    /// None where the span cannot be written as BSON.
    pub(super) fn new(round: Round, span: &Span) -> Option<Self> {
        let mut rest = Document::new();
        rest.extend(span.max.as_ref().map(|max| ("max".to_owned(), max.clone())));
        if span.by != By::Order {
            rest.insert("by", span.by.as_str());
        }
        let from: Document = span.min.as_ref().map(|min| ("_id".to_owned(), min.clone())).into_iter().collect();
        Some(Self { round, from: elements(&from)?, rest: elements(&rest)? })
    }

    /// Adds the position behind a document with this `_id`, where the next reading then begins; false, and nothing is added, for one
    /// that has no sorting bytes.
    pub(super) fn behind(&mut self, id: &Element<'_>, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        self.head(ORDERED, out);
        if !order::append(id, out) {
            out.truncate(start);
            return false;
        }
        self.from.clear();
        self.from.push(id.kind);
        self.from.extend_from_slice(b"_id\0");
        self.from.extend_from_slice(id.value);
        self.tail(out);
        true
    }

    /// Adds the position behind so many documents of a reading that began then; the next reading begins where this one did.
    pub(super) fn counted(&self, began: u64, count: u64, out: &mut Vec<u8>) {
        self.write(COUNTED, &[began.to_be_bytes(), count.to_be_bytes()].concat(), out);
    }

    fn write(&self, state: u8, sorts: &[u8], out: &mut Vec<u8>) {
        self.head(state, out);
        out.extend_from_slice(sorts);
        self.tail(out);
    }

    fn head(&self, state: u8, out: &mut Vec<u8>) {
        self.round.head(out);
        out.push(state);
    }

    /// The document and its length, which the server's limit on documents keeps small.
    fn tail(&self, out: &mut Vec<u8>) {
        let length = u32::try_from(self.from.len() + self.rest.len() + AROUND).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.from);
        out.extend_from_slice(&self.rest);
        out.push(0);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

/// Bytes of a document around its elements: its length and a zero.
const AROUND: usize = 5;

/// The elements of a document as bytes.
fn elements(document: &Document) -> Option<Vec<u8>> {
    let bytes = document.to_vec().ok()?;
    bytes.get(4..bytes.len().checked_sub(1)?).map(<[u8]>::to_vec)
}

/// What a position says; none for bytes that are no place in a copy. The next round of one that is done begins behind its own.
pub(super) fn read(position: &Position) -> Option<(Round, Place)> {
    let (epoch, rest) = position.as_bytes().split_first_chunk::<EPOCH_BYTES>()?;
    let mut round = Round { epoch: u32::from_be_bytes(*epoch), began: 0 };
    let (mut state, mut rest) = rest.strip_prefix(&[PHASE_COPY])?.split_first()?;
    if *state == DONE {
        let Some((time, again)) = rest.split_first_chunk::<8>() else {
            return rest.is_empty().then_some((round, Place::Done(UNKNOWN)));
        };
        round.began = u64::from_be_bytes(*time);
        match again.split_first() {
            None => return Some((round, Place::Done(round.began))),
            Some(more) => (state, rest) = more,
        }
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
            Some((round, Place::Underway(Box::new(Span { min, max, by }))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};

    use super::{By, Part, Place, Places, Round, Span, UNKNOWN, begin, done, part_of, partition, read};
    use crate::{format::elements::Elements, position::Position};

    fn epoch(epoch: u32) -> Round {
        Round { epoch, began: 0 }
    }

    fn span(min: Option<i32>, max: Option<i32>, by: By) -> Span {
        Span { min: min.map(Bson::from), max: max.map(Bson::from), by }
    }

    /// The position behind a document of a range that is read from 1 to 100.
    fn behind(id: impl Into<Bson>) -> Option<Position> {
        let bytes = doc! { "_id": id.into() }.to_vec().expect("BSON");
        let id = Elements::of(&bytes).expect("a document").next().expect("an element").expect("an element");
        let mut out = Vec::new();
        let mut places = Places::new(epoch(0), &span(Some(1), Some(100), By::Order)).expect("places");
        places.behind(&id, &mut out).then(|| Position::new(out))
    }

    fn count(began: u64, count: u64) -> Position {
        let mut out = Vec::new();
        Places::new(epoch(0), &span(None, Some(9), By::Order)).expect("places").counted(began, count, &mut out);
        Position::new(out)
    }

    #[test]
    fn places_sort_as_they_are_reached_and_come_back() {
        let from = |id: i32| span(Some(id), Some(100), By::Order);
        let at = |id: i32| behind(id).expect("a place");
        let first = begin(epoch(0), &from(1)).expect("a place");
        let text = behind("a").expect("a place");
        let places = [
            first.clone(),
            at(2),
            at(300),
            at(301),
            text,
            count(1, 0),
            count(1, 256),
            count(2, 0),
            done(epoch(0), Some(9)),
        ];
        assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
        let later = begin(epoch(1), &from(1)).expect("a place");
        assert!(done(epoch(0), None) < later, "a later copy comes behind");
        assert_eq!(read(&first), Some((epoch(0), Place::Underway(Box::new(from(1))))));
        assert_eq!(read(&places[2]), Some((epoch(0), Place::Underway(Box::new(from(300))))));
        assert_eq!(read(&count(1, 5)), Some((epoch(0), Place::Underway(Box::new(span(None, Some(9), By::Order))))));
        assert_eq!(read(&later), Some((epoch(1), Place::Underway(Box::new(from(1))))));
        assert_eq!(read(&done(epoch(7), Some(9))), Some((Round { epoch: 7, began: 9 }, Place::Done(9))));
        for by in [By::Count, By::Natural] {
            let span = span(None, None, by);
            assert_eq!(
                read(&begin(epoch(3), &span).expect("a place")),
                Some((epoch(3), Place::Underway(Box::new(span))))
            );
        }
        assert_eq!(read(&Position::new(vec![0, 0, 0, 0, 1, 65])), None);
        for cut in 0..first.as_bytes().len() {
            drop(read(&Position::new(first.as_bytes()[..cut].to_vec())));
        }
        assert_eq!(behind(doc! { "a": Bson::JavaScriptCode("f".to_owned()) }), None, "it has no bytes that sort");
    }

    #[test]
    fn a_later_round_of_an_epoch_sorts_behind_the_one_before() {
        let from = |id: i32| span(Some(id), Some(100), By::Order);
        let round = |began| Round { epoch: 3, began };
        let old = Position::new(vec![0, 0, 0, 3, 0, 255]);
        assert_eq!(read(&old), Some((round(0), Place::Done(UNKNOWN))), "as earlier versions stored it");
        let mut places = vec![begin(round(0), &from(1)).expect("a place"), old, done(round(0), Some(500))];
        for (began, ended) in [(500, Some(700)), (701, Some(600)), (703, None), (UNKNOWN + 1, None)] {
            let begun = begin(round(began), &from(1)).expect("a place");
            assert_eq!(read(&begun), Some((round(began), Place::Underway(Box::new(from(1))))));
            places.extend([begun, done(round(began), ended)]);
        }
        assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
        let ends = places.iter().filter_map(|place| match read(place) {
            Some((_, Place::Done(time))) => Some(time),
            _ => None,
        });
        assert_eq!(ends.collect::<Vec<_>>(), [UNKNOWN, 500, 700, 702, UNKNOWN, UNKNOWN + 2]);
        assert_eq!(read(&Position::new(vec![0, 0, 0, 3, 0, 255, 1])), None);
    }

    /// Checkpoints of all versions are read by all.
    #[test]
    fn places_have_the_bytes_they_always_had() {
        let written = |state: u8, sorts: &[u8], document: Document| {
            let document = document.to_vec().expect("BSON");
            let length = u32::try_from(document.len()).expect("a length");
            Position::new([&[0, 0, 0, 0, 0, state], sorts, &document, &length.to_be_bytes()].concat())
        };
        let plain = span(Some(1), Some(100), By::Order);
        assert_eq!(begin(epoch(0), &plain), Some(written(0, &[], doc! { "_id": 1, "max": 100 })));
        let natural = span(None, None, By::Natural);
        assert_eq!(begin(epoch(0), &natural), Some(written(0, &[], doc! { "by": "natural" })));
        let sorts = [&[0x1E, 0xC0, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
        assert_eq!(behind(2), Some(written(1, &sorts, doc! { "_id": 2, "max": 100 })));
        let sorts = [7_u64.to_be_bytes(), 8_u64.to_be_bytes()].concat();
        assert_eq!(count(7, 8), written(2, &sorts, doc! { "max": 9 }));
    }

    #[test]
    fn ranges_are_partitions_of_their_own() {
        for part in [Part::Range(3), Part::Create, Part::Indexes] {
            assert_eq!(part_of(&partition("shop.a collection 7", part)), Some(("shop.a collection 7", part)));
        }
        assert_eq!(part_of("all"), None);
    }
}
