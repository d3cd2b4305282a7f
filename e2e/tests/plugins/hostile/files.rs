//! Files that are no plugins: broken ones, cut ones, and ones that would take for ever to read or to compile.

use std::time::{Duration, Instant};

use tidegate_tests::Cli;
use tidegate_tests::guests::{Guest, Role};

use super::lifecycle::refused;

fn put(bytes: Vec<u8>) -> impl FnOnce(&std::path::Path) {
    move |plugins| {
        std::fs::write(plugins.join(".guest.new"), bytes).unwrap();
        std::fs::rename(plugins.join(".guest.new"), plugins.join("guest.wasm")).unwrap();
    }
}

/// A component around a module in text.
fn component(fields: &str) -> Vec<u8> {
    wat::parse_str(format!("(component (core module {fields}))")).unwrap()
}

#[tokio::test]
async fn of_200_megabytes_is_refused_unread() {
    let giant = |plugins: &std::path::Path| {
        // Without a byte in it: a disk has room for that.
        let file = std::fs::File::create(plugins.join(".guest.new")).unwrap();
        file.set_len(200 << 20).unwrap();
        std::fs::rename(plugins.join(".guest.new"), plugins.join("guest.wasm")).unwrap();
    };
    refused(giant, "TG0202", &["it has 209715200 bytes, more than the 67108864 a plugin may have"]).await;
}

#[tokio::test]
async fn that_is_a_pipe() {
    // To open one waits for somebody who writes.
    let pipe = |plugins: &std::path::Path| {
        let made = std::process::Command::new("mkfifo").arg(plugins.join(".guest.new")).status().unwrap();
        assert!(made.success());
        std::fs::rename(plugins.join(".guest.new"), plugins.join("guest.wasm")).unwrap();
    };
    refused(pipe, "TG0202", &["it is no file"]).await;
}

#[tokio::test]
async fn with_a_hundred_thousand_functions() {
    let bytes = component(&"(func)".repeat(100_000));
    refused(put(bytes), "TG0202", &["it has 100000 or more functions, 65536 is the most", "too long to compile"]).await;
}

#[tokio::test]
async fn with_a_function_that_takes_minutes_to_compile() {
    // 6 MB of small blocks: half an hour and 3 GB, were it tried.
    let block = "(block (br_if 0 (local.get 0)) (local.set 0 (i32.const 1)))";
    let bytes = component(&format!("(func (param i32) {})", block.repeat(600_000)));
    refused(put(bytes), "TG0202", &["the sum of the squares", "too long to compile"]).await;
}

#[tokio::test]
async fn with_fifty_thousand_variables_in_each_function() {
    // 8 KB in all.
    let function = format!("(func (local {}))", "i32 ".repeat(49_000));
    refused(put(component(&function.repeat(1000))), "TG0202", &["local variables, 1048576 is the most"]).await;
}

#[tokio::test]
async fn whose_section_is_said_to_have_four_gigabytes() {
    // A type section, whose length is the greatest there is.
    let bytes = b"\0asm\x0d\0\x01\0\x07\xff\xff\xff\xff\x0f".to_vec();
    refused(put(bytes), "TG0202", &["its file is broken"]).await;
}

#[tokio::test]
async fn whose_list_is_said_to_have_four_billion_entries() {
    let bytes = b"\0asm\x0d\0\x01\0\x07\x05\xff\xff\xff\xff\x0f".to_vec();
    refused(put(bytes), "TG0202", &["it has 4294967295 or more types, 65536 is the most"]).await;
}

#[tokio::test]
async fn whose_types_grow_with_each_other() {
    // Each is a tuple of two of the one before: 2^30 strings in the last.
    let mut text = String::from("(component (type $t0 (tuple string string))");
    for n in 1..30 {
        text += &format!("(type $t{n} (tuple $t{0} $t{0}))", n - 1);
    }
    refused(put(wat::parse_str(text + ")").unwrap()), "TG0202", &["its file is broken"]).await;
}

/// What `inspect` says of a file: it is refused within seconds, and never with a panic.
async fn inspected(what: &str, bytes: &[u8]) -> Option<i32> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guest.wasm");
    std::fs::write(&file, bytes).unwrap();
    let begun = Instant::now();
    let output = Cli::run(&["plugin", "inspect", file.to_str().unwrap()], b"").await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{what} took {:?}", begun.elapsed());
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 2)), "{what}: {:?} {stderr}", output.status);
    if code == Some(2) {
        assert!(stderr.starts_with("error[TG02"), "{what}: {stderr}");
    }
    code
}

#[tokio::test]
async fn cut_anywhere() {
    let good = Guest::new(Role::Router).component();
    assert_eq!(inspected("the whole file", &good).await, Some(0));
    let step = good.len() / 40;
    for end in (0..good.len()).step_by(step) {
        assert_eq!(inspected(&format!("{end} bytes"), &good[..end]).await, Some(2), "{end} of {} bytes", good.len());
    }
}

#[tokio::test]
async fn with_a_bit_turned_anywhere() {
    let good = Guest::new(Role::Validator).component();
    // The same places in every run, far from each other.
    let mut place = 8;
    for round in 0..60_usize {
        place = (place * 31 + 7919 * (round + 1)) % good.len();
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (round % 8);
        // It may still be a plugin: the bit may stand in a name. What it must not do is harm.
        inspected(&format!("bit {} of byte {place}", round % 8), &bytes).await;
    }
}
