//! What happened to a collection or database, done to the target too, where the operator asks for it (`ddl`).
//!
//! Each can come twice: after a crash, or when a batch is read again. What is there already in the same form, and what is gone
//! already, is fine. What is there in another form stays as it is, and the log tells both. Nothing of this can be in a
//! transaction with the position: it is done first, then the position moves.

mod shape;

use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::error::ErrorKind;

use self::shape::Options;
use super::MongodbSink;
use crate::{
    batch::Delivery,
    change::Operation,
    config::{DdlAction, DdlConfig},
    error::{Code, Fault},
    mongodb::PATIENCE,
    mongodb_faults::{Trouble, write_trouble},
};

/// How long an index may take to be built, or a collection to be merged. Asking again joins the build that runs, and merges anew.
const BUILD_PATIENCE: Duration = Duration::from_secs(600);
const NAMESPACE_NOT_FOUND: i32 = 26;
const INDEX_NOT_FOUND: i32 = 27;
const NAMESPACE_EXISTS: i32 = 48;
const INDEX_OPTIONS_CONFLICT: i32 = 85;
const INDEX_KEY_SPECS_CONFLICT: i32 = 86;
const DENIED: [i32; 2] = [13, 8000];

/// What became of such a change.
pub(super) enum Ddl {
    /// The target is as it says.
    Applied,
    /// The operator does not want it.
    Ignored,
    /// The server does not take it.
    Refused(String),
}

/// A refusal in the server's words.
struct No {
    code: i32,
    told: String,
}

fn action(config: &DdlConfig, operation: Operation) -> DdlAction {
    match operation {
        Operation::Create => config.create,
        Operation::CreateIndexes | Operation::DropIndexes => config.indexes,
        Operation::Modify => config.modify,
        Operation::Drop | Operation::DropDatabase => config.drop,
        Operation::Rename => config.rename,
        Operation::Insert | Operation::Update | Operation::Replace | Operation::Delete | Operation::Read => {
            DdlAction::Ignore
        }
    }
}

impl MongodbSink {
    /// Does to the target what was done to the source.
    pub(super) async fn ddl(&mut self, delivery: &Delivery<'_>) -> Result<Ddl, Fault> {
        let change = delivery.change;
        let (operation, ns) = (change.operation, change.namespace.as_str());
        if action(&self.config.ddl, operation) == DdlAction::Ignore {
            self.ddl_told.ignored(change, "the target is left as it is; `ddl` of the sink says what is applied");
            return Ok(Ddl::Ignored);
        }
        if self.late && !matches!(operation, Operation::Create | Operation::CreateIndexes) {
            let reason =
                format!("it is a {operation} of long ago, and the target may have changed since; --overwrite does it");
            return Ok(Ddl::Refused(reason));
        }
        let description = match &change.document {
            None => Document::new(),
            Some(document) => match Document::try_from(document.as_raw()) {
                Ok(description) => description,
                Err(cause) => return Ok(Ddl::Refused(format!("its description cannot be read: {cause}"))),
            },
        };
        let (database, collection) = self.targets.of(delivery);
        let (database, collection) = (&*database.into_owned(), &*collection.into_owned());
        let done = match operation {
            Operation::Create => self.ddl_create(database, collection, &description).await?,
            Operation::CreateIndexes => self.ddl_create_indexes(database, collection, &description).await?,
            Operation::DropIndexes => self.ddl_drop_indexes(database, collection, &description).await?,
            Operation::Modify => self.ddl_modify(database, collection, &description).await?,
            Operation::Drop => self.ddl_drop(database, collection).await?,
            Operation::DropDatabase => self.ddl_drop_database(database).await?,
            Operation::Rename => self.ddl_rename(database, collection, &description).await?,
            Operation::Insert | Operation::Update | Operation::Replace | Operation::Delete | Operation::Read => Ok(()),
        };
        self.shapes.forget();
        Ok(match done {
            Ok(()) => {
                tracing::info!(
                    event = "sink_ddl_applied",
                    operation = operation.as_str(),
                    ns,
                    "done to the target too"
                );
                Ddl::Applied
            }
            Err(No { told, .. }) => Ddl::Refused(format!("MongoDB refused it: {told}")),
        })
    }

