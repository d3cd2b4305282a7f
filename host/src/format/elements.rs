//! A walk over the elements of a BSON document that never panics, whatever the bytes are.
//!
//! Documents come from servers, files and plugins. The walk reads lengths and types only; what a value means is up to
//! the reader, so that a document can be passed on, or one element taken out of it, without decoding the rest.

use std::fmt;

/// Why bytes are no BSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bytes are no valid BSON: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// One element: its type byte, its name and the bytes of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The type byte of the BSON specification.
    pub kind: u8,
    /// The name, which need not be UTF-8.
    pub name: &'a [u8],
    /// The bytes of the value, of a length that fits its type.
    pub value: &'a [u8],
}

/// Type bytes of the BSON specification.
pub mod kind {
    /// 64-bit floating point
    pub const DOUBLE: u8 = 0x01;
    /// UTF-8 text
    pub const STRING: u8 = 0x02;
    /// embedded document
    pub const DOCUMENT: u8 = 0x03;
    /// array
    pub const ARRAY: u8 = 0x04;
    /// binary data
    pub const BINARY: u8 = 0x05;
    /// undefined (deprecated)
    pub const UNDEFINED: u8 = 0x06;
    /// ObjectId
    pub const OBJECT_ID: u8 = 0x07;
    /// boolean
    pub const BOOLEAN: u8 = 0x08;
    /// milliseconds since 1970, UTC
    pub const DATE: u8 = 0x09;
    /// null
    pub const NULL: u8 = 0x0A;
    /// regular expression
    pub const REGEX: u8 = 0x0B;
    /// DBPointer (deprecated)
    pub const DB_POINTER: u8 = 0x0C;
    /// JavaScript code
    pub const CODE: u8 = 0x0D;
    /// symbol (deprecated)
    pub const SYMBOL: u8 = 0x0E;
    /// JavaScript code with scope (deprecated)
    pub const CODE_WITH_SCOPE: u8 = 0x0F;
    /// 32-bit integer
    pub const INT32: u8 = 0x10;
    /// timestamp of the oplog
    pub const TIMESTAMP: u8 = 0x11;
    /// 64-bit integer
    pub const INT64: u8 = 0x12;
    /// 128-bit decimal floating point
    pub const DECIMAL128: u8 = 0x13;
    /// sorts after all else
    pub const MAX_KEY: u8 = 0x7F;
    /// sorts before all else
    pub const MIN_KEY: u8 = 0xFF;
}

/// The elements of a document or an array, in order. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// Of the bytes of one whole document, its length and its terminator included.
    ///
    /// # Errors
    /// When the length does not fit the bytes, or the terminator is missing.
    pub fn of(document: &'a [u8]) -> Result<Self, Malformed> {
        let (length, rest) = split_length(document)?;
        if length != document.len() {
            return Err(Malformed("the length of a document does not fit its bytes"));
        }
        match rest.split_last() {
            Some((0, rest)) => Ok(Self { rest }),
            _ => Err(Malformed("a document is not terminated")),
        }
    }

    /// The first element of that name.
    ///
    /// # Errors
    /// When the bytes up to it are malformed.
    pub fn find(mut self, name: &[u8]) -> Result<Option<Element<'a>>, Malformed> {
        loop {
            match self.next() {
                Some(Ok(element)) if element.name == name => return Ok(Some(element)),
                Some(Ok(_)) => {}
                Some(Err(malformed)) => return Err(malformed),
                None => return Ok(None),
            }
        }
    }

    #[inline]
    fn step(&mut self, kind: u8, rest: &'a [u8]) -> Result<Element<'a>, Malformed> {
        let (name, rest) = split_cstring(rest)?;
        let length = value_length(kind, rest)?;
        let (value, rest) = rest.split_at_checked(length).ok_or(Malformed("a value is cut off"))?;
        self.rest = rest;
        Ok(Element { kind, name, value })
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (&kind, rest) = self.rest.split_first()?;
        let element = self.step(kind, rest);
        if element.is_err() {
            self.rest = &[];
        }
        Some(element)
    }
}

