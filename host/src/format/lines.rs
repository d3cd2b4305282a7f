//! JSON Lines of changes: one change a line, with nothing lost on the way back in.
//!
//! ```json
//! {"id":"...","op":"update","ns":"shop.inventory","key":{...},"doc":{...},"before":{...},"update":{...},
//!  "cluster_time":{"$timestamp":{"t":1,"i":2}},"wall_time":"2026-01-31T12:00:00.000Z","headers":{"name":"value"},
//!  "target":"...","ordering_key":"..."}
//! ```
//! `key`, `doc`, `before` and `update` are MongoDB canonical Extended JSON v2; `wall_time` is ISO 8601 in UTC (or a
//! `$date` in Extended JSON). Members without a value are left out. `target` and `ordering_key` stand there when a router
//! spoke; they are read over, since the pipeline that reads the line routes anew.
//!
//! A document whose bytes cannot be written as JSON (malformed, or with text that is not UTF-8) is written as
//! `{"$bson":"base64 of the bytes"}` and read back as it was.
//!
//! Reading asks for `op`, `ns` and, for all but deletes and changes of collections, `doc`. A missing `key` is taken from the `_id` of the document, a
//! missing `id` from the place of the line. Documents may be plain JSON too: numbers become Int32, Int64 or Double. A dead
//! letter holds its change under `change`, and is read as that change.

use std::{fmt, sync::Arc};

use base64::Engine as _;
use bson::{Bson, Document, RawDocumentBuf};
use bytes::Bytes;
use bytestring::ByteString;
use serde_json::{Map, Value};

use super::{
    json::{Style, write_base64, write_document, write_member, write_str},
    time::write_iso8601,
};
use crate::{
    batch::Delivery,
    change::{Change, Doc, Header, Headers, Namespace, Operation},
};

/// Member that holds the bytes of a document that cannot be written as JSON.
const BYTES: &str = "$bson";
const MEMBERS: [&str; 12] = [
    "id",
    "op",
    "ns",
    "key",
    "doc",
    "before",
    "update",
    "cluster_time",
    "wall_time",
    "headers",
    "target",
    "ordering_key",
];
const DEAD_LETTER_MEMBERS: [&str; 14] = [
    "at",
    "kind",
    "reason",
    "pipeline",
    "stage",
    "plugin",
    "generation",
    "plugin_version",
    "plugin_digest",
    "violations",
    "change",
    "original",
    "raw",
    "id",
];

/// Writes a change as a JSON object, without a line end.
pub fn write_change(out: &mut Vec<u8>, change: &Change) {
    write(out, change, None);
}

/// Writes a delivery as a line: the change, the headers of this delivery over its own, and where the router sent it.
pub fn write_delivery(out: &mut Vec<u8>, delivery: &Delivery<'_>) {
    write(out, delivery.change, Some(delivery));
    out.push(b'\n');
}

/// The beginning of the object of a change, which is left open: `id`, `op` and `ns`.
pub(crate) fn write_head(out: &mut Vec<u8>, change: &Change) {
    out.extend_from_slice(b"{\"id\":");
    write_str(out, &change.id);
    write_member(out, "op");
    write_str(out, change.operation.as_str());
    write_member(out, "ns");
    write_str(out, change.namespace.as_str());
}

fn write(out: &mut Vec<u8>, change: &Change, delivery: Option<&Delivery<'_>>) {
    write_head(out, change);
    for (name, document) in
        [("key", &change.key), ("doc", &change.document), ("before", &change.before), ("update", &change.update)]
    {
        if let Some(document) = document {
            write_member(out, name);
            write_lossless(out, document);
        }
    }
    if let Some(time) = change.cluster_time {
        write_member(out, "cluster_time");
        out.extend_from_slice(b"{\"$timestamp\":{\"t\":");
        out.extend_from_slice(itoa::Buffer::new().format(time >> 32).as_bytes());
        out.extend_from_slice(b",\"i\":");
        out.extend_from_slice(itoa::Buffer::new().format(time & 0xFFFF_FFFF).as_bytes());
        out.extend_from_slice(b"}}");
    }
    if let Some(millis) = change.wall_time {
        write_member(out, "wall_time");
        if (0..253_402_300_800_000).contains(&millis) {
            out.push(b'"');
            write_iso8601(out, millis, true);
            out.push(b'"');
        } else {
            out.extend_from_slice(b"{\"$date\":{\"$numberLong\":\"");
            out.extend_from_slice(itoa::Buffer::new().format(millis).as_bytes());
            out.extend_from_slice(b"\"}}");
        }
    }
    match delivery {
        Some(delivery) => write_headers(out, delivery.headers()),
        None => write_headers(out, change.headers.iter().map(|header| (&*header.name, &*header.value))),
    }
    if let Some(destination) = delivery.and_then(|delivery| delivery.destination) {
        for (name, value) in [("target", &destination.target), ("ordering_key", &destination.ordering_key)] {
            if let Some(value) = value {
                write_member(out, name);
                write_str(out, value);
            }
        }
    }
    out.push(b'}');
}

