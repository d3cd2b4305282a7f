//! Letters of every kind through every place and back, on real servers.

use std::{sync::Arc, time::Duration};

use bson::{Binary, RawDocumentBuf, doc, spec::BinarySubtype};

use super::{Again, DeadLetter, DeadLetterWriter, Kept, Letter, Letters, Mark, MarkState, Select, State};
use crate::{
    change::{Change, Doc, Header, Headers, Namespace, Operation},
    config::{DeadLetterConfig, FileSinkConfig, MongodbDeadLetterConfig, RedisDeadLetterConfig, Secret, Span},
    error::Code,
    format::{lines::read_change, time::now_millis},
    telemetry::metrics::DeadLetterKind,
    testing::Server,
};

fn buf(document: bson::Document) -> Doc {
    Doc::from(RawDocumentBuf::try_from(&document).unwrap())
}

fn change(n: i32) -> Change {
    Change {
        id: format!("id-{n}").into(),
        operation: Operation::Update,
        namespace: Arc::new(Namespace::new("shop", "items.old")),
        key: Some(buf(doc! { "_id": n, "shard": "a" })),
        document: Some(buf(doc! {
            "_id": n, "long": 5_i64, "double": 1.0, "text": "a \"b\" \u{0} ü", "when": bson::DateTime::from_millis(-1),
            "price": "1.50".parse::<bson::Decimal128>().unwrap(), "none": bson::Bson::Null,
            "bytes": Binary { subtype: BinarySubtype::Uuid, bytes: vec![7; 16] }, "list": [1, { "a": 2_i64 }],
        })),
        before: Some(buf(doc! { "_id": n })),
        update: Some(buf(doc! { "updatedFields": { "a.b": 1 }, "removedFields": ["c"] })),
        cluster_time: Some((7 << 32) | 9),
        wall_time: Some(1_769_860_800_123),
        headers: [Header { name: "schema_version".into(), value: "v1".into() }].into_iter().collect(),
        position: None,
    }
}

/// One of every kind, and the changes that are hard to keep.
fn letters() -> Vec<DeadLetter> {
    let bare = Change { document: None, before: None, update: None, cluster_time: None, wall_time: None, ..change(1) };
    let mut not_utf8 = doc! { "_id": 1, "text": "aé" }.to_vec().unwrap();
    let at = not_utf8.iter().position(|byte| *byte == 0xC3).unwrap();
    not_utf8[at] = 0xFF;
    let mut nested = doc! { "end": 1 };
    for _ in 0..99 {
        nested = doc! { "n": nested };
    }
    let dotted = [("a.b", "1"), ("$c", "2"), ("", "3")];
    let headers: Headers =
        dotted.iter().map(|(name, value)| Header { name: (*name).into(), value: (*value).into() }).collect();
    let changes = [
        change(1),
        Change { key: None, operation: Operation::Delete, ..bare.clone() },
        Change { operation: Operation::Insert, key: None, ..bare.clone() },
        Change { operation: Operation::Read, wall_time: Some(i64::MIN), ..bare },
        Change { document: Some(Doc::from_bytes(not_utf8.into()).unwrap()), ..change(1) },
        Change { document: Some(buf(nested)), ..change(1) },
        Change { document: Some(buf(doc! { "_id": 1, "$set": { "$x": 1 }, "a.b": "$y", "": 1 })), ..change(1) },
        Change { headers, ..change(1) },
        Change { document: Some(buf(doc! { "_id": 1, "big": "x".repeat(9 << 20) })), ..change(1) },
    ];
    let mut all: Vec<DeadLetter> = Vec::new();
    for (n, (kind, change)) in DeadLetterKind::ALL.into_iter().zip(changes.into_iter().cycle()).enumerate() {
        let change = Change { id: format!("id-{n}").into(), ..change };
        all.push(DeadLetter {
            plugin: Some("plug in/é".to_owned()),
            generation: Some(7),
            plugin_version: Some("1.2.3-é".to_owned()),
            plugin_digest: Some("ab12".to_owned()),
            violations: vec![("a.b".to_owned(), "is \"bad\"".to_owned()), (String::new(), String::new())],
            original: (n % 2 == 0).then(|| Box::new(Change { id: "original".into(), ..change.clone() })),
            at: 1_769_860_800_000 + n as i64,
            ..DeadLetter::new("p", kind, Letter::Change(Box::new(change)), "stages[0]", "because\nof \"it\"")
        });
    }
    // Together more than a document may hold.
    let twice = all[8].clone();
    let Letter::Change(big) = twice.letter else { unreachable!() };
    all[8].original = Some(Box::new(Change { before: big.document.clone(), ..*big }));
    let raw = Letter::Raw { id: "in:3".into(), raw: "no {change\u{0}".into() };
    all.push(DeadLetter {
        at: 1_769_860_900_000,
        ..DeadLetter::new("p", DeadLetterKind::Unreadable, raw, "source", "in:3:1: no JSON")
    });
    all
}

