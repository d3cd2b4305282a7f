//! Just enough BSON to find one field: the guest measures the boundary, not a library.

/// The 32-bit integer in a field of the document itself.
pub(crate) fn int32(document: &[u8], field: &[u8]) -> Option<i32> {
    let mut rest = document.get(4..)?;
    loop {
        let (&kind, after) = rest.split_first()?;
        if kind == 0 {
            return None;
        }
        let end = after.iter().position(|byte| *byte == 0)?;
        let (name, value) = (after.get(..end)?, after.get(end + 1..)?);
        if name == field {
            return (kind == 0x10).then(|| value.first_chunk().map(|bytes| i32::from_le_bytes(*bytes)))?;
        }
        rest = value.get(size(kind, value)?..)?;
    }
}

/// Bytes of a value.
fn size(kind: u8, value: &[u8]) -> Option<usize> {
    let length = || value.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize);
    match kind {
        0x01 | 0x09 | 0x11 | 0x12 => Some(8),
        0x02 | 0x0D | 0x0E => Some(length()? + 4),
        0x03 | 0x04 => length(),
        0x05 => Some(length()? + 5),
        0x07 => Some(12),
        0x08 => Some(1),
        0x0A => Some(0),
        0x10 => Some(4),
        0x13 => Some(16),
        _ => None,
    }
}
