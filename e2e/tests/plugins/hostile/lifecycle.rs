//! Components that do something before the first change: a host that runs does not take them, and what runs goes on.

use serde_json::Value;
use tidegate_tests::field;
use tidegate_tests::guests::{Deed, Guest, Role};

use super::beside::Beside;
use crate::rig::{ids, ids_without};

/// Puts a file in the place of a good plugin that runs; it is refused, the good one goes on, and the pipeline beside it is unharmed.
pub(super) async fn refused(install: impl FnOnce(&std::path::Path), code: &str, parts: &[&str]) {
    let mut beside = Beside::start(&Guest::new(Role::Validator), "").await;
    beside.feed(0..50, |_| "good".to_owned());
    beside.wait_delivered(50).await;
    install(&beside.rig.plugins());
    let line = beside.host.wait_event("plugin_refused").await;
    let message = field(&line, "message").and_then(Value::as_str).unwrap();
    assert_eq!(field(&line, "code").and_then(Value::as_str), Some(code), "{message}");
    for part in parts {
        assert!(message.contains(part), "nothing of `{part}`: {message}");
    }
    assert!(message.len() < 6000, "a message of {} bytes", message.len());
    beside.feed(50..100, |_| "good".to_owned());
    let delivered = beside.wait_delivered(100).await;
    assert_eq!(ids(&delivered), ids_without(0..100, &[]));
    let generation = [("plugin", "guest")];
    assert_eq!(beside.host.metric("tidegate_plugin_generation", &generation).await, Some(1.0));
    beside.is_unharmed().await;
    beside.ends_with_dead_letters(&[]).await;
}

macro_rules! refused {
    ($($name:ident: $guest:expr => $code:literal, $($part:literal),+;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                let guest: Guest = $guest;
                refused(|plugins| drop(guest.install(plugins, "guest")), $code, &[$($part),+]).await;
            }
        )+
    };
}

fn validator() -> Guest {
    Guest::new(Role::Validator)
}

refused! {
    loop_in_the_start_function: validator().in_start(Deed::LoopForever) => "TG0206", "cannot be started: it took longer than";
    loop_in_manifest: validator().in_manifest(Deed::LoopForever) => "TG0206", "failed in `manifest`: it took longer than";
    loop_in_encoding: validator().in_encoding(Deed::LoopForever) => "TG0206", "failed in `manifest`: it took longer than";
    loop_in_configure: validator().in_configure(Deed::LoopForever) => "TG0206", "failed while it was configured: it took longer than 50ms";
    memory_in_the_start_function: validator().in_start(Deed::GrowMemory) => "TG0206", "cannot be started: it asked for more memory than the 67108864 bytes it may have";
    table_in_configure: validator().in_configure(Deed::GrowTable) => "TG0206", "failed while it was configured: it asked for more memory than";
    recursion_in_manifest: validator().in_manifest(Deed::Recurse) => "TG0206", "failed in `manifest`: it trapped: call stack exhausted";
    trap_in_the_start_function: validator().in_start(Deed::Trap) => "TG0206", "`unreachable` instruction executed";
    flood_in_configure: validator().in_configure(Deed::KeepStreams(5000)) => "TG0206", "failed while it was configured: it failed: ";
    memory_it_begins_with: validator().with("(memory 5000)") => "TG0206", "cannot be started: it asked for more memory than the 67108864 bytes it may have";
    table_it_begins_with: validator().with("(table 9000000 funcref)") => "TG0206", "cannot be started: it asked for more memory than the 67108864 bytes it may have";
    more_memories_than_there_are: validator().with("(memory 1)".repeat(30)) => "TG0206", "cannot be started: ";
    data_that_does_not_fit: validator().with("(data (i32.const 0x7ffffff0) \"text\")") => "TG0206", "cannot be started: it trapped: out of bounds memory access";
    manifest_without_end: validator().named("n".repeat(1000)) => "TG0204", "`name` of its manifest has 1000 bytes, more than the 256 it may";
    schema_without_end: validator().config_schema(format!("{{\"title\":\"{}\"}}", "s".repeat(2 << 20))) => "TG0204", "`config-schema` of its manifest has 2097164 bytes";
    refusal_without_end: validator().refuses("no ".repeat(100_000)) => "TG0205", "refuses its configuration: no no", "(cut, it has 300000 bytes)";
    import_that_is_not_granted: validator().imports("wasi:sockets/tcp@0.2.0") => "TG0203", "imports what it is not granted: wasi:sockets/tcp@0.2.0";
}

#[tokio::test]
async fn schema_that_leads_back_to_itself_does_no_harm() {
    let mut beside = Beside::start(&validator(), "").await;
    validator().config_schema("{\"$ref\":\"#\"}").install(&beside.rig.plugins(), "guest");
    beside.host.wait_event("plugin_swapped").await;
    beside.feed(0..50, |_| "good".to_owned());
    beside.wait_delivered(50).await;
    beside.is_unharmed().await;
    beside.ends_with_dead_letters(&[]).await;
}
