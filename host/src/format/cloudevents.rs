//! CloudEvents 1.0 in their JSON format, structured mode: one JSON object with the attributes and, under `data`, the change in plain
//! JSON.

use std::ops::Range;

use super::{
    elements::Malformed,
    json::{Style, write_document, write_member, write_number, write_str},
    time::write_iso8601,
};
use crate::{batch::Delivery, change::Change, escape::percent_into};

/// How documents are written inside the event.
pub(super) const STYLE: Style = Style::Plain;

/// Names that headers cannot have as attributes: those of the specification, and the members of its JSON format.
const TAKEN: [&str; 10] =
    ["id", "source", "specversion", "type", "datacontenttype", "dataschema", "subject", "time", "data", "partitionkey"];

/// Times of years with four digits, which are all that RFC 3339 knows, in milliseconds since 1970.
const FOUR_DIGITS: Range<i64> = -62_167_219_200_000..253_402_300_800_000;

pub(super) struct CloudEvents {
    /// `/tidegate/PIPELINE/`, escaped for a URI.
    source: String,
    /// The source of one change.
    uri: String,
    /// Attributes of the event under way, each with a comma on both sides.
    names: String,
}

impl CloudEvents {
    pub(super) fn new(pipeline: &str) -> Self {
        let mut source = String::from("/tidegate/");
        percent_into(&mut source, pipeline);
        source.push('/');
        Self { source, uri: String::new(), names: String::new() }
    }

    /// The whole event.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, delivery: &Delivery<'_>) -> Result<(), Malformed> {
        let change = delivery.change;
        out.extend_from_slice(br#"{"specversion":"1.0","id":"#);
        write_str(out, &change.id);
        self.uri.clear();
        self.uri.push_str(&self.source);
        percent_into(&mut self.uri, change.namespace.database());
        if !change.namespace.collection().is_empty() {
            self.uri.push('/');
            percent_into(&mut self.uri, change.namespace.collection());
        }
        write_member(out, "source");
        write_str(out, &self.uri);
        write_member(out, "type");
        out.extend_from_slice(b"\"io.github.tidegate.");
        out.extend_from_slice(change.operation.as_str().as_bytes());
        out.push(b'"');
        let subject = change.document_id();
        if !subject.is_empty() {
            write_member(out, "subject");
            write_str(out, &subject);
        }
        if let Some(millis) = change.happened_at().filter(|millis| FOUR_DIGITS.contains(millis)) {
            write_member(out, "time");
            write_time(out, millis);
        }
        if let Some(key) = delivery.destination.and_then(|destination| destination.ordering_key.as_deref())
            && !key.is_empty()
        {
            write_member(out, "partitionkey");
            write_str(out, key);
        }
        self.names.clear();
        self.names.push(',');
        for (name, value) in delivery.headers() {
            let name = self.attribute(name);
            write_member(out, &name);
            write_str(out, value);
        }
        write_member(out, "datacontenttype");
        write_str(out, "application/json");
        write_member(out, "data");
        write_data(out, change)
    }

    /// The name of a header as the specification allows it: lower-case letters and digits, a letter first, each name once.
    fn attribute(&mut self, header: &str) -> String {
        let mut name: String =
            header.chars().map(|c| c.to_ascii_lowercase()).filter(char::is_ascii_alphanumeric).collect();
        if TAKEN.contains(&name.as_str()) || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            name.insert(0, 'x');
        }
        let (length, mut count) = (name.len(), 1);
        while self.names.contains(&format!(",{name},")) {
            count += 1;
            name.truncate(length);
            name.push_str(itoa::Buffer::new().format(count));
        }
        self.names.push_str(&name);
        self.names.push(',');
        name
    }
}

fn write_data(out: &mut Vec<u8>, change: &Change) -> Result<(), Malformed> {
    out.extend_from_slice(b"{\"op\":");
    write_str(out, change.operation.as_str());
    write_member(out, "ns");
    write_str(out, change.namespace.as_str());
    for (name, document) in
        [("key", &change.key), ("doc", &change.document), ("before", &change.before), ("update", &change.update)]
    {
        if let Some(document) = document {
            write_member(out, name);
            write_document(out, document.as_bytes(), STYLE)?;
        }
    }
    if let Some(time) = change.cluster_time {
        write_member(out, "cluster_time");
        out.extend_from_slice(b"{\"t\":");
        write_number(out, time >> 32);
        write_member(out, "i");
        write_number(out, time as u32);
        out.push(b'}');
    }
    if let Some(millis) = change.wall_time {
        write_member(out, "wall_time");
        write_time(out, millis);
    }
    out.extend_from_slice(b"}}");
    Ok(())
}

fn write_time(out: &mut Vec<u8>, millis: i64) {
    out.push(b'"');
    write_iso8601(out, millis, true);
    out.push(b'"');
}
