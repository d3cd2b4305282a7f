//! Plugins tested natively, on the way their batches take inside the host: every function here writes the changes
//! into a batch as the host does, calls the plugin as its exported function would, and reads the result back.
//!
//! ```
//! use tidegate_plugin::{prelude::*, testing};
//! # struct Everything;
//! # impl Plugin for Everything {
//! #     type Config = NoConfig;
//! #     fn manifest() -> Manifest { Manifest::new("everything", "1.0.0") }
//! #     fn configure(_: NoConfig) -> Result<Self, String> { Ok(Self) }
//! # }
//! # impl Validator for Everything {
//! #     fn validate(&mut self, _: &Change<'_>) -> Verdict { Verdict::Accept }
//! # }
//!
//! let mut plugin: Everything = testing::configure("{}")?;
//! let change = testing::insert("shop", "inventory").document(DocumentBuf::new().with("_id", 1));
//! assert_eq!(testing::validate(&mut plugin, &[change]), [Verdict::Accept]);
//! # Ok::<(), String>(())
//! ```

// In a guest the host gives.
#[cfg(not(target_arch = "wasm32"))]
mod given;

#[cfg(not(target_arch = "wasm32"))]
pub use given::Given;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use given::world;

use crate::arena::{self, Arena};
use crate::bindings::migrator::exports::tidegate::plugin::migrator as raw_migrator;
use crate::bindings::router::exports::tidegate::plugin::router as raw_router;
use crate::bindings::transformer::exports::tidegate::plugin::transformer as raw_transformer;
use crate::bindings::types;
use crate::bindings::validator::exports::tidegate::plugin::validator as raw_validator;
use crate::bson::{DateTime, Document, DocumentBuf};
use crate::change::{HEADER_NUMBERS, place};
use crate::{
    Destination, Migration, Migrator, Operation, Output, Plugin, Router, Routing, Transformation, Transformer,
    Validator, Verdict, Violations,
};

/// Configures a plugin with JSON, as the host does.
///
/// # Errors
/// What the operator would be shown.
pub fn configure<P: Plugin>(config: &str) -> Result<P, String> {
    crate::plugin::configure(config)
}

/// A change being made. Its key is `_id` of its document unless another is given.
#[derive(Debug, Clone)]
pub struct TestChange {
    id: String,
    operation: Operation,
    database: String,
    collection: String,
    key: Option<DocumentBuf>,
    document: Option<DocumentBuf>,
    before: Option<DocumentBuf>,
    update: Option<DocumentBuf>,
    cluster_time: u64,
    wall_time: i64,
    headers: Vec<(String, String)>,
}

/// An insert.
pub fn insert(database: &str, collection: &str) -> TestChange {
    change(Operation::Insert, database, collection)
}

/// A delete.
pub fn delete(database: &str, collection: &str) -> TestChange {
    change(Operation::Delete, database, collection)
}

/// A change of any operation.
pub fn change(operation: Operation, database: &str, collection: &str) -> TestChange {
    TestChange {
        id: "change-1".to_owned(),
        operation,
        database: database.to_owned(),
        collection: collection.to_owned(),
        key: None,
        document: None,
        before: None,
        update: None,
        cluster_time: 0,
        wall_time: 0,
        headers: Vec::new(),
    }
}

impl TestChange {
    /// Its id, `change-1` if not set.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Its document key.
    #[must_use]
    pub fn key(mut self, key: DocumentBuf) -> Self {
        self.key = Some(key);
        self
    }

    /// Its document after the change.
    #[must_use]
    pub fn document(mut self, document: DocumentBuf) -> Self {
        self.document = Some(document);
        self
    }

    /// Its document before the change.
    #[must_use]
    pub fn before(mut self, document: DocumentBuf) -> Self {
        self.before = Some(document);
        self
    }

    /// Its description of an update.
    #[must_use]
    pub fn update(mut self, description: DocumentBuf) -> Self {
        self.update = Some(description);
        self
    }

    /// Its cluster time.
    #[must_use]
    pub fn cluster_time(mut self, time: u64) -> Self {
        self.cluster_time = time;
        self
    }

    /// Its wall time.
    #[must_use]
    pub fn wall_time(mut self, time: DateTime) -> Self {
        self.wall_time = time.0;
        self
    }

