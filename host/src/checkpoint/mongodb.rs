//! A record in MongoDB: one document, changed by single atomic updates that match its fence. The clock of a lease is the
//! server's.
//!
//! ```json
//! {"_id": "PIPELINE", "fence": 3, "holder": {...}, "expires": ISODate(...), "about": {...}, "positions": {"PARTITION": "HEX"}}
//! ```

use std::time::Duration;

use bson::{Bson, Document, doc};
use mongodb::{
    Client, Collection,
    error::{Error, ErrorKind, WriteFailure},
    options::{Acknowledgment, CollectionOptions, ReadConcern, ReturnDocument, WriteConcern},
};

use super::{
    record::{About, Claim, Found, Holder, fenced, unusable},
    redis::millis,
};
use crate::{
    error::{Code, Fault},
    mongodb::{MongoConnector, server_code},
    position::{Position, Positions},
};

/// The record of one pipeline, or of one sink of it.
#[derive(Clone, Debug)]
pub(crate) struct MongoRecord {
    pub(crate) database: String,
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) pipeline: String,
}

/// What survives the loss of a member.
pub(crate) fn majority() -> WriteConcern {
    let mut concern = WriteConcern::default();
    concern.w = Some(Acknowledgment::Majority);
    concern.journal = Some(true);
    concern
}

/// The name of a partition as the name of a field.
fn field(partition: &str) -> String {
    let name = partition.replace('%', "%25").replace('.', "%2E").replace('$', "%24");
    format!("positions.{name}")
}

impl MongoRecord {
    pub(crate) fn place(&self, connector: &MongoConnector) -> String {
        format!("`{}` in {}.{} of MongoDB at {}", self.id, self.database, self.collection, connector.hosts())
    }

    pub(crate) fn collection(&self, client: &Client) -> Collection<Document> {
        let mut options = CollectionOptions::default();
        options.write_concern = Some(majority());
        options.read_concern = Some(ReadConcern::majority());
        client.database(&self.database).collection_with_options(&self.collection, options)
    }

    /// Inside a transaction the concerns are those of the transaction.
    pub(crate) fn collection_in_transaction(&self, client: &Client) -> Collection<Document> {
        client.database(&self.database).collection(&self.collection)
    }

    /// The filter that a host with this fence may write by.
    pub(crate) fn filter(&self, fence: u64) -> Document {
        doc! { "_id": &self.id, "fence": number(fence) }
    }

    /// What each write of a holder sets: a longer lease. A stage of an update pipeline, for the clock of the server.
    pub(crate) fn lease(lease: Duration) -> Document {
        doc! { "expires": { "$add": ["$$NOW", number(millis(lease))] } }
    }

    /// What moves a partition.
    pub(crate) fn position(partition: &str, position: &Position) -> (String, Bson) {
        (field(partition), position.to_hex().into())
    }

    /// Takes the record if nobody else holds it, with a fence above `floor` and above the one that is stored.
    pub(crate) async fn claim(
        &self,
        connector: &mut MongoConnector,
        me: &Holder,
        lease: Duration,
        floor: u64,
    ) -> Result<Claim, Fault> {
        let client = connector.client().await?;
        let collection = self.collection(&client);
        let holder = bson::serialize_to_bson(me).unwrap_or_default();
        let mut set = Self::lease(lease);
        set.insert("fence", doc! { "$add": [{ "$max": [{ "$ifNull": ["$fence", 0_i64] }, number(floor)] }, 1_i64] });
        set.insert("holder", doc! { "$literal": holder });
        // A record that nobody holds comes first, because MongoDB takes no `$expr` in an upsert.
        let made =
            tokio::time::timeout(crate::mongodb::PATIENCE, collection.insert_one(doc! { "_id": &self.id })).await;
        if let Ok(Err(error)) = made
            && !is_duplicate(&error)
        {
            return Err(connector.fault(&error));
        }
        let free = doc! {
            "_id": &self.id,
            "$or": [{ "holder.id": &me.id }, { "holder": null }, { "$expr": { "$lte": ["$expires", "$$NOW"] } }],
        };
        let taken = tokio::time::timeout(
            crate::mongodb::PATIENCE,
            collection.find_one_and_update(free, vec![doc! { "$set": set }]).return_document(ReturnDocument::After),
        );
        match taken.await {
            Ok(Ok(Some(document))) => self.found(connector, document).map(Claim::Taken),
            // Another host holds it.
            Ok(Ok(None)) => {
                let found = self.read(connector).await?.unwrap_or_default();
                match found.held {
                    Some((holder, left)) => Ok(Claim::Held(holder, left)),
                    // Given back between the two questions.
                    None => Err(Fault::transient(
                        Code::MongoError,
                        format!("{} is just changing hands", self.place(connector)),
                    )),
                }
            }
            Ok(Err(error)) => Err(connector.fault(&error)),
            Err(_) => Err(Fault::transient(
                Code::MongoUnreachable,
                format!("MongoDB at {} did not answer in time", connector.hosts()),
            )),
        }
    }

