//! BSON as JSON text, written straight from the bytes.
//!
//! | BSON | [`Style::Plain`] |
//! |---|---|
//! | ObjectId, DBPointer | 24 hexadecimal digits |
//! | Date | ISO 8601 in UTC with milliseconds; a year outside 0 to 9999 has a sign and at least six digits, as in ECMAScript |
//! | Decimal128 | text; `NaN`, `Infinity`, `-Infinity` |
//! | Binary | base64 text; subtype 4 (UUID) with hyphens |
//! | Timestamp | `{"t":seconds,"i":counter}` |
//! | Int32, Int64 | number |
//! | Double | the shortest number that reads back as the same, with `.0` where it is integral; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | Regex | `"/pattern/options"` |
//! | JavaScript, Symbol | text (a scope is left out) |
//! | MinKey, MaxKey | `"MinKey"`, `"MaxKey"` |
//! | Undefined | `null` |
//!
//! [`Style::Relaxed`], [`Style::Interchange`] and [`Style::Canonical`] are MongoDB's Extended JSON v2, as its specification says.
//! [`Style::Legacy`] is its forerunner, which has other forms for dates, binary data, regular expressions and pointers.

mod strings;

use bson::raw::RawBsonRef;

pub(crate) use self::strings::{write_base64, write_member, write_str, write_text};
use self::strings::{write_hex, write_hex_text};
use super::{
    elements::{Element, Elements, Malformed, kind, split_cstring, split_length, text},
    time::write_iso8601,
};

/// Which JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For any client: ObjectId as hex text, dates as ISO 8601.
    Plain,
    /// MongoDB Relaxed Extended JSON v2.
    Relaxed,
    /// The same, but 64-bit integers beyond 2^53, which many languages would round, are `$numberLong`.
    Interchange,
    /// MongoDB Canonical Extended JSON v2.
    Canonical,
    /// MongoDB Extended JSON v1 in strict mode, as Debezium writes documents. Where that mode has no valid JSON (`NaN`,
    /// `Infinity`), the form of v2.
    Legacy,
}

/// Up to 2^53 a double holds every integer.
pub(crate) const EXACT: u64 = 1 << 53;

/// Deepest nesting that is written. MongoDB itself stores no more than 100 levels.
const DEEPEST: u32 = 200;

/// Writes one document.
///
/// # Errors
/// When the bytes are malformed, a text is not UTF-8, or it is nested deeper than 200 levels; `out` is then as it was.
pub fn write_document(out: &mut Vec<u8>, document: &[u8], style: Style) -> Result<(), Malformed> {
    let before = out.len();
    let result = write_members(out, document, style, false, DEEPEST);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Writes one value, for logs; a value that cannot be written is `null`.
pub fn write_value(out: &mut Vec<u8>, value: RawBsonRef<'_>, style: Style) {
    let mut document = bson::RawDocumentBuf::new();
    document.append(bson::cstr!("v"), value);
    let before = out.len();
    let written = Elements::of(document.as_bytes())
        .and_then(|mut elements| elements.next().unwrap_or(Err(Malformed("no value"))))
        .and_then(|element| write_element(out, &element, style));
    if written.is_err() {
        out.truncate(before);
        out.extend_from_slice(b"null");
    }
}

/// Writes the value of one element, without its name.
///
/// # Errors
/// As [`write_document`]; `out` may then hold a part of it.
pub fn write_element(out: &mut Vec<u8>, element: &Element<'_>, style: Style) -> Result<(), Malformed> {
    write_typed(out, element.kind, element.value, style, DEEPEST)
}

fn write_members(out: &mut Vec<u8>, document: &[u8], style: Style, array: bool, depth: u32) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed("it is nested too deep"))?;
    let (open, close) = if array { (b'[', b']') } else { (b'{', b'}') };
    out.push(open);
    let mut first = true;
    for element in Elements::of(document)? {
        let element = element?;
        if !first {
            out.push(b',');
        }
        first = false;
        if !array {
            write_text(out, element.name)?;
            out.push(b':');
        }
        write_typed(out, element.kind, element.value, style, depth)?;
    }
    out.push(close);
    Ok(())
}

