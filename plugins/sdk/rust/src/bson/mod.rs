//! BSON read and written in place.
//!
//! A plugin looks at a few fields of a document and changes fewer, so nothing here builds a tree: a [`Document`] is a
//! borrowed slice of bytes, checked where it is looked at, and a [`DocumentEditor`] copies everything it was not asked
//! to change byte for byte. No input makes any of it panic; malformed bytes are an [`Error`], or `None` where a lookup
//! asks for one field.

mod datetime;
mod document;
mod edit;
mod error;
mod value;
mod write;

pub use datetime::{DateTime, InvalidDateTime};
pub use document::{Array, Document, Elements};
pub use edit::DocumentEditor;
pub use error::Error;
pub use value::{ObjectId, Value};
pub use write::{ArrayBuf, AsValue, DocumentBuf};

#[cfg(test)]
mod tests;
