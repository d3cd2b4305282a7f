//! MongoDB collections: a mirror of the source's documents (`mode: replace`), or a journal of changes (`mode: append`).
//!
//! A sink that keeps the position beside its data ([`keep`]) writes both in one transaction. Any other writes with
//! `w: majority, j: true`; after a lost answer it writes again, which a mirror does not notice and a journal shows as a second
//! document with the same `id`.

mod ddl;
mod keep;
mod statements;

use bson::{Document, RawDocumentBuf, doc};
use mongodb::{Client, ClientSession};

use self::{
    ddl::{Ddl, Told},
    statements::{Command, Statements, Unfit},
};
use crate::{
    batch::Delivery,
    checkpoint::{Holder, mongodb::MongoRecord},
    config::{MongodbSinkConfig, WriteMode},
    error::{Code, Fault},
    mongodb::MongoConnector,
    mongodb_faults::{Complaint, Trouble, reply_troubles, write_trouble},
    sink::{
        Sink, Writes, Wrote,
        ledger::{Ledger, chunk_end},
    },
};

/// The server's code for a document that is there already.
const DUPLICATE_KEY: i32 = 11000;
/// Changes in one write.
const CHUNK: usize = 1000;
/// Bytes in one write; one change alone may be bigger.
const CHUNK_BYTES: usize = 8 << 20;

/// The sink.
pub struct MongodbSink {
    config: MongodbSinkConfig,
    connector: MongoConnector,
    record: MongoRecord,
    ledger: Option<Ledger>,
    me: Option<Holder>,
    session: Option<ClientSession>,
    /// What comes is older than what the target may have; see [`MongodbSink::late`].
    late: bool,
    /// Which changes of collections it was told of that they are ignored.
    ddl_told: Told,
}

/// Why a part of a batch was not written.
enum Failure {
    /// Of the whole part: try again, or stop.
    Fault(Fault),
    /// One delivery is guilty.
    Guilty(usize, String),
    /// Some delivery is, the server does not say which.
    Unknown(String),
}

/// What the target has in the place of a late change.
enum Late {
    /// The same document: an earlier try wrote it.
    Same,
    /// Another state of it.
    Other,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl MongodbSink {
    /// Nothing is connected before [`Sink::open`].
    pub fn new(config: &MongodbSinkConfig, pipeline: &str, name: &str) -> Self {
        let record = MongoRecord {
            database: config.database.clone().unwrap_or_else(|| "tidegate".to_owned()),
            collection: "tidegate_positions".to_owned(),
            id: format!("{pipeline}/{name}"),
            pipeline: pipeline.to_owned(),
        };
        Self {
            config: config.clone(),
            connector: MongoConnector::new(config.uri.clone()),
            record,
            ledger: None,
            me: None,
            session: None,
            late: false,
            ddl_told: Told::default(),
        }
    }

    /// For changes of long ago: a mirror takes the documents that it lacks, and refuses to take those that it has back to what
    /// they were.
    pub fn late(self) -> Self {
        Self { late: true, ..self }
    }

    /// Writes the pending deliveries part by part. What is guilty is refused, and with `stop_at_refusal` the rest waits until the next
    /// call.
    async fn write_parts(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        let keeping = self.ledger.is_some();
        let mut most = CHUNK;
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
            let statements = match Statements::new(&self.config, self.late, part) {
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
                self.transact(&statements, writes.partition(), to.or(writes.position())).await
            } else {
                self.run(&statements).await
            };
            match written {
                Ok(()) => {
                    for (index, _) in part {
                        writes.confirm(*index);
                    }
                    most = CHUNK;
                    if last {
                        return Ok(Wrote::All);
                    }
                }
                Err(Failure::Fault(fault)) => return Err(fault),
                Err(Failure::Guilty(delivery, reason)) => {
                    match self.late_trouble(writes.get(delivery)).await? {
                        Some(Late::Same) => writes.confirm(delivery),
                        Some(Late::Other) => writes.refuse(
                            delivery,
                            "the target has the document in another state, which may be newer; --overwrite replaces it",
                        ),
                        None => writes.refuse(delivery, reason),
                    }
                    if keeping {
                        return Ok(Wrote::Refused);
                    }
                }
                Err(Failure::Unknown(reason)) => match part {
                    [(index, _)] => {
                        writes.refuse(*index, reason);
                        if keeping {
                            return Ok(Wrote::Refused);
                        }
                    }
                    // What one change became stays together; then all of it is refused.
                    _ if end > 1 && most == 1 => {
                        for (index, _) in part {
                            writes.refuse(*index, reason.clone());
                        }
                        if keeping {
                            return Ok(Wrote::Refused);
                        }
                    }
                    // Halved until the guilty one stands alone.
                    _ => most = (end.min(most) / 2).max(1),
                },
            }
        }
    }

