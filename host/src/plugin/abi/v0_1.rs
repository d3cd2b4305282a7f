//! `tidegate:plugin@0.1.0`.

mod granted;
mod weigh;

use std::{fmt::Display, sync::Arc};

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;
use wasmtime::{
    Store,
    component::{Component, HasSelf, Instance, InstancePre, Linker},
};

use super::{
    Encoding, Manifest, Outcome, Role, Violation,
    texts::{cut_outcome, quoted},
};
use crate::{
    batch::Destination,
    change::{Change, Doc, Header, Headers, Namespace, Operation},
    format::{check::check_document, elements::Malformed, json, keep},
    plugin::context::Context,
};

mod bindings {
    //! One set of bindings for each role; the types they share are those of the first.
    pub(super) mod validator {
        wasmtime::component::bindgen!({ path: "../wit", world: "validator-plugin" });
    }
    pub(super) mod migrator {
        wasmtime::component::bindgen!({
            path: "../wit",
            world: "migrator-plugin",
            with: {
                "tidegate:plugin/types": super::validator::tidegate::plugin::types,
                "tidegate:plugin/log": super::validator::tidegate::plugin::log,
                "tidegate:plugin/metrics": super::validator::tidegate::plugin::metrics,
            },
        });
    }
    pub(super) mod router {
        wasmtime::component::bindgen!({
            path: "../wit",
            world: "router-plugin",
            with: {
                "tidegate:plugin/types": super::validator::tidegate::plugin::types,
                "tidegate:plugin/log": super::validator::tidegate::plugin::log,
                "tidegate:plugin/metrics": super::validator::tidegate::plugin::metrics,
            },
        });
    }
    pub(super) mod transformer {
        wasmtime::component::bindgen!({
            path: "../wit",
            world: "transformer-plugin",
            with: {
                "tidegate:plugin/types": super::validator::tidegate::plugin::types,
                "tidegate:plugin/log": super::validator::tidegate::plugin::log,
                "tidegate:plugin/metrics": super::validator::tidegate::plugin::metrics,
            },
        });
    }
    /// What a plugin that wants JSON exports besides.
    pub(super) mod documents {
        wasmtime::component::bindgen!({ path: "../wit", world: "json-documents" });
    }
}

use bindings::{
    documents::exports::tidegate::plugin::documents as wd,
    migrator::exports::tidegate::plugin::migrator as wm,
    router::exports::tidegate::plugin::router as wr,
    transformer::exports::tidegate::plugin::transformer as wt,
    validator::{
        exports::tidegate::plugin::validator as wv,
        tidegate::plugin::{log, metrics, types},
    },
};

/// Names of the interfaces that make a component a plugin of this version.
const PLUGIN: &str = "tidegate:plugin/plugin@0.1.0";
const DOCUMENTS: &str = "tidegate:plugin/documents@0.1.0";
const fn interface(role: Role) -> &'static str {
    match role {
        Role::Validator => "tidegate:plugin/validator@0.1.0",
        Role::Migrator => "tidegate:plugin/migrator@0.1.0",
        Role::Transformer => "tidegate:plugin/transformer@0.1.0",
        Role::Router => "tidegate:plugin/router@0.1.0",
    }
}

/// Links the host's interfaces.
pub(in crate::plugin) fn link(linker: &mut Linker<Context>) -> wasmtime::Result<()> {
    log::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)?;
    metrics::add_to_linker::<Context, HasSelf<Context>>(linker, |context| context)?;
    granted::link(linker)
}

impl log::Host for Context {
    fn log(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Trace => tracing::Level::TRACE,
            log::Level::Debug => tracing::Level::DEBUG,
            log::Level::Info => tracing::Level::INFO,
            log::Level::Warn => tracing::Level::WARN,
            log::Level::Error => tracing::Level::ERROR,
        };
        self.voice.say(level, &message);
    }
}

impl metrics::Host for Context {
    fn count(&mut self, name: String, add: u64) {
        if !self.voice.identity.metrics.count(&name, add) {
            self.voice.identity.metrics.log_lines_dropped.inc();
        }
    }

    fn gauge(&mut self, name: String, value: f64) {
        if !self.voice.identity.metrics.gauge(&name, value) {
            self.voice.identity.metrics.log_lines_dropped.inc();
        }
    }
}

