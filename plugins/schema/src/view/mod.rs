//! A BSON document as JSON Schema sees it, without making JSON of it.
//!
//! The document is read once into a flat list of its values, in their order, each with the place of the next one beside it. The
//! validator then walks that list: no text is copied and nothing is looked up in the bytes again.
//!
//! A value is what plain JSON makes of it (`docs/formats.md`), but for numbers: a Decimal128 is a number, and its own type is asked
//! for with the keyword `bsonType`.

mod decimal;
mod node;
mod number;
mod text;

pub(crate) use decimal::{decimal_from_text, decimal_text};
pub(crate) use node::Bson;
pub(crate) use text::text;

use tidegate_plugin::bson::{Document, Value};

/// Documents nested deeper than MongoDB allows are not read.
const DEEPEST: u32 = 200;

/// One value of a document.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Value<'a>,
    /// Index of the first entry that is not within this value.
    next: u32,
    /// Fields or elements of this value.
    count: u32,
}

/// A value in its document.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    entries: &'a [Entry<'a>],
    at: u32,
}

/// Room for the entries of a document, used again for the next.
#[derive(Default)]
pub(crate) struct Shelf(Vec<Entry<'static>>);

impl Shelf {
    /// Reads a document and looks at it.
    ///
    /// # Errors
    /// When it is no BSON, or nested too deeply.
    pub(crate) fn read<T>(&mut self, document: Document<'_>, look: impl FnOnce(Node<'_>) -> T) -> Result<T, String> {
        let mut entries = emptied(std::mem::take(&mut self.0));
        let read = push(&mut entries, "", Value::Document(document), 0);
        let result = read.map(|()| look(Node { entries: &entries, at: 0 }));
        self.0 = emptied(entries);
        result
    }
}

/// The same room for entries of another document: collecting in place keeps the allocation.
#[allow(clippy::unnecessary_filter_map, reason = "a filter would keep the lifetime of what was in it")]
fn emptied<'a>(mut entries: Vec<Entry<'_>>) -> Vec<Entry<'a>> {
    entries.clear();
    entries.into_iter().filter_map(|_| None).collect()
}

fn push<'a>(entries: &mut Vec<Entry<'a>>, name: &'a str, value: Value<'a>, depth: u32) -> Result<(), String> {
    let at = entries.len();
    entries.push(Entry { name, value, next: 0, count: 0 });
    let mut count = 0;
    match value {
        Value::Document(document) if depth < DEEPEST => {
            for element in document.elements() {
                let (name, value) = element.map_err(|error| error.to_string())?;
                push(entries, name, value, depth + 1)?;
                count += 1;
            }
        }
        Value::Array(array) if depth < DEEPEST => {
            for value in array.values() {
                push(entries, "", value.map_err(|error| error.to_string())?, depth + 1)?;
                count += 1;
            }
        }
        Value::Document(_) | Value::Array(_) => return Err(format!("is nested too deeply, beyond {DEEPEST} levels")),
        Value::Timestamp { time, increment } => {
            push(entries, "t", Value::Int64(i64::from(time)), depth + 1)?;
            push(entries, "i", Value::Int64(i64::from(increment)), depth + 1)?;
            count = 2;
        }
        _ => {}
    }
    let next = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    if let Some(entry) = entries.get_mut(at) {
        (entry.next, entry.count) = (next, count);
    }
    Ok(())
}

impl<'a> Node<'a> {
    /// The value.
    pub(crate) fn value(self) -> Value<'a> {
        self.entries.get(self.at as usize).map_or(Value::Undefined, |entry| entry.value)
    }

    /// Fields of a document, elements of an array, with their names; those of an array have none.
    pub(crate) fn children(self) -> Children<'a> {
        let end = self.entries.get(self.at as usize).map_or(0, |entry| entry.next);
        Children { entries: self.entries, at: self.at + 1, end }
    }

    fn count(self) -> usize {
        self.entries.get(self.at as usize).map_or(0, |entry| entry.count as usize)
    }

    /// The value at the end of a JSON pointer.
    pub(crate) fn at_pointer(self, pointer: &str) -> Option<Node<'a>> {
        pointer.split('/').skip(1).try_fold(self, |node, part| {
            let mut children = node.children();
            match node.value() {
                Value::Array(_) => children.nth(part.parse().ok()?).map(|(_, child)| child),
                _ => {
                    let name = part.replace("~1", "/").replace("~0", "~");
                    children.find(|(child, _)| *child == name).map(|(_, child)| child)
                }
            }
        })
    }
}

/// See [`Node::children`].
pub(crate) struct Children<'a> {
    entries: &'a [Entry<'a>],
    at: u32,
    end: u32,
}

impl<'a> Iterator for Children<'a> {
    type Item = (&'a str, Node<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let entry = self.entries.get(self.at as usize)?;
        let node = Node { entries: self.entries, at: self.at };
        self.at = entry.next;
        Some((entry.name, node))
    }
}
