//! Asks for entries, and makes batches of them.

use std::{collections::VecDeque, time::Duration};

use redis::Value;
use tokio::time::Instant;

use super::{
    Got, LONGEST_WAIT, RedisSource, Stream, Task,
    group::{self, Group},
    not_open,
    place::{EntryId, Place},
    rules::{Entry, Fields, Rules},
};
use crate::{
    batch::{Batch, Unreadable},
    error::{Code, Fault},
    source::BatchLimits,
};

impl RedisSource {
    /// Starts what brings the next entries.
    pub(super) async fn start_reading(&mut self) -> Result<(), Fault> {
        let mut connection = self.reader.connection().await?;
        let Some(open) = &mut self.open else { return Err(not_open()) };
        let now = Instant::now();
        let wait = LONGEST_WAIT.min(self.config.timeout.0 / 2).min(open.look_at.saturating_duration_since(now));
        let wait = wait.max(Duration::from_millis(1));
        if open.streams.is_empty() {
            open.reading = Some(Task(tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                Ok(Got::Read(Value::Nil))
            })));
            return Ok(());
        }
        if let Some(group) = &mut self.group
            && now >= group.claim_at
        {
            group.claim_at = now + group.claim_every();
            let (config, keys) = (group.config.clone(), open.streams.keys().cloned().collect::<Vec<_>>());
            open.reading = Some(Task(tokio::spawn(async move {
                group::claim(&mut connection, &config, &keys).await.map(Got::Claimed)
            })));
            return Ok(());
        }
        let mut read = match &self.group {
            Some(group) => group.read(),
            None => redis::cmd("XREAD"),
        };
        read.arg("COUNT").arg(open.count).arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        read.arg("STREAMS");
        for key in open.streams.keys() {
            read.arg(key.as_slice());
        }
        for stream in open.streams.values() {
            match (&self.group, stream.pending) {
                (None, _) => read.arg(stream.place.id.to_string()),
                (Some(_), Some(from)) => read.arg(from.to_string()),
                (Some(_), None) => read.arg(">"),
            };
        }
        open.reading = Some(Task(tokio::spawn(async move { read.query_async(&mut connection).await.map(Got::Read) })));
        Ok(())
    }

    /// Makes batches of what was read.
    pub(super) fn take(&mut self, got: Got) -> Result<(), Fault> {
        let strange = |place: &str| {
            Fault::transient(
                Code::RedisError,
                format!("Redis at {place} answered to a read with something else than entries"),
            )
        };
        let Some(open) = &mut self.open else { return Err(not_open()) };
        let parts: Vec<(Vec<u8>, Value, bool)> = match got {
            Got::Read(Value::Nil) => {
                (self.hooks.on_caught_up)();
                Vec::new()
            }
            Got::Read(Value::Array(streams)) => {
                let mut parts = Vec::with_capacity(streams.len());
                for stream in streams {
                    match stream {
                        Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
                            Ok([Value::BulkString(key), entries]) => parts.push((key, entries, true)),
                            _ => return Err(strange(self.reader.place())),
                        },
                        _ => return Err(strange(self.reader.place())),
                    }
                }
                parts
            }
            Got::Claimed(claimed) => claimed.into_iter().map(|(key, entries)| (key, entries, false)).collect(),
            Got::Read(_) => return Err(strange(self.reader.place())),
        };
        let (mut entries_read, mut bytes_read, streams_read) = (0, 0, parts.len());
        for (key, entries, in_order) in parts {
            let Value::Array(entries) = entries else { return Err(strange(self.reader.place())) };
            let Some(stream) = open.streams.get_mut(&key) else { continue };
            if in_order && entries.is_empty() {
                // Nothing is pending any more.
                stream.pending = None;
            }
            let mut cutter = Cutter {
                rules: &self.rules,
                limits: &self.limits,
                key: &key,
                stream,
                group: self.group.as_mut(),
                ready: &mut open.ready,
                batch: Batch::default(),
                ids: Vec::new(),
                size: 0,
            };
            for entry in entries {
                let Some((id, fields)) = entry_of(entry) else { return Err(strange(self.reader.place())) };
                entries_read += 1;
                bytes_read += fields.as_ref().map_or(0, Fields::size);
                cutter.add(id, fields, in_order);
            }
            cutter.cut();
        }
        if let Some(average) = bytes_read.checked_div(entries_read) {
            // Two batches' worth of bytes at once, whatever the size of an entry.
            let fits = 2 * self.limits.max_bytes / (average + 1) / streams_read.max(1);
            open.count = u64::try_from(fits).unwrap_or(u64::MAX).clamp(1, self.config.count.into());
        }
        Ok(())
    }
}

