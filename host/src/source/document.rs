//! Makes documents out of what entries and messages hold.

use bson::{Document, RawDocumentBuf};
use bytes::Bytes;
use bytestring::ByteString;

use crate::{
    change::Doc,
    config::EntryFormat,
    format::{
        elements::{Element, Elements, Malformed, kind},
        from_json,
    },
};

/// Bytes as text.
///
/// # Errors
/// When they are none, in words; `what` they are stands in it.
pub(super) fn text(bytes: &[u8], what: &str) -> Result<ByteString, String> {
    ByteString::try_from(Bytes::copy_from_slice(bytes)).map_err(|_| format!("{what} is no UTF-8 text"))
}

/// A document that a field or body holds, which is called by that name.
///
/// # Errors
/// Why it is none, in words.
pub(super) fn document(format: EntryFormat, field: &str, bytes: &[u8]) -> Result<Doc, String> {
    match format {
        EntryFormat::Bson => {
            Doc::from_bytes(Bytes::copy_from_slice(bytes)).map_err(|cause| format!("its `{field}` is no BSON: {cause}"))
        }
        EntryFormat::Json | EntryFormat::Extjson => {
            if let Some(read) = from_json::document(bytes) {
                return Doc::from_bytes(Bytes::from(read)).map_err(|cause| cause.to_string());
            }
            let json: serde_json::Map<String, serde_json::Value> =
                serde_json::from_slice(bytes).map_err(|cause| format!("its `{field}` is no JSON object: {cause}"))?;
            let wrong = |cause: &dyn std::fmt::Display| format!("its `{field}` is no Extended JSON: {cause}");
            let document = Document::try_from(json).map_err(|cause| wrong(&cause))?;
            RawDocumentBuf::try_from(&document).map(Doc::from).map_err(|cause| wrong(&cause))
        }
    }
}

/// The key of a document: its `_id`.
///
/// # Errors
/// When it has none.
pub(super) fn key_of(document: &Doc) -> Result<Doc, String> {
    let found = find(document, "_id")?.ok_or("its document has no `_id`")?;
    let mut key = begun(found.value.len() + 16);
    element(&mut key, b"_id", Written::Raw(found.kind, found.value))?;
    finished(key)
}

/// Why something has no key.
pub(super) fn no_key(key: &str) -> String {
    format!("it has no field `{key}`, which is to be its key")
}

/// A document with its `_id` in front: the value of the field `key` where one is named, else its own, else what is given. Not ended yet.
///
/// # Errors
/// When it has no such field, or is malformed, in words.
pub(super) fn with_id(document: &Doc, key: Option<&str>, otherwise: &str) -> Result<Vec<u8>, String> {
    let id = find(document, key.unwrap_or("_id"))?;
    let id = match (id, key) {
        (Some(id), _) => Written::Raw(id.kind, id.value),
        (None, Some(key)) => return Err(no_key(key)),
        (None, None) => Written::Text(otherwise.as_bytes()),
    };
    identified(document, id)
}

/// A document with the `_id` of a key in front, in the place of its own. Not ended yet.
///
/// # Errors
/// When one of them is malformed, in words.
pub(super) fn with_id_of(document: &Doc, key: &Doc) -> Result<Vec<u8>, String> {
    let id = find(key, "_id")?.ok_or_else(|| no_key("_id"))?;
    identified(document, Written::Raw(id.kind, id.value))
}

fn find<'a>(document: &'a Doc, name: &str) -> Result<Option<Element<'a>>, String> {
    Elements::of(document.as_bytes()).and_then(|all| all.find(name.as_bytes())).map_err(|cause| cause.to_string())
}

fn identified(document: &Doc, id: Written<'_>) -> Result<Vec<u8>, String> {
    let malformed = |cause: Malformed| cause.to_string();
    let mut out = begun(document.as_bytes().len() + 64);
    element(&mut out, b"_id", id)?;
    for each in Elements::of(document.as_bytes()).map_err(malformed)? {
        let each = each.map_err(malformed)?;
        if each.name != b"_id" {
            element(&mut out, each.name, Written::Raw(each.kind, each.value))?;
        }
    }
    Ok(out)
}

/// Writes any JSON as a value; `what` it is stands in errors.
///
/// # Errors
/// When it is none, in words.
pub(super) fn json_element(document: &mut Vec<u8>, name: &[u8], what: &str, json: &[u8]) -> Result<(), String> {
    // Parsed as the value of a document, so that Extended JSON at its top is understood too.
    let json: serde_json::Value =
        serde_json::from_slice(json).map_err(|cause| format!("{what} is no JSON: {cause}"))?;
    let value = bson::Bson::try_from(json).map_err(|cause| format!("{what} is no Extended JSON: {cause}"))?;
    let wrapped = RawDocumentBuf::try_from(&bson::doc! { "v": value }).map_err(|cause| cause.to_string())?;
    let parsed = Elements::of(wrapped.as_bytes()).ok().and_then(|mut elements| elements.next()).and_then(Result::ok);
    let parsed = parsed.ok_or("its JSON cannot be written as BSON")?;
    element(document, name, Written::Raw(parsed.kind, parsed.value))
}

/// A value of a document that is being written.
pub(super) enum Written<'a> {
    /// UTF-8.
    Text(&'a [u8]),
    /// What is no text.
    Bytes(&'a [u8]),
    /// Type and bytes as they are.
    Raw(u8, &'a [u8]),
}

/// A document that is being written: room for its length comes first.
pub(super) fn begun(capacity: usize) -> Vec<u8> {
    let mut document = Vec::with_capacity(capacity);
    document.extend_from_slice(&[0; 4]);
    document
}

pub(super) fn element(document: &mut Vec<u8>, name: &[u8], value: Written<'_>) -> Result<(), String> {
    if name.contains(&0) || std::str::from_utf8(name).is_err() {
        let name = name.escape_ascii();
        return Err(format!("the name of its field `{name}` is no UTF-8 text without NUL, as BSON asks for"));
    }
    let length = |bytes: &[u8], more: usize| {
        i32::try_from(bytes.len() + more).map(i32::to_le_bytes).map_err(|_| "it is too long for BSON".to_owned())
    };
    document.push(match value {
        Written::Text(_) => kind::STRING,
        Written::Bytes(_) => kind::BINARY,
        Written::Raw(kind, _) => kind,
    });
    document.extend_from_slice(name);
    document.push(0);
    match value {
        Written::Text(text) => {
            document.extend_from_slice(&length(text, 1)?);
            document.extend_from_slice(text);
            document.push(0);
        }
        Written::Bytes(bytes) => {
            document.extend_from_slice(&length(bytes, 0)?);
            // The generic subtype.
            document.push(0);
            document.extend_from_slice(bytes);
        }
        Written::Raw(_, bytes) => document.extend_from_slice(bytes),
    }
    Ok(())
}

pub(super) fn ended(mut document: Vec<u8>) -> Result<Vec<u8>, String> {
    document.push(0);
    let length = i32::try_from(document.len()).map_err(|_| "it is too long for BSON".to_owned())?;
    if let Some(place) = document.first_chunk_mut::<4>() {
        *place = length.to_le_bytes();
    }
    Ok(document)
}

pub(super) fn finished(document: Vec<u8>) -> Result<Doc, String> {
    Doc::from_bytes(Bytes::from(ended(document)?)).map_err(|cause| cause.to_string())
}