/// The member `headers` of such an object; none where there are no headers.
pub(crate) fn write_headers<'a>(out: &mut Vec<u8>, headers: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut first = true;
    for (name, value) in headers {
        if first {
            write_member(out, "headers");
        }
        out.push(if first { b'{' } else { b',' });
        first = false;
        write_str(out, name);
        out.push(b':');
        write_str(out, value);
    }
    if !first {
        out.push(b'}');
    }
}

fn write_lossless(out: &mut Vec<u8>, document: &Doc) {
    if write_document(out, document.as_bytes(), Style::Canonical).is_err() {
        let before = out.len();
        out.extend_from_slice(b"{\"$bson\":\"");
        match write_base64(out, document.as_bytes()) {
            Ok(()) => out.extend_from_slice(b"\"}"),
            Err(_) => {
                out.truncate(before);
                out.extend_from_slice(b"null");
            }
        }
    }
}

/// Why a line is no change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoChange {
    /// Where in the line, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for NoChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.column, self.reason)
    }
}

impl std::error::Error for NoChange {}

/// Reads one line. `place` is where it stands (`FILE:LINE`): the id of a change that has none of its own.
///
/// # Errors
/// When it is no change, with the column and the reason.
pub fn read_change(line: &[u8], place: &str) -> Result<Change, NoChange> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|cause| NoChange { column: cause.column().max(1), reason: without_place(&cause.to_string()) })?;
    let reader = Reader { line, as_written: false };
    let Value::Object(mut members) = value else {
        return Err(reader.at(None, "a change is a JSON object with `op`, `ns` and `doc`"));
    };
    if let Some(change) = members.remove("change") {
        reader.check_names(&members, &DEAD_LETTER_MEMBERS, "a dead letter")?;
        let Value::Object(change) = change else {
            return Err(reader.at(Some("change"), "`change` of a dead letter is a JSON object"));
        };
        return reader.change(change, place);
    }
    if members.contains_key("raw") && members.contains_key("reason") {
        return Err(
            reader.at(Some("raw"), "this dead letter holds text that was no change; mend it and put it in as a change")
        );
    }
    reader.change(members, place)
}

/// Reads one line that is for a plugin, as [`read_change`]: plugins see changes of documents alone.
///
/// # Errors
/// As [`read_change`], and for a change of a collection or database.
pub fn read_document_change(line: &[u8], place: &str) -> Result<Change, NoChange> {
    let change = read_change(line, place)?;
    if change.operation.is_ddl() {
        let reason = format!("a `{}` is about a whole collection or database, and passes plugins by", change.operation);
        return Err(Reader { line, as_written: false }.at(Some("op"), reason));
    }
    Ok(change)
}

/// Reads a change out of a dead letter exactly as it was written: what is not there stays away, a key too.
pub(crate) fn read_kept(members: Map<String, Value>, place: &str) -> Result<Change, NoChange> {
    Reader { line: b"", as_written: true }.change(members, place)
}

/// serde_json appends ` at line 1 column 17`; the column is told once, by us.
fn without_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(what, _)| what).to_owned()
}

struct Reader<'a> {
    line: &'a [u8],
    /// Nothing is asked for and nothing is derived: a program wrote it.
    as_written: bool,
}

