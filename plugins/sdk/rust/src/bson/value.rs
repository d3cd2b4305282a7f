use std::borrow::Cow;
use std::fmt;

use super::{Array, DateTime, Document, Error};

/// A BSON value, borrowed from its document.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs, reason = "the variants and their fields are named as the BSON specification names them")]
pub enum Value<'a> {
    Double(f64),
    String(&'a str),
    Document(Document<'a>),
    Array(Array<'a>),
    Binary { subtype: u8, bytes: &'a [u8] },
    Undefined,
    ObjectId(ObjectId),
    Bool(bool),
    DateTime(DateTime),
    Null,
    Regex { pattern: &'a str, options: &'a str },
    DbPointer { namespace: &'a str, id: ObjectId },
    JavaScript(&'a str),
    Symbol(&'a str),
    CodeWithScope { code: &'a str, scope: Document<'a> },
    Int32(i32),
    Timestamp { time: u32, increment: u32 },
    Int64(i64),
    Decimal128([u8; 16]),
    MinKey,
    MaxKey,
}

/// The twelve bytes of an ObjectId. Prints as hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub [u8; 12]);

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<'a> Value<'a> {
    /// The name MongoDB gives the type (`$type`), such as `string`, `int`, `long`, `date` or `objectId`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Document(_) => "object",
            Self::Array(_) => "array",
            Self::Binary { .. } => "binData",
            Self::Undefined => "undefined",
            Self::ObjectId(_) => "objectId",
            Self::Bool(_) => "bool",
            Self::DateTime(_) => "date",
            Self::Null => "null",
            Self::Regex { .. } => "regex",
            Self::DbPointer { .. } => "dbPointer",
            Self::JavaScript(_) => "javascript",
            Self::Symbol(_) => "symbol",
            Self::CodeWithScope { .. } => "javascriptWithScope",
            Self::Int32(_) => "int",
            Self::Timestamp { .. } => "timestamp",
            Self::Int64(_) => "long",
            Self::Decimal128(_) => "decimal",
            Self::MinKey => "minKey",
            Self::MaxKey => "maxKey",
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&'a str> {
        if let Self::String(text) = *self { Some(text) } else { None }
    }

    /// An Int32, an Int64, or a Double that is a whole number of at most 2^53: shells and JavaScript clients write whole
    /// numbers as Doubles, and beyond that a Double does not say which one was meant.
    pub fn as_integer(&self) -> Option<i64> {
        /// 2^53; exact as a Double.
        const LIMIT: f64 = 9_007_199_254_740_992.0;
        match *self {
            Self::Int32(number) => Some(i64::from(number)),
            Self::Int64(number) => Some(number),
            #[allow(clippy::cast_possible_truncation, reason = "in range and whole, as just checked")]
            Self::Double(number) if (-LIMIT..=LIMIT).contains(&number) && number.trunc() == number => {
                Some(number as i64)
            }
            _ => None,
        }
    }

    /// A Double, Int32 or Int64 (the last rounded where a Double cannot hold it).
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Double(number) => Some(number),
            Self::Int32(number) => Some(f64::from(number)),
            #[allow(clippy::cast_precision_loss, reason = "said in the documentation")]
            Self::Int64(number) => Some(number as f64),
            _ => None,
        }
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = *self { Some(value) } else { None }
    }

    /// A nested document.
    pub fn as_document(&self) -> Option<Document<'a>> {
        if let Self::Document(document) = *self { Some(document) } else { None }
    }

    /// An array.
    pub fn as_array(&self) -> Option<Array<'a>> {
        if let Self::Array(array) = *self { Some(array) } else { None }
    }

    /// A date.
    pub fn as_datetime(&self) -> Option<DateTime> {
        if let Self::DateTime(date) = *self { Some(date) } else { None }
    }

    /// An ObjectId.
    pub fn as_object_id(&self) -> Option<ObjectId> {
        if let Self::ObjectId(id) = *self { Some(id) } else { None }
    }

    /// The bytes of a Binary, whatever its subtype.
    pub fn as_binary(&self) -> Option<&'a [u8]> {
        if let Self::Binary { bytes, .. } = *self { Some(bytes) } else { None }
    }

    /// Whether this is Null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// How the value reads inside a name, such as that of a stream: a string as it is, a whole number in digits, an
    /// ObjectId in hex, a boolean as a word. Other types have no such form.
    pub fn to_text(&self) -> Option<Cow<'a, str>> {
        match *self {
            Self::String(text) => Some(Cow::Borrowed(text)),
            Self::ObjectId(id) => Some(Cow::Owned(id.to_string())),
            Self::Bool(value) => Some(Cow::Borrowed(if value { "true" } else { "false" })),
            _ => self.as_integer().map(|number| Cow::Owned(number.to_string())),
        }
    }

    /// Type byte of the value's element.
    pub(crate) fn tag(&self) -> u8 {
        match self {
            Self::Double(_) => 0x01,
            Self::String(_) => 0x02,
            Self::Document(_) => 0x03,
            Self::Array(_) => 0x04,
            Self::Binary { .. } => 0x05,
            Self::Undefined => 0x06,
            Self::ObjectId(_) => 0x07,
            Self::Bool(_) => 0x08,
            Self::DateTime(_) => 0x09,
            Self::Null => 0x0a,
            Self::Regex { .. } => 0x0b,
            Self::DbPointer { .. } => 0x0c,
            Self::JavaScript(_) => 0x0d,
            Self::Symbol(_) => 0x0e,
            Self::CodeWithScope { .. } => 0x0f,
            Self::Int32(_) => 0x10,
            Self::Timestamp { .. } => 0x11,
            Self::Int64(_) => 0x12,
            Self::Decimal128(_) => 0x13,
            Self::MinKey => 0xff,
            Self::MaxKey => 0x7f,
        }
    }
}

