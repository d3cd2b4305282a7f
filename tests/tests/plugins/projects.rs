//! From nothing to a plugin that passes its own test, in each language and role, as a person does it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tidegate_tests::{Cli, program};

/// The first Rust plugin builds the standard library along where rustup has none for the target.
const PATIENCE: Duration = Duration::from_secs(600);

/// What cargo needs on this machine to build for WebAssembly, and one folder for all that it builds.
fn environment(language: &str) -> Vec<(String, String)> {
    if language != "rust" {
        return vec![];
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let script = "source scripts/guest.sh && guest_environment";
    let output = Command::new("bash").args(["-euc", script]).current_dir(root).output().unwrap();
    assert!(
        output.status.success(),
        "scripts/guest.sh: {}; ./dev plugins installs what lacks",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = String::from_utf8(output.stdout).unwrap();
    let target = program("tidegate").ancestors().nth(2).unwrap().join("guest-projects");
    lines
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain([("CARGO_TARGET_DIR".to_owned(), target.display().to_string())])
        .collect()
}

async fn builds_and_passes(language: &str, role: &str) {
    let dir = tempfile::Builder::new().prefix("tidegate-project-").tempdir().unwrap();
    let env = environment(language);
    let tidegate = async |args: &[&str]| {
        let output = Cli::run_with(dir.path(), args, b"", &env, PATIENCE).await;
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "tidegate {}: {text}", args.join(" "));
        text
    };
    let name = format!("my-{role}");
    let component = format!("{name}/build/{name}.wasm");
    tidegate(&["plugin", "new", &name, "--lang", language, "--role", role]).await;
    let told = tidegate(&["plugin", "test", &name]).await;
    assert!(told.contains("0 failed") && !told.contains("\n0 passed"), "{told}");
    let told = tidegate(&["plugin", "check", &component]).await;
    assert!(told.contains("the same results twice"), "{told}");
    let told = tidegate(&["plugin", "inspect", &component]).await;
    assert!(!told.contains("wasi:"), "it asks for nothing of a system: {told}");
}

macro_rules! projects {
    ($($language:ident)*) => {
        $(
            mod $language {
                #[tokio::test]
                async fn validator_builds_and_passes_its_test() {
                    super::builds_and_passes(stringify!($language), "validator").await;
                }

                #[tokio::test]
                async fn migrator_builds_and_passes_its_test() {
                    super::builds_and_passes(stringify!($language), "migrator").await;
                }

                #[tokio::test]
                async fn router_builds_and_passes_its_test() {
                    super::builds_and_passes(stringify!($language), "router").await;
                }

                #[tokio::test]
                async fn transformer_builds_and_passes_its_test() {
                    super::builds_and_passes(stringify!($language), "transformer").await;
                }
            }
        )*
    };
}

projects! { rust ts js python go c }