struct Places {
    _redis: Server,
    _mongod: Server,
    _folder: tempfile::TempDir,
    all: Vec<DeadLetterConfig>,
}

async fn places() -> Places {
    let redis = Server::redis(&[]);
    let (mongod, _) = Server::mongod(false).await;
    let folder = tempfile::tempdir().unwrap();
    let timeout = Span(Duration::from_secs(20));
    let all = vec![
        DeadLetterConfig::File(FileSinkConfig { path: folder.path().join("p.dead.jsonl") }),
        DeadLetterConfig::Redis(RedisDeadLetterConfig {
            url: Secret::from(redis.redis_url()),
            tls: Default::default(),
            stream: "dead".to_owned(),
            timeout,
        }),
        DeadLetterConfig::Mongodb(MongodbDeadLetterConfig {
            uri: Secret::from(mongod.mongodb_uri()),
            database: "ops".to_owned(),
            collection: "dead".to_owned(),
            timeout,
        }),
    ];
    Places { _redis: redis, _mongod: mongod, _folder: folder, all }
}

async fn read(config: &DeadLetterConfig, select: Select) -> Vec<Kept> {
    let mut letters = Letters::new(config, "p", select);
    let mut all = Vec::new();
    while let Some(kept) = letters.next().await.unwrap() {
        all.push(kept);
    }
    assert!(letters.unreadable().is_empty(), "{:?}", letters.unreadable());
    all
}

fn keys(kept: &[Kept]) -> Vec<&str> {
    kept.iter().map(|kept| kept.letter.id()).collect()
}

fn small(n: i32, at: i64) -> DeadLetter {
    DeadLetter {
        at,
        plugin: Some(if n % 2 == 0 { "even" } else { "odd" }.to_owned()),
        ..DeadLetter::new("p", DeadLetterKind::Failed, Letter::Change(Box::new(change(n))), "stages[0]", "first")
    }
}

#[tokio::test]
async fn letters_of_every_kind_survive_every_place() {
    let places = places().await;
    for config in &places.all {
        let letters = letters();
        let mut writer = DeadLetterWriter::new(config);
        writer.open().await.unwrap();
        writer.write(&letters[..4]).await.unwrap();
        writer.write(&letters[4..]).await.unwrap();
        // Again, as after a crash.
        let mut writer = DeadLetterWriter::new(config);
        writer.write(&letters).await.unwrap();
        let kept = read(config, Select::default()).await;
        assert_eq!(kept.len(), letters.len(), "each once");
        for (kept, letter) in kept.iter().zip(&letters) {
            assert!(kept.letter == *letter, "{} came back as another from {config:?}", letter.id());
            assert_eq!((kept.state, &kept.key), (State::Open, &letter.key()));
        }
    }
}

#[tokio::test]
async fn a_file_of_letters_is_a_file_of_changes() {
    let letter = DeadLetter { original: None, ..small(1, 0) };
    assert_eq!(read_change(&letter.to_json(), "dead:1").unwrap(), change(1));
    let raw = Letter::Raw { id: "in:2".into(), raw: "no".into() };
    let raw = DeadLetter::new("p", DeadLetterKind::Unreadable, raw, "source", "why");
    assert!(read_change(&raw.to_json(), "dead:2").is_err());
}

#[test]
fn letters_of_before_there_was_a_kind_are_read() {
    let text = br#"{"at":"2026-01-31T12:00:00.000Z","reason":"r","stage":"sinks.out","id":"i","change":{"id":"i","op":"delete","ns":"d.c"}}"#;
    let letter = DeadLetter::read_json(text, "main").unwrap();
    assert_eq!((letter.kind, &*letter.pipeline), (DeadLetterKind::Refused, "main"));
    for bad in ["[]", "{}", "{", r#"{"id":"i","stage":"s","at":"soon"}"#] {
        assert!(DeadLetter::read_json(bad.as_bytes(), "main").is_err(), "{bad}");
    }
}

