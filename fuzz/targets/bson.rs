//! Arbitrary bytes where BSON is expected: replies of MongoDB, dead letters and checkpoints kept there, documents of plugins. What
//! the host's check passes is BSON to others too, and can be written as JSON and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::{
    change::Doc,
    format::{
        check::check_document,
        elements::Elements,
        json::{Style, write_document},
        keep::read_document,
        lines::{read_change, write_change},
    },
    fuzzing::{read_checkpoints, read_letter, read_reply},
};

/// The longest input, with length and terminator of a document around it: mutations need not guess them.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 5).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), data, &[0]].concat()
}

fn look(bytes: &[u8]) {
    if let Ok(elements) = Elements::of(bytes) {
        for element in elements.flatten() {
            let _ = (element.as_str(), element.as_u64(), element.text_bytes());
        }
    }
    for style in [Style::Canonical, Style::Relaxed, Style::Interchange, Style::Plain] {
        let mut text = Vec::new();
        let written = write_document(&mut text, bytes, style);
        if check_document(bytes).is_err() {
            continue;
        }
        if let Err(cause) = bson::Document::from_reader(bytes) {
            panic!("what the check passes is no BSON: {cause}: {bytes:02x?}");
        }
        if written.is_ok() {
            let shown = String::from_utf8_lossy(&text);
            if let Err(cause) = serde_json::from_slice::<serde::de::IgnoredAny>(&text) {
                assert!(cause.to_string().contains("recursion"), "no JSON: {cause}: {shown}");
            }
        }
        if matches!(style, Style::Interchange)
            && let Ok(back) = read_document(&text, Some(bytes))
        {
            assert_eq!(check_document(&back), Ok(()), "back from JSON");
        }
    }
    for change in read_reply(bytes.to_vec()).unwrap_or_default() {
        let mut line = Vec::new();
        write_change(&mut line, &change);
        let _ = (read_change(&line, "fuzz:1"), change.document_id());
    }
    if let Ok(letter) = read_letter(bytes) {
        let _ = (letter.to_json(), letter.key());
    }
    if let Ok(doc) = Doc::from_bytes(bytes.to_vec().into()) {
        let _ = format!("{doc:?}");
    }
}

fuzz_target!(|data: &[u8]| {
    look(data);
    look(&framed(data));
    let _ = (read_checkpoints(data), read_checkpoints(&framed(data)));
});
