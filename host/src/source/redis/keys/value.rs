//! The document of a key: `_id`, `type`, `value`, and `expires_at` where it expires.
//!
//! | type | value |
//! |---|---|
//! | string | text, or binary where the bytes are no UTF-8 |
//! | list | an array |
//! | set | an array, sorted by bytes |
//! | zset | an array of `{member, score}`, by score |
//! | hash | a document, sorted by field; an array of `{field, value}` where a field's name cannot be one of BSON |

use redis::Value;

use crate::{
    change::Doc,
    config::KeyType,
    format::elements::{Element, Elements, kind},
    source::document::{Written, begun, element, ended, finished},
};

/// The name of the date at which a vanished key was missed first.
pub(super) const VANISHED_AT: &[u8] = b"vanished_at";
pub(super) const EXPIRES_AT: &[u8] = b"expires_at";

/// The type that the server names; none: no key, or one that cannot be mirrored.
pub(super) fn type_of(name: &[u8]) -> Option<KeyType> {
    KeyType::ALL.into_iter().find(|one| one.as_str().as_bytes() == name)
}

/// The command that reads a key of a type.
pub(super) fn read(kind: KeyType, key: &[u8]) -> redis::Cmd {
    let mut read = redis::cmd(match kind {
        KeyType::String => "GET",
        KeyType::Hash => "HGETALL",
        KeyType::Set => "SMEMBERS",
        KeyType::Zset => "ZRANGE",
        KeyType::List => "LRANGE",
    });
    read.arg(key);
    match kind {
        KeyType::Zset => read.arg(0).arg(-1).arg("WITHSCORES"),
        KeyType::List => read.arg(0).arg(-1),
        KeyType::String | KeyType::Hash | KeyType::Set => &mut read,
    };
    read
}

/// Bytes as text where they are, else as binary data.
pub(super) fn written(bytes: &[u8]) -> Written<'_> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Written::Text(bytes),
        Err(_) => Written::Bytes(bytes),
    }
}

/// The document of a key; none where the answer is that of a key that is not there.
///
/// # Errors
/// Why there is none, in words.
pub(super) fn document(key: &[u8], kind: KeyType, answer: Value, expires: Option<i64>) -> Result<Option<Doc>, String> {
    let mut items = match answer {
        Value::Nil => return Ok(None),
        Value::BulkString(text) => vec![text],
        Value::Array(items) => {
            let texts = items.into_iter().map(|item| match item {
                Value::BulkString(text) => Some(text),
                _ => None,
            });
            texts.collect::<Option<Vec<_>>>().ok_or("the server answered with something unknown")?
        }
        _ => return Err("the server answered with something unknown".to_owned()),
    };
    // No list, set or hash of Redis is empty.
    if items.is_empty() {
        return Ok(None);
    }
    let mut document = begun(items.iter().map(|item| item.len() + 12).sum::<usize>() + key.len() + 64);
    element(&mut document, b"_id", written(key))?;
    element(&mut document, b"type", Written::Text(kind.as_str().as_bytes()))?;
    match kind {
        KeyType::String => element(&mut document, b"value", written(items.first().map_or(&[], Vec::as_slice)))?,
        KeyType::List => array(&mut document, &items, |out, name, item| one(out, name, item))?,
        KeyType::Set => {
            items.sort_unstable();
            array(&mut document, &items, |out, name, item| one(out, name, item))?;
        }
        KeyType::Zset => {
            let pairs = pairs(&items);
            array(&mut document, &pairs, |out, name, (member, score)| {
                let score: f64 = std::str::from_utf8(score).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
                let mut inner = begun(member.len() + 48);
                element(&mut inner, b"member", written(member))?;
                element(&mut inner, b"score", Written::Raw(kind::DOUBLE, &score.to_le_bytes()))?;
                element(out, name, Written::Raw(kind::DOCUMENT, &ended(inner)?))
            })?;
        }
        KeyType::Hash => hash(&mut document, &items)?,
    }
    if let Some(at) = expires {
        element(&mut document, EXPIRES_AT, Written::Raw(kind::DATE, &at.to_le_bytes()))?;
    }
    finished(document).map(Some)
}

