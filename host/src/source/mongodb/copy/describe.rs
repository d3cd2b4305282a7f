//! What a collection is, as the changes that make it, in the form in which a server tells when it is made.

use std::sync::Arc;

use bson::{Bson, Document, doc, raw::RawDocumentBuf};
use bytestring::ByteString;
use futures::TryStreamExt as _;
use mongodb::{Client, error::Result};

use crate::{
    change::{Change, Doc, Headers, Namespace, Operation},
    source::mongodb::event::newest,
};

/// What makes a collection.
#[derive(Debug)]
pub(super) struct Described {
    /// The document of its `create`.
    pub(super) create: Doc,
    /// The document of its `create_indexes`; none where there are none but that of `_id`.
    pub(super) indexes: Option<Doc>,
}

/// What the server says of a collection or view, none where there is none; and the newest time that it knew of.
pub(super) async fn collection(client: &Client, namespace: &Namespace) -> Result<(Option<Described>, Option<u64>)> {
    let database = client.database(namespace.database());
    let list = doc! { "listCollections": 1, "filter": { "name": namespace.collection() } };
    let answer = database.run_command(list).await?;
    let found = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch")).ok();
    let time = newest(&answer);
    let Some(found) = found.and_then(|found| found.first()).and_then(Bson::as_document) else {
        return Ok((None, time));
    };
    let mut options = found.get_document("options").cloned().unwrap_or_default();
    let create = |options: &Document| RawDocumentBuf::try_from(options).map(Doc::from);
    if found.get_str("type").is_ok_and(|kind| kind == "view") {
        return Ok((Some(Described { create: create(&options)?, indexes: None }), time));
    }
    if let Some(id_index) = found.get("idIndex") {
        options.insert("idIndex", id_index.clone());
    }
    let list = doc! { "listIndexes": namespace.collection() };
    let all: Vec<Document> = database.run_cursor_command(list).await?.try_collect().await?;
    let made = |index: &Document| {
        index.get_str("name").is_ok_and(|name| name == "_id_") || index.get_bool("clustered").unwrap_or_default()
    };
    let indexes: Vec<Document> = all.into_iter().filter(|index| !made(index)).collect();
    let indexes = if indexes.is_empty() {
        None
    } else {
        Some(Doc::from(RawDocumentBuf::try_from(&doc! { "indexes": indexes })?))
    };
    Ok((Some(Described { create: create(&options)?, indexes }), time))
}

/// The change with that document.
pub(super) fn change(id: ByteString, operation: Operation, namespace: &Arc<Namespace>, document: Doc) -> Change {
    Change {
        id,
        operation,
        namespace: Arc::clone(namespace),
        key: None,
        document: Some(document),
        before: None,
        update: None,
        cluster_time: None,
        wall_time: None,
        headers: Headers::default(),
        position: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bson::{Document, doc};
    use futures::TryStreamExt as _;

    use super::{change, collection};
    use crate::{
        batch::Delivery,
        change::{Namespace, Operation},
        config::{DdlConfig, MongodbSinkConfig, SinkConfig, WriteMode},
        sink::{AnySink, Sink as _, Writes},
        testing::Server,
    };

    async fn list(client: &mongodb::Client, database: &str, command: Document) -> Vec<Document> {
        client.database(database).run_cursor_command(command).await.unwrap().try_collect().await.unwrap()
    }

    async fn info(client: &mongodb::Client, database: &str, name: &str) -> Document {
        let list = list(client, database, doc! { "listCollections": 1, "filter": { "name": name } }).await;
        let mut info = list.into_iter().next().unwrap();
        info.get_document_mut("info").unwrap().remove("uuid");
        info
    }

    #[tokio::test]
    async fn what_is_there_is_made_elsewhere_from_what_the_server_says_of_it() {
        let (server, client) = Server::mongod(false).await;
        let kinds = [
            doc! { "create": "plain" },
            doc! { "create": "capped", "capped": true, "size": 5000, "max": 10 },
            doc! { "create": "series", "timeseries": { "timeField": "t", "metaField": "m", "granularity": "minutes" }, "expireAfterSeconds": 90_000 },
            doc! { "create": "view", "viewOn": "plain", "pipeline": [{ "$match": { "n": 1 } }] },
            doc! { "create": "french", "collation": { "locale": "fr", "strength": 2 } },
            doc! { "create": "valid", "validator": { "n": { "$gt": 0 } }, "validationAction": "warn" },
            doc! { "create": "clustered", "clusteredIndex": { "key": { "_id": 1 }, "unique": true, "name": "c" } },
            doc! { "create": "images", "changeStreamPreAndPostImages": { "enabled": true } },
        ];
        let from = client.database("from");
        for kind in &kinds {
            from.run_command(kind.clone()).await.unwrap();
        }
        let indexes = vec![
            doc! { "key": { "n": 1 }, "name": "unique", "unique": true, "sparse": true },
            doc! { "key": { "b": 1 }, "name": "partial", "partialFilterExpression": { "b": { "$gt": 1 } }, "hidden": true },
            doc! { "key": { "at": 1 }, "name": "ttl", "expireAfterSeconds": 100_000 },
            doc! { "key": { "x": "text", "y": "text" }, "name": "text", "weights": { "x": 5 }, "default_language": "german" },
            doc! { "key": { "g": "2dsphere" }, "name": "geo" },
            doc! { "key": { "$**": 1 }, "name": "wild", "wildcardProjection": { "zz": 1 } },
        ];
        from.run_command(doc! { "createIndexes": "plain", "indexes": indexes }).await.unwrap();
        let uri = server.mongodb_uri().into();
        let (database, mode, ddl) = (Some("to".to_owned()), WriteMode::Mirror, DdlConfig::default());
        let config = SinkConfig::Mongodb(MongodbSinkConfig {
            uri,
            database,
            collection: None,
            mode,
            write_concern: Default::default(),
            ddl,
        });
        let mut sink = AnySink::new(&config, "p", "s");
        sink.open().await.unwrap();
        for kind in &kinds {
            let name = kind.get_str("create").unwrap();
            let namespace = Arc::new(Namespace::new("from", name));
            let described = collection(&client, &namespace).await.unwrap().0.unwrap();
            let mut changes = vec![change("1".into(), Operation::Create, &namespace, described.create)];
            let indexes = described.indexes.map(|all| change("2".into(), Operation::CreateIndexes, &namespace, all));
            assert_eq!(indexes.is_some(), name == "plain", "{name}");
            changes.extend(indexes);
            // Twice, as after a crash.
            for _ in 0..2 {
                let deliveries = changes.iter().map(|change| Delivery { change, destination: None }).collect();
                let mut writes = Writes::new(deliveries);
                sink.write(&mut writes).await.unwrap();
                assert!(writes.is_complete() && writes.refused().is_empty(), "{name}: {:?}", writes.refused());
            }
            assert_eq!(info(&client, "to", name).await, info(&client, "from", name).await);
        }
        let list = async |database| list(&client, database, doc! { "listIndexes": "plain" }).await;
        assert_eq!(list("to").await, list("from").await);
        let (nothing, time) = collection(&client, &Namespace::new("from", "nothing")).await.unwrap();
        assert!(nothing.is_none() && time.is_some());
    }
}
