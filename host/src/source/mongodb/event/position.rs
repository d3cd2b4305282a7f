//! Positions and the resume tokens in them.

use bson::Timestamp;
use bytes::Bytes;

use crate::{format::elements::Elements, position::Position};

/// A position begins with its epoch, four bytes, big endian: it is raised whenever what follows is no continuation of what was
/// read before, so that later positions sort behind earlier ones all the same.
pub(in crate::source::mongodb) const EPOCH_BYTES: usize = 4;
/// The fifth byte of a position in a copy, which comes before the stream.
pub(in crate::source::mongodb) const PHASE_COPY: u8 = 0;
/// The same of a position in the stream.
const PHASE_STREAM: u8 = 1;

/// A position is `[epoch, 4 bytes, big endian][phase, 1 byte][the resume token's _data, text]`. MongoDB makes the text of
/// its tokens so that they sort as the events do; so positions sort as bytes.
pub(in crate::source::mongodb) fn position(epoch: u32, token: &str) -> Position {
    let mut bytes = Vec::with_capacity(EPOCH_BYTES + 1 + token.len());
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.push(PHASE_STREAM);
    bytes.extend_from_slice(token.as_bytes());
    Position::new(bytes)
}

/// The epoch of a position; none for bytes this source did not make.
pub(in crate::source::mongodb) fn epoch_of(position: &Position) -> Option<u32> {
    position.as_bytes().first_chunk::<EPOCH_BYTES>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The positions of the changes of one batch, in one buffer.
#[derive(Debug, Default)]
pub(in crate::source::mongodb) struct Places {
    epoch: u32,
    buffer: Vec<u8>,
    ends: Vec<usize>,
}

impl Places {
    /// Of this epoch.
    pub(in crate::source::mongodb) fn new(epoch: u32) -> Self {
        Self { epoch, ..Self::default() }
    }

    /// The next one.
    pub(in crate::source::mongodb) fn add(&mut self, token: &str) {
        self.buffer.extend_from_slice(&self.epoch.to_be_bytes());
        self.buffer.push(PHASE_STREAM);
        self.buffer.extend_from_slice(token.as_bytes());
        self.ends.push(self.buffer.len());
    }

    /// All of them, in the order they were added.
    pub(in crate::source::mongodb) fn finish(self) -> impl Iterator<Item = Position> {
        let buffer = Bytes::from(self.buffer);
        let mut from = 0;
        self.ends.into_iter().map(move |end| Position::new(buffer.slice(std::mem::replace(&mut from, end)..end)))
    }
}

/// The token of a position; none for bytes this source did not make.
pub(in crate::source::mongodb) fn token_of(position: &Position) -> Option<&str> {
    let (head, token) = position.as_bytes().split_at_checked(EPOCH_BYTES + 1)?;
    (head.last() == Some(&PHASE_STREAM) && !token.is_empty()).then(|| std::str::from_utf8(token).ok()).flatten()
}

/// The cluster time of a token: it begins with `82`, the kind of a timestamp in the server's sortable form, then the timestamp, in
/// hexadecimal. None for tokens of another form, such as those of managed services.
pub(in crate::source::mongodb) fn token_time(token: &str) -> Option<u64> {
    u64::from_str_radix(token.strip_prefix("82")?.get(..16)?, 16).ok()
}

/// The version of a resume token, which stands behind its timestamp.
pub(in crate::source::mongodb) fn version_of(token: &str) -> Option<&str> {
    token.get(18..22).filter(|version| version.starts_with("2B"))
}

/// The time of the newest change that a stream behind this token will not bring. A token of an event has the event's own; that of a
/// stream without events (a high water mark) has the time before which all was told, one step into the future of an idle server, which
/// would refuse to read as late as that.
pub(in crate::source::mongodb) fn told_until(token: &str) -> Option<u64> {
    // Behind the time, as numbers in the sortable form: `2B` and two digits for the version, then the kind, 0 (`29`) for a mark.
    let is_mark = token.get(18..20) == Some("2B") && token.get(22..24) == Some("29");
    token_time(token).map(|time| if is_mark { time.saturating_sub(1) } else { time })
}

/// A cluster time as the server takes it.
pub(in crate::source::mongodb) fn timestamp(time: u64) -> Timestamp {
    Timestamp { time: seconds(time), increment: (time & u64::from(u32::MAX)) as u32 }
}

/// The seconds of a cluster time.
pub(in crate::source::mongodb) fn seconds(time: u64) -> u32 {
    u32::try_from(time >> 32).unwrap_or(u32::MAX)
}

/// The text of a resume token.
pub(in crate::source::mongodb) fn token_text(token: &[u8]) -> Option<&str> {
    Elements::of(token).ok()?.find(b"_data").ok()??.as_str()
}

#[cfg(test)]
mod tests {
    use super::{epoch_of, position, token_of, token_time, told_until};

    #[test]
    fn positions_sort_as_tokens_do_and_come_back() {
        let (earlier, later) = (position(0, "8265"), position(0, "8266AB"));
        assert!(earlier < later);
        assert!(later < position(1, "8265"), "another epoch comes later");
        assert_eq!((token_of(&later), epoch_of(&position(7, "82"))), (Some("8266AB"), Some(7)));
        assert_eq!(token_of(&crate::position::Position::new(vec![1, 2])), None);
    }

    #[test]
    fn a_mark_says_less_than_an_event_of_its_time() {
        // In the form that servers from 4.2 on give.
        let mark = "826560A0B1000000052B0229296E04";
        let change = "826560A0B1000000052B022C0100296E5A1004AB46645F696400290004";
        let time = 0x6560_A0B1_0000_0005;
        assert_eq!((token_time(mark), told_until(mark)), (Some(time), Some(time - 1)));
        assert_eq!((token_time(change), told_until(change)), (Some(time), Some(time)));
        assert_eq!(told_until("8265"), None);
    }
}