fn write_typed(out: &mut Vec<u8>, kind: u8, value: &[u8], style: Style, depth: u32) -> Result<(), Malformed> {
    let plain = style == Style::Plain;
    match kind {
        kind::STRING => write_text(out, text(value)?)?,
        kind::INT32 => {
            let number = i32::from_le_bytes(sized(value)?);
            match style {
                Style::Canonical => write_wrapped_number(out, "$numberInt", number),
                _ => write_number(out, number),
            }
        }
        kind::INT64 => {
            let number = i64::from_le_bytes(sized(value)?);
            match style {
                Style::Canonical | Style::Legacy => write_wrapped_number(out, "$numberLong", number),
                Style::Interchange if number.unsigned_abs() > EXACT => write_wrapped_number(out, "$numberLong", number),
                _ => write_number(out, number),
            }
        }
        kind::DOUBLE => write_double(out, f64::from_le_bytes(sized(value)?), style),
        kind::DOCUMENT => write_members(out, value, style, false, depth)?,
        kind::ARRAY => write_members(out, value, style, true, depth)?,
        kind::BOOLEAN => out.extend_from_slice(match value {
            [0] => b"false",
            [1] => b"true",
            _ => return Err(Malformed("a boolean is neither 0 nor 1")),
        }),
        kind::NULL => out.extend_from_slice(b"null"),
        kind::UNDEFINED if plain => out.extend_from_slice(b"null"),
        kind::UNDEFINED => out.extend_from_slice(br#"{"$undefined":true}"#),
        kind::OBJECT_ID if plain => write_hex_text(out, value),
        kind::OBJECT_ID => {
            out.extend_from_slice(br#"{"$oid":"#);
            write_hex_text(out, value);
            out.push(b'}');
        }
        kind::DATE => write_date(out, i64::from_le_bytes(sized(value)?), style),
        kind::TIMESTAMP => {
            let both = u64::from_le_bytes(sized(value)?);
            if !plain {
                out.extend_from_slice(br#"{"$timestamp":"#);
            }
            out.extend_from_slice(br#"{"t":"#);
            write_number(out, (both >> 32) as u32);
            out.extend_from_slice(br#","i":"#);
            write_number(out, both as u32);
            out.extend_from_slice(if plain { b"}" } else { b"}}" });
        }
        kind::DECIMAL128 => {
            out.extend_from_slice(if plain { b"\"" } else { br#"{"$numberDecimal":""# });
            super::decimal::write_decimal128(out, sized(value)?);
            out.extend_from_slice(if plain { b"\"" } else { b"\"}" });
        }
        kind::BINARY => write_binary(out, value, style)?,
        kind::REGEX => write_regex(out, value, style)?,
        kind::CODE | kind::SYMBOL if plain => write_text(out, text(value)?)?,
        kind::CODE | kind::SYMBOL => {
            out.extend_from_slice(if kind == kind::CODE { br#"{"$code":"# } else { br#"{"$symbol":"# });
            write_text(out, text(value)?)?;
            out.push(b'}');
        }
        kind::CODE_WITH_SCOPE => {
            let (_, rest) = split_length(value)?;
            let code = text(rest)?;
            if plain {
                return write_text(out, code);
            }
            let scope = rest.get(code.len() + 5..).ok_or(Malformed("a scope is cut off"))?;
            out.extend_from_slice(br#"{"$code":"#);
            write_text(out, code)?;
            out.extend_from_slice(br#","$scope":"#);
            write_members(out, scope, style, false, depth)?;
            out.push(b'}');
        }
        kind::DB_POINTER => {
            let namespace = text(value)?;
            let id = value.get(namespace.len() + 5..).ok_or(Malformed("a pointer is cut off"))?;
            if plain {
                write_hex_text(out, id);
                return Ok(());
            }
            let legacy = style == Style::Legacy;
            out.extend_from_slice(if legacy { br#"{"$ref":"# } else { br#"{"$dbPointer":{"$ref":"# });
            write_text(out, namespace)?;
            out.extend_from_slice(br#","$id":{"$oid":"#);
            write_hex_text(out, id);
            out.extend_from_slice(if legacy { b"}}" } else { b"}}}" });
        }
        kind::MIN_KEY => out.extend_from_slice(if plain { br#""MinKey""# } else { br#"{"$minKey":1}"# }),
        kind::MAX_KEY => out.extend_from_slice(if plain { br#""MaxKey""# } else { br#"{"$maxKey":1}"# }),
        _ => return Err(Malformed("a type is not known")),
    }
    Ok(())
}

fn sized<const N: usize>(value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_| Malformed("a value has the wrong length"))
}

pub(super) fn write_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_wrapped_number(out: &mut Vec<u8>, name: &str, number: impl itoa::Integer) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    write_number(out, number);
    out.extend_from_slice(b"\"}");
}

fn write_double(out: &mut Vec<u8>, number: f64, style: Style) {
    let mut buffer = ryu::Buffer::new();
    let digits = if number.is_nan() {
        "NaN"
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }
    } else {
        buffer.format_finite(number)
    };
    match style {
        Style::Plain | Style::Relaxed | Style::Interchange | Style::Legacy if number.is_finite() => {
            out.extend_from_slice(digits.as_bytes())
        }
        Style::Plain => {
            out.push(b'"');
            out.extend_from_slice(digits.as_bytes());
            out.push(b'"');
        }
        Style::Relaxed | Style::Interchange | Style::Canonical | Style::Legacy => {
            out.extend_from_slice(br#"{"$numberDouble":""#);
            out.extend_from_slice(digits.as_bytes());
            out.extend_from_slice(b"\"}");
        }
    }
}

fn write_date(out: &mut Vec<u8>, millis: i64, style: Style) {
    /// The first millisecond of the year 10000.
    const YEAR_10000: i64 = 253_402_300_800_000;
    match style {
        Style::Plain => {
            out.push(b'"');
            write_iso8601(out, millis, true);
            out.push(b'"');
        }
        Style::Legacy => {
            out.extend_from_slice(br#"{"$date":"#);
            write_number(out, millis);
            out.push(b'}');
        }
        Style::Relaxed | Style::Interchange if (0..YEAR_10000).contains(&millis) => {
            out.extend_from_slice(br#"{"$date":""#);
            write_iso8601(out, millis, millis % 1000 != 0);
            out.extend_from_slice(b"\"}");
        }
        Style::Relaxed | Style::Interchange | Style::Canonical => {
            out.extend_from_slice(br#"{"$date":"#);
            write_wrapped_number(out, "$numberLong", millis);
            out.push(b'}');
        }
    }
}

fn write_binary(out: &mut Vec<u8>, value: &[u8], style: Style) -> Result<(), Malformed> {
    const OLD: u8 = 2;
    const UUID: u8 = 4;
    let (_, rest) = split_length(value)?;
    let (&subtype, mut data) = rest.split_first().ok_or(Malformed("binary data is cut off"))?;
    if subtype == OLD {
        // The old subtype repeats the length inside.
        let (length, inner) = split_length(data)?;
        if length != inner.len() {
            return Err(Malformed("old binary data has the wrong inner length"));
        }
        data = inner;
    }
    if style == Style::Plain {
        out.push(b'"');
        match data {
            [a, b, c, d, e, f, g, h, i, j, rest @ ..] if subtype == UUID && rest.len() == 6 => {
                for (at, part) in [&[*a, *b, *c, *d][..], &[*e, *f], &[*g, *h], &[*i, *j], rest].into_iter().enumerate()
                {
                    if at > 0 {
                        out.push(b'-');
                    }
                    write_hex(out, part);
                }
            }
            _ => write_base64(out, data)?,
        }
        out.push(b'"');
    } else {
        let legacy = style == Style::Legacy;
        out.extend_from_slice(if legacy { br#"{"$binary":""# } else { br#"{"$binary":{"base64":""# });
        write_base64(out, data)?;
        out.extend_from_slice(if legacy { br#"","$type":"# } else { br#"","subType":"# });
        write_hex_text(out, &[subtype]);
        out.extend_from_slice(if legacy { b"}" } else { b"}}" });
    }
    Ok(())
}

fn write_regex(out: &mut Vec<u8>, value: &[u8], style: Style) -> Result<(), Malformed> {
    let (pattern, rest) = split_cstring(value)?;
    let (options, _) = split_cstring(rest)?;
    // The specification wants the options in alphabetical order.
    let mut options = options.to_vec();
    options.sort_unstable();
    if style == Style::Plain {
        let joined = [b"/", pattern, b"/", &options].concat();
        return write_text(out, &joined);
    }
    let legacy = style == Style::Legacy;
    out.extend_from_slice(if legacy { br#"{"$regex":"# } else { br#"{"$regularExpression":{"pattern":"# });
    write_text(out, pattern)?;
    out.extend_from_slice(if legacy { br#","$options":"# } else { br#","options":"# });
    write_text(out, &options)?;
    out.extend_from_slice(if legacy { b"}" } else { b"}}" });
    Ok(())
}

#[cfg(test)]
mod tests;