#[tokio::test]
async fn marks_filters_and_removal() {
    let places = places().await;
    for config in &places.all {
        let now = now_millis();
        let mut writer = DeadLetterWriter::new(config);
        // More than a page.
        let letters: Vec<DeadLetter> = (0..250).map(|n| small(n, now - 1000 + i64::from(n))).collect();
        writer.write(&letters).await.unwrap();
        let foreign = DeadLetter { pipeline: "q".to_owned(), ..small(1000, now) };
        if !matches!(config, DeadLetterConfig::File(_)) {
            writer.write(std::slice::from_ref(&foreign)).await.unwrap();
        }
        assert_eq!(read(config, Select::default()).await.len(), 250);
        let odd = Select { plugins: vec!["odd".to_owned()], since: Some(now - 1000 + 100), ..Select::default() };
        assert_eq!(read(config, odd).await.len(), 75);
        let one =
            Select { ids: vec!["id-7".to_owned()], collections: vec!["items.old".to_owned()], ..Select::default() };
        assert_eq!(keys(&read(config, one).await), ["id-7"]);
        let document = Select { documents: vec!["9".to_owned()], ..Select::default() };
        assert_eq!(keys(&read(config, document).await), ["id-9"]);
        let none = Select { kinds: vec![DeadLetterKind::Trap], ..Select::default() };
        assert!(read(config, none).await.is_empty());

        let mark = |n: i32, state, again| Mark { key: small(n, 0).key(), state, at: now, again };
        let again = Again {
            kind: "refused".to_owned(),
            stage: "sinks.out".to_owned(),
            plugin: None,
            generation: None,
            plugin_version: None,
            plugin_digest: None,
            reason: "second".to_owned(),
            violations: vec![("p".to_owned(), "m".to_owned())],
            sinks: vec!["out".to_owned()],
        };
        let mut marker = Letters::new(config, "p", Select::default());
        let first = marker.next().await.unwrap().unwrap();
        assert_eq!(first.letter.id(), "id-0");
        let marks = vec![mark(0, MarkState::Replayed, None), mark(1, MarkState::Failed, Some(Box::new(again)))];
        marker.mark(marks).await.unwrap();
        let replayed = Select { replayed: Some(true), ..Select::default() };
        let done = read(config, replayed.clone()).await;
        assert_eq!((keys(&done), done[0].state), (vec!["id-0"], State::Replayed(now)));
        let open = read(config, Select { replayed: Some(false), ..Select::default() }).await;
        assert_eq!(open.len(), 249);
        let failed = &open[0];
        assert_eq!(
            (failed.state, &*failed.letter.reason, &*failed.letter.stage),
            (State::FailedAgain(now), "second", "sinks.out")
        );
        assert_eq!(
            (failed.letter.kind, &failed.letter.plugin, &failed.sinks[..]),
            (DeadLetterKind::Refused, &None, &["out".to_owned()][..])
        );
        assert_eq!(failed.key, small(1, 0).key(), "the key stays");

        // It came in again after it was replayed: open again, and in its place.
        writer.write(&[small(0, now + 5000)]).await.unwrap();
        let open = read(config, Select { replayed: Some(false), ..Select::default() }).await;
        assert_eq!(open.len(), 250);

        // Written twice, removed once for all.
        writer.write(&[small(5, now - 1)]).await.unwrap();
        let mut remover =
            Letters::new(config, "p", Select { ids: vec!["id-5".into(), "id-6".into()], ..Select::default() })
                .with_doubles();
        let mut chosen = Vec::new();
        while let Some(kept) = remover.next().await.unwrap() {
            chosen.push(kept);
        }
        assert_eq!(chosen.iter().filter(|kept| !kept.double).count(), 2);
        remover.remove(&chosen).await.unwrap();
        let left = read(config, Select { replayed: Some(false), ..Select::default() }).await;
        assert_eq!(left.len(), 248);
        remover.compact().unwrap();
        let left = read(config, Select { replayed: Some(false), ..Select::default() }).await;
        assert_eq!(left.len(), 248);
        if let Some(file) = remover.file() {
            let text = std::fs::read_to_string(file).unwrap();
            assert!(!text.contains("\"id-5\"") && text.contains("\"id-7\""), "compacted");
        }
        if !matches!(config, DeadLetterConfig::File(_)) {
            let mut others = Letters::new(config, "q", Select::default());
            assert_eq!(others.next().await.unwrap().map(|kept| kept.letter), Some(foreign));
        }
    }
}

#[tokio::test]
async fn what_is_no_letter_is_told_and_a_torn_line_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.dead.jsonl");
    let mut text = small(1, 0).to_json();
    text.extend_from_slice(b"\nnonsense\n");
    text.extend(small(2, 0).to_json());
    text.extend_from_slice(b"\n{\"at\":\"2026");
    std::fs::write(&path, text).unwrap();
    let mut letters = Letters::new(&DeadLetterConfig::File(FileSinkConfig { path }), "p", Select::default());
    let mut ids = Vec::new();
    while let Some(kept) = letters.next().await.unwrap() {
        ids.push(kept.letter.id().to_owned());
    }
    assert_eq!(ids, ["id-1", "id-2"]);
    let [told] = letters.unreadable() else { panic!("{:?}", letters.unreadable()) };
    assert!(told.contains("p.dead.jsonl:2"), "{told}");
    let none = FileSinkConfig { path: folder.path().join("none.jsonl") };
    assert!(Letters::new(&DeadLetterConfig::File(none), "p", Select::default()).next().await.unwrap().is_none());
    let dir = FileSinkConfig { path: folder.path().to_owned() };
    let fault = Letters::new(&DeadLetterConfig::File(dir), "p", Select::default()).next().await.unwrap_err();
    assert_eq!(fault.code, Code::DeadLetterRead);
}
