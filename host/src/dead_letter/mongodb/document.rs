//! A dead letter as a MongoDB document, and back.
//!
//! The change stands there with its BSON types, so that it can be searched for and looked at with any client. A document that MongoDB
//! would not store as one is kept as its bytes, and a letter beyond 16 MiB as the bytes of its JSON form, in parts.

use std::sync::Arc;

use bson::{
    Binary, RawDocumentBuf, cstr,
    raw::{CString, RawArrayBuf, RawBsonRef, RawDocument},
    rawdoc,
    spec::BinarySubtype,
};
use bytes::Bytes;

use crate::{
    change::{Change, Doc, Header, Headers, Namespace, Operation},
    dead_letter::{DeadLetter, Letter},
    format::check::check_document,
    telemetry::metrics::DeadLetterKind,
};

/// Bytes of a letter that still fits into a command.
const LARGEST: usize = 15 << 20;
/// Bytes of one part.
pub(super) const PART: usize = 8 << 20;
/// The longest text of a letter beside its change.
const LONGEST: usize = 64 << 10;

/// How the change of a letter is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Its documents as documents.
    Documents,
    /// Its documents as bytes.
    Bytes,
    /// In so many parts beside it.
    Parts(usize),
}

/// The document of a letter; none when it is too large in that shape.
pub(super) fn letter_document(letter: &DeadLetter, seq: i64, shape: Shape) -> Option<RawDocumentBuf> {
    let parted = matches!(shape, Shape::Parts(_));
    let mut out = rawdoc! {
        "_id": letter.key(),
        "pipeline": letter.pipeline.as_str(),
        "kind": letter.kind.as_str(),
        "stage": letter.stage.as_str(),
    };
    if let Some(plugin) = &letter.plugin {
        out.append(cstr!("plugin"), plugin.as_str());
    }
    if let Some(generation) = letter.generation {
        out.append(cstr!("generation"), i64::try_from(generation).unwrap_or(i64::MAX));
    }
    if let Some(version) = &letter.plugin_version {
        out.append(cstr!("plugin_version"), version.as_str());
    }
    if let Some(digest) = &letter.plugin_digest {
        out.append(cstr!("plugin_digest"), digest.as_str());
    }
    let reason = if parted { shortened(&letter.reason) } else { &letter.reason };
    out.append(cstr!("reason"), reason);
    if !letter.violations.is_empty() && !parted {
        let mut violations = RawArrayBuf::new();
        for (path, message) in &letter.violations {
            violations.push(rawdoc! { "path": path.as_str(), "message": message.as_str() });
        }
        out.append(cstr!("violations"), violations);
    }
    out.append(cstr!("at"), bson::DateTime::from_millis(letter.at));
    out.append(cstr!("id"), letter.id());
    match (&letter.letter, shape) {
        (_, Shape::Parts(count)) => out.append(cstr!("parts"), i32::try_from(count).unwrap_or(i32::MAX)),
        (Letter::Change(change), _) => {
            out.append(cstr!("change"), change_document(change, shape));
            if let Some(original) = &letter.original {
                out.append(cstr!("original"), change_document(original, shape));
            }
        }
        (Letter::Raw { raw, .. }, _) => out.append(cstr!("raw"), raw.as_str()),
    }
    out.append(cstr!("seq"), seq);
    (out.as_bytes().len() <= LARGEST).then_some(out)
}

/// The parts of a letter that is too large; they have no `pipeline`, so nobody takes one for a letter.
pub(super) fn part_documents(letter: &DeadLetter) -> impl Iterator<Item = RawDocumentBuf> {
    let (key, json) = (letter.key(), letter.to_json());
    let parts: Vec<Vec<u8>> = json.chunks(PART).map(<[u8]>::to_vec).collect();
    parts.into_iter().enumerate().map(move |(number, bytes)| {
        rawdoc! {
            "_id": part_id(&key, number),
            "part_of": key.as_str(),
            "bytes": Binary { subtype: BinarySubtype::Generic, bytes },
            "seq": -1_i64,
        }
    })
}

