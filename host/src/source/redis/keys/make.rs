//! What became of a key, as changes.

use std::{collections::BTreeMap, sync::Arc};

use bytestring::ByteString;

use super::{
    super::{naming::Naming, place::partition},
    at::At,
    log::{Entry, Kind},
    value::{VANISHED_AT, find, type_of},
};
use crate::{
    change::{Change, Doc, Headers, Namespace, Operation},
    config::{KeyShape, KeyType},
    format::elements::{Elements, kind},
    source::document::{Written, begun, element, ended, finished},
};

/// Changes of one key that share a position: they go to a sink together or not at all.
const TOGETHER: usize = 500;

/// Makes changes by the rules of a source.
pub(super) struct Maker {
    pub(super) shape: KeyShape,
    pub(super) database: Naming,
    pub(super) collection: Naming,
    /// That of the last key.
    pub(super) namespace: Option<Arc<Namespace>>,
}

/// What became of a key.
pub(super) struct Became<'a> {
    pub(super) epoch: u32,
    pub(super) number: u64,
    pub(super) time: i64,
    pub(super) entry: &'a Entry,
    pub(super) before: Option<&'a Entry>,
}

/// The documents of a key, by their ids.
type Documents = BTreeMap<Vec<u8>, Doc>;

impl Maker {
    pub(super) fn namespace(&mut self, key: &[u8]) -> Arc<Namespace> {
        let key = partition(key);
        let namespace = Namespace::new(&self.database.fill(&key), &self.collection.fill(&key));
        match &self.namespace {
            Some(last) if **last == namespace => Arc::clone(last),
            _ => Arc::clone(self.namespace.insert(Arc::new(namespace))),
        }
    }

    /// The changes, in groups that must stay together.
    ///
    /// # Errors
    /// In words: what cannot be written as BSON.
    pub(super) fn changes(&mut self, became: &Became<'_>) -> Result<Vec<Vec<Change>>, String> {
        let Became { epoch, number, time, entry, before } = became;
        let unsure = before.is_some_and(|before| before.kind == Kind::Unsure);
        let old = before.and_then(|before| before.document.as_ref());
        let new = match entry.kind {
            Kind::Value | Kind::Marked => entry.document.as_ref(),
            Kind::Gone => None,
            Kind::Forgotten | Kind::Unsure => return Ok(Vec::new()),
        };
        let mut was = old.map(|old| documents(self.shape, old)).transpose()?.unwrap_or_default();
        let is = new.map(|new| documents(self.shape, new)).transpose()?.unwrap_or_default();
        let mut found = Vec::new();
        for (id, document) in is {
            match was.remove(&id) {
                Some(before) if before == document && !unsure => {}
                Some(_) if unsure => found.push((Operation::Replace, id, Some(document), None)),
                Some(before) => found.push((Operation::Update, id, Some(document), Some(before))),
                None => found.push((Operation::Insert, id, Some(document), None)),
            }
        }
        // What is gone goes first.
        let gone = was.into_iter().map(|(id, before)| (Operation::Delete, id, None, Some(before)));
        let found: Vec<_> = gone.chain(found).collect();
        let namespace = self.namespace(&entry.key);
        let name = format!("{}/{epoch}-{number}", partition(&entry.key));
        let (count, groups) = (found.len(), found.len().div_ceil(TOGETHER));
        let mut made: Vec<Vec<Change>> = Vec::with_capacity(groups);
        for (at, (operation, id, document, before)) in found.into_iter().enumerate() {
            let group = at / TOGETHER;
            let part = if group + 1 == groups { u32::MAX } else { u32::try_from(group).unwrap_or(u32::MAX - 1) };
            let update = match (&before, &document) {
                (Some(before), Some(document)) => difference(self.shape, before, document)?,
                _ => None,
            };
            let change = Change {
                id: ByteString::from(if count == 1 { name.clone() } else { format!("{name}.{at}") }),
                operation: match (operation, &update) {
                    (Operation::Update, None) => Operation::Replace,
                    (operation, _) => operation,
                },
                namespace: Arc::clone(&namespace),
                key: Some(Doc::from_bytes(id.into()).map_err(|cause| cause.to_string())?),
                document,
                before,
                update,
                cluster_time: None,
                wall_time: Some(*time),
                headers: Headers::default(),
                position: Some(At { epoch: *epoch, entry: *number, part }.position()),
            };
            match made.last_mut().filter(|_| at % TOGETHER > 0) {
                Some(group) => group.push(change),
                None => made.push(vec![change]),
            }
        }
        Ok(made)
    }
}