    /// Runs a command: its answer, or the refusal of the server; what may pass or is owed to no command is a fault.
    async fn ddl_run(&mut self, database: &str, mut command: Document) -> Result<Result<Document, No>, Fault> {
        let client = self.connector.client().await?;
        command.insert("writeConcern", doc! { "w": "majority" });
        let takes_long = command.contains_key("createIndexes") || command.contains_key("aggregate");
        let patience = if takes_long { BUILD_PATIENCE } else { PATIENCE };
        let database = client.database(database);
        let error = match tokio::time::timeout(patience, database.run_command(command).into_future()).await {
            Ok(Ok(answer)) => return Ok(Ok(answer)),
            Ok(Err(error)) => error,
            Err(_) => {
                let message = format!("MongoDB at {} did not answer within {patience:?}", self.connector.hosts());
                return Err(Fault::transient(Code::MongoUnreachable, message));
            }
        };
        let ErrorKind::Command(refusal) = error.kind.as_ref() else { return Err(self.connector.fault(&error)) };
        let (code, told) = (refusal.code, self.connector.told(&error));
        if DENIED.contains(&code) {
            let message = format!(
                "MongoDB at {} does not let the user change collections: {told}; grant it `dbAdmin` on database {}, or have the sink \
                 ignore such changes (`ddl`)",
                self.connector.hosts(),
                database.name()
            );
            return Err(Fault::fatal(Code::MongoDenied, message));
        }
        // As the answer to a write this one may pass; here it says what it is named for.
        if code != NAMESPACE_EXISTS && write_trouble(&error) == Trouble::Transient {
            return Err(self.connector.fault(&error));
        }
        Ok(Err(No { code, told }))
    }

    /// What the target has of that name: `type`, `options` and `info` as the server lists them.
    async fn ddl_found(&mut self, database: &str, collection: &str) -> Result<Option<Document>, Fault> {
        let list = doc! { "listCollections": 1, "filter": { "name": collection } };
        let client = self.connector.client().await?;
        let answer = self.connector.answer(client.database(database).run_command(list).into_future()).await?;
        let batch = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        Ok(batch.ok().and_then(|batch| batch.first()).and_then(Bson::as_document).cloned())
    }

    async fn ddl_create(
        &mut self,
        database: &str,
        name: &str,
        description: &Document,
    ) -> Result<Result<(), No>, Fault> {
        let Options { mut taken, mut left } = shape::create(description);
        let done = loop {
            let mut command = doc! { "create": name };
            command.extend(taken.clone());
            let no = match self.ddl_run(database, command).await? {
                Ok(_) => break Ok(()),
                Err(no) => no,
            };
            if no.code == NAMESPACE_EXISTS {
                let found = self.ddl_found(database, name).await?.unwrap_or_default();
                let found = found.get_document("options").cloned().unwrap_or_default();
                if !shape::same_collection(&taken, &found) {
                    differs(database, name, &taken, &found);
                }
                break Ok(());
            }
            let Some(unknown) = shape::unknown(&no.told, &taken).map(str::to_owned) else { break Err(no) };
            taken.remove(&unknown);
            if matches!(&*unknown, "timeseries" | "clusteredIndex") && taken.remove("expireAfterSeconds").is_some() {
                left.push("expireAfterSeconds".to_owned());
            }
            left.push(unknown);
        };
        left_out(database, name, &left);
        Ok(done)
    }

    async fn ddl_create_indexes(
        &mut self,
        database: &str,
        name: &str,
        description: &Document,
    ) -> Result<Result<(), No>, Fault> {
        let mut specs = shape::indexes(description);
        for spec in &mut specs {
            if spec.remove("storageEngine").is_some() {
                left_out(database, name, &["storageEngine".to_owned()]);
            }
        }
        if specs.is_empty() {
            return Ok(Ok(()));
        }
        // All in one reading of the collection; where that does not go, each for itself.
        let all = doc! { "createIndexes": name, "indexes": specs.clone() };
        let no = match self.ddl_run(database, all).await? {
            Ok(_) => return Ok(Ok(())),
            Err(no) => no,
        };
        let mut refused: Option<No> = None;
        let single = specs.len() == 1;
        let mut known = Some(no).filter(|_| single);
        for spec in specs {
            let no = match known.take() {
                Some(no) => no,
                None => {
                    match self.ddl_run(database, doc! { "createIndexes": name, "indexes": [spec.clone()] }).await? {
                        Ok(_) => continue,
                        Err(no) => no,
                    }
                }
            };
            if matches!(no.code, INDEX_OPTIONS_CONFLICT | INDEX_KEY_SPECS_CONFLICT) {
                let found = self.ddl_index(database, name, &spec).await?;
                differs(database, name, &spec, &found);
                continue;
            }
            refused = Some(match refused {
                Some(before) => No { code: no.code, told: format!("{}; {}", before.told, no.told) },
                None => no,
            });
        }
        Ok(refused.map_or(Ok(()), Err))
    }

    /// The index of the target that is in the way of this one.
    async fn ddl_index(&mut self, database: &str, collection: &str, wanted: &Document) -> Result<Document, Fault> {
        let list = doc! { "listIndexes": collection };
        let client = self.connector.client().await?;
        let answer = self.connector.answer(client.database(database).run_command(list).into_future()).await?;
        let batch = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
        let all: Vec<&Document> =
            batch.map(|batch| batch.iter().filter_map(Bson::as_document).collect()).unwrap_or_default();
        let by = |member: &str| all.iter().find(|found| found.get(member) == wanted.get(member));
        Ok(by("name").or_else(|| by("key")).map(|found| Document::clone(found)).unwrap_or_default())
    }