impl Reader<'_> {
    /// An error at a member, found by its name; a member that is not there is told at the start of the line.
    fn at(&self, name: Option<&str>, reason: impl Into<String>) -> NoChange {
        let column = name
            .and_then(|name| {
                let quoted = format!("\"{name}\"");
                self.line.windows(quoted.len()).position(|window| window == quoted.as_bytes())
            })
            .map_or(1, |offset| offset + 1);
        NoChange { column, reason: reason.into() }
    }

    fn check_names(&self, members: &Map<String, Value>, known: &[&str], what: &str) -> Result<(), NoChange> {
        let Some(name) = members.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
        let nearest = known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, name), known))
            .min()
            .filter(|(distance, known)| *distance <= known.len().max(3) / 2);
        Err(self.at(
            Some(name),
            match nearest {
                Some((_, nearest)) => format!("{what} has no member `{name}`; did you mean `{nearest}`?"),
                None => format!("{what} has no member `{name}`; it may have {}", list(known)),
            },
        ))
    }

    fn change(&self, mut members: Map<String, Value>, place: &str) -> Result<Change, NoChange> {
        self.check_names(&members, &MEMBERS, "a change")?;
        let operation = self.text(&members, "op")?.ok_or_else(|| self.at(None, "`op` is missing"))?;
        let operation = Operation::from_name(&operation).ok_or_else(|| {
            self.at(
                Some("op"),
                format!("`op` is one of {}, not `{operation}`", list(&Operation::ALL.map(Operation::as_str))),
            )
        })?;
        let namespace = self.text(&members, "ns")?.ok_or_else(|| self.at(None, "`ns` is missing"))?;
        let namespace = Namespace::parse_for(operation, &namespace).ok_or_else(|| {
            let form = if operation == Operation::DropDatabase { "`database`" } else { "`database.collection`" };
            self.at(Some("ns"), format!("`ns` is {form}, not `{namespace}`"))
        })?;
        let id = self.text(&members, "id")?.map_or_else(|| ByteString::from(place), ByteString::from);
        // The parts that a later run derives for itself are checked and dropped.
        self.text(&members, "target")?;
        self.text(&members, "ordering_key")?;
        let cluster_time = self.cluster_time(members.remove("cluster_time"))?;
        let wall_time = self.wall_time(members.remove("wall_time"))?;
        let headers = self.headers(members.remove("headers"))?;
        let document = self.document(&mut members, "doc")?;
        let before = self.document(&mut members, "before")?;
        let update = self.document(&mut members, "update")?;
        let key = match self.document(&mut members, "key")? {
            Some(key) => Some(key),
            None if self.as_written || operation.is_ddl() => None,
            None => document.as_ref().or(before.as_ref()).and_then(key_of),
        };
        // An update whose document was gone when it was looked up has none, and says what it was an update of.
        let described = update.is_some() || members_mean_lookup(operation, key.as_ref());
        let without = operation == Operation::Delete || operation.is_ddl();
        if document.is_none() && !without && !described && !self.as_written {
            return Err(self.at(None, format!("`doc` is missing, which every `{operation}` needs")));
        }
        Ok(Change {
            id,
            operation,
            namespace: Arc::new(namespace),
            key,
            document,
            before,
            update,
            cluster_time,
            wall_time,
            headers,
            position: None,
        })
    }

    fn text(&self, members: &Map<String, Value>, name: &str) -> Result<Option<String>, NoChange> {
        match members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.at(Some(name), format!("`{name}` is text"))),
        }
    }

    fn document(&self, members: &mut Map<String, Value>, name: &str) -> Result<Option<Doc>, NoChange> {
        let object = match members.remove(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(object)) => object,
            Some(_) => return Err(self.at(Some(name), format!("`{name}` is a JSON object"))),
        };
        let wrong = |cause: &dyn fmt::Display| self.at(Some(name), format!("`{name}` is no Extended JSON: {cause}"));
        if let (1, Some(Value::String(text))) = (object.len(), object.get(BYTES)) {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|cause| wrong(&cause))?;
            return Doc::from_bytes(Bytes::from(bytes)).map(Some).map_err(|cause| wrong(&cause));
        }
        let document = Document::try_from(object).map_err(|cause| wrong(&cause))?;
        let raw = RawDocumentBuf::try_from(&document).map_err(|cause| wrong(&cause))?;
        Ok(Some(Doc::from(raw)))
    }

    fn cluster_time(&self, value: Option<Value>) -> Result<Option<u64>, NoChange> {
        match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match Bson::try_from(value) {
                Ok(Bson::Timestamp(time)) => Ok(Some(u64::from(time.time) << 32 | u64::from(time.increment))),
                _ => {
                    Err(self.at(Some("cluster_time"), r#"`cluster_time` is {"$timestamp":{"t":SECONDS,"i":COUNTER}}"#))
                }
            },
        }
    }

    fn wall_time(&self, value: Option<Value>) -> Result<Option<i64>, NoChange> {
        let time = match value {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => bson::DateTime::parse_rfc3339_str(text).ok(),
            Some(value) => match Bson::try_from(value) {
                Ok(Bson::DateTime(time)) => Some(time),
                _ => None,
            },
        };
        let wrong = || self.at(Some("wall_time"), "`wall_time` is ISO 8601 text such as `2026-01-31T12:00:00.000Z`");
        time.map(|time| Some(time.timestamp_millis())).ok_or_else(wrong)
    }

    fn headers(&self, value: Option<Value>) -> Result<Headers, NoChange> {
        let wrong = || self.at(Some("headers"), "`headers` is a JSON object of texts");
        match value {
            None | Some(Value::Null) => Ok(Headers::default()),
            Some(Value::Object(headers)) => headers
                .into_iter()
                .map(|(name, value)| match value {
                    Value::String(value) => Ok(Header { name: name.into(), value: value.into() }),
                    _ => Err(wrong()),
                })
                .collect(),
            Some(_) => Err(wrong()),
        }
    }
}

