use std::path::Path;

use bson::{RawDocumentBuf, doc};

use super::{At, Kind, Log, New, Place, Slot, Trust, key_id};
use crate::change::Doc;

const FORM: u64 = 7;

fn place(folder: &Path) -> Place {
    Place { folder: folder.to_owned(), pipeline: "p".into(), dry: false }
}

fn document(n: i32) -> Doc {
    RawDocumentBuf::try_from(&doc! { "n": n }).unwrap().into()
}

fn new(key: &str, n: i32) -> New {
    New { kind: Kind::Value, key: key.into(), document: Some(document(n)) }
}

fn gone(key: &str) -> New {
    New { kind: Kind::Gone, key: key.into(), document: None }
}

fn known(log: &Log, key: &str) -> Option<Doc> {
    log.entry(log.index.get(&key_id(key.as_bytes()))?).unwrap()?.document
}

/// The numbers, keys and states that are given again, each with the state before.
fn again(log: &Log, from: At) -> Vec<(u64, String, Option<Doc>, Option<Doc>)> {
    let mut replay = log.again(from).unwrap();
    let mut all = Vec::new();
    while let Some(frame) = replay.next().unwrap() {
        all.extend(frame.into_iter().map(|again| {
            let key = String::from_utf8(again.entry.key).unwrap();
            (again.number, key, again.entry.document, again.before.and_then(|before| before.document))
        }));
    }
    all
}

#[test]
fn what_was_written_is_known_and_what_was_on_its_way_is_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, trust) = Log::open(place(dir.path()), None, FORM).unwrap();
    assert_eq!((trust, log.at()), (Trust::Fresh, At::behind(1, 0)));
    assert_eq!(log.append(&[new("a", 1), new("b", 1)], 5).unwrap(), 1);
    assert_eq!(log.append(&[new("a", 2), gone("b")], 6).unwrap(), 3);
    drop(log);
    let (log, trust) = Log::open(place(dir.path()), Some(At::behind(1, 2)), FORM).unwrap();
    assert_eq!((trust, log.at()), (Trust::Whole, At::behind(1, 4)));
    assert_eq!((known(&log, "a"), known(&log, "b")), (Some(document(2)), None));
    let expected =
        vec![(3, "a".into(), Some(document(2)), Some(document(1))), (4, "b".into(), None, Some(document(1)))];
    assert_eq!(again(&log, At::behind(1, 2)), expected);
    // A part of an entry is no whole one.
    assert_eq!(again(&log, At { epoch: 1, entry: 4, part: 0 }).len(), 1);
    assert_eq!(again(&log, At::behind(1, 4)), []);
}

#[test]
fn what_a_crash_left_unfinished_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(place(dir.path()), None, FORM).unwrap();
    log.append(&[new("a", 1)], 5).unwrap();
    let whole = log.end;
    log.append(&[new("a", 2)], 5).unwrap();
    let length = log.end;
    drop(log);
    let path = dir.path().join("p.keys.1");
    let bytes = std::fs::read(&path).unwrap();
    for cut in whole..length {
        std::fs::write(&path, &bytes[..usize::try_from(cut).unwrap()]).unwrap();
        let (log, trust) = Log::open(place(dir.path()), Some(At::behind(1, 1)), FORM).unwrap();
        assert_eq!((trust, log.at(), known(&log, "a")), (Trust::Whole, At::behind(1, 1), Some(document(1))), "{cut}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
    }
}

#[test]
fn a_position_that_the_log_does_not_reach_makes_all_of_it_unsure() {
    for (at, form) in
        [(None, FORM), (Some(At::behind(1, 9)), FORM), (Some(At::behind(3, 1)), FORM), (Some(At::behind(1, 2)), 8)]
    {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = Log::open(place(dir.path()), None, FORM).unwrap();
        log.append(&[new("a", 1), new("b", 1)], 5).unwrap();
        drop(log);
        let (mut log, trust) = Log::open(place(dir.path()), at, form).unwrap();
        assert!(matches!(trust, Trust::Unsure(_)), "{at:?}");
        assert!(log.at().epoch > at.map_or(1, |at| at.epoch));
        log.append(&[new("a", 1)], 5).unwrap();
        let at = log.at();
        drop(log);
        // What was delivered since is sure, the rest is not.
        let (log, trust) = Log::open(place(dir.path()), Some(at), form).unwrap();
        assert_eq!(trust, Trust::Whole);
        let unsure = |key: &str| log.index.get(&key_id(key.as_bytes())).map(Slot::is_unsure);
        assert_eq!((unsure("a"), unsure("b")), (Some(false), Some(true)));
        assert_eq!(known(&log, "b"), Some(document(1)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "the lock and one log");
    }
}

#[test]
fn a_new_log_has_the_last_states_and_the_old_one_stays_until_all_is_safe() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(place(dir.path()), None, FORM).unwrap();
    for n in 0..100 {
        log.append(&[new("a", n), new(&format!("k{n}"), n)], 5).unwrap();
    }
    log.append(&[gone("k7")], 5).unwrap();
    let (head, long) = (log.head, log.end);
    log.begin_anew(super::Head { base: log.last, ..head }, false).unwrap();
    assert!(log.end < long);
    log.append(&[new("a", 1000)], 5).unwrap();
    let check = |log: &Log| {
        assert_eq!((known(log, "a"), known(log, "k7")), (Some(document(1000)), None));
        assert!((0..100).filter(|n| *n != 7).all(|n| known(log, &format!("k{n}")) == Some(document(n))));
    };
    check(&log);
    drop(log);
    let both = |dir: &Path| dir.join("p.keys.1").exists() && dir.join("p.keys.2").exists();
    assert!(both(dir.path()));
    // From before it, through both.
    let (log, trust) = Log::open(place(dir.path()), Some(At::behind(1, 198)), FORM).unwrap();
    assert_eq!(trust, Trust::Whole);
    check(&log);
    let numbers: Vec<u64> = again(&log, At::behind(1, 198)).into_iter().map(|(number, ..)| number).collect();
    assert_eq!(numbers, [199, 200, 201, 202]);
    assert_eq!(again(&log, At::behind(1, 201)), [(202, "a".into(), Some(document(1000)), Some(document(99)))]);
    let mut log = log;
    log.safe(200).unwrap();
    log.safe(200).unwrap();
    assert!(both(dir.path()), "not all of it is safe");
    log.safe(201).unwrap();
    assert!(both(dir.path()), "the checkpoint may not be written");
    log.safe(201).unwrap();
    assert!(!both(dir.path()));
    check(&log);
}

#[test]
fn one_task_works_with_a_log_and_a_dry_run_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = Log::open(place(dir.path()), None, FORM).unwrap();
    log.append(&[new("a", 1)], 5).unwrap();
    let busy = Log::open(place(dir.path()), None, FORM).err().unwrap();
    assert_eq!(busy.kind(), std::io::ErrorKind::WouldBlock);
    let length = log.end;
    for at in [At::behind(1, 1), At::behind(5, 5)] {
        let (mut dry, _) = Log::open(Place { dry: true, ..place(dir.path()) }, Some(at), FORM).unwrap();
        dry.append(&[new("b", 1)], 5).unwrap();
        assert_eq!((known(&dry, "a"), known(&dry, "b")), (Some(document(1)), None));
        assert!(dry.index.get(&key_id(b"b")).is_some());
        dry.tidy().unwrap();
    }
    assert_eq!(std::fs::metadata(dir.path().join("p.keys.1")).unwrap().len(), length);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}
