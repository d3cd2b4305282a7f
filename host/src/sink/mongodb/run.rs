//! Runs write commands, and looks at every part of the answers.

use std::collections::HashSet;

use bson::{
    Bson, Document, cstr, doc,
    raw::{RawDocument, RawDocumentBuf},
};
use futures::StreamExt as _;
use mongodb::{
    Client, ClientSession,
    options::{Acknowledgment, WriteConcern},
};

use super::{
    MongodbSink,
    describe::Description,
    rewrite,
    shapes::Shape,
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
    /// The target has a document that is new at the source.
    Present,
    /// A target is not what it was taken for: it is known now.
    Mistaken,
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
    pub(super) async fn run_alone(
        &mut self,
        statements: &Statements,
        part: Part<'_, '_>,
        ordered: bool,
    ) -> Result<Vec<usize>, Failure> {
        let client = self.connector.client().await?;
        self.run(&client, statements.commands.iter(), part, None, ordered).await
    }

    /// Writes what no transaction may.
    pub(super) async fn run_outside(&mut self, statements: &Statements, part: Part<'_, '_>) -> Result<(), Failure> {
        let client = self.connector.client().await?;
        let commands = statements.commands.iter().filter(|command| command.shape.is_outside());
        self.run(&client, commands, part, None, true).await.map(drop)
    }

    /// Runs commands one after the other; returns the deliveries whose document is not there.
    pub(super) async fn run<'c>(
        &self,
        client: &Client,
        commands: impl Iterator<Item = &'c Command>,
        part: Part<'_, '_>,
        mut session: Option<&mut ClientSession>,
        ordered: bool,
    ) -> Result<Vec<usize>, Failure> {
        let (mut missing, mut guilty) = (Vec::new(), Vec::new());
        for command in commands {
            match self.command(client, command, part, session.as_deref_mut(), ordered).await {
                Ok(mut more) => missing.append(&mut more),
                Err(Failure::Guilty(mut more)) if !ordered => guilty.append(&mut more),
                Err(failure) => return Err(failure),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if guilty.is_empty() { Ok(missing) } else { Err(Failure::Guilty(guilty)) }
    }

    async fn command(
        &self,
        client: &Client,
        command: &Command,
        part: Part<'_, '_>,
        mut session: Option<&mut ClientSession>,
        ordered: bool,
    ) -> Result<Vec<usize>, Failure> {
        match (command.kind, &command.shape) {
            (Kind::Rewrite, _) => return self.rewrite(client, command, part, session).await,
            (Kind::Measure, Shape::Series { time }) => {
                return self.measure(client, command, time, ordered).await.map(|()| Vec::new());
            }
            _ => {}
        }
        let sent = self.send(client, command, session.as_deref_mut(), ordered).await;
        let reply = match sent.and_then(|reply| self.look(&reply, command).map(|()| reply)) {
            // Before MongoDB 6.0 nothing is deleted from one by hand: it lets its oldest documents go by itself, as that of the source does.
            Err(Failure::Fault(fault))
                if command.kind == Kind::Delete
                    && command.shape == Shape::Capped
                    && fault.code == Code::MongoNoTransactions =>
            {
                let ns = format!("{}.{}", command.database, command.collection);
                tracing::debug!(event = "sink_capped_keeps", ns, "the server deletes nothing from a capped collection");
                return Ok(Vec::new());
            }
            reply => reply?,
        };
        let matched = match reply.get("n") {
            Some(Bson::Int32(n)) => usize::try_from(*n).unwrap_or(0),
            Some(Bson::Int64(n)) => usize::try_from(*n).unwrap_or(0),
            _ => 0,
        };
        // Outside of a transaction nobody can say whether a document was there: its update does nothing where it is not.
        let Some(session) = session.filter(|_| command.kind == Kind::Describe && matched != command.deliveries.len())
        else {
            return Ok(Vec::new());
        };
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
        session: &mut ClientSession,
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
        let Some(delivery) = command.deliveries.first().copied() else { return Err(Failure::Unclear) };
        let guilty = |reason: String| Failure::Guilty(vec![(delivery, reason)]);
        let Some(session) = session else {
            return Err(guilty(
                "its update can only be applied in a transaction, and a capped collection takes no part in one; `full_document: lookup` \
                 brings whole documents"
                    .to_owned(),
            ));
        };
        let Some((key, update)) =
            change_of(part, delivery).and_then(|change| Some((change.key.as_ref()?, change.update.as_ref()?)))
        else {
            return Err(Failure::Unclear);
        };
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

    /// Adds the documents that a time-series collection does not have yet. Nothing is unique there, so what came before would be there
    /// twice; and its documents are found by their time.
    async fn measure(&self, client: &Client, command: &Command, time: &str, ordered: bool) -> Result<(), Failure> {
        let (mut ids, mut times) = (Vec::new(), Vec::new());
        for document in command.documents() {
            ids.extend(document.get("_id").ok().flatten().and_then(|id| Bson::try_from(id).ok()));
            times.extend(document.get_datetime(time).ok());
        }
        let mut there: HashSet<Vec<u8>> = HashSet::new();
        if let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) {
            let collection = client.database(&command.database).collection::<RawDocumentBuf>(&command.collection);
            let filter = doc! { time: { "$gte": *first, "$lte": *last }, "_id": { "$in": ids } };
            let asked = collection.find(filter).projection(doc! { "_id": 1, time: 1 });
            let mut found = self.connector.answer(asked.into_future()).await?;
            while let Some(document) = found.next().await {
                let document = document.map_err(|error| self.connector.fault(&error))?;
                there.extend(measured(&document, time));
            }
        }
        let command = command.keeping(|document| measured(document, time).is_none_or(|one| !there.contains(&one)));
        if command.deliveries.is_empty() {
            return Ok(());
        }
        let reply = self.send(client, &command, None, ordered).await?;
        self.look(&reply, &command)
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
                (DUPLICATE_KEY, Trouble::Transient) if command.kind == Kind::Insert => return Failure::Present,
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

/// What tells one document of a time-series collection from another: its `_id` and its time. Without an `_id` nothing does.
fn measured(document: &RawDocument, time: &str) -> Option<Vec<u8>> {
    let mut measured = id_of(document);
    if measured.is_empty() {
        return None;
    }
    measured.append(cstr!("time"), document.get_datetime(time).ok()?);
    Some(measured.into_bytes())
}

/// A change of a part, by the number of its delivery.
fn change_of<'a>(part: Part<'_, 'a>, delivery: usize) -> Option<&'a Change> {
    let at = part.binary_search_by_key(&delivery, |(index, _)| *index).ok()?;
    part.get(at).map(|(_, delivery)| delivery.change)
}