    /// Whether a delivery is done to a collection, and not written into one: a journal has all that happened, but for what has no
    /// collection to be written to.
    fn is_for_ddl(&self, delivery: &Delivery<'_>) -> bool {
        let in_journal =
            self.config.mode == WriteMode::Append && !statements::target(&self.config, delivery).1.is_empty();
        delivery.change.operation.is_ddl() && !in_journal
    }

    /// What the target has in the place of a late change that it refused; none: nothing, or it does not matter.
    async fn late_trouble(&mut self, delivery: Option<&Delivery<'_>>) -> Result<Option<Late>, Fault> {
        let Some(delivery) = delivery.filter(|_| self.late && self.config.mode == WriteMode::Replace) else {
            return Ok(None);
        };
        let Some(key) = &delivery.change.key else { return Ok(None) };
        let (database, collection) = statements::target(&self.config, delivery);
        let client = self.connector.client().await?;
        let collection = client.database(database).collection::<RawDocumentBuf>(collection);
        let key = Document::try_from(key.as_raw())
            .map_err(|cause| Fault::fatal(Code::Internal, format!("a key that was read cannot be read: {cause}")))?;
        let found = self.connector.answer(collection.find_one(key).into_future()).await?;
        let same = |found: &RawDocumentBuf| {
            delivery.change.document.as_ref().is_some_and(|document| document.as_bytes() == found.as_bytes())
        };
        Ok(found.map(|found| if same(&found) { Late::Same } else { Late::Other }))
    }

    /// Writes without a transaction: each write of a document stands for itself, so what was written before a failure may be
    /// written again.
    async fn run(&mut self, statements: &Statements) -> Result<(), Failure> {
        let client = self.connector.client().await?;
        for command in &statements.commands {
            self.command(&client, command, None).await?;
        }
        Ok(())
    }

    async fn command(
        &self,
        client: &Client,
        command: &Command,
        session: Option<&mut ClientSession>,
    ) -> Result<(), Failure> {
        let document = command.document(session.is_none()).map_err(|cause| Failure::Unknown(cause.to_string()))?;
        let database = client.database(&command.database);
        let action = database.run_raw_command(document);
        let action = match session {
            Some(session) => action.session(session),
            None => action,
        };
        let reply = match tokio::time::timeout(crate::mongodb::PATIENCE, action.into_future()).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Err(self.told_apart(&error)),
            Err(_) => {
                let message = format!("MongoDB at {} did not answer in time", self.connector.hosts());
                return Err(Fault::transient(Code::MongoUnreachable, message).into());
            }
        };
        self.look(&reply, command)
    }

    /// Looks at every part of a reply.
    fn look(&self, reply: &Document, command: &Command) -> Result<(), Failure> {
        let hosts = self.connector.hosts();
        let Some(complaint) = reply_troubles(reply).into_iter().next() else { return Ok(()) };
        let Complaint { mut trouble, told, code, index } = complaint;
        if self.late && code == DUPLICATE_KEY {
            // No other upsert met this one: the document was there.
            trouble = Trouble::Change { index };
        }
        Err(match trouble {
            // Also two hosts, or the host and another writer, that made the same new document at once: the next try finds it.
            Trouble::Transient => {
                Fault::transient(Code::MongoError, format!("MongoDB at {hosts} cannot write now: {told}")).into()
            }
            Trouble::Pipeline => self.connector.refused(code, &told).into(),
            Trouble::Change { index } => match index.and_then(|index| command.deliveries.get(index)) {
                Some(delivery) => Failure::Guilty(*delivery, format!("MongoDB refused it: {told}")),
                None => Failure::Unknown(format!("MongoDB refused it: {told}")),
            },
        })
    }

    /// An error of a whole command: of the connection, of the pipeline, or of a change that cannot be told.
    fn told_apart(&self, error: &mongodb::error::Error) -> Failure {
        match write_trouble(error) {
            Trouble::Change { .. } => Failure::Unknown(format!("MongoDB refused it: {}", self.connector.told(error))),
            Trouble::Transient | Trouble::Pipeline => Failure::Fault(self.connector.fault(error)),
        }
    }
}

impl Sink for MongodbSink {
    async fn open(&mut self) -> Result<(), Fault> {
        let client = self.connector.client().await?;
        let hello = client.database("admin");
        let hello = self.connector.answer(hello.run_command(doc! { "hello": 1 }).into_future()).await?;
        let is_set = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        if self.ledger.is_some() && !is_set {
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
