//! Dead letters in a MongoDB collection, one document each; `_id` is `PIPELINE/CHANGE_ID/STAGE`, so that a letter that is
//! written again after a crash replaces itself. Every write is in the journal of a majority before it counts.
//!
//! `seq` orders them: it rises with each letter, and a letter that is written again keeps its own. What became of a letter stands in
//! its document too (`replayed_at`, `failed_at`, `replay_sinks`), and goes when the letter is written again.

mod document;
mod read;

use std::time::Duration;

use bson::{Document, RawDocumentBuf, doc, rawdoc};
use mongodb::{
    Client, Collection,
    error::{Error, ErrorKind},
    options::{ClientOptions, WriteConcern},
};

use self::document::{Shape, letter_document, part_documents};
use super::DeadLetter;
use crate::{
    config::MongodbDeadLetterConfig,
    error::{Code, Fault},
    format::time::now_millis,
    source::mongodb::faults::{DENIED, UNREACHABLE, password_of, redacted, server_code, told},
};

pub(super) use self::read::MongodbLetters;

/// Letters in one command, and their bytes: a command is a document too, of 16 MiB at most.
const COMMAND_LETTERS: usize = 500;
const COMMAND_BYTES: usize = 12 << 20;
/// How long a usable server is looked for before the pipeline is told and tries again.
const SELECTION: Duration = Duration::from_secs(5);

/// The collection, for who writes and who reads.
pub(super) struct Place {
    config: MongodbDeadLetterConfig,
    password: Option<String>,
    client: Option<Client>,
}

impl Place {
    pub(super) fn new(config: &MongodbDeadLetterConfig) -> Self {
        Self { password: password_of(config.uri.reveal()), config: config.clone(), client: None }
    }

    fn name(&self) -> String {
        format!("{}.{}", self.config.database, self.config.collection)
    }

    async fn client(&mut self) -> Result<Client, Fault> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut options = ClientOptions::parse(self.config.uri.reveal()).await.map_err(|error| self.fault(&error))?;
        options.app_name.get_or_insert_with(|| "tidegate".to_owned());
        options.server_selection_timeout.get_or_insert(SELECTION);
        options.connect_timeout.get_or_insert(SELECTION);
        let client = Client::with_options(options).map_err(|error| self.fault(&error))?;
        self.client = Some(client.clone());
        Ok(client)
    }

    pub(super) async fn collection(&mut self) -> Result<Collection<RawDocumentBuf>, Fault> {
        let collection = mongodb::options::CollectionOptions::builder().write_concern(self.safe()).build();
        let client = self.client().await?;
        Ok(client.database(&self.config.database).collection_with_options(&self.config.collection, collection))
    }

    /// In the journal of a majority.
    fn safe(&self) -> WriteConcern {
        WriteConcern::builder()
            .w(mongodb::options::Acknowledgment::Majority)
            .journal(true)
            .w_timeout(self.config.timeout.0)
            .build()
    }

    /// Gives a call as long as the configuration says.
    pub(super) async fn within<T>(&self, call: impl Future<Output = mongodb::error::Result<T>>) -> Result<T, Fault> {
        // The driver's own look for a server comes before the write itself.
        match tokio::time::timeout(self.config.timeout.0 + SELECTION, call).await {
            Ok(answer) => answer.map_err(|error| self.fault(&error)),
            Err(_) => Err(Fault::transient(
                Code::MongoUnreachable,
                format!(
                    "MongoDB did not answer for the dead letters in `{}` within {}",
                    self.name(),
                    self.config.timeout
                ),
            )),
        }
    }

    /// What an error of the driver means for dead letters.
    pub(super) fn fault(&self, error: &Error) -> Fault {
        let name = self.name();
        let told = redacted(&told(error), self.password.as_deref());
        let denied = || {
            Fault::fatal(
                Code::MongoDenied,
                format!(
                    "MongoDB refuses the dead letters in `{name}`: {told}; check user, password and `authSource`, and grant the \
                     user the role `readWrite` on the database `{}`",
                    self.config.database
                ),
            )
        };
        match (error.kind.as_ref(), server_code(error)) {
            (ErrorKind::Authentication { .. }, _) => denied(),
            (_, Some(code)) if DENIED.contains(&code) => denied(),
            (ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. }, _) => Fault::fatal(
                Code::MongoConfiguration,
                format!("the connection string of the dead letters in `{name}` is not valid: {told}"),
            ),
            (ErrorKind::ServerSelection { .. } | ErrorKind::Io(_) | ErrorKind::DnsResolve { .. }, _)
            | (ErrorKind::ConnectionPoolCleared { .. }, _) => Fault::transient(
                Code::MongoUnreachable,
                format!("MongoDB cannot be reached for the dead letters in `{name}`: {told}"),
            ),
            (_, Some(code)) if passes(code) || error.contains_label("RetryableWriteError") => Fault::transient(
                Code::MongoUnreachable,
                format!("MongoDB cannot take the dead letters in `{name}` now: {told}"),
            ),
            _ => Fault::fatal(Code::MongoError, format!("MongoDB answered for the dead letters in `{name}`: {told}")),
        }
    }
}