fn one(out: &mut Vec<u8>, name: &[u8], item: &[u8]) -> Result<(), String> {
    element(out, name, written(item))
}

fn pairs(items: &[Vec<u8>]) -> Vec<(&[u8], &[u8])> {
    let two = items.chunks_exact(2).filter_map(|two| match two {
        [first, second] => Some((first.as_slice(), second.as_slice())),
        _ => None,
    });
    two.collect()
}

fn array<T>(
    document: &mut Vec<u8>,
    items: &[T],
    mut write: impl FnMut(&mut Vec<u8>, &[u8], &T) -> Result<(), String>,
) -> Result<(), String> {
    let mut inner = begun(items.len() * 24);
    let mut number = itoa::Buffer::new();
    for (at, item) in items.iter().enumerate() {
        write(&mut inner, number.format(at).as_bytes(), item)?;
    }
    element(document, b"value", Written::Raw(kind::ARRAY, &ended(inner)?))
}

fn hash(document: &mut Vec<u8>, items: &[Vec<u8>]) -> Result<(), String> {
    let mut pairs = pairs(items);
    pairs.sort_unstable();
    if pairs.iter().any(|(field, _)| field.contains(&0) || std::str::from_utf8(field).is_err()) {
        return array(document, &pairs, |out, name, (field, value)| {
            let mut inner = begun(field.len() + value.len() + 48);
            element(&mut inner, b"field", written(field))?;
            element(&mut inner, b"value", written(value))?;
            element(out, name, Written::Raw(kind::DOCUMENT, &ended(inner)?))
        });
    }
    let mut inner = begun(items.iter().map(|item| item.len() + 8).sum());
    for (field, value) in pairs {
        element(&mut inner, field, written(value))?;
    }
    element(document, b"value", Written::Raw(kind::DOCUMENT, &ended(inner)?))
}

/// An element of a document that was made here.
pub(super) fn find<'a>(document: &'a Doc, name: &[u8]) -> Option<Element<'a>> {
    Elements::of(document.as_bytes()).ok()?.find(name).ok()?
}

/// The document with the date at which its key was missed, which one that has one keeps.
pub(super) fn marked(document: &Doc, now: i64) -> Result<Doc, String> {
    if find(document, VANISHED_AT).is_some() {
        return Ok(document.clone());
    }
    let mut out = begun(document.as_bytes().len() + 32);
    for each in Elements::of(document.as_bytes()).map_err(|cause| cause.to_string())? {
        let each = each.map_err(|cause| cause.to_string())?;
        element(&mut out, each.name, Written::Raw(each.kind, each.value))?;
    }
    element(&mut out, VANISHED_AT, Written::Raw(kind::DATE, &now.to_le_bytes()))?;
    finished(out)
}

/// Whether two documents differ in nothing but by less than a second in when they expire: servers before 7.0 tell only how long that is
/// from now.
pub(super) fn same_but_for_clocks(a: &Doc, b: &Doc) -> bool {
    const NEAR: i64 = 1000;
    let expires = |document: &Doc| {
        let bytes = find(document, EXPIRES_AT).filter(|each| each.kind == kind::DATE)?.value.try_into().ok()?;
        Some((i64::from_le_bytes(bytes), document.as_bytes().len()))
    };
    let (Some((at, length)), Some((other, other_length))) = (expires(a), expires(b)) else { return false };
    // The date stands at the end: eight bytes, and the terminator.
    let rest =
        |document: &Doc| document.as_bytes().get(4..document.as_bytes().len().saturating_sub(9)).map(<[u8]>::to_vec);
    length == other_length && at.abs_diff(other) <= NEAR.unsigned_abs() && rest(a) == rest(b)
}
