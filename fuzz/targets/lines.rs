//! Arbitrary text where changes are read from: lines of changes, dead letters, samples, and documents that a plugin returned as
//! JSON. What is read as a change is written and read again as the same change.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::{
    format::{
        check::check_document,
        keep::read_document,
        lines::{read_change, write_change},
    },
    fuzzing::{DeadLetter, read_sample},
    plugin::component::Role,
};

fuzz_target!(|data: &[u8]| {
    match read_change(data, "fuzz:1") {
        Ok(change) => {
            let mut line = Vec::new();
            write_change(&mut line, &change);
            let again = read_change(&line, "fuzz:1");
            assert_eq!(again.as_ref(), Ok(&change), "{}", String::from_utf8_lossy(&line));
            let _ = (change.document_id(), change.happened_at(), change.size());
        }
        Err(cause) => assert!(cause.column >= 1 && cause.column <= data.len() + 1 && !cause.reason.is_empty(), "{cause:?}"),
    }
    if let Ok(letter) = DeadLetter::read_json(data, "p") {
        let text = letter.to_json();
        let again = DeadLetter::read_json(&text, "p");
        assert!(again.is_ok(), "{again:?}: {}", String::from_utf8_lossy(&text));
    }
    let _ = read_sample(&Role::ALL, data);
    // The original in front of a NUL, what came back behind it.
    let (original, text) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (data.get(..at), data.get(at + 1..).unwrap_or_default()),
        None => (None, data),
    };
    let original = original.and_then(|text| read_document(text, None).ok());
    if let Ok(document) = read_document(text, original.as_deref()) {
        assert_eq!(check_document(&document), Ok(()), "from {}", String::from_utf8_lossy(text));
        if let Err(cause) = bson::Document::from_reader(document.as_slice()) {
            panic!("no BSON: {cause}: from {}", String::from_utf8_lossy(text));
        }
    }
});
