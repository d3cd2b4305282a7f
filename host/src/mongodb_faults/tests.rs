use std::collections::BTreeSet;

use bson::{Document, doc};
use mongodb::error::{CommandError, Error, ErrorKind, InsertManyError, WriteConcernError, WriteError, WriteFailure};

use super::{Complaint, Trouble, WRITES, is_on_id, reply_troubles, write_trouble};
use crate::testing::Server;

const ON_ID: &str = "E11000 duplicate key error collection: shop.items index: _id_ dup key: { _id: 1 }";
const ON_ANOTHER: &str = "E11000 duplicate key error collection: shop.items index: sku_1 dup key: { sku: \"a\" }";

fn troubles(reply: &Document) -> Vec<Trouble> {
    reply_troubles(reply).into_iter().map(|complaint| complaint.trouble).collect()
}

/// As the driver reads it from the server.
fn read<T: serde::de::DeserializeOwned>(document: Document) -> T {
    bson::deserialize_from_document(document).expect("an error of the server")
}

fn command(code: i32) -> Error {
    let command: CommandError = read(doc! { "code": code, "codeName": "Name", "errmsg": "words" });
    ErrorKind::Command(command).into()
}

fn write(code: i32, message: &str) -> Error {
    let error: WriteError = read(doc! { "code": code, "errmsg": message });
    ErrorKind::Write(WriteFailure::WriteError(error)).into()
}

#[test]
fn every_code_stands_in_the_table_once() {
    let codes: BTreeSet<i32> = WRITES.iter().map(|row| row.code).collect();
    assert_eq!(codes.len(), WRITES.len());
    assert!(WRITES.iter().all(|row| !row.why.is_empty() && !row.why.ends_with('.')));
}

#[test]
fn a_duplicate_is_told_by_its_index() {
    for on_id in [
        ON_ID,
        "E11000 duplicate key error index: shop.items.$_id_ dup key: { : 1 }",
        "E11000 duplicate key error collection: shop.items dup key: { _id: 1 }",
    ] {
        assert!(is_on_id(on_id), "{on_id}");
        assert_eq!(write_trouble(&write(11000, on_id)), Trouble::Transient);
    }
    for on_another in [ON_ANOTHER, "E11000 duplicate key error collection: d.c index: _id_2 dup key: { x: { _id: 1 } }"]
    {
        assert!(!is_on_id(on_another), "{on_another}");
        assert_eq!(write_trouble(&write(11000, on_another)), Trouble::Change { index: None });
    }
}

#[test]
fn errors_of_the_driver_are_told_apart() {
    let change = Trouble::Change { index: None };
    for (code, expected) in [
        (112, Trouble::Transient),
        (251, Trouble::Transient),
        (10107, Trouble::Transient),
        (11600, Trouble::Transient),
        (14031, Trouble::Transient),
        (121, change),
        (10334, change),
        (52, change),
        (66, change),
        (13, Trouble::Pipeline),
        (20, Trouble::Pipeline),
        (263, Trouble::Pipeline),
    ] {
        assert_eq!(write_trouble(&command(code)), expected, "command {code}");
        assert_eq!(write_trouble(&write(code, "words")), expected, "document {code}");
    }
    assert_eq!(write_trouble(&command(4_444_444)), change, "what nobody knows of a command is of some change in it");
    assert_eq!(write_trouble(&write(4_444_444, "words")), change, "what nobody knows of a document is its own");

    let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    assert_eq!(write_trouble(&Error::from(broken)), Trouble::Transient);
    assert_eq!(write_trouble(&Error::from(ErrorKind::SessionsNotSupported)), Trouble::Pipeline);
    for (code, expected) in [(64, Trouble::Transient), (999, Trouble::Transient), (79, Trouble::Pipeline)] {
        let error: WriteConcernError = read(doc! { "code": code, "errmsg": "words" });
        assert_eq!(write_trouble(&ErrorKind::Write(WriteFailure::WriteConcernError(error)).into()), expected, "{code}");
    }
    let many: InsertManyError = read(doc! {
        "writeErrors": [{ "index": 7, "code": 121, "errmsg": "words" }, { "index": 3, "code": 11000, "errmsg": ON_ANOTHER }],
    });
    assert_eq!(write_trouble(&ErrorKind::InsertMany(many).into()), Trouble::Change { index: Some(3) });
}

