//! Runs write commands, and looks at every part of the answers.

use std::collections::HashSet;

use bson::{Bson, Document, cstr, doc, raw::RawDocumentBuf};
use mongodb::{
    Client, ClientSession,
    options::{Acknowledgment, WriteConcern},
};

use super::{
    MongodbSink,
    describe::Description,
    rewrite,
    statements::{Command, Kind, Statements, id_of},
};
use crate::{
    batch::Delivery,
    change::Change,
    config::{Members, WriteConcernConfig, WriteMode},
    error::{Code, Fault},
    mongodb::PATIENCE,
    mongodb_faults::{Complaint, Trouble, reply_troubles, write_trouble},
};

/// The server's code for a document that is there already.
const DUPLICATE_KEY: i32 = 11000;
/// The server's code for a key that would change.
const IMMUTABLE_FIELD: i32 = 66;

/// Deliveries of a part of a batch, with their numbers, ascending.
type Part<'p, 'a> = &'p [(usize, Delivery<'a>)];

/// Why a part of a batch was not written.
pub(super) enum Failure {
    /// Of the whole part: try again, or stop.
    Fault(Fault),
    /// These deliveries are guilty.
    Guilty(Vec<(usize, String)>),
    /// Some delivery is, the server does not say which.
    Unknown(String),
    /// Another document has the same value in a unique index of the target, for now or for good.
    Conflict(usize, String),
    /// The document is at the target under another key.
    Moved(usize, String),
    /// A path of an update may mean another field than was taken for granted.
    Unclear,
    /// A capped collection was met, which no transaction may write to.
    Capped,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// When a write counts as safe.
pub(super) struct Concern {
    /// As an option of a transaction.
    pub(super) option: WriteConcern,
    /// As part of a command.
    document: RawDocumentBuf,
}

impl Concern {
    pub(super) fn new(config: &WriteConcernConfig) -> Self {
        let mut option = WriteConcern::default();
        let mut document = RawDocumentBuf::new();
        match &config.w {
            Members::Majority => {
                option.w = Some(Acknowledgment::Majority);
                document.append(cstr!("w"), "majority");
            }
            Members::Count(count) => {
                option.w = Some(Acknowledgment::Nodes(*count));
                document.append(cstr!("w"), i32::try_from(*count).unwrap_or(i32::MAX));
            }
            Members::Named(name) => {
                option.w = Some(Acknowledgment::Custom(name.clone()));
                document.append(cstr!("w"), name.as_str());
            }
        }
        option.journal = Some(config.j);
        document.append(cstr!("j"), config.j);
        if let Some(wtimeout) = config.wtimeout {
            option.w_timeout = Some(wtimeout.0);
            document.append(cstr!("wtimeout"), i64::try_from(wtimeout.0.as_millis()).unwrap_or(i64::MAX));
        }
        Self { option, document }
    }
}

impl MongodbSink {
    /// Writes without a transaction: each write of a document stands for itself, so what was written before a failure may be
    /// written again. Unless the order matters the server passes over what it refuses, and all of that is told.
    pub(super) async fn run(
        &mut self,
        statements: &Statements,
        part: Part<'_, '_>,
        ordered: bool,
    ) -> Result<Vec<usize>, Failure> {
        let client = self.connector.client().await?;
        let (mut missing, mut guilty) = (Vec::new(), Vec::new());
        for command in &statements.commands {
            match self.command(&client, command, part, None, ordered).await {
                Ok(mut more) => missing.append(&mut more),
                Err(Failure::Guilty(mut more)) if !ordered => guilty.append(&mut more),
                Err(failure) => return Err(failure),
            }
        }
        if guilty.is_empty() { Ok(missing) } else { Err(Failure::Guilty(guilty)) }
    }

    /// Runs all commands in a transaction; returns the deliveries whose document is not there.
    pub(super) async fn run_in(
        &self,
        session: &mut ClientSession,
        statements: &Statements,
        part: Part<'_, '_>,
    ) -> Result<Vec<usize>, Failure> {
        let client = session.client();
        let mut missing = Vec::new();
        for command in statements.commands.iter().filter(|command| !self.outside.has(command)) {
            missing.append(&mut self.command(&client, command, part, Some(&mut *session), true).await?);
        }
        missing.sort_unstable();
        missing.dedup();
        Ok(missing)
    }

