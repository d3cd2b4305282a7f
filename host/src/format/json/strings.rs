//! The texts inside JSON: strings with their escapes, hexadecimal digits, base64.

use base64::Engine as _;

use crate::format::elements::Malformed;

pub(crate) fn write_base64(out: &mut Vec<u8>, data: &[u8]) -> Result<(), Malformed> {
    let start = out.len();
    let room = data.len().div_ceil(3).saturating_mul(4);
    out.resize(start + room, 0);
    let written = out
        .get_mut(start..)
        .and_then(|room| base64::engine::general_purpose::STANDARD.encode_slice(data, room).ok())
        .ok_or(Malformed("binary data is too long"))?;
    out.truncate(start + written);
    Ok(())
}

pub(super) fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const PAIRS: [[u8; 2]; 256] = {
        let digits = b"0123456789abcdef";
        let mut pairs = [[0; 2]; 256];
        let mut byte = 0;
        while byte < 256 {
            pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
            byte += 1;
        }
        pairs
    };
    for byte in bytes {
        if let Some(pair) = PAIRS.get(usize::from(*byte)) {
            out.extend_from_slice(pair);
        }
    }
}

pub(super) fn write_hex_text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    write_hex(out, bytes);
    out.push(b'"');
}

/// What stands for a byte inside a JSON text: 0 for itself, `u` for `\u00XX`, else the letter after the backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0A] = b'n';
    table[0x0C] = b'f';
    table[0x0D] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

/// Writes text as a JSON string, with its quotes.
///
/// # Errors
/// When it is not UTF-8.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Malformed> {
    // Nearly all text is ASCII without anything to escape: one pass tells, and one copy does it.
    if text.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
        return Ok(());
    }
    match std::str::from_utf8(text) {
        Ok(text) => write_str(out, text),
        Err(_) => return Err(Malformed("a text is not UTF-8")),
    }
    Ok(())
}

#[inline]
fn is_plain(byte: u8) -> bool {
    (0x20..0x80).contains(&byte) & (byte != b'"') & (byte != b'\\')
}

/// Writes text as a JSON string, with its quotes.
pub(crate) fn write_str(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| escape(*byte) != 0) {
        let (clean, tail) = rest.split_at(at);
        out.extend_from_slice(clean);
        let Some((byte, tail)) = tail.split_first() else { break };
        match escape(*byte) {
            b'u' => {
                out.extend_from_slice(b"\\u00");
                write_hex(out, &[*byte]);
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        rest = tail;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[inline]
fn escape(byte: u8) -> u8 {
    ESCAPES.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Writes the name of a member that is not the first: `,"NAME":`. The name has nothing to escape.
pub(crate) fn write_member(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