impl<'a> Element<'a> {
    /// The text of a string, code or symbol, without its length and terminator.
    pub fn text_bytes(&self) -> Result<&'a [u8], Malformed> {
        text(self.value)
    }

    /// The text, where the element is a string of valid UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        (self.kind == kind::STRING)
            .then(|| text(self.value).ok().and_then(|bytes| std::str::from_utf8(bytes).ok()))
            .flatten()
    }

    /// The eight bytes of a 64-bit value, as an unsigned number.
    pub fn as_u64(&self) -> Option<u64> {
        self.value.try_into().ok().map(u64::from_le_bytes)
    }
}

#[inline]
fn value_length(kind: u8, rest: &[u8]) -> Result<usize, Malformed> {
    Ok(match kind {
        kind::STRING | kind::CODE | kind::SYMBOL => prefixed(rest)?,
        kind::DOCUMENT | kind::ARRAY | kind::CODE_WITH_SCOPE => split_length(rest)?.0,
        kind::INT32 => 4,
        kind::INT64 | kind::DOUBLE | kind::DATE | kind::TIMESTAMP => 8,
        kind::OBJECT_ID => 12,
        kind::BOOLEAN => 1,
        kind::NULL | kind::UNDEFINED | kind::MIN_KEY | kind::MAX_KEY => 0,
        kind::BINARY => split_length(rest)?.0.saturating_add(5),
        kind::DECIMAL128 => 16,
        kind::DB_POINTER => prefixed(rest)?.saturating_add(12),
        kind::REGEX => {
            let (pattern, rest) = split_cstring(rest)?;
            let (options, _) = split_cstring(rest)?;
            pattern.len() + options.len() + 2
        }
        _ => return Err(Malformed("a type is not known")),
    })
}

/// Length of a text with its own length in front and a terminator behind.
#[inline]
fn prefixed(rest: &[u8]) -> Result<usize, Malformed> {
    match split_length(rest)?.0 {
        0 => Err(Malformed("a text has no terminator")),
        length => Ok(length.saturating_add(4)),
    }
}

#[inline]
pub(super) fn split_length(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed("a length is cut off"))?;
    let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| Malformed("a length is negative"))?;
    Ok((length, rest))
}

#[inline]
pub(super) fn split_cstring(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    // Names are short: a plain loop beats a search that is made for long texts.
    let end = bytes.iter().position(|byte| *byte == 0).ok_or(Malformed("a name is not terminated"))?;
    let (name, rest) = bytes.split_at(end);
    Ok((name, rest.split_first().map_or(&[], |(_, rest)| rest)))
}

/// The text of a value that begins with the length of the text.
#[inline]
pub(super) fn text(value: &[u8]) -> Result<&[u8], Malformed> {
    let (length, rest) = split_length(value)?;
    let text = rest.get(..length).ok_or(Malformed("a text is cut off"))?;
    match text.split_last() {
        Some((0, text)) => Ok(text),
        _ => Err(Malformed("a text is not terminated")),
    }
}

#[cfg(test)]
mod tests {
    use bson::{doc, spec::ElementType};

    use super::{Elements, Malformed};

    #[test]
    fn walks_what_the_bson_crate_writes() {
        let document = doc! { "a": 1, "b": { "c": [1_i64, "x"] }, "d": bson::oid::ObjectId::new(), "": null };
        let bytes = document.to_vec().unwrap();
        let elements: Vec<_> = Elements::of(&bytes).unwrap().collect::<Result<_, _>>().unwrap();
        let names: Vec<_> = elements.iter().map(|element| element.name).collect();
        assert_eq!(names, [&b"a"[..], b"b", b"d", b""]);
        let kinds: Vec<_> = elements.iter().map(|element| ElementType::from(element.kind).unwrap()).collect();
        assert_eq!(
            kinds,
            [ElementType::Int32, ElementType::EmbeddedDocument, ElementType::ObjectId, ElementType::Null]
        );
    }

    #[test]
    fn cut_off_bytes_are_an_error() {
        let bytes = doc! { "a": "text", "b": 1.5 }.to_vec().unwrap();
        for end in 0..bytes.len() {
            assert!(Elements::of(&bytes[..end]).is_err(), "{end}");
        }
        let mut bad = bytes.clone();
        bad[4] = 0x44;
        assert_eq!(Elements::of(&bad).unwrap().next(), Some(Err(Malformed("a type is not known"))));
    }
}
