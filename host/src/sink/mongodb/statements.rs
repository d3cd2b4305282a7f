//! Changes as write commands.

use std::collections::HashMap;

use bson::{
    cstr,
    raw::{RawArrayBuf, RawBsonRef, RawDocumentBuf},
};

use crate::{
    batch::Delivery,
    change::Operation,
    config::{MongodbSinkConfig, WriteMode},
};

/// The commands for a part of a batch. Commands on different documents may run in any order, so each collection has one command
/// of each kind.
#[derive(Default)]
pub(super) struct Statements {
    pub(super) commands: Vec<Command>,
}

/// One command on one collection.
pub(super) struct Command {
    pub(super) database: String,
    pub(super) collection: String,
    kind: Kind,
    items: RawArrayBuf,
    /// Which delivery each item is of.
    pub(super) deliveries: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Insert,
    Update,
    Delete,
}

/// Why a delivery can never be written.
pub(super) struct Unfit {
    pub(super) delivery: usize,
    pub(super) reason: String,
}

impl Command {
    /// The command itself.
    pub(super) fn document(&self, majority: bool) -> bson::error::Result<RawDocumentBuf> {
        let (name, items) = match self.kind {
            Kind::Insert => (cstr!("insert"), cstr!("documents")),
            Kind::Update => (cstr!("update"), cstr!("updates")),
            Kind::Delete => (cstr!("delete"), cstr!("deletes")),
        };
        let mut command = RawDocumentBuf::new();
        command.append(name, self.collection.as_str());
        command.append(cstr!("ordered"), true);
        command.append(items, RawBsonRef::Array(&self.items));
        if majority {
            let mut concern = RawDocumentBuf::new();
            concern.append(cstr!("w"), "majority");
            concern.append(cstr!("j"), true);
            command.append(cstr!("writeConcern"), concern);
        }
        Ok(command)
    }
}

/// Database and collection of a delivery.
pub(super) fn target<'a>(config: &'a MongodbSinkConfig, delivery: &Delivery<'a>) -> (&'a str, &'a str) {
    let namespace = &delivery.change.namespace;
    let database = config.database.as_deref().unwrap_or(namespace.database());
    let chosen = delivery.target().or(config.collection.as_deref());
    (database, chosen.unwrap_or(namespace.collection()))
}

impl Statements {
    /// The commands for these deliveries. Of several changes of one document only the last is written: the others would be
    /// overwritten before anybody could see them. What is late replaces and deletes nothing.
    pub(super) fn new(
        config: &MongodbSinkConfig,
        late: bool,
        pending: &[(usize, Delivery<'_>)],
    ) -> Result<Self, Vec<Unfit>> {
        let mut unfit = Vec::new();
        let mut statements = Self::default();
        let mut last: HashMap<(&str, &str, &[u8]), usize> = HashMap::new();
        if config.mode == WriteMode::Replace {
            last.reserve(pending.len());
            for (index, delivery) in pending {
                if let Some(key) = &delivery.change.key {
                    let (database, collection) = target(config, delivery);
                    last.insert((database, collection, key.as_bytes()), *index);
                }
            }
        }
        for (index, delivery) in pending {
            let (database, collection) = target(config, delivery);
            if database.is_empty() || collection.is_empty() {
                let reason = "it names no database and collection to write to".to_owned();
                unfit.push(Unfit { delivery: *index, reason });
                continue;
            }
            let item = match config.mode {
                WriteMode::Append => journal(delivery).map(|item| Some((Kind::Insert, item))),
                WriteMode::Replace => {
                    let key = delivery.change.key.as_ref();
                    if key.is_some_and(|key| last.get(&(database, collection, key.as_bytes())) != Some(index)) {
                        continue;
                    }
                    replacement(delivery, late)
                }
            };
            match item {
                Ok(Some((kind, item))) => statements.command(database, collection, kind).push(*index, item),
                Ok(None) => {}
                Err(reason) => unfit.push(Unfit { delivery: *index, reason }),
            }
        }
        if unfit.is_empty() { Ok(statements) } else { Err(unfit) }
    }

    fn command(&mut self, database: &str, collection: &str, kind: Kind) -> &mut Command {
        let found = self.commands.iter().rposition(|command| {
            command.kind == kind && command.collection == collection && command.database == database
        });
        let at = found.unwrap_or_else(|| {
            self.commands.push(Command {
                database: database.to_owned(),
                collection: collection.to_owned(),
                kind,
                items: RawArrayBuf::new(),
                deliveries: Vec::new(),
            });
            self.commands.len() - 1
        });
        // It was just found or added.
        self.commands.get_mut(at).unwrap_or_else(|| unreachable!())
    }
}

impl Command {
    fn push(&mut self, delivery: usize, item: RawDocumentBuf) {
        self.items.push(item);
        self.deliveries.push(delivery);
    }
}

/// What makes the target's document the same as the source's; none for an update whose document is gone: the delete follows.
fn replacement(delivery: &Delivery<'_>, late: bool) -> Result<Option<(Kind, RawDocumentBuf)>, String> {
    let change = delivery.change;
    let Some(key) = &change.key else {
        return Err(
            "it has no key, and a document is written by its key; use `mode: append` for such changes".to_owned()
        );
    };
    let mut item = RawDocumentBuf::new();
    item.append(cstr!("q"), RawBsonRef::Document(key.as_raw()));
    match (&change.document, change.operation) {
        (_, Operation::Delete) if late => {
            Err("it is a delete of long ago, and the document may be there again; --overwrite deletes it".to_owned())
        }
        (_, Operation::Delete) => {
            item.append(cstr!("limit"), 1_i32);
            Ok(Some((Kind::Delete, item)))
        }
        (Some(document), _) if late => Ok(Some((Kind::Insert, document.as_raw().to_owned()))),
        (Some(document), _) => {
            item.append(cstr!("u"), RawBsonRef::Document(document.as_raw()));
            item.append(cstr!("upsert"), true);
            Ok(Some((Kind::Update, item)))
        }
        (None, Operation::Update) => Ok(None),
        (None, operation) => Err(format!("it is a {operation} without a document")),
    }
}

/// A change as a document of its own.
fn journal(delivery: &Delivery<'_>) -> Result<RawDocumentBuf, String> {
    let change = delivery.change;
    let mut item = RawDocumentBuf::new();
    item.append(cstr!("id"), &*change.id);
    item.append(cstr!("op"), change.operation.as_str());
    item.append(cstr!("ns"), change.namespace.as_str());
    for (name, document) in
        [(cstr!("key"), &change.key), (cstr!("doc"), &change.document), (cstr!("update"), &change.update)]
    {
        if let Some(document) = document {
            item.append(name, RawBsonRef::Document(document.as_raw()));
        }
    }
    if let Some(time) = change.cluster_time {
        let time = bson::Timestamp { time: (time >> 32) as u32, increment: (time & u64::from(u32::MAX)) as u32 };
        item.append(cstr!("cluster_time"), time);
    }
    if let Some(wall) = change.wall_time {
        item.append(cstr!("wall_time"), bson::DateTime::from_millis(wall));
    }
    let mut headers = RawDocumentBuf::new();
    for (name, value) in delivery.headers() {
        let name = bson::raw::CString::try_from(name.to_owned())
            .map_err(|_| format!("the name of its header `{}` holds a NUL", name.escape_debug()))?;
        headers.append(name, value);
    }
    if !headers.is_empty() {
        item.append(cstr!("headers"), headers);
    }
    Ok(item)
}
