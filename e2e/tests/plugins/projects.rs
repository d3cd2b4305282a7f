//! From nothing to a plugin that passes its own test, in each language and role, as a person does it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tidegate_tests::guests::{Deed, Guest, MARKER, Role};
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
    assert!(told.contains("\ngrants    none\n"), "nobody has to grant it anything: {told}");
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

/// A new plugin in C, which builds in a second.
async fn in_c(dir: &Path) {
    let made = Cli::run_in(dir, &["plugin", "new", "mine", "--lang", "c"], b"").await;
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
}

async fn fails(dir: &Path, args: &[&str], env: &[(String, String)]) -> (Option<i32>, String) {
    let output = Cli::run_with(dir, args, b"", env, PATIENCE).await;
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[tokio::test]
async fn what_is_wrong_with_a_project_is_said_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let (code, told) = fails(dir.path(), &["plugin", "build"], &[]).await;
    assert!(code == Some(2) && told.contains("TG0801") && told.contains("tidegate plugin new"), "{told}");
    let (code, told) = fails(dir.path(), &["plugin", "new", "No_Name", "--lang", "c"], &[]).await;
    assert!(code == Some(1) && told.contains("TG0802") && told.contains("lower-case"), "{told}");
    in_c(dir.path()).await;
    let (code, told) = fails(dir.path(), &["plugin", "new", "mine", "--lang", "go"], &[]).await;
    assert!(code == Some(1) && told.contains("TG0803"), "{told}");
    let nowhere = [("PATH".to_owned(), dir.path().display().to_string())];
    let (code, told) = fails(dir.path(), &["plugin", "build", "mine"], &nowhere).await;
    assert!(code == Some(1) && told.contains("TG0804") && told.contains("pip install ziglang"), "{told}");
    std::fs::write(dir.path().join("mine/plugin.yaml"), "name: mine\nlanguage: cobol\nroles: [validator]\n").unwrap();
    let (code, told) = fails(dir.path(), &["plugin", "build", "mine"], &[]).await;
    assert!(code == Some(2) && told.contains("plugin.yaml:2:11"), "{told}");
}

/// Each language's tools find it out at another place.
#[tokio::test]
async fn a_source_that_calls_what_uses_does_not_name_is_told_the_line_to_write() {
    let dir = tempfile::tempdir().unwrap();
    for (language, entry) in [("c", "plugin.c"), ("go", "plugin.go"), ("js", "plugin.js"), ("python", "plugin.py")] {
        let name = format!("my-{language}");
        let made = fails(dir.path(), &["plugin", "new", &name, "--lang", language, "--role", "migrator"], &[]).await;
        assert_eq!(made.0, Some(0), "{}", made.1);
        let asker = format!("{}/../plugins/conformance/asker-{language}/{entry}", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(asker, dir.path().join(&name).join(entry)).unwrap();
        let (code, told) = fails(dir.path(), &["plugin", "build", &name], &[]).await;
        let line = told.lines().find(|line| line.starts_with("error[TG0805]: what was built imports")).unwrap_or("");
        assert!(code == Some(1) && line.contains("`tidegate:plugin/clock`"), "{language}: {told}");
        assert!(line.contains("write `uses: [") && line.contains("clock"), "{language}: {told}");
    }
}

#[tokio::test]
async fn a_source_that_does_not_compile_leaves_the_last_component_in_place() {
    let dir = tempfile::tempdir().unwrap();
    in_c(dir.path()).await;
    let (code, told) = fails(dir.path(), &["plugin", "build", "mine"], &[]).await;
    assert_eq!(code, Some(0), "{told}");
    let component = dir.path().join("mine/build/mine.wasm");
    let before = std::fs::read(&component).unwrap();
    std::fs::write(dir.path().join("mine/plugin.c"), "int nonsense(\n").unwrap();
    let (code, told) = fails(dir.path(), &["plugin", "build", "mine"], &[]).await;
    assert!(code == Some(1) && told.contains("TG0805") && told.contains("plugin.c:1"), "{told}");
    assert_eq!(std::fs::read(&component).unwrap(), before);
}

#[tokio::test]
async fn a_case_that_is_not_met_is_shown_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    in_c(dir.path()).await;
    let file = dir.path().join("mine/mine.case.yaml");
    let cases = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, cases.replacen("- accept", "- reject: [ { path: x, message: is wrong } ]", 1)).unwrap();
    let (code, told) = fails(dir.path(), &["plugin", "test", "mine"], &[]).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("changes[0] is not as expected") && told.contains("\n  + \"accept\""), "{told}");
    assert!(told.contains("-       \"message\": \"is wrong\",") && told.contains("1 failed"), "{told}");
    std::fs::write(&file, cases.replacen("- accept", "- unchanged", 1)).unwrap();
    let (code, told) = fails(dir.path(), &["plugin", "test", "mine"], &[]).await;
    assert!(code == Some(2) && told.contains("TG0806") && told.contains("expect[0]"), "{told}");
    // What `dev` runs is the cases; their expectations do not matter to it.
    std::fs::write(&file, cases).unwrap();
    let (code, told) = fails(dir.path(), &["plugin", "dev", "mine", "--once"], &[]).await;
    assert!(code == Some(0) && told.contains("validator case:0: \"accept\""), "{told}");
}

#[tokio::test]
async fn a_component_that_fails_does_not_pass_the_check() {
    let dir = tempfile::tempdir().unwrap();
    Guest::new(Role::Validator).when_marked(Deed::Trap).install(dir.path(), "bad");
    let line = |id: i32, text: &str| {
        format!("{{\"op\":\"insert\",\"ns\":\"a.b\",\"doc\":{{\"_id\":{id},\"text\":\"{text}\"}}}}\n")
    };
    std::fs::write(dir.path().join("changes.jsonl"), line(1, "good") + &line(2, MARKER)).unwrap();
    let (code, told) = fails(dir.path(), &["plugin", "check", "bad.wasm", "--changes", "changes.jsonl"], &[]).await;
    assert!(code == Some(1) && told.contains("it failed on 1 of them, first: it trapped"), "{told}");
    std::fs::write(dir.path().join("none.wasm"), "nothing").unwrap();
    let (code, told) = fails(dir.path(), &["plugin", "check", "none.wasm"], &[]).await;
    assert!(code == Some(2) && told.contains("TG0202"), "{told}");
}
