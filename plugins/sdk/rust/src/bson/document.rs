use std::fmt;

use super::{Error, Value, value};

/// A BSON document, borrowed. Elements are checked when they are looked at.
#[derive(Clone, Copy, PartialEq)]
pub struct Document<'a> {
    bytes: &'a [u8],
}

/// A BSON array, borrowed.
#[derive(Clone, Copy, PartialEq)]
pub struct Array<'a> {
    document: Document<'a>,
}

/// One element as it lies in the document.
#[derive(Clone, Copy)]
pub(crate) struct RawElement<'a> {
    pub tag: u8,
    pub name: &'a [u8],
    pub value: &'a [u8],
    /// Offset of the element, its tag included.
    pub start: usize,
    /// Offset of the byte after it.
    pub end: usize,
}

impl<'a> RawElement<'a> {
    pub fn name(&self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.name).map_err(|_| Error::new("a field name that is no UTF-8", self.start + 1))
    }

    pub fn decode(&self) -> Result<Value<'a>, Error> {
        value::decode(self.tag, self.value, self.end - self.value.len())
    }
}

/// The elements before they are decoded. Ends after the first error.
#[derive(Clone)]
pub(crate) struct RawElements<'a> {
    bytes: &'a [u8],
    at: usize,
    done: bool,
}

impl<'a> RawElements<'a> {
    #[inline]
    fn read(&mut self) -> Result<Option<RawElement<'a>>, Error> {
        let start = self.at;
        let error = |what| Error::new(what, start);
        if start == 0 {
            return Err(error("a document longer or shorter than it says"));
        }
        let (&tag, rest) =
            self.bytes.get(start..).and_then(<[u8]>::split_first).ok_or(error("no closing zero byte"))?;
        if tag == 0 {
            return if rest.is_empty() { Ok(None) } else { Err(error("bytes after the closing zero byte")) };
        }
        let length = rest.iter().position(|&byte| byte == 0).ok_or(error("a field name without its zero byte"))?;
        let (name, rest) = rest.split_at(length);
        let after_name = start + 1 + length + 1;
        // The zero byte of the name is there: `position` found it.
        let rest = rest.get(1..).unwrap_or_default();
        let size = value::size(tag, rest).map_err(|what| Error::new(what, after_name))?;
        let value = rest.get(..size).ok_or(Error::new("a value longer than its document", after_name))?;
        self.at = after_name + size;
        Ok(Some(RawElement { tag, name, value, start, end: self.at }))
    }
}

impl<'a> Iterator for RawElements<'a> {
    type Item = Result<RawElement<'a>, Error>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let read = self.read().transpose();
        self.done = !matches!(read, Some(Ok(_)));
        read
    }
}

impl<'a> Document<'a> {
    /// A document without fields.
    pub const EMPTY: Document<'static> = Document { bytes: &[5, 0, 0, 0, 0] };

    /// Takes the bytes as they are: what is malformed shows when it is looked at.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The document's bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Reads everything in the document, nested documents too.
    ///
    /// # Errors
    /// The first thing found that is no BSON. Documents nested deeper than 200 levels are refused as well.
    pub fn check(&self) -> Result<(), Error> {
        self.check_depth(200)
    }

    fn check_depth(&self, depth: u8) -> Result<(), Error> {
        let deeper = depth.checked_sub(1).ok_or(Error::new("documents nested too deeply", 0))?;
        for element in self.elements() {
            match element?.1 {
                Value::Document(inner) | Value::CodeWithScope { scope: inner, .. } => inner.check_depth(deeper)?,
                Value::Array(inner) => inner.document.check_depth(deeper)?,
                _ => {}
            }
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn raw_elements(&self) -> RawElements<'a> {
        RawElements { bytes: self.bytes, at: 0, done: false }.start()
    }

    /// Its fields in the order they have. Iteration ends after the first error.
    pub fn elements(&self) -> Elements<'a> {
        Elements { raw: self.raw_elements() }
    }