/// The roles a component has, with what is needed to find them in an instance quickly.
pub(in crate::plugin) struct RoleTypes {
    lifecycle: bindings::validator::exports::tidegate::plugin::plugin::GuestIndices,
    documents: Option<wd::GuestIndices>,
    validator: Option<wv::GuestIndices>,
    migrator: Option<wm::GuestIndices>,
    transformer: Option<wt::GuestIndices>,
    router: Option<wr::GuestIndices>,
}

impl RoleTypes {
    /// Reads the roles from the component's type.
    ///
    /// # Errors
    /// In words for the operator: what the component exports does not fit the contract.
    pub(in crate::plugin) fn of(pre: &InstancePre<Context>) -> Result<Self, String> {
        fn indices<T>(
            component: &Component,
            name: &str,
            find: impl FnOnce() -> wasmtime::Result<T>,
        ) -> Result<Option<T>, String> {
            if component.get_export_index(None, name).is_none() {
                return Ok(None);
            }
            find().map(Some).map_err(|cause| format!("its export `{name}` does not fit the contract: {cause:#}"))
        }
        let component = pre.component();
        let lifecycle = indices(component, PLUGIN, || {
            bindings::validator::exports::tidegate::plugin::plugin::GuestIndices::new(pre)
        })?
        .ok_or_else(|| format!("it does not export `{PLUGIN}`, which every plugin has"))?;
        let roles = Self {
            lifecycle,
            documents: indices(component, DOCUMENTS, || wd::GuestIndices::new(pre))?,
            validator: indices(component, interface(Role::Validator), || wv::GuestIndices::new(pre))?,
            migrator: indices(component, interface(Role::Migrator), || wm::GuestIndices::new(pre))?,
            transformer: indices(component, interface(Role::Transformer), || wt::GuestIndices::new(pre))?,
            router: indices(component, interface(Role::Router), || wr::GuestIndices::new(pre))?,
        };
        if roles.list().is_empty() {
            return Err(format!(
                "it exports no role; a plugin exports at least one of {}",
                Role::ALL.map(interface).join(", ")
            ));
        }
        Ok(roles)
    }

    /// The roles, in the order they are run in.
    pub(in crate::plugin) fn list(&self) -> Vec<Role> {
        Role::ALL
            .into_iter()
            .filter(|role| match role {
                Role::Validator => self.validator.is_some(),
                Role::Migrator => self.migrator.is_some(),
                Role::Transformer => self.transformer.is_some(),
                Role::Router => self.router.is_some(),
            })
            .collect()
    }

    /// Finds the functions in an instance.
    pub(in crate::plugin) fn load(&self, store: &mut Store<Context>, instance: &Instance) -> wasmtime::Result<Roles> {
        Ok(Roles {
            lifecycle: self.lifecycle.load(&mut *store, instance)?,
            documents: self.documents.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
            validator: self.validator.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
            migrator: self.migrator.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
            transformer: self.transformer.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
            router: self.router.as_ref().map(|indices| indices.load(&mut *store, instance)).transpose()?,
        })
    }
}

/// The functions of one instance.
pub(in crate::plugin) struct Roles {
    lifecycle: bindings::validator::exports::tidegate::plugin::plugin::Guest,
    documents: Option<wd::Guest>,
    validator: Option<wv::Guest>,
    migrator: Option<wm::Guest>,
    transformer: Option<wt::Guest>,
    router: Option<wr::Guest>,
}

pub(in crate::plugin) fn manifest(roles: &Roles, store: &mut Store<Context>) -> wasmtime::Result<Manifest> {
    let manifest = roles.lifecycle.call_manifest(&mut *store)?;
    let encoding = match roles.documents.as_ref().map(|documents| documents.call_encoding(store)).transpose()? {
        None | Some(wd::Form::Bson) => Encoding::Bson,
        Some(wd::Form::Json) => Encoding::Json,
    };
    Ok(Manifest {
        encoding,
        name: manifest.name,
        version: manifest.version,
        description: manifest.description,
        config_schema: manifest.config_schema,
    })
}

pub(in crate::plugin) fn configure(
    roles: &Roles,
    store: &mut Store<Context>,
    config: &str,
) -> wasmtime::Result<Result<(), String>> {
    roles.lifecycle.call_configure(store, config)
}

