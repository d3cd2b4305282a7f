//! MongoDB collections: a mirror of the source (`mode: mirror`), a gathering of its documents (`mode: upsert`), or a journal of
//! its changes (`mode: append`).
//!
//! A sink that keeps the position beside its data ([`keep`]) writes both in one transaction. Any other writes with its write
//! concern, `w: majority, j: true` unless another is set; after a lost answer it writes again, which a mirror does not notice and a
//! journal shows as a second document with the same `id`.

mod ddl;
mod describe;
mod examine;
mod journal;
mod keep;
mod rewrite;
mod run;
mod shapes;
mod statements;
pub(crate) mod target;

use std::collections::HashSet;

use bson::{Document, RawDocumentBuf, doc};
use mongodb::ClientSession;

use self::{
    ddl::Ddl,
    run::{Concern, Failure},
    shapes::Shapes,
    statements::{Order, Places, Plan, Rules, Statements, Unfit},
    target::Targets,
};
use crate::{
    batch::Delivery,
    checkpoint::{Holder, mongodb::MongoRecord},
    config::{MongodbSinkConfig, SourceConfig, WriteMode},
    error::{Code, Fault},
    mongodb::MongoConnector,
    sink::{
        Sink, Writes, Wrote,
        ledger::{Ledger, chunk_end},
        told::Told,
    },
};

/// Changes in one write.
const CHUNK: usize = 1000;
/// Writes that look for each document, after one that met a document which it took for new.
const LOOKING: u32 = 100;
/// Bytes in one write; one change alone may be bigger.
const CHUNK_BYTES: usize = 8 << 20;
/// The collection with the records of sinks that keep their positions.
pub(crate) const POSITIONS: &str = "tidegate_positions";
/// Keys that are named where many documents are missing.
const NAMED: usize = 5;

/// The sink.
pub struct MongodbSink {
    config: MongodbSinkConfig,
    targets: Targets,
    concern: Concern,
    connector: MongoConnector,
    record: MongoRecord,
    ledger: Option<Ledger>,
    me: Option<Holder>,
    session: Option<ClientSession>,
    /// Whether the server is a member of a replica set, or a router: what transactions need.
    is_set: bool,
    /// What comes is older than what the target may have; see [`MongodbSink::late`].
    late: bool,
    /// Which changes of collections it was told of that they are ignored.
    ddl_told: Told,
    /// Updates may come as descriptions alone; see [`MongodbSink::from_source`].
    described: bool,
    shapes: Shapes,
    /// How many writes are still to look for each document.
    looking: u32,
}

/// What the target has in the place of a late change.
enum Late {
    /// The same document: an earlier try wrote it.
    Same,
    /// Another state of it.
    Other,
}

impl MongodbSink {
    /// Nothing is connected before [`Sink::open`].
    pub fn new(config: &MongodbSinkConfig, pipeline: &str, name: &str) -> Self {
        let targets = Targets::new(config);
        let record = MongoRecord {
            database: targets.one_database().unwrap_or("tidegate").to_owned(),
            collection: POSITIONS.to_owned(),
            id: format!("{pipeline}/{name}"),
            pipeline: pipeline.to_owned(),
        };
        Self {
            config: config.clone(),
            targets,
            concern: Concern::new(&config.write_concern),
            connector: MongoConnector::new(config.uri.clone()),
            record,
            ledger: None,
            me: None,
            session: None,
            is_set: false,
            late: false,
            ddl_told: Told::default(),
            described: false,
            shapes: Shapes::default(),
            looking: 0,
        }
    }

    /// For changes of long ago: a mirror takes the documents that it lacks, and refuses to take those that it has back to what
    /// they were.
    pub fn late(self) -> Self {
        Self { late: true, ..self }
    }

    /// For changes of this source. One whose documents are never later than their changes may leave them out of updates: then the
    /// target is what the source was right before each change, as long as the position moves with the data.
    pub fn from_source(self, source: &SourceConfig) -> Self {
        let described = match source {
            SourceConfig::Mongodb(source) => !source.full_document.may_be_later(),
            _ => false,
        };
        Self { described, ..self }
    }

    /// Writes the pending deliveries part by part. What is guilty is refused; a sink that keeps positions waits with the rest until the
    /// next call.
    async fn write_parts(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        let mut missing = Vec::new();
        let wrote = self.write_all(writes, &mut missing).await;
        if !missing.is_empty() {
            let keys: Vec<String> = missing
                .iter()
                .take(NAMED)
                .filter_map(|index| writes.get(*index))
                .map(|delivery| format!("{} in {}", delivery.change.document_id(), delivery.change.namespace))
                .collect();
            let more = if missing.len() > NAMED { ", ..." } else { "" };
            tracing::warn!(
                event = "sink_document_missing",
                updates = missing.len(),
                keys = %keys.join(", "),
                "{} updates are of documents that the target does not have, and were not applied: {}{more}; documents from before the \
                 pipeline began come with a copy, and with `full_document: lookup`",
                missing.len(),
                keys.join(", ")
            );
            writes.miss(missing.len());
        }
        wrote
    }

