//! Bytes and spans: how a batch crosses the boundary.

use crate::bindings::types::{Header, Range, Span};

/// The bytes of a span, `None` where it is absent (or lies outside the arena, which no host makes).
pub(crate) fn bytes(arena: &[u8], span: Span) -> Option<&[u8]> {
    let start = span.offset as usize;
    arena.get(start..start.checked_add(span.length as usize)?).filter(|bytes| !bytes.is_empty())
}

/// The text of a span, `None` where it is absent.
pub(crate) fn text(arena: &[u8], span: Span) -> Option<&str> {
    std::str::from_utf8(bytes(arena, span)?).ok()
}

/// The entries of a range.
pub(crate) fn entries<T>(list: &[T], range: Range) -> &[T] {
    let first = range.first as usize;
    first.checked_add(range.count as usize).and_then(|end| list.get(first..end)).unwrap_or_default()
}

/// An arena being filled.
#[derive(Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
}

impl Arena {
    pub(crate) const ABSENT: Span = Span { offset: 0, length: 0 };

    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// Adds bytes; none at all are absent.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Span {
        // A plugin's memory ends at 4 GiB, so offsets fit; natively, an arena so large is no use to anyone.
        let span = Span { offset: count(self.bytes.len()), length: count(bytes.len()) };
        self.bytes.extend_from_slice(bytes);
        span
    }

    pub(crate) fn push_text(&mut self, text: Option<&str>) -> Span {
        text.map_or(Self::ABSENT, |text| self.push(text.as_bytes()))
    }

    /// Adds headers, but for those without a value: an empty span would be an absent one.
    pub(crate) fn push_headers(&mut self, headers: &[(String, String)], list: &mut Vec<Header>) {
        for (name, value) in headers.iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
            list.push(Header { name: self.push(name.as_bytes()), value: self.push(value.as_bytes()) });
        }
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// A length as the contract counts.
pub(crate) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The entries from `first` to the end of a list.
pub(crate) fn range_from<T>(first: usize, list: &[T]) -> Range {
    Range { first: count(first), count: count(list.len() - first) }
}
