//! Arbitrary results of a guest, in every role and both encodings: the host has one outcome for each change or a failure of the
//! call, and what it takes for a document is one to the last element.
//!
//! The first byte says which role (bits 0 and 1), whether the guest wants JSON (bit 2), and how many changes there are (bits 3
//! and 4); the others are the guest's memory from address 0, where its result lies.
#![no_main]

use std::{cell::RefCell, sync::Arc, time::Duration};

use libfuzzer_sys::fuzz_target;
use tidegate::{
    change::{Change, Doc, Headers, Namespace, Operation},
    format::lines::{read_change, write_change},
    fuzzing::{Boundary, Verdict},
    plugin::{component::Role, limits::Limits},
};

thread_local! {
    static GUESTS: RefCell<[Boundary; 2]> = RefCell::new([false, true].map(|json| {
        // Small, so that what is too much is met; the time is for a guest that never loops.
        let limits = Limits { output: 64 << 10, time: Duration::from_secs(5), ..Limits::default() };
        Boundary::new(&tidegate_fuzz::guest(json), limits).unwrap_or_else(|fault| panic!("{fault}"))
    }));
}

fn change(number: i32) -> Change {
    let doc = |document: bson::Document| Doc::from(bson::RawDocumentBuf::try_from(&document).expect("it is BSON"));
    let key = bson::doc! { "_id": number };
    let document = bson::doc! { "_id": number, "n": 7_i64, "list": [1, { "a": 1.5 }, "x"], "when": bson::DateTime::MIN };
    Change {
        id: format!("id-{number}").into(),
        operation: Operation::ALL[number as usize % 5],
        namespace: Arc::new(Namespace::new("shop", "items")),
        key: Some(doc(key.clone())),
        document: (number != 3).then(|| doc(document)),
        before: (number == 2).then(|| doc(key)),
        update: None,
        cluster_time: None,
        wall_time: Some(1),
        headers: Headers::default(),
        position: None,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((head, image)) = data.split_first() else { return };
    let mut changes: Vec<Change> = (0..=i32::from(head >> 3 & 3)).map(change).collect();
    changes[0].id = tidegate_fuzz::carried(image).into();
    let changes: Vec<&Change> = changes.iter().collect();
    let sinks = ["out".to_owned(), "other".to_owned()];
    let verdict = GUESTS.with_borrow_mut(|guests| {
        let guest = &mut guests[usize::from(head >> 2 & 1)];
        guest.call(Role::ALL[usize::from(head & 3)], &changes, &sinks).unwrap_or_else(|fault| panic!("{fault}"))
    });
    match verdict {
        Verdict::Failed(reason) => assert!(!reason.is_empty() && reason.len() < 20_000, "{} bytes", reason.len()),
        Verdict::Outcomes { count, documents, changes: made } => {
            assert_eq!(count, changes.len(), "outcomes");
            for document in documents {
                if let Err(cause) = bson::Document::try_from(document.as_raw()) {
                    panic!("no BSON went on: {cause}: {:02x?}", document.as_bytes());
                }
            }
            for made in made {
                // What goes on can be written by a sink or a dead letter, and read again.
                let mut line = Vec::new();
                write_change(&mut line, &made);
                let read = read_change(&line, "fuzz:1");
                assert!(read.is_ok() || made.document.is_none(), "{read:?}: {}", String::from_utf8_lossy(&line));
                let _ = made.document_id();
            }
        }
    }
});