/// A batch on its way to a guest. Kept from call to call, so that its buffers are allocated once.
pub(in crate::plugin) struct Call {
    batch: types::Batch,
    /// The namespaces of the batch, in the order of its list.
    known: Vec<Arc<Namespace>>,
    encoding: Encoding,
}

impl Call {
    /// For a plugin that wants documents so.
    pub(in crate::plugin) fn new(encoding: Encoding) -> Self {
        let batch =
            types::Batch { arena: vec![], namespaces: vec![], headers: vec![], stride: STRIDE, changes: vec![] };
        Self { batch, known: vec![], encoding }
    }

    /// Puts the changes into the arena.
    fn encode<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> Result<(), Malformed> {
        let encoding = self.encoding;
        let types::Batch { arena, namespaces, headers, changes: list, .. } = &mut self.batch;
        arena.clear();
        namespaces.clear();
        headers.clear();
        list.clear();
        self.known.clear();
        let put = |arena: &mut Vec<u8>, bytes: &[u8]| {
            let offset = arena.len();
            arena.extend_from_slice(bytes);
            [narrow(offset), narrow(bytes.len())]
        };
        for change in changes {
            let namespace =
                self.known.iter().position(|known| Arc::ptr_eq(known, &change.namespace)).unwrap_or_else(|| {
                    self.known.push(Arc::clone(&change.namespace));
                    namespaces.push(types::Namespace {
                        database: change.namespace.database().to_owned(),
                        collection: change.namespace.collection().to_owned(),
                    });
                    self.known.len() - 1
                });
            let first = headers.len() / 4;
            for Header { name, value } in change.headers.iter() {
                headers.extend(put(arena, name.as_bytes()));
                headers.extend(put(arena, value.as_bytes()));
            }
            let [id, id_length] = put(arena, change.id.as_bytes());
            let mut document = |doc: &Option<Doc>| match (doc, encoding) {
                (None, _) => Ok([0, 0]),
                (Some(doc), Encoding::Bson) => Ok(put(arena, doc.as_bytes())),
                (Some(doc), Encoding::Json) => {
                    let offset = arena.len();
                    json::write_document(arena, doc.as_bytes(), json::Style::Interchange)?;
                    Ok([narrow(offset), narrow(arena.len() - offset)])
                }
            };
            let [key, key_length] = document(&change.key)?;
            let [after, after_length] = document(&change.document)?;
            let [before, before_length] = document(&change.before)?;
            let [update, update_length] = document(&change.update)?;
            let [cluster_low, cluster_high] = halves(change.cluster_time.unwrap_or(0));
            let [wall_low, wall_high] = halves(change.wall_time.unwrap_or(0).cast_unsigned());
            // The order is that of the table in wit/types.wit.
            let numbers: [u32; STRIDE as usize] = [
                id,
                id_length,
                number_of(change.operation),
                narrow(namespace),
                key,
                key_length,
                after,
                after_length,
                before,
                before_length,
                update,
                update_length,
                cluster_low,
                cluster_high,
                wall_low,
                wall_high,
                narrow(first),
                narrow(headers.len() / 4 - first),
            ];
            list.extend_from_slice(&numbers);
        }
        Ok(())
    }
}

/// How many numbers make a change.
const STRIDE: u32 = 18;

/// The lower and the upper half.
fn halves(number: u64) -> [u32; 2] {
    [(number & 0xffff_ffff) as u32, (number >> 32) as u32]
}

/// Batches are bounded far below 4 GiB; a span that did not fit would be out of the guest's arena, and an error there.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// As the enum `operation` of the contract numbers them. What is no change of a document is given to no plugin
/// ([`When::matches`](crate::plugin::when::When::matches)); the contract has no number for it.
const fn number_of(operation: Operation) -> u32 {
    match operation {
        Operation::Insert => 0,
        Operation::Update => 1,
        Operation::Replace => 2,
        Operation::Delete => 3,
        Operation::Read => 4,
        Operation::Create
        | Operation::Drop
        | Operation::Rename
        | Operation::DropDatabase
        | Operation::CreateIndexes
        | Operation::DropIndexes
        | Operation::Modify => u32::MAX,
    }
}