    async fn write_all(&mut self, writes: &mut Writes<'_>, missing: &mut Vec<usize>) -> Result<Wrote, Fault> {
        let keeping = self.ledger.is_some();
        let mut most = CHUNK;
        let mut plan = Plan::default();
        loop {
            let pending: Vec<_> = writes.pending().collect();
            if let Some((index, delivery)) = pending.first()
                && self.is_for_ddl(delivery)
            {
                match self.ddl(delivery).await? {
                    Ddl::Applied => writes.confirm(*index),
                    Ddl::Ignored => writes.ignore(*index),
                    Ddl::Refused(reason) => {
                        writes.refuse(*index, reason);
                        if keeping {
                            return Ok(Wrote::Refused);
                        }
                    }
                }
                continue;
            }
            let mut bytes = 0;
            let end = chunk_end(&pending, |at, delivery| {
                bytes += delivery.change.size();
                at < most && bytes <= CHUNK_BYTES && !self.is_for_ddl(delivery)
            });
            let part = pending.get(..end).unwrap_or_default();
            let last = end == pending.len();
            if part.is_empty() && !keeping {
                return Ok(Wrote::All);
            }
            let places = Places::of(&self.targets, part);
            if self.config.mode != WriteMode::Append {
                self.shapes.learn(&mut self.connector, places.names()).await?;
            }
            let rules = Rules {
                mode: self.config.mode,
                shapes: &self.shapes,
                late: self.late,
                described: self.described,
                exact: keeping,
                fresh: self.looking == 0 && !self.late,
            };
            let statements = match Statements::new(&rules, &plan, part, places) {
                Ok(statements) => statements,
                Err(unfit) => {
                    for Unfit { delivery, reason } in unfit {
                        writes.refuse(delivery, reason);
                    }
                    if keeping {
                        return Ok(Wrote::Refused);
                    }
                    continue;
                }
            };
            let written = if keeping {
                let to =
                    if last { writes.position() } else { part.last().and_then(|(_, d)| d.change.position.as_ref()) };
                self.transact(&statements, part, writes.partition(), to.or(writes.position())).await
            } else if plan.order == Order::Cleared {
                self.transact_alone(&statements, part).await
            } else {
                self.run_alone(&statements, part, plan.order == Order::Source).await
            };
            let written = match written {
                Err(Failure::Fault(fault)) if self.mistook(&statements, &fault).await? => Err(Failure::Mistaken),
                written => written,
            };
            let refused_before = writes.refused().len();
            match written {
                Ok(mut missed) => {
                    for (index, _) in part {
                        writes.confirm(*index);
                    }
                    missing.append(&mut missed);
                    writes.pass(statements.passed);
                    (most, plan) = (CHUNK, Plan::default());
                    self.looking = self.looking.saturating_sub(1);
                    if last {
                        return Ok(Wrote::All);
                    }
                    continue;
                }
                Err(Failure::Fault(fault)) => return Err(fault),
                Err(Failure::Guilty(guilty)) => {
                    if !keeping && plan.order == Order::Grouped {
                        confirm_others(writes, &statements, part, &guilty);
                    }
                    for (delivery, reason) in guilty {
                        match self.late_trouble(writes.get(delivery)).await? {
                            Some(Late::Same) => writes.confirm(delivery),
                            Some(Late::Other) => writes.refuse(
                                delivery,
                                "the target has the document in another state, which may be newer; --overwrite replaces it",
                            ),
                            None => writes.refuse(delivery, reason),
                        }
                    }
                }
                Err(Failure::Present) => (plan.present, self.looking) = (true, LOOKING),
                // What was written may be written again.
                Err(Failure::Mistaken) => continue,
                Err(Failure::Unclear) if !plan.careful => plan.careful = true,
                Err(Failure::Unclear) => return Err(confused()),
                Err(Failure::Conflict(delivery, reason)) => match plan.order {
                    Order::Grouped => plan.order = Order::Source,
                    Order::Source if self.is_set || keeping => plan.order = Order::Cleared,
                    Order::Source | Order::Cleared => writes.refuse(delivery, reason),
                },
                Err(Failure::Moved(delivery, reason)) => {
                    if plan.moved.contains(&delivery) || !may_move(writes.get(delivery)) {
                        writes.refuse(delivery, reason);
                    } else {
                        plan.moved.insert(delivery);
                    }
                }
                Err(Failure::Unknown(reason)) => match part {
                    [(index, _)] => writes.refuse(*index, reason),
                    // What one change became stays together; then all of it is refused.
                    _ if end > 1 && most == 1 => {
                        for (index, _) in part {
                            writes.refuse(*index, reason.clone());
                        }
                    }
                    // Halved until the guilty one stands alone.
                    _ => most = (end.min(most) / 2).max(1),
                },
            }
            if writes.refused().len() > refused_before {
                plan = Plan::default();
                if keeping {
                    return Ok(Wrote::Refused);
                }
            }
        }
    }