/// `_id` of a part.
pub(super) fn part_id(key: &str, number: usize) -> String {
    format!("{key}#{number}")
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn change_document(change: &Change, shape: Shape) -> RawDocumentBuf {
    let mut out = rawdoc! {
        "id": &*change.id,
        "op": change.operation.as_str(),
        "ns": change.namespace.as_str(),
    };
    let documents = [
        (cstr!("key"), &change.key),
        (cstr!("doc"), &change.document),
        (cstr!("before"), &change.before),
        (cstr!("update"), &change.update),
    ];
    for (name, document) in documents {
        let Some(document) = document else { continue };
        if shape == Shape::Documents && check_document(document.as_bytes()).is_ok() {
            out.append(name, document.as_raw());
        } else {
            out.append(name, Binary { subtype: BinarySubtype::Generic, bytes: document.as_bytes().to_vec() });
        }
    }
    if let Some(time) = change.cluster_time {
        let time = bson::Timestamp { time: (time >> 32) as u32, increment: time as u32 };
        out.append(cstr!("cluster_time"), time);
    }
    if let Some(millis) = change.wall_time {
        out.append(cstr!("wall_time"), bson::DateTime::from_millis(millis));
    }
    if !change.headers.is_empty() {
        out.append(cstr!("headers"), headers_document(&change.headers));
    }
    out
}

/// By name; a name that cannot be one of a field in every client makes a list of them.
fn headers_document(headers: &Headers) -> bson::RawBson {
    let mut document = RawDocumentBuf::new();
    for Header { name, value } in headers.iter() {
        let plain = !name.is_empty() && !name.starts_with('$') && !name.contains('.');
        match CString::try_from(name.to_string()) {
            Ok(name) if plain => document.append(name, &**value),
            _ => {
                let mut list = RawArrayBuf::new();
                headers.iter().for_each(|h| list.push(rawdoc! { "name": &*h.name, "value": &*h.value }));
                return list.into();
            }
        }
    }
    document.into()
}

/// The letter of a document; `Err` says what is wrong with it.
pub(crate) fn read_letter(document: &RawDocument) -> Result<DeadLetter, String> {
    let text = |name: &str| document.get_str(name).map(str::to_owned).map_err(|cause| cause.to_string());
    let id = text("id")?;
    let kind = text("kind")?;
    let letter = match document.get("change").map_err(|cause| cause.to_string())? {
        Some(RawBsonRef::Document(change)) => Letter::Change(Box::new(read_change(change)?)),
        _ => Letter::Raw { id: id.into(), raw: text("raw")? },
    };
    let original = match document.get("original").map_err(|cause| cause.to_string())? {
        Some(RawBsonRef::Document(change)) => Some(Box::new(read_change(change)?)),
        _ => None,
    };
    let mut violations = Vec::new();
    if let Ok(list) = document.get_array("violations") {
        for violation in list.into_iter().flatten() {
            let Some(violation) = violation.as_document() else { continue };
            let text = |name: &str| violation.get_str(name).unwrap_or_default().to_owned();
            violations.push((text("path"), text("message")));
        }
    }
    Ok(DeadLetter {
        letter,
        original,
        pipeline: text("pipeline")?,
        kind: DeadLetterKind::from_name(&kind).ok_or_else(|| format!("`kind` is not known: {kind}"))?,
        stage: text("stage")?,
        plugin: text("plugin").ok(),
        generation: document.get_i64("generation").ok().and_then(|generation| u64::try_from(generation).ok()),
        plugin_version: text("plugin_version").ok(),
        plugin_digest: text("plugin_digest").ok(),
        reason: text("reason")?,
        violations,
        at: document.get_datetime("at").map_err(|cause| cause.to_string())?.timestamp_millis(),
    })
}

fn read_change(change: &RawDocument) -> Result<Change, String> {
    let text = |name: &str| change.get_str(name).map_err(|cause| cause.to_string());
    let operation = Operation::from_name(text("op")?).ok_or("`op` is not known")?;
    let namespace = Namespace::parse_for(operation, text("ns")?).ok_or("`ns` is no namespace")?;
    let document = |name: &str| match change.get(name) {
        Ok(None) => Ok(None),
        Ok(Some(RawBsonRef::Document(document))) => Ok(Some(Doc::from(document.to_owned()))),
        Ok(Some(RawBsonRef::Binary(binary))) => Doc::from_bytes(Bytes::copy_from_slice(binary.bytes))
            .map(Some)
            .map_err(|cause| format!("`{name}`: {cause}")),
        Ok(Some(_)) => Err(format!("`{name}` is no document")),
        Err(cause) => Err(cause.to_string()),
    };
    let headers = match change.get("headers").map_err(|cause| cause.to_string())? {
        Some(RawBsonRef::Document(headers)) => headers
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| {
                Some(Header { name: name.as_str().to_owned().into(), value: value.as_str()?.to_owned().into() })
            })
            .collect(),
        Some(RawBsonRef::Array(list)) => list
            .into_iter()
            .flatten()
            .filter_map(|header| {
                let header = header.as_document()?;
                let text = |name: &str| header.get_str(name).ok().map(|text| text.to_owned().into());
                Some(Header { name: text("name")?, value: text("value")? })
            })
            .collect(),
        _ => Headers::default(),
    };
    Ok(Change {
        id: text("id")?.to_owned().into(),
        operation,
        namespace: Arc::new(namespace),
        key: document("key")?,
        document: document("doc")?,
        before: document("before")?,
        update: document("update")?,
        cluster_time: change
            .get_timestamp("cluster_time")
            .ok()
            .map(|t| u64::from(t.time) << 32 | u64::from(t.increment)),
        wall_time: change.get_datetime("wall_time").ok().map(|time| time.timestamp_millis()),
        headers,
        position: None,
    })
}
