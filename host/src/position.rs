//! Where in a source a batch ends.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A place in a source: opaque bytes that only the source can read, ordered as the changes are.
///
/// Comparing two positions of one source as bytes tells which comes first; that is what sinks and checkpoints rest on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(Bytes);

impl Position {
    /// From the bytes a source made.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// A copy with bytes of its own: positions of a batch share theirs.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Hexadecimal text, as it stands in checkpoints and the status page.
    pub fn to_hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(self.0.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Back from hexadecimal text.
    pub fn from_hex(text: &str) -> Option<Self> {
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return None;
        }
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
            .collect::<Option<Vec<u8>>>()
            .map(Self::new)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("a position is hexadecimal text of even length"))
    }
}

/// The one partition of a source that has only one.
pub const WHOLE: &str = "all";

/// A position in each partition of a source. Partitions are read apart from each other, and only positions of the same one can be
/// compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positions(BTreeMap<String, Position>);

impl Positions {
    /// The position in a partition; none where nothing was read of it yet.
    pub fn get(&self, partition: &str) -> Option<&Position> {
        self.0.get(partition)
    }

    /// The position in the one partition of a source that has only one.
    pub fn whole(&self) -> Option<&Position> {
        self.get(WHOLE)
    }

    /// Sets the position in a partition.
    pub fn set(&mut self, partition: &str, position: Position) {
        match self.0.get_mut(partition) {
            Some(old) => *old = position,
            None => {
                self.0.insert(partition.to_owned(), position);
            }
        }
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by name of the partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Position)> {
        self.0.iter().map(|(partition, position)| (partition.as_str(), position))
    }

    /// The older position of each partition: where a source must begin so that both get all they lack. A partition that one of them
    /// has not, is begun from its start.
    #[must_use]
    pub fn older(&self, other: &Self) -> Self {
        let both = self.0.iter().filter_map(|(partition, mine)| {
            other.get(partition).map(|theirs| (partition.clone(), mine.min(theirs).clone()))
        });
        Self(both.collect())
    }
}

impl From<Position> for Positions {
    fn from(position: Position) -> Self {
        Self(BTreeMap::from([(WHOLE.to_string(), position)]))
    }
}

impl From<Option<Position>> for Positions {
    fn from(position: Option<Position>) -> Self {
        position.map(Self::from).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Position, Positions};

    #[test]
    fn the_older_of_each_partition_is_where_both_go_on() {
        let at = |all: &[(&str, u8)]| {
            let mut positions = Positions::default();
            for (partition, byte) in all {
                positions.set(partition, Position::new(vec![*byte]));
            }
            positions
        };
        assert_eq!(at(&[("a", 1), ("b", 5)]).older(&at(&[("a", 3), ("b", 2), ("c", 1)])), at(&[("a", 1), ("b", 2)]));
        assert_eq!(serde_json::to_string(&at(&[("a", 1)])).unwrap(), r#"{"a":"01"}"#);
    }

    #[test]
    fn hex_goes_both_ways_and_refuses_the_rest() {
        let position = Position::new(vec![0, 1, 0xfe, 0xff]);
        assert_eq!(position.to_hex(), "0001feff");
        assert_eq!(Position::from_hex("0001feff"), Some(position));
        assert_eq!(Position::from_hex("abc"), None);
        assert_eq!(Position::from_hex("zz"), None);
        assert_eq!(Position::from_hex("é1"), None);
    }
}
