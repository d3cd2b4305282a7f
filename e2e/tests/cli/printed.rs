//! What is printed, word for word.

use std::process::Output;

use tempfile::TempDir;
use tidegate_tests::{Cli, plugin};

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("tidegate-cli-").tempdir().unwrap()
}

/// Exit code, standard output and standard error in one text.
fn shown(output: &Output) -> String {
    let mut text =
        format!("exit {}\n", output.status.code().map_or_else(|| "by a signal".into(), |code| code.to_string()));
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        if !bytes.is_empty() {
            text += &format!("--- {name}\n{}", String::from_utf8_lossy(bytes));
        }
    }
    text
}

/// `tidegate check` of a configuration.
async fn check(config: &str) -> String {
    let dir = folder();
    std::fs::write(dir.path().join("tidegate.yaml"), config).unwrap();
    shown(&Cli::run_in(dir.path(), &["check", "tidegate.yaml"], b"").await)
}

async fn run(args: &[&str]) -> String {
    shown(&Cli::run_in(folder().path(), args, b"").await)
}

#[tokio::test]
async fn check_unknown_key() {
    insta::assert_snapshot!(
        check("pipelines:\n  try:\n    source: stdin\n    sinks: { out: stdout }\n    lans: 3\n").await
    );
}

#[tokio::test]
async fn check_unset_variable() {
    let config = "pipelines:
  try:
    source:
      mongodb: { uri: \"${TIDEGATE_TEST_NOT_SET}\" }
    sinks: { out: stdout }
";
    insta::assert_snapshot!(check(config).await);
}

#[tokio::test]
async fn check_wrong_types() {
    let config = "pipelines:
  try:
    source: stdin
    batch: { max_events: many, linger: 5 }
    lanes: [1]
    sinks: stdout
";
    insta::assert_snapshot!(check(config).await);
}

#[tokio::test]
async fn check_broken_yaml() {
    insta::assert_snapshot!(check("pipelines:\n  try: { source: stdin\n").await);
}

#[tokio::test]
async fn check_a_secret_is_never_shown() {
    let config = "pipelines:
  try:
    source: { mongodb: { uri: \"mysql://me:hunter2@db/\" } }
    sinks: { out: { redis: { url: \"http://me:hunter2@cache/\", stream: s } } }
";
    let shown = check(config).await;
    assert!(!shown.contains("hunter2"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn check_missing_file() {
    insta::assert_snapshot!(run(&["check", "nowhere.yaml"]).await);
}

#[tokio::test]
async fn run_missing_file() {
    insta::assert_snapshot!(run(&["run", "nowhere.yaml"]).await);
}

#[tokio::test]
async fn run_wrong_argument() {
    insta::assert_snapshot!(run(&["run", "nowhere.yaml", "--exit-when-idle", "soon"]).await);
}

#[tokio::test]
async fn explain_a_code() {
    insta::assert_snapshot!(run(&["explain", "TG0203"]).await);
}

#[tokio::test]
async fn explain_an_unknown_code() {
    insta::assert_snapshot!(run(&["explain", "TG0299"]).await);
}

#[tokio::test]
async fn help_of_verify() {
    insta::assert_snapshot!(run(&["verify", "--help"]).await);
}

#[tokio::test]
async fn help() {
    insta::assert_snapshot!(run(&["--help"]).await);
}

#[tokio::test]
async fn inspect_the_inventory_validator() {
    let file = plugin("inventory-validator");
    let shown = run(&["plugin", "inspect", file.to_str().unwrap()]).await;
    // They change with every build.
    let redacted: String = shown
        .lines()
        .map(|line| match line.split_once(' ') {
            Some(("size", size)) => {
                assert!(size.trim().strip_suffix(" bytes").unwrap().parse::<u64>().unwrap() > 1000, "{line}");
                "size      [SIZE] bytes\n".to_owned()
            }
            Some(("sha256", digest)) => {
                assert!(digest.trim().len() == 64 && digest.trim().bytes().all(|b| b.is_ascii_hexdigit()), "{line}");
                "sha256    [DIGEST]\n".to_owned()
            }
            _ => format!("{line}\n"),
        })
        .collect();
    insta::assert_snapshot!(redacted);
}

#[tokio::test]
async fn inspect_what_is_no_plugin() {
    let dir = folder();
    std::fs::write(dir.path().join("notes.wasm"), "some notes").unwrap();
    let shown = shown(&Cli::run_in(dir.path(), &["plugin", "inspect", "notes.wasm"], b"").await);
    insta::assert_snapshot!(shown);
    insta::assert_snapshot!("inspect_a_missing_file", run(&["plugin", "inspect", "nowhere.wasm"]).await);
}