/// Bytes that the value at the front of `rest` takes; `rest` may be too short to hold them.
#[inline]
pub(super) fn size(tag: u8, rest: &[u8]) -> Result<usize, &'static str> {
    let length = |least: i32| match rest.first_chunk().map(|length| i32::from_le_bytes(*length)) {
        Some(length) if length >= least => Ok(length as usize),
        Some(_) => Err("a length too small for its type"),
        None => Err("a length cut short"),
    };
    // Saturating: a pointer is 32 bits wide in a plugin, and a length may be nearly as large. Such a value is then
    // longer than its document, which the caller refuses.
    Ok(match tag {
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        0x02 | 0x0d | 0x0e => length(1)?.saturating_add(4),
        0x03 | 0x04 => length(5)?,
        0x05 => length(0)?.saturating_add(5),
        0x06 | 0x0a | 0xff | 0x7f => 0,
        0x07 => 12,
        0x08 => 1,
        0x0b => {
            let text = |from: &[u8]| from.iter().position(|&byte| byte == 0).ok_or("a regex without its zero byte");
            let pattern = text(rest)? + 1;
            pattern + text(rest.get(pattern..).unwrap_or_default())? + 1
        }
        0x0c => length(1)?.saturating_add(4 + 12),
        0x0f => length(14)?,
        0x10 => 4,
        0x13 => 16,
        _ => return Err("an unknown type"),
    })
}

/// Makes the value of bytes that are exactly as long as [`size`] said. `at` is where they begin, for errors.
#[inline]
pub(super) fn decode(tag: u8, bytes: &[u8], at: usize) -> Result<Value<'_>, Error> {
    Decoder { bytes, at }.value(tag)
}

struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    #[inline]
    fn value(mut self, tag: u8) -> Result<Value<'a>, Error> {
        Ok(match tag {
            0x01 => Value::Double(f64::from_le_bytes(self.array()?)),
            0x02 => Value::String(self.string()?),
            0x03 => Value::Document(Document::new(self.bytes)),
            0x04 => Value::Array(Array::new(self.bytes)),
            0x05 => {
                let [_, _, _, _, subtype] = self.array()?;
                Value::Binary { subtype, bytes: self.bytes }
            }
            0x06 => Value::Undefined,
            0x07 => Value::ObjectId(ObjectId(self.array()?)),
            0x08 => match self.bytes {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                _ => return Err(Error::new("a boolean that is neither 0 nor 1", self.at)),
            },
            0x09 => Value::DateTime(DateTime(i64::from_le_bytes(self.array()?))),
            0x0a => Value::Null,
            0x0b => Value::Regex { pattern: self.zero_terminated()?, options: self.zero_terminated()? },
            0x0c => Value::DbPointer { namespace: self.string()?, id: ObjectId(self.array()?) },
            0x0d => Value::JavaScript(self.string()?),
            0x0e => Value::Symbol(self.string()?),
            0x0f => {
                let _length: [u8; 4] = self.array()?;
                Value::CodeWithScope { code: self.string()?, scope: Document::new(self.bytes) }
            }
            0x10 => Value::Int32(i32::from_le_bytes(self.array()?)),
            0x11 => Value::Timestamp {
                increment: u32::from_le_bytes(self.array()?),
                time: u32::from_le_bytes(self.array()?),
            },
            0x12 => Value::Int64(i64::from_le_bytes(self.array()?)),
            0x13 => Value::Decimal128(self.array()?),
            0xff => Value::MinKey,
            0x7f => Value::MaxKey,
            _ => return Err(Error::new("an unknown type", self.at)),
        })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(Error::new("a value cut short", self.at))?;
        self.bytes = rest;
        self.at += N;
        Ok(*taken)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(Error::new("a value cut short", self.at))?;
        self.bytes = rest;
        self.at += length;
        Ok(taken)
    }

    /// Text with its length in front and a zero byte behind.
    #[inline]
    fn string(&mut self) -> Result<&'a str, Error> {
        let length = usize::try_from(i32::from_le_bytes(self.array()?))
            .map_err(|_| Error::new("a length below zero", self.at))?;
        let at = self.at;
        let Some((0, text)) = self.take(length)?.split_last() else {
            return Err(Error::new("text without its closing zero byte", at));
        };
        std::str::from_utf8(text).map_err(|_| Error::new("text that is no UTF-8", at))
    }

    /// Text up to a zero byte.
    fn zero_terminated(&mut self) -> Result<&'a str, Error> {
        let at = self.at;
        let length = self.bytes.iter().position(|&byte| byte == 0);
        let length = length.ok_or(Error::new("text without its closing zero byte", at))?;
        let text = self.take(length)?;
        let [_] = self.array()?;
        std::str::from_utf8(text).map_err(|_| Error::new("text that is no UTF-8", at))
    }
}