/// Codes of errors that pass by themselves: a server that is away, a race of two upserts, a majority that is late, a full disk.
fn passes(code: i32) -> bool {
    UNREACHABLE.contains(&code) || matches!(code, 11000 | 64 | 100 | 112 | 14031)
}

/// Writes to the collection.
pub struct MongodbDeadLetters {
    place: Place,
    /// The order of the newest letter, once it is known.
    newest: Option<i64>,
}

/// What the server says of one letter.
#[derive(Debug)]
struct WriteError {
    index: usize,
    code: i32,
    message: String,
}

impl MongodbDeadLetters {
    pub(super) fn new(config: &MongodbDeadLetterConfig) -> Self {
        Self { place: Place::new(config), newest: None }
    }

    /// Connects, makes the index that letters are read by, and finds the newest letter.
    pub(super) async fn open(&mut self) -> Result<(), Fault> {
        let collection = self.place.collection().await?;
        let index = mongodb::IndexModel::builder().keys(doc! { "pipeline": 1, "seq": 1 }).build();
        let make = async { collection.create_index(index).await };
        self.place.within(make).await?;
        let by_order = mongodb::IndexModel::builder().keys(doc! { "seq": -1 }).build();
        let make = async { collection.create_index(by_order).await };
        self.place.within(make).await?;
        let find = async { collection.find_one(doc! {}).sort(doc! { "seq": -1 }).projection(doc! { "seq": 1 }).await };
        let newest = self.place.within(find).await?;
        self.newest = Some(newest.and_then(|newest| newest.get_i64("seq").ok()).unwrap_or_default());
        Ok(())
    }

    pub(super) async fn write(&mut self, letters: &[DeadLetter]) -> Result<(), Fault> {
        let newest = match self.newest {
            Some(newest) => newest,
            None => {
                self.open().await?;
                self.newest.unwrap_or_default()
            }
        };
        // Rises over restarts even where the clock was set back.
        let first = now_millis().saturating_mul(1000).max(newest + 1);
        self.newest = Some(first + i64::try_from(letters.len()).unwrap_or_default());
        let mut command: Vec<(&DeadLetter, i64, RawDocumentBuf)> = Vec::new();
        let mut bytes = 0;
        for (letter, seq) in letters.iter().zip(first..) {
            let document = match letter_document(letter, seq, Shape::Documents) {
                Some(document) => document,
                None => {
                    self.send(std::mem::take(&mut command)).await?;
                    bytes = 0;
                    self.write_parts(letter).await?;
                    let count = letter.to_json().chunks(document::PART).count();
                    letter_document(letter, seq, Shape::Parts(count)).ok_or_else(|| too_large(letter))?
                }
            };
            if command.len() >= COMMAND_LETTERS || bytes + document.as_bytes().len() > COMMAND_BYTES {
                self.send(std::mem::take(&mut command)).await?;
                bytes = 0;
            }
            bytes += document.as_bytes().len();
            command.push((letter, seq, document));
        }
        self.send(command).await
    }