    /// One more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

fn encode(changes: &[TestChange]) -> types::Batch {
    let mut arena = Arena::default();
    let mut namespaces: Vec<types::Namespace> = Vec::new();
    let mut headers = Vec::new();
    let mut raw = Vec::new();
    for change in changes {
        let known =
            namespaces.iter().position(|it| it.database == change.database && it.collection == change.collection);
        let namespace = known.unwrap_or_else(|| {
            namespaces
                .push(types::Namespace { database: change.database.clone(), collection: change.collection.clone() });
            namespaces.len() - 1
        });
        let first_header = headers.len();
        let mut own = Vec::new();
        arena.push_headers(&change.headers, &mut own);
        for header in own {
            headers.extend([header.name.offset, header.name.length, header.value.offset, header.value.length]);
        }
        let id = change.document.as_ref().and_then(|document| document.as_document().get("_id"));
        let key = change.key.clone().or_else(|| Some(DocumentBuf::new().with("_id", id?)));
        let mut document = |it: &Option<DocumentBuf>| it.as_ref().map_or(Arena::ABSENT, |it| arena.push(it.as_bytes()));
        let (key, after) = (document(&key), document(&change.document));
        let (before, update) = (document(&change.before), document(&change.update));
        let id = arena.push(change.id.as_bytes());
        let mut numbers = [0; place::COUNT as usize];
        for (at, span) in [
            (place::ID, id),
            (place::KEY, key),
            (place::DOCUMENT, after),
            (place::BEFORE, before),
            (place::UPDATE, update),
        ] {
            numbers[at] = span.offset;
            numbers[at + 1] = span.length;
        }
        numbers[place::OPERATION] = change.operation.number();
        numbers[place::NAMESPACE] = arena::count(namespace);
        for (at, wide) in
            [(place::CLUSTER_TIME, change.cluster_time), (place::WALL_TIME, change.wall_time.cast_unsigned())]
        {
            numbers[at] = (wide & 0xffff_ffff) as u32;
            numbers[at + 1] = (wide >> 32) as u32;
        }
        numbers[place::HEADERS] = arena::count(first_header / HEADER_NUMBERS);
        numbers[place::HEADERS + 1] = arena::count((headers.len() - first_header) / HEADER_NUMBERS);
        raw.extend(numbers);
    }
    types::Batch { arena: arena.into_bytes(), namespaces, headers, stride: place::COUNT, changes: raw }
}

fn document(arena: &[u8], span: types::Span) -> Option<DocumentBuf> {
    arena::bytes(arena, span).map(|bytes| Document::new(bytes).into())
}

fn text(arena: &[u8], span: types::Span) -> Option<String> {
    arena::text(arena, span).map(str::to_owned)
}

fn headers(arena: &[u8], list: &[types::Header], range: types::Range) -> Vec<(String, String)> {
    let entries = arena::entries(list, range).iter();
    entries.filter_map(|header| Some((text(arena, header.name)?, text(arena, header.value)?))).collect()
}

/// What a validator says of these changes.
pub fn validate<P: Validator>(plugin: &mut P, changes: &[TestChange]) -> Vec<Verdict> {
    let verdicts = crate::validator::run(plugin, &encode(changes));
    let verdict = |raw| match raw {
        raw_validator::Verdict::Accept => Verdict::Accept,
        raw_validator::Verdict::Reject(list) => {
            let mut violations = Violations::new();
            for violation in list {
                violations.add(violation.path, violation.message);
            }
            Verdict::Reject(violations)
        }
    };
    verdicts.into_iter().map(verdict).collect()
}

/// What a migrator makes of these changes.
pub fn migrate<P: Migrator>(plugin: &mut P, changes: &[TestChange]) -> Vec<Result<Migration, String>> {
    let raw_migrator::MigratedBatch { arena, outcomes } = crate::migrator::run(plugin, &encode(changes));
    let migration = |raw| match raw {
        raw_migrator::Outcome::Unchanged(version) => {
            Ok(Migration::Unchanged { version: text(&arena, version).map(Into::into) })
        }
        raw_migrator::Outcome::Migrated(it) => Ok(Migration::migrated(
            document(&arena, it.document).unwrap_or_default(),
            text(&arena, it.from_version).unwrap_or_default(),
            text(&arena, it.to_version).unwrap_or_default(),
        )),
        raw_migrator::Outcome::Failed(reason) => Err(reason),
    };
    outcomes.into_iter().map(migration).collect()
}

/// Where a router sends these changes.
pub fn route<P: Router>(plugin: &mut P, changes: &[TestChange]) -> Vec<Result<Routing, String>> {
    let raw_router::RoutedBatch { arena, attributes, destinations, decisions } =
        crate::router::run(plugin, &encode(changes));
    let destination = |raw: &raw_router::Destination| Destination {
        sink: text(&arena, raw.sink),
        target: text(&arena, raw.target),
        ordering_key: text(&arena, raw.ordering_key),
        attributes: headers(&arena, &attributes, raw.attributes),
    };
    let routing = |raw| match raw {
        raw_router::Decision::Deliver(range) => {
            Ok(arena::entries(&destinations, range).iter().map(destination).collect())
        }
        raw_router::Decision::Failed(reason) => Err(reason),
    };
    decisions.into_iter().map(routing).collect()
}

/// What a transformer makes of these changes. Operation and namespace of the outputs are always filled in.
pub fn transform<P: Transformer>(plugin: &mut P, changes: &[TestChange]) -> Vec<Result<Transformation, String>> {
    let batch = crate::transformer::run(plugin, &encode(changes));
    let output = |raw: &raw_transformer::Output| Output {
        operation: Some(Operation::of_number(raw.operation as u32)),
        namespace: batch
            .namespaces
            .get(raw.namespace as usize)
            .map(|namespace| (namespace.database.clone(), namespace.collection.clone())),
        key: document(&batch.arena, raw.key),
        document: document(&batch.arena, raw.document),
        headers: headers(&batch.arena, &batch.headers, raw.headers),
    };
    let transformation = |raw: &raw_transformer::ResultOfChange| match raw {
        raw_transformer::ResultOfChange::Unchanged => Ok(Transformation::Unchanged),
        raw_transformer::ResultOfChange::Changes(range) => {
            Ok(Transformation::Changes(arena::entries(&batch.outputs, *range).iter().map(output).collect()))
        }
        raw_transformer::ResultOfChange::Failed(reason) => Err(reason.clone()),
    };
    batch.results.iter().map(transformation).collect()
}
