//! Where in the log of delivered states something stands.
//!
//! A position is `[epoch, 4 bytes][number of the entry, 8][part, 4]`, big endian. The epoch rises when it is not known any more what
//! was delivered. An entry is what became of one key, once; the many changes of one (`shape: member`) come in parts. The last part of
//! an entry has the number of all bits, so that a whole entry is told from one that was begun.

use crate::position::Position;

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) epoch: u32,
    pub(super) entry: u64,
    pub(super) part: u32,
}

impl At {
    /// Behind all of an entry.
    pub(super) const fn behind(epoch: u32, entry: u64) -> Self {
        Self { epoch, entry, part: u32::MAX }
    }

    /// None for a position of another source.
    pub(super) fn of(position: &Position) -> Option<Self> {
        let (epoch, rest) = position.as_bytes().split_first_chunk::<4>()?;
        let (entry, rest) = rest.split_first_chunk::<8>()?;
        let part: [u8; 4] = rest.try_into().ok()?;
        let (epoch, entry) = (u32::from_be_bytes(*epoch), u64::from_be_bytes(*entry));
        Some(Self { epoch, entry, part: u32::from_be_bytes(part) })
    }

    pub(super) fn position(self) -> Position {
        let mut bytes = Vec::with_capacity(16);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.entry.to_be_bytes());
        bytes.extend_from_slice(&self.part.to_be_bytes());
        Position::new(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::At;
    use crate::position::Position;

    #[test]
    fn positions_sort_as_entries_do() {
        let places = [
            At::behind(1, 0),
            At { epoch: 1, entry: 1, part: 0 },
            At { epoch: 1, entry: 1, part: 1 },
            At::behind(1, 1),
            At { epoch: 1, entry: 256, part: 0 },
            At::behind(2, 0),
        ];
        for pair in places.windows(2) {
            assert!(pair[0].position() < pair[1].position(), "{pair:?}");
        }
        for place in places {
            assert_eq!(At::of(&place.position()), Some(place));
        }
        // That of a stream is longer.
        assert_eq!(At::of(&Position::new(vec![0; 20])), None);
        assert_eq!(At::of(&Position::new(vec![0; 3])), None);
    }
}
