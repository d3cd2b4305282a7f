//! `tidegate doctor CONFIG`

use std::fmt::Write as _;

use super::{compiling::OnStderr, complain, exit, print};
use crate::{
    config::{self, Files},
    doctor::{self, Part, Verdict},
    error::{Code, Fault},
};

pub(super) fn doctor(files: &Files, json: bool) -> u8 {
    let config = match config::load(files) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return exit::CONFIGURATION;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            complain(&Fault::fatal(Code::Internal, format!("the runtime cannot be started: {cause}")));
            return exit::FAILED;
        }
    };
    let parts = runtime.block_on(doctor::examine(&config, OnStderr::default()));
    // What still waits for an answer is not waited for.
    runtime.shutdown_background();
    if json {
        match serde_json::to_string_pretty(&parts) {
            Ok(text) => print(&(text + "\n")),
            Err(cause) => {
                complain(&Fault::fatal(Code::Internal, format!("the checklist cannot be printed: {cause}")));
                return exit::FAILED;
            }
        }
    } else {
        print(&checklist(files, &parts));
    }
    let count = |verdict| parts.iter().flat_map(|part| &part.findings).filter(|one| one.verdict == verdict).count();
    if count(Verdict::Bad) > 0 { exit::FAILED } else { 0 }
}

fn checklist(files: &Files, parts: &[Part]) -> String {
    let mut text = String::new();
    let mut pipeline = None;
    for part in parts {
        if part.pipeline.is_some() && part.pipeline != pipeline {
            let _ = writeln!(text, "pipeline {}", part.pipeline.as_deref().unwrap_or_default());
        }
        pipeline.clone_from(&part.pipeline);
        let indent = if pipeline.is_some() { "  " } else { "" };
        let _ = writeln!(text, "{indent}{}: {}", part.part, part.about);
        for finding in &part.findings {
            let sign = match finding.verdict {
                Verdict::Good => "ok  ",
                Verdict::Warning => "warn",
                Verdict::Bad => "FAIL",
                Verdict::Unknown => "?   ",
            };
            let code = finding.code.map(|code| format!("[{code}] ")).unwrap_or_default();
            let _ = writeln!(text, "{indent}  {sign}  {code}{}", finding.what);
            if let Some(help) = &finding.help {
                let _ = writeln!(text, "{indent}        -> {help}");
            }
        }
    }
    let all = || parts.iter().flat_map(|part| &part.findings);
    let count = |verdict| all().filter(|finding| finding.verdict == verdict).count();
    let (bad, warnings) = (count(Verdict::Bad), count(Verdict::Warning));
    let plural = |number: usize| if number == 1 { "" } else { "s" };
    let _ = match (bad, warnings) {
        (0, 0) => writeln!(text, "{files}: all is there"),
        (0, _) => writeln!(text, "{files}: it runs; {warnings} warning{}", plural(warnings)),
        _ => writeln!(text, "{files}: {bad} thing{} to mend, {warnings} warning{}", plural(bad), plural(warnings)),
    };
    text
}