/// An update read from a stream may have neither document (gone at the look-up) nor description; its key tells.
fn members_mean_lookup(operation: Operation, key: Option<&Doc>) -> bool {
    operation == Operation::Update && key.is_some()
}

fn key_of(document: &Doc) -> Option<Doc> {
    let id = document.as_raw().get("_id").ok().flatten()?;
    let mut key = RawDocumentBuf::new();
    key.append(bson::cstr!("_id"), id);
    Some(Doc::from(key))
}

fn list(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, [])) => format!("`{last}`"),
        Some((last, rest)) => {
            let rest: Vec<_> = rest.iter().map(|name| format!("`{name}`")).collect();
            format!("{} or `{last}`", rest.join(", "))
        }
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Binary, doc, oid::ObjectId, spec::BinarySubtype};

    use super::*;

    fn buf(document: &Document) -> Doc {
        Doc::from(RawDocumentBuf::try_from(document).unwrap())
    }

    fn full() -> Change {
        let id = ObjectId::new();
        Change {
            id: "0001-0002".into(),
            operation: Operation::Update,
            namespace: Arc::new(Namespace::new("shop", "stock.items")),
            key: Some(buf(&doc! { "_id": id, "region": 3_i64 })),
            document: Some(buf(&doc! {
                "_id": id, "n": 1_i32, "l": 1_i64, "d": 1.0, "when": bson::DateTime::from_millis(7),
                "b": Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2, 3] },
            })),
            before: Some(buf(&doc! { "_id": id })),
            update: Some(buf(&doc! { "updatedFields": { "n": 1 } })),
            cluster_time: Some((77 << 32) | 5),
            wall_time: Some(1_769_860_800_001),
            headers: [Header { name: "schema_version".into(), value: "v\"1".into() }].into_iter().collect(),
            position: None,
        }
    }

    fn line(change: &Change) -> Vec<u8> {
        let mut out = Vec::new();
        write_change(&mut out, change);
        out
    }

    #[test]
    fn a_change_comes_back_as_it_was() {
        let change = full();
        assert_eq!(read_change(&line(&change), "x:1").unwrap(), change);
        let bare = Change {
            operation: Operation::Delete,
            document: None,
            before: None,
            update: None,
            cluster_time: None,
            wall_time: Some(i64::MIN),
            headers: Headers::default(),
            position: None,
            ..change
        };
        assert_eq!(read_change(&line(&bare), "x:1").unwrap(), bare);
    }

    #[test]
    fn an_update_whose_document_is_gone_comes_back() {
        let change = Change { document: None, update: None, before: None, ..full() };
        assert_eq!(read_change(&line(&change), "x:1").unwrap(), change);
    }

    #[test]
    fn changes_of_collections_come_back() {
        for operation in Operation::ALL.into_iter().filter(|operation| operation.is_ddl()) {
            let collection = if operation == Operation::DropDatabase { "" } else { "stock.items" };
            // An `_id` in the description is no key of a document.
            let document = buf(&doc! { "_id": 1, "indexes": [{ "key": { "a": 1 }, "v": 2 }] });
            let namespace = Arc::new(Namespace::new("shop", collection));
            let change = Change {
                operation,
                namespace,
                key: None,
                document: Some(document),
                before: None,
                update: None,
                ..full()
            };
            assert_eq!(read_change(&line(&change), "x:1").unwrap(), change);
            let bare = Change { document: None, ..change };
            assert_eq!(read_change(&line(&bare), "x:1").unwrap(), bare);
        }
        let reason = read_change(br#"{"op":"drop_database","ns":"a.b"}"#, "x:1").unwrap_err().to_string();
        assert_eq!(reason, "23: `ns` is `database`, not `a.b`");
        let reason = read_document_change(br#"{"op":"drop","ns":"a.b"}"#, "x:1").unwrap_err().to_string();
        assert_eq!(reason, "2: a `drop` is about a whole collection or database, and passes plugins by");
    }

    #[test]
    fn a_document_that_is_no_json_comes_back() {
        let mut bytes = doc! { "_id": 1, "text": "aé" }.to_vec().unwrap();
        let at = bytes.iter().position(|byte| *byte == 0xC3).unwrap();
        bytes[at] = 0xFF;
        let change = Change { document: Some(Doc::from_bytes(bytes.into()).unwrap()), ..full() };
        let text = line(&change);
        assert!(String::from_utf8(text.clone()).unwrap().contains(r#""doc":{"$bson":"#));
        assert_eq!(read_change(&text, "x:1").unwrap(), change);
    }

    #[test]
    fn a_hand_written_line_needs_three_members() {
        let change =
            read_change(br#"{"op":"insert","ns":"shop.a","doc":{"_id":7,"big":5000000000,"f":1.5}}"#, "in.jsonl:3")
                .unwrap();
        assert_eq!(change.id, "in.jsonl:3");
        assert_eq!(change.key, Some(buf(&doc! { "_id": 7 })));
        assert_eq!(change.document, Some(buf(&doc! { "_id": 7, "big": 5_000_000_000_i64, "f": 1.5 })));
        let delete = read_change(br#"{"op":"delete","ns":"shop.a","key":{"_id":7}}"#, "x:1").unwrap();
        assert_eq!((delete.operation, delete.document), (Operation::Delete, None));
    }

    #[test]
    fn a_dead_letter_is_read_as_its_change() {
        let change = full();
        let mut text =
            br#"{"at":"now","reason":"r","stage":1,"plugin":"p","generation":2,"violations":[],"change":"#.to_vec();
        write_change(&mut text, &change);
        text.push(b'}');
        assert_eq!(read_change(&text, "x:1").unwrap(), change);
    }

    #[test]
    fn errors_name_the_place_and_the_way_out() {
        let reason = |line: &str| read_change(line.as_bytes(), "x:1").unwrap_err().to_string();
        for (line, expected) in [
            ("{\"op\":}", "7: expected value"),
            ("[1]", "1: a change is a JSON object with `op`, `ns` and `doc`"),
            (r#"{"op":"insert","namespace":"a.b"}"#, "16: a change has no member `namespace`"),
            (r#"{"op":"insert","ns":"a.b","docs":{}}"#, "27: a change has no member `docs`; did you mean `doc`?"),
            (r#"{"ns":"a.b","doc":{}}"#, "1: `op` is missing"),
            (
                r#"{"op":"upsert","ns":"a.b","doc":{}}"#,
                "2: `op` is one of `insert`, `update`, `replace`, `delete`, `read`, `create`, `drop`, `rename`, `drop_database`, \
                 `create_indexes`, `drop_indexes` or `modify`, not `upsert`",
            ),
            (r#"{"op":"insert","ns":"ab","doc":{}}"#, "16: `ns` is `database.collection`, not `ab`"),
            (r#"{"op":"insert","ns":"a.b"}"#, "1: `doc` is missing, which every `insert` needs"),
            (r#"{"op":"insert","ns":"a.b","doc":7}"#, "27: `doc` is a JSON object"),
            (r#"{"op":"insert","ns":"a.b","doc":{"x":{"$oid":"7"}}}"#, "27: `doc` is no Extended JSON: "),
            (r#"{"op":"insert","ns":"a.b","doc":{},"headers":{"a":1}}"#, "36: `headers` is a JSON object of texts"),
            (r#"{"reason":"r","raw":"x"}"#, "15: this dead letter holds text"),
        ] {
            assert!(reason(line).starts_with(expected), "{line}: {}", reason(line));
        }
    }
}
