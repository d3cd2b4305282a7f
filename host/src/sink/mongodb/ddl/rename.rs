//! Renames, which are the one change of a collection that is not the same the second time.

use bson::{Bson, Document, doc};

use super::{MongodbSink, No};
use crate::error::Fault;

/// Where it is kept what was renamed, by a sink that keeps its position elsewhere.
const RENAMES: &str = "tidegate_renames";
/// After so many seconds no batch from before a rename is read again: 30 days.
const RENAMES_EXPIRE: i64 = 30 * 86400;

/// What is kept of a rename.
struct Remembered {
    /// The collection that was to be renamed the first time.
    uuid: Option<Bson>,
    done: bool,
}

impl MongodbSink {
    /// Read again from before a rename, a collection of the old name is made anew, with those documents alone that are read again; all
    /// they say is in the target already, and in a later state. So a sink that keeps its position elsewhere remembers what it
    /// renamed, and the second time drops the old name instead.
    pub(super) async fn ddl_rename(
        &mut self,
        id: &str,
        database: &str,
        name: &str,
        description: &Document,
    ) -> Result<Result<(), No>, Fault> {
        let Some((to_database, to)) = description.get_document("to").ok().and_then(|to| {
            let (database, collection) = (to.get_str("db").ok()?, to.get_str("coll").ok()?);
            Some((self.targets.database_of(database, collection), collection.to_owned()))
        }) else {
            return Ok(Err(No { code: 0, told: "it does not say what the collection is called now".to_owned() }));
        };
        let Some(from) = self.ddl_found(database, name).await? else { return Ok(Ok(())) };
        let found = self.ddl_found(&to_database, &to).await?;
        let drop_target = !matches!(description.get("dropTarget"), None | Some(Bson::Boolean(false) | Bson::Null));
        let to_full = format!("{to_database}.{to}");
        let rename =
            doc! { "renameCollection": format!("{database}.{name}"), "to": to_full, "dropTarget": drop_target };
        if self.ledger.is_some() {
            return Ok(self.ddl_run("admin", rename).await?.map(drop));
        }
        let remembered = self.ddl_remember_rename(&to_database, id, uuid_of(&from)).await?;
        let moved = found.as_ref().is_some_and(|found| uuid_of(found).is_some() && uuid_of(found) == remembered.uuid);
        if found.is_some() && (remembered.done || moved) {
            return self.ddl_drop(database, name).await;
        }
        if let Err(no) = self.ddl_run("admin", rename).await? {
            return Ok(Err(no));
        }
        self.ddl_renamed(&to_database, id).await?;
        Ok(Ok(()))
    }

    /// Keeps what is renamed before it is; returns what was kept the first time.
    async fn ddl_remember_rename(&mut self, database: &str, id: &str, uuid: Option<Bson>) -> Result<Remembered, Fault> {
        let client = self.connector.client().await?;
        let database = client.database(database);
        let expiry = doc! { "key": { "at": 1 }, "name": "at_1", "expireAfterSeconds": RENAMES_EXPIRE };
        let index = doc! { "createIndexes": RENAMES, "indexes": [expiry] };
        self.connector.answer(database.run_command(index).into_future()).await?;
        let kept = doc! { "$setOnInsert": { "uuid": uuid, "at": bson::DateTime::now() } };
        self.ddl_keep(&database, id, kept).await?;
        let renames = database.collection::<Document>(RENAMES);
        let found = renames.find_one(doc! { "_id": self.rename_id(id) });
        let found = self.connector.answer(found.into_future()).await?.unwrap_or_default();
        Ok(Remembered { uuid: found.get("uuid").cloned(), done: found.get_bool("done").unwrap_or_default() })
    }

    /// Keeps that it is renamed.
    async fn ddl_renamed(&mut self, database: &str, id: &str) -> Result<(), Fault> {
        let database = self.connector.client().await?.database(database);
        self.ddl_keep(&database, id, doc! { "$set": { "done": true } }).await
    }

    async fn ddl_keep(&self, database: &mongodb::Database, id: &str, update: Document) -> Result<(), Fault> {
        let mut options = mongodb::options::UpdateOptions::default();
        options.upsert = Some(true);
        options.write_concern = Some(crate::checkpoint::mongodb::majority());
        let renames = database.collection::<Document>(RENAMES);
        let kept = renames.update_one(doc! { "_id": self.rename_id(id) }, update).with_options(options);
        self.connector.answer(kept.into_future()).await.map(drop)
    }

    fn rename_id(&self, id: &str) -> String {
        format!("{}/{id}", self.record.id)
    }
}

fn uuid_of(found: &Document) -> Option<Bson> {
    found.get_document("info").ok().and_then(|info| info.get("uuid").cloned())
}