    async fn ddl_drop_indexes(
        &mut self,
        database: &str,
        name: &str,
        description: &Document,
    ) -> Result<Result<(), No>, Fault> {
        for spec in shape::indexes(description) {
            let Ok(index) = spec.get_str("name") else { continue };
            match self.ddl_run(database, doc! { "dropIndexes": name, "index": index }).await? {
                Ok(_) => {}
                Err(no) if matches!(no.code, INDEX_NOT_FOUND | NAMESPACE_NOT_FOUND) => {}
                Err(no) => return Ok(Err(no)),
            }
        }
        Ok(Ok(()))
    }

    async fn ddl_modify(
        &mut self,
        database: &str,
        name: &str,
        description: &Document,
    ) -> Result<Result<(), No>, Fault> {
        let Options { taken, left } = shape::modify(description);
        left_out(database, name, &left);
        if taken.is_empty() {
            return Ok(Ok(()));
        }
        let mut command = doc! { "collMod": name };
        command.extend(taken);
        match self.ddl_run(database, command).await? {
            Ok(_) => Ok(Ok(())),
            // It comes again, and what came behind it was done before.
            Err(no) if matches!(no.code, INDEX_NOT_FOUND | NAMESPACE_NOT_FOUND) => {
                tracing::warn!(
                    event = "sink_ddl_missing",
                    database,
                    collection = name,
                    "nothing to change: {}",
                    no.told
                );
                Ok(Ok(()))
            }
            Err(no) => Ok(Err(no)),
        }
    }

    async fn ddl_drop(&mut self, database: &str, name: &str) -> Result<Result<(), No>, Fault> {
        match self.ddl_run(database, doc! { "drop": name }).await? {
            Err(no) if no.code != NAMESPACE_NOT_FOUND => Ok(Err(no)),
            _ => Ok(Ok(())),
        }
    }

    /// Of the source's collections each was told before. A database that is chosen for the target may hold more than what came from
    /// the source, such as the position, so it stays.
    async fn ddl_drop_database(&mut self, database: &str) -> Result<Result<(), No>, Fault> {
        if self.config.database.is_some() || database == self.record.database {
            return Ok(Ok(()));
        }
        Ok(self.ddl_run(database, doc! { "dropDatabase": 1 }).await?.map(drop))
    }

    /// This is the one that is not the same the second time, as the documents of the old name would come again before it. So it is
    /// asked for only with the position in the sink, where nothing comes again but what was done last.
    async fn ddl_rename(
        &mut self,
        database: &str,
        name: &str,
        description: &Document,
    ) -> Result<Result<(), No>, Fault> {
        let Some((to_database, to_name)) = description.get_document("to").ok().and_then(|to| {
            let database = self.config.database.as_deref().or_else(|| to.get_str("db").ok())?;
            Some((database.to_owned(), to.get_str("coll").ok()?.to_owned()))
        }) else {
            return Ok(Err(No { code: 0, told: "it does not say what the collection is called now".to_owned() }));
        };
        let drop_target = !matches!(description.get("dropTarget"), None | Some(Bson::Boolean(false) | Bson::Null));
        let to_name = &*to_name;
        let (from, to) = (format!("{database}.{name}"), format!("{to_database}.{to_name}"));
        let rename = doc! { "renameCollection": from, "to": to, "dropTarget": drop_target };
        match self.ddl_run("admin", rename).await? {
            Err(no) if no.code == NAMESPACE_EXISTS => self.ddl_merge(database, name, &to_database, to_name).await,
            Err(no) if no.code != NAMESPACE_NOT_FOUND => Ok(Err(no)),
            _ => Ok(Ok(())),
        }
    }

    /// A collection gets a name that is taken at the target, as where the documents were copied under that name already, and the rename
    /// is read behind the copy. What stands under the old name comes over what stands under the new one: the stream goes on behind the
    /// rename for both, so what is older is written again and what is gone is deleted again.
    async fn ddl_merge(
        &mut self,
        database: &str,
        name: &str,
        to_database: &str,
        to: &str,
    ) -> Result<Result<(), No>, Fault> {
        let into =
            doc! { "into": { "db": to_database, "coll": to }, "whenMatched": "replace", "whenNotMatched": "insert" };
        let merge = doc! { "aggregate": name, "pipeline": [{ "$merge": into }], "cursor": {} };
        if let Err(no) = self.ddl_run(database, merge).await? {
            return Ok(Err(no));
        }
        tracing::warn!(
            event = "sink_rename_merged",
            ns = format!("{database}.{name}"),
            to = format!("{to_database}.{to}"),
            "the target has a collection of the new name already: the documents of the old name were written into it"
        );
        self.ddl_drop(database, name).await
    }
}

fn differs(database: &str, collection: &str, wanted: &Document, found: &Document) {
    tracing::warn!(
        event = "sink_ddl_differs",
        database,
        collection,
        source = %wanted,
        target = %found,
        "the target has it in another form, which stays: change it by hand if it matters"
    );
}

fn left_out(database: &str, collection: &str, options: &[String]) {
    if !options.is_empty() {
        let options = options.join(", ");
        tracing::warn!(
            event = "sink_ddl_left_out",
            database,
            collection,
            options,
            "the target is made without these options"
        );
    }
}