#[test]
fn replies_are_told_apart() {
    assert_eq!(reply_troubles(&doc! { "ok": 1.0, "n": 3, "nModified": 3 }), []);
    let reply = doc! {
        "ok": 1.0, "n": 1,
        "writeErrors": [
            { "index": 1, "code": 11000, "errmsg": ON_ANOTHER, "keyPattern": { "sku": 1 }, "keyValue": { "sku": "a" } },
            { "index": 2_i64, "code": 11000, "errmsg": "in other words", "keyPattern": { "_id": 1 }, "keyValue": { "_id": 1 } },
            { "index": 4, "code": 121, "errmsg": "Document failed validation" },
            { "index": 5, "code": 11000, "errmsg": ON_ID },
        ],
        "writeConcernError": { "code": 64, "codeName": "WriteConcernTimeout", "errmsg": "waiting for replication timed out" },
    };
    let expected = [
        Trouble::Change { index: Some(1) },
        Trouble::Transient,
        Trouble::Change { index: Some(4) },
        Trouble::Transient,
        Trouble::Transient,
    ];
    assert_eq!(troubles(&reply), expected);
    let validation = Complaint {
        trouble: expected[2],
        code: 121,
        told: "Document failed validation (121 DocumentValidationFailure)".to_owned(),
        index: Some(4),
    };
    assert_eq!(reply_troubles(&reply)[2], validation);
    assert_eq!(
        troubles(&doc! { "ok": 0.0, "code": 20, "errmsg": "Transaction numbers are only allowed on ..." }),
        [Trouble::Pipeline]
    );
    assert_eq!(troubles(&doc! { "ok": 0, "code": 112, "errmsg": "conflict" }), [Trouble::Transient]);
}

#[test]
fn labels_win() {
    for label in ["TransientTransactionError", "UnknownTransactionCommitResult", "RetryableWriteError"] {
        let reply = doc! { "ok": 0.0, "code": 4_444_444, "errmsg": "words", "errorLabels": [label] };
        assert_eq!(troubles(&reply), [Trouble::Transient], "{label}");
    }
    let other = doc! { "ok": 0.0, "code": 4_444_444, "errmsg": "words", "errorLabels": ["NoWritesPerformed"] };
    assert_eq!(troubles(&other), [Trouble::Change { index: None }]);
}

/// What the server says of a write, and what that means: the codes are those of the server, not of a book. It tells some errors
/// of the whole command and some of a document in it.
async fn said(database: &mongodb::Database, command: Document) -> Vec<(i32, Trouble)> {
    match database.run_command(command).await {
        Ok(reply) => reply_troubles(&reply).into_iter().map(|complaint| (complaint.code, complaint.trouble)).collect(),
        Err(error) => match error.kind.as_ref() {
            ErrorKind::Command(command) => vec![(command.code, write_trouble(&error))],
            other => panic!("{other:?}"),
        },
    }
}

fn update(q: Document, u: Document) -> Document {
    doc! { "update": "items", "updates": [{ "q": q, "u": u, "upsert": true }] }
}

