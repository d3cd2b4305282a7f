//! Doors for the fuzz targets in `fuzz/`, to what is private otherwise: decoders of what comes from elsewhere. Nothing in the
//! program goes through here, and no version promises that it stays.

use bson::RawDocument;
use bytes::Bytes;

use crate::{change::Change, checkpoint, dead_letter, firestore::Look, source};
pub use crate::{
    dead_letter::DeadLetter,
    plugin::fuzzing::{Boundary, Verdict, read_sample},
};

/// The changes in a reply of MongoDB to a change stream's `aggregate` or `getMore`.
///
/// # Errors
/// What is wrong with it.
pub fn read_reply(reply: Vec<u8>) -> Result<Vec<Change>, String> {
    source::mongodb::event::changes(Bytes::from(reply)).map_err(|malformed| malformed.to_string())
}

/// Reads a checkpoint as each of the places that keep one does: a file, a hash of Redis, a document of MongoDB, one of Firestore. How many took
/// it.
pub fn read_checkpoints(bytes: &[u8]) -> usize {
    let file = std::str::from_utf8(bytes).map_err(|cause| cause.to_string()).and_then(checkpoint::file::decode);
    // Names and values, as Redis sends them, one a line.
    let fields = String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect();
    let hash = checkpoint::redis::decode(fields);
    let document = bson::Document::from_reader(bytes).map_err(|cause| cause.to_string());
    let document = document.and_then(checkpoint::mongodb::decode);
    let answer = serde_json::from_slice(bytes).ok().and_then(|answer| Look::of(&answer));
    let answer = answer.ok_or_else(String::new).and_then(|look| checkpoint::firestore::decode(&look));
    [file.is_ok(), hash.is_ok(), document.is_ok(), answer.is_ok_and(|found| found.is_some())]
        .into_iter()
        .filter(|taken| *taken)
        .count()
}

/// A dead letter as it is kept in MongoDB.
///
/// # Errors
/// What is wrong with it.
pub fn read_letter(document: &[u8]) -> Result<DeadLetter, String> {
    let document = RawDocument::from_bytes(document).map_err(|cause| cause.to_string())?;
    dead_letter::mongodb::document::read_letter(document)
}
