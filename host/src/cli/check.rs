//! `tidegate check CONFIG`

use std::fmt::Write as _;

use super::{compiling::OnStderr, complain, exit, print};
use crate::{
    config::{self, Files},
    host,
    plugin::Memory,
    source::AnySource,
    status::Status,
    telemetry::metrics::Metrics,
};

pub(super) fn check(files: &Files) -> u8 {
    let config = match config::load(files) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return exit::CONFIGURATION;
        }
    };
    let status = Status::new(Metrics::new());
    if let Err(faults) = host::load_plugins(&config, None, Memory::default(), OnStderr::default(), &status) {
        for fault in &faults {
            complain(fault);
        }
        return exit::CONFIGURATION;
    }
    let mut text = format!("{files} is good\n");
    for (name, pipeline) in &config.pipelines {
        let stages: Vec<&str> = pipeline.stages.iter().map(|stage| stage.plugin.as_str()).collect();
        let stages = if stages.is_empty() { "no stages".to_owned() } else { stages.join(" -> ") };
        let sinks: Vec<&str> = pipeline.sinks.keys().map(String::as_str).collect();
        let _ =
            writeln!(text, "  {name}: {} -> {stages} -> {}", AnySource::describe(&pipeline.source), sinks.join(", "));
    }
    print(&text);
    0
}