/// The documents that a state stands for.
fn documents(shape: KeyShape, state: &Doc) -> Result<Documents, String> {
    let mut all = Documents::new();
    let id = find(state, b"_id").ok_or("a state has no `_id`")?;
    let parts = if shape == KeyShape::Member { parts(state) } else { None };
    let Some(parts) = parts else {
        let mut key = begun(id.value.len() + 16);
        element(&mut key, b"_id", Written::Raw(id.kind, id.value))?;
        all.insert(ended(key)?, state.clone());
        return Ok(all);
    };
    let vanished = find(state, VANISHED_AT);
    for (name, value) in parts.members {
        let mut inner = begun(64);
        element(&mut inner, b"key", Written::Raw(id.kind, id.value))?;
        element(&mut inner, parts.name, Written::Raw(name.kind, &name.bytes))?;
        let inner = ended(inner)?;
        let mut key = begun(inner.len() + 16);
        element(&mut key, b"_id", Written::Raw(kind::DOCUMENT, &inner))?;
        let mut document = key.clone();
        element(&mut document, b"key", Written::Raw(id.kind, id.value))?;
        element(&mut document, b"type", Written::Text(parts.of.as_str().as_bytes()))?;
        element(&mut document, parts.name, Written::Raw(name.kind, &name.bytes))?;
        if let (Some(value), Some(called)) = (value, parts.value) {
            element(&mut document, called, Written::Raw(value.kind, &value.bytes))?;
        }
        if let Some(at) = &vanished {
            element(&mut document, VANISHED_AT, Written::Raw(at.kind, at.value))?;
        }
        all.insert(ended(key)?, finished(document)?);
    }
    Ok(all)
}

/// A value as BSON.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Raw {
    kind: u8,
    bytes: Vec<u8>,
}

/// What a set, a sorted set or a hash consists of.
struct Parts {
    of: KeyType,
    /// What a member is called, and what it has.
    name: &'static [u8],
    value: Option<&'static [u8]>,
    members: BTreeMap<Raw, Option<Raw>>,
}

/// None for what has no members of their own.
fn parts(state: &Doc) -> Option<Parts> {
    let of = find(state, b"type").and_then(|each| type_of(each.value.get(4..each.value.len().checked_sub(1)?)?))?;
    let (name, value): (&'static [u8], Option<&'static [u8]>) = match of {
        KeyType::Set => (b"member", None),
        KeyType::Zset => (b"member", Some(b"score")),
        KeyType::Hash => (b"field", Some(b"value")),
        KeyType::String | KeyType::List => return None,
    };
    let raw = |kind: u8, bytes: &[u8]| Raw { kind, bytes: bytes.to_vec() };
    let all = find(state, b"value")?;
    let mut members = BTreeMap::new();
    for each in Elements::of(all.value).ok()? {
        let each = each.ok()?;
        let (member, has) = match (of, all.kind) {
            (KeyType::Set, _) => (raw(each.kind, each.value), None),
            (KeyType::Hash, kind::DOCUMENT) => {
                let length = i32::try_from(each.name.len() + 1).ok()?;
                let text = [&length.to_le_bytes(), each.name, &[0]].concat();
                (Raw { kind: kind::STRING, bytes: text }, Some(raw(each.kind, each.value)))
            }
            _ => {
                let find = |name: &[u8]| Elements::of(each.value).ok()?.find(name).ok()?;
                let (member, has) = (find(name)?, find(value?)?);
                (raw(member.kind, member.value), Some(raw(has.kind, has.value)))
            }
        };
        members.insert(member, has);
    }
    Some(Parts { of, name, value, members })
}

/// What was added to a key, what was changed in it and what was removed: `{added, changed, removed}`. None where the difference is not
/// of members.
fn difference(shape: KeyShape, before: &Doc, after: &Doc) -> Result<Option<Doc>, String> {
    if shape == KeyShape::Member {
        return Ok(None);
    }
    let (Some(was), Some(is)) = (parts(before), parts(after)) else { return Ok(None) };
    if was.of != is.of {
        return Ok(None);
    }
    let list = |members: &mut dyn Iterator<Item = (&Raw, &Option<Raw>)>| {
        let mut out = begun(64);
        for (at, (member, value)) in members.enumerate() {
            let at = at.to_string();
            let written = Written::Raw(member.kind, &member.bytes);
            match (value, is.value) {
                (Some(value), Some(called)) => {
                    let mut inner = begun(64);
                    element(&mut inner, is.name, written)?;
                    element(&mut inner, called, Written::Raw(value.kind, &value.bytes))?;
                    element(&mut out, at.as_bytes(), Written::Raw(kind::DOCUMENT, &ended(inner)?))?;
                }
                _ => element(&mut out, at.as_bytes(), written)?,
            }
        }
        ended(out)
    };
    let added = list(&mut is.members.iter().filter(|(member, _)| !was.members.contains_key(member)))?;
    let changed = list(
        &mut is.members.iter().filter(|(member, value)| was.members.get(member).is_some_and(|before| before != *value)),
    )?;
    let removed = list(&mut was.members.iter().filter(|(member, _)| !is.members.contains_key(member)))?;
    let mut out = begun(added.len() + changed.len() + removed.len() + 64);
    for (name, list) in [(&b"added"[..], added), (b"changed", changed), (b"removed", removed)] {
        element(&mut out, name, Written::Raw(kind::ARRAY, &list))?;
    }
    finished(out).map(Some)
}