    /// What is stored.
    pub(crate) async fn read(&self, connector: &mut MongoConnector) -> Result<Option<Found>, Fault> {
        let client = connector.client().await?;
        let collection = self.collection(&client);
        let found = connector.answer(collection.find_one(doc! { "_id": &self.id }).into_future()).await?;
        found.map(|document| self.found(connector, document)).transpose()
    }

    fn found(&self, connector: &MongoConnector, document: Document) -> Result<Found, Fault> {
        decode(document).map_err(|why| unusable(&self.place(connector), &self.pipeline, &why))
    }

    /// Says that we are still there.
    pub(crate) async fn renew(&self, connector: &mut MongoConnector, fence: u64, lease: Duration) -> Result<(), Fault> {
        self.update(connector, fence, Self::lease(lease)).await
    }

    /// Stores what the positions are about, and positions.
    pub(crate) async fn store(
        &self,
        connector: &mut MongoConnector,
        fence: u64,
        lease: Duration,
        about: &About,
        positions: &Positions,
    ) -> Result<(), Fault> {
        let mut set = Self::lease(lease);
        set.insert("about", doc! { "$literal": bson::serialize_to_bson(about).unwrap_or_default() });
        for (partition, position) in positions.iter() {
            let (name, value) = Self::position(partition, position);
            set.insert(name, value);
        }
        self.update(connector, fence, set).await
    }

    async fn update(&self, connector: &mut MongoConnector, fence: u64, set: Document) -> Result<(), Fault> {
        let client = connector.client().await?;
        let collection = self.collection(&client);
        let update = collection.update_one(self.filter(fence), vec![doc! { "$set": set }]);
        if connector.answer(update.into_future()).await?.matched_count == 1 {
            return Ok(());
        }
        Err(self.lost(connector).await)
    }

    /// The fault for a write that did not match the fence.
    pub(crate) async fn lost(&self, connector: &mut MongoConnector) -> Fault {
        match self.read(connector).await {
            Ok(found) => {
                let by = found.and_then(|found| found.held).map(|(holder, _)| holder);
                fenced(&self.pipeline, &self.place(connector), by.as_ref())
            }
            Err(fault) => fault,
        }
    }

    /// Lets another host take the record at once.
    pub(crate) async fn release(&self, connector: &mut MongoConnector, fence: u64) -> Result<(), Fault> {
        let client = connector.client().await?;
        let collection = self.collection(&client);
        let update = collection.update_one(self.filter(fence), doc! { "$unset": { "holder": "", "expires": "" } });
        connector.answer(update.into_future()).await.map(drop)
    }

    /// Removes the record.
    pub(crate) async fn remove(&self, connector: &mut MongoConnector) -> Result<(), Fault> {
        let client = connector.client().await?;
        let collection = self.collection(&client);
        connector.answer(collection.delete_one(doc! { "_id": &self.id }).into_future()).await.map(drop)
    }
}

/// What a stored document says.
///
/// # Errors
/// In words: a field is not what this program writes there.
pub(crate) fn decode(mut document: Document) -> Result<Found, String> {
    let mut found = Found { fence: document.get_i64("fence").unwrap_or(0).cast_unsigned(), ..Found::default() };
    if let Some(about) = document.remove("about") {
        let about: About = bson::deserialize_from_bson(about).map_err(|cause| cause.to_string())?;
        found.about = Some(about);
    }
    if let Some(Bson::Document(positions)) = document.remove("positions") {
        for (name, position) in positions {
            let partition = name.replace("%24", "$").replace("%2E", ".").replace("%25", "%");
            let position = position.as_str().and_then(Position::from_hex);
            let position = position.ok_or_else(|| format!("its position `{name}` is none"))?;
            found.positions.set(&partition, position);
        }
    }
    if let Some(holder) = document.remove("holder").filter(|holder| *holder != Bson::Null) {
        let holder: Holder = bson::deserialize_from_bson(holder).map_err(|cause| cause.to_string())?;
        // By the clock of this machine: a hint for people, never what decides.
        let left = document
            .get_datetime("expires")
            .map_or(0, |at| at.timestamp_millis() - bson::DateTime::now().timestamp_millis());
        found.held = Some((holder, Duration::from_millis(u64::try_from(left).unwrap_or(0))));
    }
    Ok(found)
}

pub(crate) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn is_duplicate(error: &Error) -> bool {
    server_code(error) == Some(11000)
        || matches!(error.kind.as_ref(), ErrorKind::Write(WriteFailure::WriteError(error)) if error.code == 11000)
}