    /// Sends a command as it is, in no transaction; an update of a document that is not there does nothing.
    pub(super) async fn write_outside(&self, client: &Client, command: &Command) -> Result<(), Failure> {
        let reply = self.send(client, command, None, true).await?;
        self.look(&reply, command)
    }

    async fn command(
        &self,
        client: &Client,
        command: &Command,
        part: Part<'_, '_>,
        mut session: Option<&mut ClientSession>,
        ordered: bool,
    ) -> Result<Vec<usize>, Failure> {
        if command.kind == Kind::Rewrite {
            return self.rewrite(client, command, part, session).await;
        }
        let reply = self.send(client, command, session.as_deref_mut(), ordered).await?;
        self.look(&reply, command)?;
        let matched = match reply.get("n") {
            Some(Bson::Int32(n)) => usize::try_from(*n).unwrap_or(0),
            Some(Bson::Int64(n)) => usize::try_from(*n).unwrap_or(0),
            _ => 0,
        };
        if command.kind != Kind::Describe || matched == command.deliveries.len() {
            return Ok(Vec::new());
        }
        let missing = self.absent(client, command, part, session).await?;
        // What is there and did not match does not look as its update takes for granted.
        if matched + missing.len() == command.deliveries.len() { Ok(missing) } else { Err(Failure::Unclear) }
    }

    async fn send(
        &self,
        client: &Client,
        command: &Command,
        session: Option<&mut ClientSession>,
        ordered: bool,
    ) -> Result<Document, Failure> {
        let concern = session.is_none().then_some(&*self.concern.document);
        let database = client.database(&command.database);
        let action = database.run_raw_command(command.document(ordered, concern));
        let action = match session {
            Some(session) => action.session(session),
            None => action,
        };
        match tokio::time::timeout(PATIENCE, action.into_future()).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(self.told_apart(&error)),
            Err(_) => Err(self.silent().into()),
        }
    }

    /// The deliveries of a command whose documents are not there, once for each of its statements.
    async fn absent(
        &self,
        client: &Client,
        command: &Command,
        part: Part<'_, '_>,
        session: Option<&mut ClientSession>,
    ) -> Result<Vec<usize>, Failure> {
        let id = |delivery: usize| Some(id_of(change_of(part, delivery)?.key.as_ref()?.as_raw()));
        let mut ids = Vec::new();
        for delivery in &command.deliveries {
            if let Some(id) =
                id(*delivery).and_then(|id| Document::try_from(id).ok()).and_then(|mut id| id.remove("_id"))
            {
                ids.push(id);
            }
        }
        let collection = client.database(&command.database).collection::<RawDocumentBuf>(&command.collection);
        let asked = collection.find(doc! { "_id": { "$in": ids } }).projection(doc! { "_id": 1 });
        let mut there: HashSet<Vec<u8>> = HashSet::new();
        // Only within a transaction are there descriptions.
        let Some(session) = session else { return Err(Failure::Unclear) };
        let mut found = self.connector.answer(asked.session(&mut *session).into_future()).await?;
        while let Some(document) = found.next(&mut *session).await {
            there.insert(document.map_err(|error| self.connector.fault(&error))?.into_bytes());
        }
        let absent = |delivery: &&usize| id(**delivery).is_some_and(|id| !there.contains(id.as_bytes()));
        Ok(command.deliveries.iter().filter(absent).copied().collect())
    }