/// Cuts what was read of one stream into batches.
struct Cutter<'a> {
    rules: &'a Rules,
    limits: &'a BatchLimits,
    key: &'a [u8],
    stream: &'a mut Stream,
    group: Option<&'a mut Group>,
    ready: &'a mut VecDeque<Batch>,
    batch: Batch,
    /// Entries of the batch that are to be acknowledged.
    ids: Vec<EntryId>,
    size: usize,
}

impl Cutter<'_> {
    /// Adds an entry; one without fields was deleted while it was pending.
    fn add(&mut self, id: EntryId, fields: Option<Fields>, in_order: bool) {
        if let Some(group) = &self.group {
            if let Some(pending) = self.stream.pending.as_mut().filter(|_| in_order) {
                *pending = id;
            }
            if group.has(self.key, id) {
                return;
            }
            self.ids.push(id);
        } else {
            self.stream.place.step(id);
        }
        let Some(fields) = fields else { return };
        let name = &self.stream.partition;
        let Stream { namespace, place, .. } = &*self.stream;
        let entry = Entry { id, fields: &fields, namespace, partition: name, epoch: place.epoch };
        match self.rules.change(entry) {
            Ok(mut change) => {
                if self.group.is_none() {
                    change.position = Some(Place { ordinal: None, ..self.stream.place }.position());
                }
                self.size += change.size();
                // A change of a collection stands in a batch of its own.
                let alone = change.operation.is_ddl();
                if alone {
                    self.cut_before(id);
                }
                self.batch.changes.push(change);
                if alone {
                    return self.cut();
                }
            }
            Err(reason) => {
                let raw = fields.to_json(self.key, id);
                self.size += raw.len();
                let reason = format!("the entry {id} of the stream `{name}` is no change: {reason}");
                self.batch.unreadable.push(Unreadable { id: entry.change_id(), raw, reason });
            }
        }
        let count = self.batch.changes.len() + self.batch.unreadable.len();
        if count >= self.limits.max_events || self.size >= self.limits.max_bytes {
            self.cut();
        }
    }

    /// Ends the batch before the entry that was just begun.
    fn cut_before(&mut self, id: EntryId) {
        let last = self.batch.changes.last().and_then(|change| change.position.clone());
        if self.batch.changes.is_empty() && self.batch.unreadable.is_empty() {
            return;
        }
        let own = self.ids.pop_if(|last| *last == id);
        let mut batch = std::mem::take(&mut self.batch);
        batch.position = last;
        self.push(batch);
        self.ids.extend(own);
    }

    /// Ends the batch.
    fn cut(&mut self) {
        if self.batch.changes.is_empty() && self.batch.unreadable.is_empty() && self.ids.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.position = self.group.is_none().then(|| self.stream.place.position());
        self.push(batch);
    }

    fn push(&mut self, mut batch: Batch) {
        self.size = 0;
        match &mut self.group {
            Some(group) => batch.receipts.push(group.receipt(self.key, std::mem::take(&mut self.ids))),
            None => batch.partition = self.stream.partition.clone(),
        }
        self.ready.push_back(batch);
    }
}

/// The id and the fields of an entry.
fn entry_of(entry: Value) -> Option<(EntryId, Option<Fields>)> {
    let Value::Array(pair) = entry else { return None };
    let [Value::BulkString(id), fields] = <[Value; 2]>::try_from(pair).ok()? else { return None };
    let id = EntryId::parse(&id)?;
    match fields {
        Value::Nil => Some((id, None)),
        fields => Some((id, Some(Fields::new(fields)?))),
    }
}