    /// Whether it has no field.
    pub fn is_empty(&self) -> bool {
        self.raw_elements().next().is_none()
    }

    /// The value of a field; `None` where there is no such field, or the bytes up to it are malformed.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        for element in self.raw_elements() {
            let element = element.ok()?;
            if element.name == name.as_bytes() {
                return element.decode().ok();
            }
        }
        None
    }

    /// The value at a path such as `address.lines.0`; a number counts the elements of an array.
    pub fn get_path(&self, path: &str) -> Option<Value<'a>> {
        let mut names = path.split('.');
        let mut value = self.get(names.next()?)?;
        for name in names {
            value = match value {
                Value::Document(document) => document.get(name)?,
                Value::Array(array) => array.get(name.parse().ok()?)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// Several fields in one pass over the document. A field that occurs twice has its first value.
    ///
    /// It is fastest when the names are asked for in the order the documents have them.
    pub fn fields<const N: usize>(&self, names: [&str; N]) -> [Option<Value<'a>>; N] {
        // What is malformed ends the pass: the fields before it are there.
        self.fields_by(|index| names.get(index).copied().unwrap_or_default()).0
    }

    /// As [`fields`](Self::fields), the names by index, with the error that ended the pass early.
    #[inline]
    pub(crate) fn fields_by<'n, const N: usize>(
        &self,
        name: impl Fn(usize) -> &'n str,
    ) -> ([Option<Value<'a>>; N], Result<(), Error>) {
        let mut values = [None; N];
        let mut missing = N;
        let mut next = 0;
        for element in self.raw_elements() {
            if missing == 0 {
                break;
            }
            let element = match element {
                Ok(element) => element,
                Err(error) => return (values, Err(error)),
            };
            // The name after the one found last comes first: documents of one kind mostly have one order.
            let found = (next..N).chain(0..next).find(|&index| name(index).as_bytes() == element.name);
            let Some((index, slot)) = found.and_then(|index| Some((index, values.get_mut(index)?))) else { continue };
            if slot.is_none() {
                match element.decode() {
                    Ok(value) => *slot = Some(value),
                    Err(error) => return (values, Err(error)),
                }
                missing -= 1;
            }
            next = index + 1;
        }
        (values, Ok(()))
    }
}

impl RawElements<'_> {
    /// Goes past the length in front of the elements. A wrong one is not passed: reading at 0 is an error.
    fn start(mut self) -> Self {
        let stated = self.bytes.first_chunk().map(|length| i32::from_le_bytes(*length));
        if stated.and_then(|length| usize::try_from(length).ok()) == Some(self.bytes.len()) {
            self.at = 4;
        }
        self
    }
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for element in self.elements() {
            match element {
                Ok((name, value)) => map.entry(&name, &value),
                Err(error) => map.entry(&"!", &format_args!("{error}")),
            };
        }
        map.finish()
    }
}

/// The fields of a document, from [`Document::elements`].
#[derive(Clone)]
pub struct Elements<'a> {
    raw: RawElements<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<(&'a str, Value<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.raw.next()?.and_then(|element| Ok((element.name()?, element.decode()?)));
        self.raw.done |= read.is_err();
        Some(read)
    }
}

impl<'a> Array<'a> {
    /// Takes the bytes of an array (a document whose field names do not matter) as they are.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { document: Document::new(bytes) }
    }

    /// The array's bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.document.bytes
    }

    /// Its elements. Iteration ends after the first error.
    pub fn values(&self) -> impl Iterator<Item = Result<Value<'a>, Error>> + use<'a> {
        self.document.elements().map(|element| element.map(|(_, value)| value))
    }

    /// The element at a position, counted from 0.
    pub fn get(&self, index: usize) -> Option<Value<'a>> {
        self.document.raw_elements().nth(index)?.ok()?.decode().ok()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.document.is_empty()
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values().map(|value| value.unwrap_or(Value::Undefined))).finish()
    }
}