    /// Reads a document, applies the description of an update to it, and writes it whole.
    async fn rewrite(
        &self,
        client: &Client,
        command: &Command,
        part: Part<'_, '_>,
        session: Option<&mut ClientSession>,
    ) -> Result<Vec<usize>, Failure> {
        let (Some(delivery), Some(session)) = (command.deliveries.first().copied(), session) else {
            return Err(Failure::Unclear);
        };
        let Some((key, update)) =
            change_of(part, delivery).and_then(|change| Some((change.key.as_ref()?, change.update.as_ref()?)))
        else {
            return Err(Failure::Unclear);
        };
        let guilty = |reason: String| Failure::Guilty(vec![(delivery, reason)]);
        let broken = |cause: bson::error::Error| guilty(format!("it cannot be read: {cause}"));
        let filter = Document::try_from(key.as_raw()).map_err(broken)?;
        let collection = client.database(&command.database).collection::<Document>(&command.collection);
        let found = self.connector.answer(collection.find_one(filter).session(&mut *session).into_future()).await?;
        let Some(document) = found else { return Ok(vec![delivery]) };
        let description = Description::read(update.as_raw()).map_err(guilty)?;
        let document = rewrite::apply(&description, document).map_err(guilty)?;
        let document = RawDocumentBuf::try_from(&document).map_err(broken)?;
        let command = command.replacing(delivery, key.as_raw(), &document);
        let reply = self.send(client, &command, Some(session), true).await?;
        self.look(&reply, &command)?;
        Ok(Vec::new())
    }

    /// Looks at every part of a reply.
    fn look(&self, reply: &Document, command: &Command) -> Result<(), Failure> {
        let mut guilty = Vec::new();
        for complaint in reply_troubles(reply) {
            match self.judge(complaint, command) {
                Failure::Guilty(mut more) => guilty.append(&mut more),
                failure => return Err(failure),
            }
        }
        if guilty.is_empty() { Ok(()) } else { Err(Failure::Guilty(guilty)) }
    }

    fn judge(&self, complaint: Complaint, command: &Command) -> Failure {
        let hosts = self.connector.hosts();
        let Complaint { mut trouble, told, code, index } = complaint;
        let delivery = index.and_then(|index| command.deliveries.get(index)).copied();
        let reason = || format!("MongoDB refused it: {told}");
        if self.late && code == DUPLICATE_KEY {
            // No other upsert met this one: the document was there.
            trouble = Trouble::Change { index };
        } else if self.config.mode != WriteMode::Append
            && let Some(delivery) = delivery
        {
            match (code, trouble) {
                (DUPLICATE_KEY, Trouble::Transient) if command.is_compound(index) => {
                    return Failure::Moved(delivery, reason());
                }
                (DUPLICATE_KEY, Trouble::Change { .. }) => return Failure::Conflict(delivery, reason()),
                (IMMUTABLE_FIELD, Trouble::Change { .. }) => return Failure::Moved(delivery, reason()),
                _ => {}
            }
        }
        match trouble {
            // Also two hosts, or the host and another writer, that made the same new document at once: the next try finds it.
            Trouble::Transient => {
                Fault::transient(Code::MongoError, format!("MongoDB at {hosts} cannot write now: {told}")).into()
            }
            Trouble::Pipeline => self.connector.refused(code, &told).into(),
            Trouble::Change { .. } => match delivery {
                Some(delivery) => Failure::Guilty(vec![(delivery, reason())]),
                None => Failure::Unknown(reason()),
            },
        }
    }

    /// An error of a whole command: of the connection, of the pipeline, or of a change that cannot be told.
    fn told_apart(&self, error: &mongodb::error::Error) -> Failure {
        match write_trouble(error) {
            Trouble::Change { .. } => Failure::Unknown(format!("MongoDB refused it: {}", self.connector.told(error))),
            Trouble::Transient | Trouble::Pipeline => Failure::Fault(self.connector.fault(error)),
        }
    }

    fn silent(&self) -> Fault {
        let message = format!("MongoDB at {} did not answer in time", self.connector.hosts());
        Fault::transient(Code::MongoUnreachable, message)
    }
}

/// A change of a part, by the number of its delivery.
fn change_of<'a>(part: Part<'_, 'a>, delivery: usize) -> Option<&'a Change> {
    let at = part.binary_search_by_key(&delivery, |(index, _)| *index).ok()?;
    part.get(at).map(|(_, delivery)| delivery.change)
}
