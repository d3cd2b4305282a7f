//! The envelope of Debezium's connector for MongoDB, as its JSON converter writes it without schemas.
//!
//! `before`, `after` and `updatedFields` are JSON inside a text, as Debezium has them: documents in Extended JSON v1 strict, updated
//! fields in Extended JSON v2 relaxed.

use super::{
    elements::{Elements, Malformed, kind},
    json::{Style, write_document, write_element, write_member, write_number, write_str, write_text},
};
use crate::change::{Change, Doc, Operation};

/// How documents are written inside the envelope.
pub(super) const STYLE: Style = Style::Legacy;

pub(super) struct Debezium {
    /// What all sources have in common, as JSON: `"version":..,"connector":..,"name":..`.
    about: Vec<u8>,
    /// A document as JSON, before it becomes a text.
    inner: Vec<u8>,
}

impl Debezium {
    pub(super) fn new(pipeline: &str, version: &str) -> Self {
        let mut about = b"\"version\":".to_vec();
        write_str(&mut about, version);
        write_member(&mut about, "connector");
        write_str(&mut about, "mongodb");
        write_member(&mut about, "name");
        write_str(&mut about, pipeline);
        Self { about, inner: Vec::new() }
    }

    /// `{"id":"..."}`: the document's id as relaxed Extended JSON inside a text.
    pub(super) fn write_key(&mut self, out: &mut Vec<u8>, key: &Doc) -> Result<(), Malformed> {
        self.inner.clear();
        match Elements::of(key.as_bytes())?.find(b"_id")? {
            Some(id) => write_element(&mut self.inner, &id, Style::Relaxed)?,
            None => write_document(&mut self.inner, key.as_bytes(), Style::Relaxed)?,
        }
        out.extend_from_slice(b"{\"id\":");
        write_text(out, &self.inner)?;
        out.push(b'}');
        Ok(())
    }

    /// The whole envelope; `now` is when the change is written, in milliseconds since 1970.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, change: &Change, now: i64) -> Result<(), Malformed> {
        out.extend_from_slice(b"{\"before\":");
        self.document(out, change.before.as_ref())?;
        write_member(out, "after");
        // A delete has no state after it, whatever a stage gave it.
        let after = change.document.as_ref().filter(|_| change.operation != Operation::Delete);
        self.document(out, after)?;
        write_member(out, "updateDescription");
        match &change.update {
            Some(update) if change.operation == Operation::Update => self.description(out, update)?,
            _ => out.extend_from_slice(b"null"),
        }
        self.source(out, change);
        write_member(out, "op");
        write_str(out, code(change.operation));
        times(out, now);
        write_member(out, "transaction");
        out.extend_from_slice(b"null}");
        Ok(())
    }

    fn document(&mut self, out: &mut Vec<u8>, document: Option<&Doc>) -> Result<(), Malformed> {
        match document {
            Some(document) => self.quoted(out, document.as_bytes(), STYLE),
            None => {
                out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }

    fn quoted(&mut self, out: &mut Vec<u8>, document: &[u8], style: Style) -> Result<(), Malformed> {
        self.inner.clear();
        write_document(&mut self.inner, document, style)?;
        write_text(out, &self.inner)
    }

    fn description(&mut self, out: &mut Vec<u8>, update: &Doc) -> Result<(), Malformed> {
        let find = |name: &str, kind: u8| {
            let found = Elements::of(update.as_bytes()).and_then(|elements| elements.find(name.as_bytes()));
            found.map(|element| element.filter(|element| element.kind == kind))
        };
        out.extend_from_slice(b"{\"removedFields\":");
        match find("removedFields", kind::ARRAY)? {
            Some(fields) if Elements::of(fields.value)?.next().is_some() => write_element(out, &fields, STYLE)?,
            _ => out.extend_from_slice(b"null"),
        }
        write_member(out, "updatedFields");
        match find("updatedFields", kind::DOCUMENT)? {
            Some(fields) => self.quoted(out, fields.value, Style::Relaxed)?,
            None => out.extend_from_slice(b"null"),
        }
        write_member(out, "truncatedArrays");
        let mut first = true;
        if let Some(arrays) = find("truncatedArrays", kind::ARRAY)? {
            for array in Elements::of(arrays.value)? {
                out.push(if first { b'[' } else { b',' });
                first = false;
                truncated(out, array?.value)?;
            }
        }
        out.extend_from_slice(if first { b"null}" } else { b"]}" });
        Ok(())
    }

    fn source(&self, out: &mut Vec<u8>, change: &Change) {
        write_member(out, "source");
        out.push(b'{');
        out.extend_from_slice(&self.about);
        // The time of the change to the second, as a cluster has it; `wallTime` has the milliseconds.
        let (seconds, counter) = match change.cluster_time {
            Some(time) => (i64::try_from(time >> 32).unwrap_or(0), time as u32),
            None => (change.wall_time.map_or(0, |millis| millis.div_euclid(1000)), 0),
        };
        times(out, seconds.saturating_mul(1000));
        write_member(out, "snapshot");
        write_str(out, if change.operation == Operation::Read { "true" } else { "false" });
        write_member(out, "db");
        write_str(out, change.namespace.database());
        write_member(out, "sequence");
        out.extend_from_slice(b"null");
        write_member(out, "collection");
        write_str(out, change.namespace.collection());
        write_member(out, "ord");
        write_number(out, counter);
        for name in ["lsid", "txnNumber"] {
            write_member(out, name);
            out.extend_from_slice(b"null");
        }
        write_member(out, "wallTime");
        match change.wall_time {
            Some(millis) => write_number(out, millis),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
}

/// An array that was cut to a length: MongoDB says `newSize`, Debezium `size`.
fn truncated(out: &mut Vec<u8>, array: &[u8]) -> Result<(), Malformed> {
    out.extend_from_slice(b"{\"field\":");
    match Elements::of(array)?.find(b"field")? {
        Some(field) => write_element(out, &field, STYLE)?,
        None => out.extend_from_slice(b"null"),
    }
    write_member(out, "size");
    match Elements::of(array)?.find(b"newSize")? {
        Some(size) => write_element(out, &size, Style::Relaxed)?,
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    Ok(())
}

/// A time in milliseconds, and as Debezium has it since 2.5 in microseconds and nanoseconds too.
fn times(out: &mut Vec<u8>, millis: i64) {
    for (name, factor) in [("ts_ms", 1), ("ts_us", 1000), ("ts_ns", 1_000_000)] {
        write_member(out, name);
        write_number(out, millis.saturating_mul(factor));
    }
}

const fn code(operation: Operation) -> &'static str {
    match operation {
        Operation::Insert => "c",
        Operation::Delete => "d",
        Operation::Read => "r",
        // A replacement is an update without a description, as in Debezium; changes of collections are not written at all.
        _ => "u",
    }
}