const fn from_wit(operation: types::Operation) -> Operation {
    match operation {
        types::Operation::Insert => Operation::Insert,
        types::Operation::Update => Operation::Update,
        types::Operation::Replace => Operation::Replace,
        types::Operation::Delete => Operation::Delete,
        types::Operation::Read => Operation::Read,
    }
}

/// Why a call as a whole is of no use.
pub(in crate::plugin) enum CallError {
    /// The guest trapped, ran out of something, or wasmtime refused what it returned.
    Trap(wasmtime::Error),
    /// It returned as many results as it should not have.
    Count {
        /// How many there were.
        got: usize,
        /// How many changes there were.
        expected: usize,
    },
    /// It returned more bytes than it may.
    Output(usize),
    /// What it returned stands for more than it may, since parts of it are referred to again and again.
    Weight,
    /// A document cannot be written as JSON, which the plugin wants.
    Unwritable(Malformed),
}

/// Calls one role with some changes, and reads what it made of each.
pub(in crate::plugin) fn call(
    roles: &Roles,
    role: Role,
    store: &mut Store<Context>,
    buffers: &mut Call,
    changes: &[&Change],
    sinks: &[String],
    output_limit: usize,
) -> Result<Vec<Outcome>, CallError> {
    buffers.encode(changes.iter().copied()).map_err(CallError::Unwritable)?;
    let encoding = buffers.encoding;
    let batch = &buffers.batch;
    let count = |got: usize| match got == changes.len() {
        true => Ok(()),
        false => Err(CallError::Count { got, expected: changes.len() }),
    };
    let missing = || CallError::Trap(wasmtime::Error::msg(format!("it is no {}", role.as_str())));
    let outcomes: Vec<Outcome> = match role {
        Role::Validator => {
            let guest = roles.validator.as_ref().ok_or_else(missing)?;
            let verdicts = guest.call_validate(store, batch).map_err(CallError::Trap)?;
            count(verdicts.len())?;
            weigh::verdicts(&verdicts, output_limit)?;
            verdicts.into_iter().map(read_verdict).collect()
        }
        Role::Migrator => {
            let guest = roles.migrator.as_ref().ok_or_else(missing)?;
            let result = guest.call_migrate(store, batch).map_err(CallError::Trap)?;
            count(result.outcomes.len())?;
            within(result.arena.len(), output_limit)?;
            weigh::migrations(&result, output_limit)?;
            let arena = Arena { bytes: result.arena.into(), encoding };
            let outcomes = result.outcomes.into_iter().zip(changes);
            outcomes.map(|(outcome, change)| read_migration(&arena, outcome, change)).collect()
        }
        Role::Transformer => {
            let guest = roles.transformer.as_ref().ok_or_else(missing)?;
            let mut result = guest.call_transform(store, batch).map_err(CallError::Trap)?;
            count(result.results.len())?;
            within(result.arena.len() + result.outputs.len() * size_of::<wt::Output>(), output_limit)?;
            weigh::outputs(&result, changes, output_limit)?;
            let results = std::mem::take(&mut result.results);
            let reader = Outputs {
                arena: Arena { bytes: result.arena.into(), encoding },
                namespaces: result.namespaces.iter().map(read_namespace).collect(),
                headers: result.headers,
                outputs: result.outputs,
            };
            results.into_iter().zip(changes).map(|(result, change)| reader.read(result, change)).collect()
        }
        Role::Router => {
            let guest = roles.router.as_ref().ok_or_else(missing)?;
            let mut result = guest.call_route(store, batch).map_err(CallError::Trap)?;
            count(result.decisions.len())?;
            within(result.arena.len() + result.destinations.len() * size_of::<wr::Destination>(), output_limit)?;
            weigh::destinations(&result, output_limit)?;
            let decisions = std::mem::take(&mut result.decisions);
            let reader = Destinations {
                arena: Arena { bytes: result.arena.into(), encoding },
                attributes: result.attributes,
                destinations: result.destinations,
                sinks,
            };
            decisions.into_iter().map(|decision| reader.read(decision)).collect()
        }
    };
    Ok(outcomes.into_iter().map(cut_outcome).collect())
}

fn within(bytes: usize, limit: usize) -> Result<(), CallError> {
    if bytes > limit { Err(CallError::Output(bytes)) } else { Ok(()) }
}

