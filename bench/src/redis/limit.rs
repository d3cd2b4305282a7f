//! What the server can do at most, by `redis-benchmark`: one connection, pipelines of a thousand, values of 300 bytes.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::store;

/// A figure of `redis-benchmark`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Limit {
    pub(super) what: &'static str,
    /// Entries or documents a second.
    pub(super) rate: f64,
}

/// Measures it; none where the program is not installed.
pub(super) fn measure(entries: u64) -> Result<Option<Vec<Limit>>> {
    let document = "x".repeat(300);
    let add = ["XADD", "tidegate-bench:limit", "*", "id", "0123456789abcdef", "op", "insert", "doc", &document];
    let set = ["SET", "tidegate-bench:limit:__rand_int__", &document];
    let read = ["XREAD", "COUNT", "1000", "STREAMS", "tidegate-bench:fields", "0"];
    let mut limits = Vec::new();
    for (what, command, pipeline, entries_each) in [
        ("`XADD` of 300 bytes", &add[..], "1000", 1),
        ("`SET` of 300 bytes", &set[..], "1000", 1),
        ("`XREAD COUNT 1000` of plain fields", &read[..], "1", 1000),
    ] {
        let url = if entries_each == 1 { store::output_url()? } else { store::input_url()? };
        let requests = (entries / entries_each).max(1).to_string();
        let mut program = Command::new("redis-benchmark");
        program.args(["-u", &url, "--csv", "-c", "1", "-P", pipeline, "-n", &requests, "-r", "1000000"]).args(command);
        let output = match program.output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            output => output.context("redis-benchmark does not start")?,
        };
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "redis-benchmark ended with {}: {text}", output.status);
        // "test","rps",...
        let row = text.lines().last().unwrap_or_default();
        let rate = row.rsplit("\",\"").nth(6).and_then(|rate| rate.parse::<f64>().ok());
        let rate = rate.with_context(|| format!("redis-benchmark printed something else than its figures: {text}"))?;
        limits.push(Limit { what, rate: rate * entries_each as f64 });
    }
    Ok(Some(limits))
}
