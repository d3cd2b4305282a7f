//! Where in a stream something stands.
//!
//! A change has the position `[epoch, 4 bytes][milliseconds of its entry's id, 8][counter of the id, 8]`, big endian, so that positions
//! sort as the entries do. The epoch rises when the ids of a stream went back, because it was deleted and made again. A batch has the
//! position of its last change and, behind it, the ordinal of that entry where it is known: the how-manieth of all that were ever
//! added. So a batch stands behind its last change, and what was trimmed while nobody read can be counted.

use std::fmt;

use crate::position::Position;

/// The id of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EntryId {
    pub(super) ms: u64,
    pub(super) seq: u64,
}

impl EntryId {
    /// From `MILLISECONDS-COUNTER`, as the server writes it.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (ms, seq) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, seq: seq.parse().ok()? })
    }

    /// When the entry was added, where the server made the id; none for an id that is no time of this century.
    pub(super) fn wall_time(self) -> Option<i64> {
        const CENTURY: std::ops::Range<u64> = 946_684_800_000..4_102_444_800_000;
        CENTURY.contains(&self.ms).then(|| i64::try_from(self.ms).ok()).flatten()
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// How far a stream was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: u32,
    /// The last entry that was read; `0-0` before the first.
    pub(super) id: EntryId,
    /// The how-manieth it is of all that were ever added.
    pub(super) ordinal: Option<u64>,
}

impl Place {
    /// The place a position stands for; none for a position of another source.
    pub(super) fn of(position: &Position) -> Option<Self> {
        let (epoch, rest) = position.as_bytes().split_first_chunk::<4>()?;
        let (ms, rest) = rest.split_first_chunk::<8>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let ordinal = match rest {
            [] => None,
            rest => Some(u64::from_be_bytes(rest.try_into().ok()?)),
        };
        let id = EntryId { ms: u64::from_be_bytes(*ms), seq: u64::from_be_bytes(*seq) };
        Some(Self { epoch: u32::from_be_bytes(*epoch), id, ordinal })
    }

    /// The position of a batch that ends here.
    pub(super) fn position(&self) -> Position {
        // Exactly as long as it gets, so that it is allocated once.
        let mut bytes = Vec::with_capacity(if self.ordinal.is_some() { 28 } else { 20 });
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.id.ms.to_be_bytes());
        bytes.extend_from_slice(&self.id.seq.to_be_bytes());
        if let Some(ordinal) = self.ordinal {
            bytes.extend_from_slice(&ordinal.to_be_bytes());
        }
        Position::new(bytes)
    }

    /// Behind the entry that follows.
    pub(super) fn step(&mut self, id: EntryId) {
        self.id = id;
        self.ordinal = self.ordinal.map(|ordinal| ordinal.saturating_add(1));
    }
}

/// The name of a stream as the name of a partition: text, and different for different streams.
pub(super) fn partition(key: &[u8]) -> String {
    let mut name = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '%' => name.push_str("%25"),
                char => name.push(char),
            }
        }
        for byte in chunk.invalid() {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{EntryId, Place, partition};

    #[test]
    fn positions_sort_as_entries_do() {
        let at = |epoch, ms, seq, ordinal| Place { epoch, id: EntryId { ms, seq }, ordinal };
        let places = [
            at(0, 0, 0, None),
            at(0, 0, 1, None),
            at(0, 1, 0, None),
            // A batch stands behind its last change.
            at(0, 1, 0, Some(0)),
            at(0, 1, 0, Some(300)),
            at(0, 1, 1, None),
            at(0, 256, 0, None),
            at(0, u64::MAX, u64::MAX, None),
            at(1, 0, 0, None),
        ];
        for pair in places.windows(2) {
            assert!(pair[0].position() < pair[1].position(), "{pair:?}");
        }
        for place in places {
            assert_eq!(Place::of(&place.position()), Some(place));
        }
        assert_eq!(Place::of(&crate::position::Position::new(vec![0; 21])), None);
        assert_eq!(Place::of(&crate::position::Position::new(vec![0; 3])), None);
    }

    #[test]
    fn ids_are_read_and_written() {
        let id = EntryId { ms: 1_769_860_800_001, seq: 7 };
        assert_eq!(EntryId::parse(b"1769860800001-7"), Some(id));
        assert_eq!(id.to_string(), "1769860800001-7");
        assert_eq!(id.wall_time(), Some(1_769_860_800_001));
        assert_eq!(EntryId { ms: 5, seq: 0 }.wall_time(), None);
        assert!([&b"5"[..], b"a-1", b"1-", b"\xff-1"].iter().all(|text| EntryId::parse(text).is_none()));
    }

    #[test]
    fn names_of_partitions_are_text_and_differ() {
        assert_eq!(partition("events:é".as_bytes()), "events:é");
        assert_eq!(partition(b"a\xff%b"), "a%FF%25b");
    }
}