fn read_verdict(verdict: wv::Verdict) -> Outcome {
    match verdict {
        wv::Verdict::Accept => Outcome::Unchanged,
        wv::Verdict::Reject(violations) => Outcome::Rejected(
            violations
                .into_iter()
                .map(|violation| Violation { path: violation.path, message: violation.message })
                .collect(),
        ),
    }
}

/// The bytes a guest returned; its spans are not trusted.
struct Arena {
    bytes: Bytes,
    /// Of the documents in it.
    encoding: Encoding,
}

impl Arena {
    fn bytes(&self, what: impl Display, span: types::Span) -> Result<Option<Bytes>, String> {
        if span.length == 0 {
            return Ok(None);
        }
        let (from, length) = (span.offset as usize, span.length as usize);
        match from.checked_add(length) {
            Some(to) if to <= self.bytes.len() => Ok(Some(self.bytes.slice(from..to))),
            _ => Err(format!(
                "{what} is said to lie at {from}, {length} bytes long, outside the {} bytes returned",
                self.bytes.len()
            )),
        }
    }

    fn text(&self, what: impl Display + Copy, span: types::Span) -> Result<Option<ByteString>, String> {
        self.bytes(what, span)?
            .map(|bytes| ByteString::try_from(bytes).map_err(|cause| format!("{what} is no UTF-8: {cause}")))
            .transpose()
    }

    /// `original` is what the plugin was given: what it left as it was keeps its types.
    fn document(&self, what: &str, span: types::Span, original: Option<&Doc>) -> Result<Option<Doc>, String> {
        let Some(mut bytes) = self.bytes(what, span)? else { return Ok(None) };
        if self.encoding == Encoding::Json {
            let read = keep::read_document(&bytes, original.map(Doc::as_bytes));
            bytes = read.map_err(|cause| format!("{what} is no Extended JSON document: {cause}"))?.into();
        }
        check_document(&bytes).map_err(|cause| format!("{what} is no valid BSON document: {cause}"))?;
        Doc::from_bytes(bytes).map(Some).map_err(|cause| format!("{what} is no valid BSON document: {cause}"))
    }
}

/// The entries of a range of a list; a range that does not fit is told.
fn entries<'a, T>(what: &str, list: &'a [T], range: types::Range) -> Result<&'a [T], String> {
    let (first, count) = (range.first as usize, range.count as usize);
    first.checked_add(count).and_then(|end| list.get(first..end)).ok_or_else(|| {
        format!("{what} are said to be entries {first} to {} of a list of {}", first.saturating_add(count), list.len())
    })
}

fn read_migration(arena: &Arena, outcome: wm::Outcome, origin: &Change) -> Outcome {
    let read = || -> Result<Outcome, String> {
        Ok(match outcome {
            wm::Outcome::Unchanged(version) => {
                arena.text("the version", version)?.map_or(Outcome::Unchanged, Outcome::Version)
            }
            wm::Outcome::Migrated(migration) => Outcome::Migrated {
                document: arena
                    .document("the new document", migration.document, origin.document.as_ref())?
                    .ok_or("it migrated a document into nothing")?,
                from: arena.text("the version migrated from", migration.from_version)?,
                to: arena.text("the version migrated to", migration.to_version)?,
            },
            wm::Outcome::Failed(reason) => Outcome::Failed(reason),
        })
    };
    read().unwrap_or_else(Outcome::Unusable)
}

/// Most headers of one change, or attributes of one delivery: a list of them is searched from its start.
const MOST_HEADERS: usize = 256;

fn read_headers(arena: &Arena, headers: &[types::Header]) -> Result<Headers, String> {
    if headers.len() > MOST_HEADERS {
        return Err(format!("{} headers are too many, {MOST_HEADERS} are the most", headers.len()));
    }
    headers
        .iter()
        .map(|header| {
            Ok(Header {
                name: arena.text("the name of a header", header.name)?.ok_or("a header has no name")?,
                value: arena.text("the value of a header", header.value)?.unwrap_or_default(),
            })
        })
        .collect()
}

struct Destinations<'a> {
    arena: Arena,
    attributes: Vec<types::Header>,
    destinations: Vec<wr::Destination>,
    sinks: &'a [String],
}

