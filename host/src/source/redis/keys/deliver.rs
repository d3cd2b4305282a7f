//! Compares what keys hold with what was delivered, and cuts what differs into batches.

use std::{collections::HashMap, io};

use bytestring::ByteString;

use super::{
    super::place::partition,
    at::At,
    index::{KeyId, key_id, state_id},
    log::{Entry, Kind, Log, New},
    make::{Became, Maker},
    read::{Held, Selection},
    value::{marked, same_but_for_clocks},
};
use crate::{
    batch::{Batch, Unreadable},
    change::Change,
    config::OnVanished,
    receipt::Receipt,
    source::BatchLimits,
};

/// How keys are compared.
pub(super) struct Terms {
    pub(super) selection: Selection,
    pub(super) on_vanished: OnVanished,
    /// The scan that is going on.
    pub(super) pass: u8,
    /// Milliseconds since 1970.
    pub(super) now: i64,
}

/// What differs, written to the log.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) epoch: u32,
    pub(super) time: i64,
    pub(super) entries: Vec<Delivered>,
    /// Keys that cannot be mirrored, and why.
    pub(super) unfit: Vec<(Vec<u8>, String)>,
    /// Behind all of it.
    pub(super) last: u64,
}

/// An entry of the log, with the state before it.
pub(super) struct Delivered {
    pub(super) number: u64,
    pub(super) entry: Entry,
    pub(super) before: Option<Entry>,
}

/// Writes to the log what differs from it.
pub(super) fn compare(log: &mut Log, held: Vec<(Vec<u8>, Held)>, terms: &Terms) -> io::Result<Compared> {
    let (mut news, mut befores, mut unfit) = (Vec::new(), Vec::new(), Vec::new());
    for (key, held) in held {
        let id = key_id(&key);
        let slot = log.index.get(&id).copied();
        let (kind, document, before) = match (held, slot) {
            (Held::Nothing, None) => continue,
            (Held::Nothing, Some(slot)) if slot.marked => continue,
            (Held::Nothing, Some(slot)) => {
                let before = log.entry(&slot)?;
                let old = before.as_ref().and_then(|before| before.document.as_ref());
                match (terms.selection.has(&key), terms.on_vanished, old) {
                    (true, OnVanished::Remove, _) => (Kind::Gone, None, before),
                    (true, OnVanished::Mark, Some(old)) => {
                        let document = marked(old, terms.now).map_err(io::Error::other)?;
                        (Kind::Marked, Some(document), before)
                    }
                    _ => (Kind::Forgotten, None, before),
                }
            }
            (Held::Unfit(reason), _) => {
                see(log, &id, terms.pass);
                unfit.push((key, reason));
                continue;
            }
            (Held::Value(document), None) => (Kind::Value, Some(document), None),
            (Held::Value(document), Some(slot)) => {
                if !slot.marked && slot.state == state_id(document.as_bytes()) {
                    see(log, &id, terms.pass);
                    continue;
                }
                let before = log.entry(&slot)?;
                let old = before.as_ref().and_then(|before| before.document.as_ref());
                if !slot.marked && !slot.is_unsure() && old.is_some_and(|old| same_but_for_clocks(old, &document)) {
                    see(log, &id, terms.pass);
                    continue;
                }
                (Kind::Value, Some(document), before)
            }
        };
        news.push(New { kind, key, document });
        befores.push(before);
    }
    let first = if news.is_empty() { log.at().entry } else { log.append(&news, terms.now)? };
    let mut entries = Vec::with_capacity(news.len());
    for (number, (New { kind, key, document }, before)) in (first..).zip(news.into_iter().zip(befores)) {
        see(log, &key_id(&key), terms.pass);
        entries.push(Delivered { number, entry: Entry { kind, key, before: None, document }, before });
    }
    let At { epoch, entry: last, .. } = log.at();
    Ok(Compared { epoch, time: terms.now, entries, unfit, last })
}

fn see(log: &mut Log, id: &KeyId, pass: u8) {
    if let Some(slot) = log.index.get_mut(id) {
        slot.seen = pass;
    }
}

/// Makes batches.
pub(super) struct Cutter {
    pub(super) maker: Maker,
    pub(super) limits: BatchLimits,
    /// What was told of keys that cannot be mirrored, so that each is told once.
    pub(super) told: HashMap<KeyId, String>,
    /// Changes of before this place were given out.
    pub(super) from: Option<At>,
}

impl Cutter {
    /// The batches of what differs; each tells `receipt` its last entry when it is safe.
    pub(super) fn cut(&mut self, compared: Compared, receipt: impl Fn(u64) -> Receipt) -> Vec<Batch> {
        let Compared { epoch, time, entries, unfit, last } = compared;
        let mut batches = Vec::new();
        let (mut batch, mut size, mut entry) = (Batch::default(), 0, last);
        let mut end = |batch: &mut Batch, size: &mut usize, entry: u64| {
            let mut ended = std::mem::take(batch);
            let position = ended.changes.last().and_then(|change| change.position.clone());
            ended.position = position.or_else(|| Some(At::behind(epoch, entry).position()));
            ended.receipts.push(receipt(entry));
            *size = 0;
            batches.push(ended);
        };
        for Delivered { number, entry: what, before } in &entries {
            if what.kind == Kind::Value {
                self.told.remove(&key_id(&what.key));
            }
            let became = Became { epoch, number: *number, time, entry: what, before: before.as_ref() };
            let groups = match self.maker.changes(&became) {
                Ok(groups) => groups,
                Err(reason) => {
                    batch.unreadable.push(unreadable(&what.key, reason));
                    Vec::new()
                }
            };
            for group in groups {
                if self.is_given(group.first()) {
                    continue;
                }
                let bytes: usize = group.iter().map(Change::size).sum();
                let fits = size + bytes <= self.limits.max_bytes
                    && batch.changes.len() + group.len() <= self.limits.max_events;
                if !fits && !batch.changes.is_empty() {
                    end(&mut batch, &mut size, number - 1);
                }
                size += bytes;
                batch.changes.extend(group);
            }
            entry = *number;
        }
        for (key, reason) in unfit {
            if self.told.get(&key_id(&key)) != Some(&reason) {
                self.told.insert(key_id(&key), reason.clone());
                batch.unreadable.push(unreadable(&key, reason));
            }
        }
        if !batch.changes.is_empty() || !batch.unreadable.is_empty() {
            end(&mut batch, &mut size, entry);
        }
        batches
    }

    fn is_given(&self, change: Option<&Change>) -> bool {
        let Some(from) = self.from else { return false };
        let at = change.and_then(|change| change.position.as_ref()).and_then(At::of);
        at.is_some_and(|at| at <= from)
    }
}

fn unreadable(key: &[u8], reason: String) -> Unreadable {
    let name = partition(key);
    tracing::warn!(
        event = "source_key_unfit",
        code = crate::error::Code::KeyUnfit.as_str(),
        key = %name,
        "the key `{name}` cannot be mirrored: {reason}"
    );
    let raw = serde_json::json!({ "key": name }).to_string();
    let id = ByteString::from(format!("{name}/unfit"));
    Unreadable { id, raw, reason: format!("the key `{name}` cannot be mirrored: {reason}") }
}
