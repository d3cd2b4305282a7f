//! BSON as JSON text, written straight from the bytes.

use bson::raw::RawBsonRef;

/// Which JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For any client: ObjectId as hex text, dates as ISO 8601.
    Plain,
    /// MongoDB Relaxed Extended JSON v2.
    Relaxed,
    /// MongoDB Canonical Extended JSON v2.
    Canonical,
}

/// Writes one value.
pub fn write_value(out: &mut Vec<u8>, value: RawBsonRef<'_>, style: Style) {
    let _ = (out, value, style);
}
