//! What a word without quotes means.

use super::super::node::Scalar;

/// What a plain scalar is by YAML's core schema.
pub(super) enum Plain {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text,
}

pub(super) fn resolve(scalar: &Scalar) -> Plain {
    if !scalar.plain {
        return Plain::Text;
    }
    let text = scalar.text.as_str();
    match text {
        "" | "~" | "null" | "Null" | "NULL" if scalar.variables.is_empty() => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(number) = text.parse() {
            return Plain::Unsigned(number);
        }
        if let Ok(number) = text.parse() {
            return Plain::Signed(number);
        }
    }
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok());
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Plain::Unsigned(number);
    }
    // `parse` also takes `inf`, `nan` and `infinity`, which are words here.
    let numeric =
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.contains(|c: char| c.is_ascii_digit());
    match text.parse() {
        Ok(number) if numeric => Plain::Float(number),
        _ => Plain::Text,
    }
}

impl Plain {
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }
}
