//! Values as the text that plain JSON has for them.

use std::borrow::Cow;

use tidegate_plugin::bson::{DateTime, ObjectId, Value};

use super::{decimal_text, number::Number};

/// None for what plain JSON writes as anything but text.
pub(crate) fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::String(text) | Value::Symbol(text) | Value::JavaScript(text) => Cow::Borrowed(text),
        Value::CodeWithScope { code, .. } => Cow::Borrowed(code),
        Value::DateTime(date) => Cow::Owned(date_text(date)),
        Value::ObjectId(id) | Value::DbPointer { id, .. } => Cow::Owned(ObjectId::to_string(&id)),
        Value::Binary { subtype: 4, bytes } if bytes.len() == 16 => Cow::Owned(uuid(bytes)),
        Value::Binary { bytes, .. } => Cow::Owned(base64(bytes)),
        Value::Regex { pattern, options } => Cow::Owned(format!("/{pattern}/{options}")),
        Value::MinKey => Cow::Borrowed("MinKey"),
        Value::MaxKey => Cow::Borrowed("MaxKey"),
        Value::Double(_) | Value::Decimal128(_) if Number::of(value).is_some() => return None,
        Value::Double(number) if number.is_nan() => Cow::Borrowed("NaN"),
        Value::Double(number) => Cow::Borrowed(if number > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Decimal128(bytes) => Cow::Owned(decimal_text(bytes)),
        _ => return None,
    })
}

/// Years outside 0 to 9999 with a sign and six digits, as in ECMAScript.
fn date_text(date: DateTime) -> String {
    let text = date.to_string();
    match text.split_once('-') {
        Some((year, rest)) if year.len() > 4 => format!("+{year:0>6}-{rest}"),
        Some(("", _)) => {
            let (year, rest) = text.trim_start_matches('-').split_once('-').unwrap_or_default();
            format!("-{year:0>6}-{rest}")
        }
        _ => text,
    }
}

fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().chain([0, 0].iter()).take(3).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        for place in 0..4 {
            let letter = ALPHABET.get(bits >> (18 - 6 * place) & 63).copied().unwrap_or(b'A');
            text.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}