impl Destinations<'_> {
    fn read(&self, decision: wr::Decision) -> Outcome {
        let range = match decision {
            wr::Decision::Deliver(range) => range,
            wr::Decision::Failed(reason) => return Outcome::Failed(reason),
        };
        entries("its destinations", &self.destinations, range)
            .and_then(|list| {
                list.iter().map(|destination| self.destination(destination)).collect::<Result<SmallVec<_>, _>>()
            })
            .map_or_else(Outcome::Unusable, Outcome::Routed)
    }

    fn destination(&self, destination: &wr::Destination) -> Result<Destination, String> {
        let sink = self.arena.text("the name of a sink", destination.sink)?;
        let sink = sink
            .map(|name| {
                self.sinks.iter().position(|known| *known == *name).ok_or_else(|| {
                    format!(
                        "it routes to sink `{}`, which the pipeline does not have; it has: {}",
                        quoted(&name),
                        self.sinks.join(", ")
                    )
                })
            })
            .transpose()?;
        let attributes = entries("the attributes of a destination", &self.attributes, destination.attributes)?;
        Ok(Destination {
            sink,
            target: self.arena.text("a target", destination.target)?,
            ordering_key: self.arena.text("an ordering key", destination.ordering_key)?,
            attributes: read_headers(&self.arena, attributes)?,
        })
    }
}

/// A name that `database.collection` is read back from, and that MongoDB has room for.
fn read_namespace(namespace: &types::Namespace) -> Result<Arc<Namespace>, String> {
    let types::Namespace { database, collection } = namespace;
    let wrong = |what: &str| {
        Err(format!("an output has the namespace `{}` `{}`: {what}", quoted(database), quoted(collection)))
    };
    match () {
        () if database.is_empty() || collection.is_empty() => wrong("a name is empty"),
        () if database.contains('.') => wrong("the name of a database holds no dot"),
        () if database.contains('\0') || collection.contains('\0') => wrong("a name holds a NUL"),
        () => Ok(Arc::new(Namespace::new(database, collection))),
    }
}

struct Outputs {
    arena: Arena,
    namespaces: Vec<Result<Arc<Namespace>, String>>,
    headers: Vec<types::Header>,
    outputs: Vec<wt::Output>,
}

impl Outputs {
    fn read(&self, result: wt::ResultOfChange, origin: &Change) -> Outcome {
        let range = match result {
            wt::ResultOfChange::Unchanged => return Outcome::Unchanged,
            wt::ResultOfChange::Failed(reason) => return Outcome::Failed(reason),
            wt::ResultOfChange::Changes(range) => range,
        };
        entries("its outputs", &self.outputs, range)
            .and_then(|list| {
                list.iter().enumerate().map(|(at, output)| self.output(output, origin, at, list.len())).collect()
            })
            .map_or_else(Outcome::Unusable, Outcome::Became)
    }

    fn output(&self, output: &wt::Output, origin: &Change, at: usize, of: usize) -> Result<Change, String> {
        let namespace = self.namespaces.get(output.namespace as usize).ok_or_else(|| {
            format!("an output has namespace {} of a list of {}", output.namespace, self.namespaces.len())
        })?;
        let namespace = namespace.as_ref().map_err(String::clone)?;
        let mut headers = origin.headers.clone();
        for header in
            read_headers(&self.arena, entries("the headers of an output", &self.headers, output.headers)?)?.iter()
        {
            headers.set(header.name.clone(), header.value.clone());
        }
        if headers.len() > MOST_HEADERS {
            return Err(format!("an output has {} headers, {MOST_HEADERS} are the most", headers.len()));
        }
        Ok(Change {
            // One change that stays one keeps its id; of several each has one of its own, the same after a restart.
            id: if of == 1 { origin.id.clone() } else { format!("{}.{at}", origin.id).into() },
            operation: from_wit(output.operation),
            namespace: Arc::clone(namespace),
            key: self
                .arena
                .document("the key of an output", output.key, origin.key.as_ref())?
                .or_else(|| origin.key.clone()),
            document: self.arena.document(
                "the document of an output",
                output.document,
                origin.document.as_ref().or(origin.before.as_ref()),
            )?,
            before: origin.before.clone(),
            update: origin.update.clone(),
            cluster_time: origin.cluster_time,
            wall_time: origin.wall_time,
            headers,
            position: origin.position.clone(),
        })
    }
}
