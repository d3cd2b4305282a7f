//! Where in a source a batch ends.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::Position;

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