#[tokio::test]
async fn a_real_server_says_what_the_table_expects() {
    let (mut server, client) = Server::mongod(false).await;
    let database = client.database("shop");
    let change = Trouble::Change { index: Some(0) };

    database
        .run_command(doc! { "createIndexes": "items", "indexes": [
            { "key": { "sku": 1 }, "name": "sku_1", "unique": true, "sparse": true },
            { "key": { "a": 1, "b": 1 }, "name": "parallel" },
            { "key": { "place": "2dsphere" }, "name": "geo" },
        ] })
        .await
        .expect("indexes");
    let duplicates = doc! { "insert": "items", "ordered": false, "documents": [
        { "_id": 1, "sku": "a" }, { "_id": 2, "sku": "a" }, { "_id": 1, "sku": "b" }, { "_id": 3, "sku": "c" },
    ] };
    let expected = [(11000, Trouble::Change { index: Some(1) }), (11000, Trouble::Transient)];
    assert_eq!(said(&database, duplicates).await, expected);
    let array_as_id = doc! { "insert": "items", "documents": [{ "_id": [1] }] };
    assert_eq!(said(&database, array_as_id).await, [(53, change)]);
    assert_eq!(said(&database, update(doc! { "_id": 1 }, doc! { "$set": { "_id": 9 } })).await, [(66, change)]);
    assert_eq!(said(&database, update(doc! { "_id": 1 }, doc! { "$set": { "x": 1, "x.y": 1 } })).await, [(40, change)]);
    let parallel = doc! { "insert": "items", "documents": [{ "a": [1, 2], "b": [1, 2] }] };
    assert_eq!(said(&database, parallel).await, [(171, change)]);
    let nowhere =
        doc! { "insert": "items", "documents": [{ "place": { "type": "Point", "coordinates": [500, 500] } }] };
    assert_eq!(said(&database, nowhere).await, [(16755, change)]);
    let half = "x".repeat(10 << 20);
    assert_eq!(said(&database, update(doc! { "_id": 7 }, doc! { "$set": { "one": &half } })).await, []);
    let too_large = said(&database, update(doc! { "_id": 7 }, doc! { "$set": { "two": &half } })).await;
    assert!([[(17419, change)], [(10334, change)]].iter().any(|expected| too_large == expected), "{too_large:?}");

    database.run_command(doc! { "create": "strict", "validator": { "x": { "$type": "int" } } }).await.expect("strict");
    assert_eq!(said(&database, doc! { "insert": "strict", "documents": [{ "x": "no" }] }).await, [(121, change)]);
    database.run_command(doc! { "create": "seen", "viewOn": "items", "pipeline": [] }).await.expect("a view");
    assert_eq!(said(&database, doc! { "insert": "seen", "documents": [{}] }).await, [(166, Trouble::Pipeline)]);
    let no_name = said(&database, doc! { "insert": "a$b", "documents": [{}] }).await;
    assert!(matches!(no_name.as_slice(), [(73, Trouble::Change { .. })]), "{no_name:?}");
    let five = doc! { "insert": "items", "documents": [{ "_id": 20 }], "writeConcern": { "w": 5 } };
    assert_eq!(said(&database, five).await, [(100, Trouble::Pipeline)]);

    // Two transactions want the same document; then the one that lost is gone.
    let [mut first, mut second] =
        [client.start_session().await.expect("a session"), client.start_session().await.expect("a session")];
    first.start_transaction().await.expect("a transaction");
    second.start_transaction().await.expect("a transaction");
    let items = database.collection::<Document>("items");
    items
        .update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 1 } })
        .session(&mut first)
        .await
        .expect("the first is quicker");
    let lost = items
        .update_one(doc! { "_id": 1 }, doc! { "$set": { "n": 2 } })
        .session(&mut second)
        .await
        .expect_err("a conflict");
    assert_eq!(write_trouble(&lost), Trouble::Transient, "{lost}");
    let gone = items.insert_one(doc! {}).session(&mut second).await.expect_err("the transaction was aborted");
    assert_eq!(write_trouble(&gone), Trouble::Transient, "{gone}");
    first.abort_transaction().await.expect("an end");

    let step_down = client.database("admin").run_command(doc! { "replSetStepDown": 60, "force": true }).await;
    step_down.expect("a primary that steps down");
    let not_primary = said(&database, doc! { "insert": "items", "documents": [{ "_id": 30 }] }).await;
    assert_eq!(not_primary, [(10107, Trouble::Transient)]);
    server.kill();
    let away =
        database.run_command(doc! { "insert": "items", "documents": [{ "_id": 31 }] }).await.expect_err("no server");
    assert_eq!(write_trouble(&away), Trouble::Transient, "{away}");
}

#[tokio::test]
async fn a_standalone_server_has_no_transactions() {
    let (_server, client) = Server::mongod(true).await;
    let mut session = client.start_session().await.expect("a session");
    session.start_transaction().await.expect("a transaction");
    let items = client.database("shop").collection::<Document>("items");
    let error = items.insert_one(doc! { "_id": 1 }).session(&mut session).await.expect_err("no transactions");
    assert_eq!(write_trouble(&error), Trouble::Pipeline, "{error}");
}