    /// Whether a delivery is done to a collection, and not written into one: a journal has all that happened, but for what has no
    /// collection to be written to.
    fn is_for_ddl(&self, delivery: &Delivery<'_>) -> bool {
        let in_journal = self.config.mode == WriteMode::Append && !self.targets.of(delivery).1.is_empty();
        delivery.change.operation.is_ddl() && !in_journal
    }

    /// What the target has in the place of a late change that it refused; none: nothing, or it does not matter.
    async fn late_trouble(&mut self, delivery: Option<&Delivery<'_>>) -> Result<Option<Late>, Fault> {
        let Some(delivery) = delivery.filter(|_| self.late && self.config.mode != WriteMode::Append) else {
            return Ok(None);
        };
        let Some(key) = &delivery.change.key else { return Ok(None) };
        let client = self.connector.client().await?;
        let (database, collection) = self.targets.of(delivery);
        let collection = client.database(&database).collection::<RawDocumentBuf>(&collection);
        let key = Document::try_from(key.as_raw())
            .map_err(|cause| Fault::fatal(Code::Internal, format!("a key that was read cannot be read: {cause}")))?;
        let found = self.connector.answer(collection.find_one(key).into_future()).await?;
        let same = |found: &RawDocumentBuf| {
            delivery.change.document.as_ref().is_some_and(|document| document.as_bytes() == found.as_bytes())
        };
        Ok(found.map(|found| if same(&found) { Late::Same } else { Late::Other }))
    }
}

/// Whether a document may be written anew under its key: its `_id` is that of the key, so that only another part of the key, such
/// as a shard key, can be what moved.
fn may_move(delivery: Option<&Delivery<'_>>) -> bool {
    let Some(delivery) = delivery else { return false };
    let (Some(key), Some(document)) = (&delivery.change.key, &delivery.change.document) else { return false };
    let id = |document: &crate::change::Doc| statements::id_of(document.as_raw());
    id(key) == id(document)
}

/// After a write that passes over what fails: the others are written. What a guilty one had superseded is not.
fn confirm_others(
    writes: &mut Writes<'_>,
    statements: &Statements,
    part: &[(usize, Delivery<'_>)],
    guilty: &[(usize, String)],
) {
    let mut open: HashSet<usize> = guilty.iter().map(|(delivery, _)| *delivery).collect();
    let below: Vec<usize> =
        statements.superseded.iter().filter(|(_, by)| open.contains(by)).map(|(delivery, _)| *delivery).collect();
    open.extend(below);
    for (index, _) in part.iter().filter(|(index, _)| !open.contains(index)) {
        writes.confirm(*index);
    }
    writes.pass(statements.passed);
}

fn confused() -> Fault {
    Fault::fatal(
        Code::Internal,
        "an update that was read with care is unclear all the same; this is a defect of tidegate, please report it",
    )
}

impl Sink for MongodbSink {
    async fn open(&mut self) -> Result<(), Fault> {
        let client = self.connector.client().await?;
        let hello = client.database("admin");
        let hello = self.connector.answer(hello.run_command(doc! { "hello": 1 }).into_future()).await?;
        self.is_set = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        if self.ledger.is_some() && !self.is_set {
            return Err(Fault::fatal(
                Code::MongoNoTransactions,
                format!(
                    "MongoDB at {} is a standalone server, which has no transactions, and `checkpoint: sink` needs them; start mongod with \
                     `--replSet rs0`, run `rs.initiate()` once in mongosh, or keep the checkpoint elsewhere",
                    self.connector.hosts()
                ),
            ));
        }
        tracing::info!(event = "sink_opened", place = self.connector.hosts(), "connected to MongoDB");
        Ok(())
    }

    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        if self.ledger.is_some() {
            return self.write_keeping(writes).await;
        }
        self.write_parts(writes).await
    }
}
