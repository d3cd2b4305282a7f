use std::fmt;

use super::{Array, DateTime, Document, ObjectId, Value};

/// What can be written into a document: values, documents and arrays being built, and the plain Rust types.
pub trait AsValue {
    /// The value, borrowed.
    fn as_value(&self) -> Value<'_>;
}

macro_rules! as_value {
    ($($type:ty => |$it:ident| $value:expr;)*) => {$(
        impl AsValue for $type {
            fn as_value(&self) -> Value<'_> {
                let $it = self;
                $value
            }
        }
    )*};
}

as_value! {
    Value<'_> => |it| *it;
    str => |it| Value::String(it);
    String => |it| Value::String(it);
    i32 => |it| Value::Int32(*it);
    i64 => |it| Value::Int64(*it);
    f64 => |it| Value::Double(*it);
    bool => |it| Value::Bool(*it);
    DateTime => |it| Value::DateTime(*it);
    ObjectId => |it| Value::ObjectId(*it);
    Document<'_> => |it| Value::Document(*it);
    Array<'_> => |it| Value::Array(*it);
    DocumentBuf => |it| Value::Document(it.as_document());
    ArrayBuf => |it| Value::Array(it.as_array());
}

impl<T: AsValue + ?Sized> AsValue for &T {
    fn as_value(&self) -> Value<'_> {
        (**self).as_value()
    }
}

/// Nothing is written as Null.
impl<T: AsValue> AsValue for Option<T> {
    fn as_value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Null, AsValue::as_value)
    }
}

/// A BSON document being built. It is a whole document at any time.
///
/// ```
/// use tidegate_plugin::bson::{ArrayBuf, DocumentBuf};
///
/// let document = DocumentBuf::new()
///     .with("product_id", "P-1")
///     .with("quantity", 3)
///     .with("tags", ArrayBuf::from_iter(["new", "blue"]))
///     .with("size", DocumentBuf::new().with("width", 1.5));
/// assert_eq!(document.as_document().get_path("tags.1").and_then(|tag| tag.as_str()), Some("blue"));
/// ```
#[derive(Clone, PartialEq)]
pub struct DocumentBuf {
    bytes: Vec<u8>,
}

impl DocumentBuf {
    /// A document without fields.
    pub fn new() -> Self {
        Self { bytes: Document::EMPTY.as_bytes().to_vec() }
    }

    /// With room for a document of so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.max(5));
        buffer.extend_from_slice(Document::EMPTY.as_bytes());
        Self { bytes: buffer }
    }

    /// Adds a field at the end. A name cannot hold a zero character in BSON: it is written as U+FFFD.
    pub fn append(&mut self, name: &str, value: impl AsValue) -> &mut Self {
        self.bytes.pop();
        write_element(&mut self.bytes, name, value.as_value());
        self.close()
    }

    /// As [`append`](Self::append), for building in one expression.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsValue) -> Self {
        self.append(name, value);
        self
    }

    /// Adds elements as they lie in another document.
    pub(crate) fn append_raw(&mut self, elements: &[u8]) -> &mut Self {
        self.bytes.pop();
        self.bytes.extend_from_slice(elements);
        self.close()
    }

    fn close(&mut self) -> &mut Self {
        self.bytes.push(0);
        write_length(&mut self.bytes, 0);
        self
    }

    /// The document so far.
    pub fn as_document(&self) -> Document<'_> {
        Document::new(&self.bytes)
    }

    /// The bytes of the document so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Default for DocumentBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Document<'_>> for DocumentBuf {
    fn from(document: Document<'_>) -> Self {
        Self { bytes: document.as_bytes().to_vec() }
    }
}

impl fmt::Debug for DocumentBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_document().fmt(f)
    }
}

/// A BSON array being built.
#[derive(Clone, Default, PartialEq)]
pub struct ArrayBuf {
    document: DocumentBuf,
    count: usize,
}

impl ArrayBuf {
    /// An array without elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an element at the end.
    pub fn push(&mut self, value: impl AsValue) -> &mut Self {
        self.document.append(&self.count.to_string(), value);
        self.count += 1;
        self
    }

    /// As [`push`](Self::push), for building in one expression.
    #[must_use]
    pub fn with(mut self, value: impl AsValue) -> Self {
        self.push(value);
        self
    }

    /// The array so far.
    pub fn as_array(&self) -> Array<'_> {
        Array::new(self.document.as_bytes())
    }
}

impl<T: AsValue> FromIterator<T> for ArrayBuf {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        values.into_iter().fold(Self::new(), Self::with)
    }
}

impl fmt::Debug for ArrayBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_array().fmt(f)
    }
}

/// Writes the length of everything from `start` on into the four bytes at `start`.
pub(super) fn write_length(out: &mut [u8], start: usize) {
    // A document nears 2 GiB only after the host has long refused it for its size.
    let length = i32::try_from(out.len().saturating_sub(start)).unwrap_or(i32::MAX);
    if let Some(place) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *place = length.to_le_bytes();
    }
}

/// Writes one element: type, name, value.
pub(super) fn write_element(out: &mut Vec<u8>, name: &str, value: Value<'_>) {
    out.push(value.tag());
    write_zero_terminated(out, name);
    match value {
        Value::Double(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::String(text) | Value::JavaScript(text) | Value::Symbol(text) => write_string(out, text),
        Value::Document(document) => out.extend_from_slice(document.as_bytes()),
        Value::Array(array) => out.extend_from_slice(array.as_bytes()),
        Value::Binary { subtype, bytes } => {
            out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_le_bytes());
            out.push(subtype);
            out.extend_from_slice(bytes);
        }
        Value::Undefined | Value::Null | Value::MinKey | Value::MaxKey => {}
        Value::ObjectId(id) => out.extend_from_slice(&id.0),
        Value::Bool(value) => out.push(u8::from(value)),
        Value::DateTime(date) => out.extend_from_slice(&date.0.to_le_bytes()),
        Value::Regex { pattern, options } => {
            write_zero_terminated(out, pattern);
            write_zero_terminated(out, options);
        }
        Value::DbPointer { namespace, id } => {
            write_string(out, namespace);
            out.extend_from_slice(&id.0);
        }
        Value::CodeWithScope { code, scope } => {
            let start = out.len();
            out.extend_from_slice(&[0; 4]);
            write_string(out, code);
            out.extend_from_slice(scope.as_bytes());
            write_length(out, start);
        }
        Value::Int32(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Timestamp { time, increment } => {
            out.extend_from_slice(&increment.to_le_bytes());
            out.extend_from_slice(&time.to_le_bytes());
        }
        Value::Int64(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Decimal128(bytes) => out.extend_from_slice(&bytes),
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&i32::try_from(text.len() + 1).unwrap_or(i32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

fn write_zero_terminated(out: &mut Vec<u8>, text: &str) {
    if text.as_bytes().contains(&0) {
        out.extend_from_slice(text.replace('\0', "\u{fffd}").as_bytes());
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(0);
}