    /// A letter beyond the 16 MiB of a document is cut into parts, which are safe before the letter itself is there.
    async fn write_parts(&mut self, letter: &DeadLetter) -> Result<(), Fault> {
        for part in part_documents(letter) {
            if let Some(error) = self.update(&[&part]).await?.first() {
                return Err(self.refused(letter, error));
            }
        }
        Ok(())
    }

    async fn send(&mut self, letters: Vec<(&DeadLetter, i64, RawDocumentBuf)>) -> Result<(), Fault> {
        if letters.is_empty() {
            return Ok(());
        }
        let documents: Vec<&RawDocumentBuf> = letters.iter().map(|(_, _, document)| document).collect();
        for error in self.update(&documents).await? {
            let Some((letter, seq, _)) = letters.get(error.index) else { continue };
            // What this server does not store as documents (names with `$` before 5.0, nesting beyond 100 levels) it takes as bytes.
            let document = letter_document(letter, *seq, Shape::Bytes).ok_or_else(|| too_large(letter))?;
            if let Some(error) = self.update(&[&document]).await?.first() {
                return Err(self.refused(letter, error));
            }
        }
        Ok(())
    }

    /// Puts documents in their places, each as a whole. Returns what the server says of single ones.
    async fn update(&mut self, documents: &[&RawDocumentBuf]) -> Result<Vec<WriteError>, Fault> {
        let mut updates = bson::RawArrayBuf::new();
        for document in documents {
            let id = document.get_str("_id").unwrap_or_default();
            // A letter that is there already keeps its place in the order.
            updates.push(rawdoc! {
                "q": { "_id": id },
                "u": [{ "$replaceWith": { "$mergeObjects": [
                    { "$literal": (*document).clone() },
                    { "seq": { "$ifNull": ["$seq", { "$literal": document.get_i64("seq").unwrap_or_default() }] } },
                ] } }],
                "upsert": true,
            });
        }
        let timeout = i64::try_from(self.place.config.timeout.0.as_millis()).unwrap_or(i64::MAX);
        let command = rawdoc! {
            "update": self.place.config.collection.as_str(),
            "updates": updates,
            // One that the server does not take says nothing about the others.
            "ordered": false,
            "writeConcern": { "w": "majority", "j": true, "wtimeout": timeout },
        };
        let database = self.place.client().await?.database(&self.place.config.database);
        let call = async { database.run_raw_command(command).await };
        let answer: Document = self.place.within(call).await?;
        if let Ok(late) = answer.get_document("writeConcernError") {
            let message = late.get_str("errmsg").unwrap_or("no reason given");
            let message = format!(
                "a majority of the servers did not confirm the dead letters in `{}`: {message}",
                self.place.name()
            );
            return Err(Fault::transient(Code::MongoUnreachable, message));
        }
        let errors: Vec<WriteError> = answer
            .get_array("writeErrors")
            .map(|errors| errors.iter().filter_map(bson::Bson::as_document).map(write_error).collect())
            .unwrap_or_default();
        match errors.iter().find(|error| passes(error.code)) {
            Some(passing) => Err(Fault::transient(
                Code::MongoUnreachable,
                format!("MongoDB cannot take the dead letters in `{}` now: {}", self.place.name(), passing.message),
            )),
            None => Ok(errors),
        }
    }

    fn refused(&self, letter: &DeadLetter, error: &WriteError) -> Fault {
        Fault::fatal(
            Code::DeadLetterWrite,
            format!(
                "MongoDB does not take the dead letter `{}` into `{}`: {} ({})",
                letter.key(),
                self.place.name(),
                error.message,
                error.code
            ),
        )
    }
}

fn write_error(error: &Document) -> WriteError {
    WriteError {
        index: error.get_i32("index").ok().and_then(|index| usize::try_from(index).ok()).unwrap_or_default(),
        code: error.get_i32("code").unwrap_or_default(),
        message: error.get_str("errmsg").unwrap_or("no reason given").to_owned(),
    }
}

fn too_large(letter: &DeadLetter) -> Fault {
    Fault::fatal(
        Code::DeadLetterWrite,
        format!("the dead letter `{}` is larger than a MongoDB document, even without its change", letter.key()),
    )
}
