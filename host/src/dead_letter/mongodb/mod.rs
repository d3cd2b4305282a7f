//! Dead letters in a MongoDB collection, one document each; `_id` is `PIPELINE/CHANGE_ID/STAGE`, so that a letter that is
//! written again after a crash replaces itself. Every write is in the journal of a majority before it counts.
//!
//! `seq` orders them: it rises with each letter, and a letter that is written again keeps its own. What became of a letter stands in
//! its document too (`replayed_at`, `failed_at`, `replay_sinks`), and goes when the letter is written again.

pub(crate) mod document;
mod read;

use bson::{Document, RawDocumentBuf, doc, rawdoc};
use mongodb::{
    Collection,
    options::{Acknowledgment, CollectionOptions, WriteConcern},
};

use self::document::{Shape, letter_document, part_documents};
use super::DeadLetter;
use crate::{
    config::MongodbDeadLetterConfig,
    doctor::Finding,
    error::{Code, Fault},
    fault_table::Meaning,
    format::time::now_millis,
    mongodb::{MongoConnector, examine::Needs},
    mongodb_faults::row,
};

pub(super) use self::read::MongodbLetters;

/// Letters in one command, and their bytes: a command is a document too, of 16 MiB at most.
const COMMAND_LETTERS: usize = 500;
const COMMAND_BYTES: usize = 12 << 20;
/// The collection, for who writes and who reads.
pub(super) struct Place {
    config: MongodbDeadLetterConfig,
    connector: MongoConnector,
}

impl Place {
    pub(super) fn new(config: &MongodbDeadLetterConfig) -> Self {
        Self { connector: MongoConnector::new(config.uri.clone()), config: config.clone() }
    }

    fn name(&self) -> String {
        format!("{}.{}", self.config.database, self.config.collection)
    }

    pub(super) async fn collection(&mut self) -> Result<Collection<RawDocumentBuf>, Fault> {
        // In the journal of a majority.
        let safe =
            WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(self.config.timeout.0).build();
        let options = CollectionOptions::builder().write_concern(safe).build();
        let client = self.connector.client().await?;
        Ok(client.database(&self.config.database).collection_with_options(&self.config.collection, options))
    }

    /// Waits for an answer, and says of an error that it is about the dead letters.
    pub(super) async fn within<T>(&self, call: impl Future<Output = mongodb::error::Result<T>>) -> Result<T, Fault> {
        self.connector.answer(call).await.map_err(|fault| Fault {
            message: format!("the dead letters in `{}`: {}", self.name(), fault.message),
            ..fault
        })
    }
}

/// Codes that pass by themselves: what passes for every write, and a race of two upserts.
fn passes(code: i32) -> bool {
    row(code).is_some_and(|row| row.meaning == Meaning::Transient) || matches!(code, 11000 | 100 | 14031)
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

    /// Whether letters could be written.
    pub(super) async fn examine(&mut self) -> Vec<Finding> {
        let actions = &["find", "insert", "update", "createIndex"];
        let needs = Needs { actions, database: Some(&self.place.config.database), role: "readWrite" };
        self.place.connector.examine(false, &[needs]).await
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
        let database = self.place.connector.client().await?.database(&self.place.config.database);
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
