//! MongoDB collections: a mirror of the source's documents (`mode: replace`), or a journal of changes (`mode: append`).
//!
//! A sink that keeps the position beside its data ([`keep`]) writes both in one transaction. Any other writes with
//! `w: majority, j: true`; after a lost answer it writes again, which a mirror does not notice and a journal shows as a second
//! document with the same `id`.

mod keep;
mod statements;

use bson::{Document, doc};
use mongodb::{Client, ClientSession};

use self::statements::{Command, Statements, Unfit};
use crate::{
    checkpoint::{Holder, mongodb::MongoRecord},
    config::MongodbSinkConfig,
    error::{Code, Fault},
    mongodb::{MongoConnector, is_passing, is_passing_code, server_code},
    sink::{
        Sink, Writes, Wrote,
        ledger::{Ledger, chunk_end},
    },
};

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
        }
    }

    /// Writes the pending deliveries part by part. What is guilty is refused, and with `stop_at_refusal` the rest waits until the next
    /// call.
    async fn write_parts(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        let keeping = self.ledger.is_some();
        let mut most = CHUNK;
        loop {
            let pending: Vec<_> = writes.pending().collect();
            let mut bytes = 0;
            let end = chunk_end(&pending, |at, delivery| {
                bytes += delivery.change.size();
                at < most && bytes <= CHUNK_BYTES
            });
            let part = pending.get(..end).unwrap_or_default();
            let last = end == pending.len();
            if part.is_empty() && !keeping {
                return Ok(Wrote::All);
            }
            let statements = match Statements::new(&self.config, part) {
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
                    writes.refuse(delivery, reason);
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
        if let Ok(errors) = reply.get_array("writeErrors")
            && let Some(first) = errors.iter().find_map(bson::Bson::as_document)
        {
            let code = first.get_i32("code").unwrap_or(0);
            let told = format!("{} ({code})", first.get_str("errmsg").unwrap_or("a write failed"));
            // Two hosts, or the host and another writer, made the same new document at once: the next try finds it.
            let raced =
                code == 11000 && first.get_document("keyPattern").is_ok_and(|pattern| pattern.contains_key("_id"));
            if is_passing_code(code) || raced {
                return Err(
                    Fault::transient(Code::MongoError, format!("MongoDB at {hosts} cannot write now: {told}")).into()
                );
            }
            let index = first.get_i32("index").ok().and_then(|index| usize::try_from(index).ok());
            return Err(match index.and_then(|index| command.deliveries.get(index)) {
                Some(delivery) => Failure::Guilty(*delivery, format!("MongoDB refused it: {told}")),
                None => Failure::Unknown(format!("MongoDB refused it: {told}")),
            });
        }
        if let Ok(concern) = reply.get_document("writeConcernError") {
            let told = concern.get_str("errmsg").unwrap_or("the write concern was not met");
            let message = format!("MongoDB at {hosts} has not made the write safe: {told}");
            return Err(Fault::transient(Code::MongoError, message).into());
        }
        Ok(())
    }

    /// An error of a whole command: of the connection, of the pipeline, or of a change that cannot be told.
    fn told_apart(&self, error: &mongodb::error::Error) -> Failure {
        // Not supported, not authorised, no such command: the same for every change.
        const OF_THE_PIPELINE: [i32; 7] = [13, 18, 20, 59, 72, 263, 8000];
        match server_code(error) {
            Some(code) if !is_passing(error) && !OF_THE_PIPELINE.contains(&code) => {
                Failure::Unknown(format!("MongoDB refused it: {}", self.connector.told(error)))
            }
            _ => Failure::Fault(self.connector.fault(error)),
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
