//! `tidegate setup CONFIG`

use std::fmt::Write as _;

use super::{complain, exit, print};
use crate::{
    config::{self, Files},
    error::{Code, Fault},
    setup::{self, Line, Outcome},
};

pub(super) fn setup(files: &Files, dry: bool, json: bool) -> u8 {
    let config = match config::load(files) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return exit::CONFIGURATION;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            complain(&Fault::fatal(Code::Internal, format!("the runtime cannot be started: {cause}")));
            return exit::FAILED;
        }
    };
    let lines = runtime.block_on(setup::carry_out(&config, dry));
    runtime.shutdown_background();
    if json {
        match serde_json::to_string_pretty(&lines) {
            Ok(text) => print(&(text + "\n")),
            Err(cause) => {
                complain(&Fault::fatal(Code::Internal, format!("the report cannot be printed: {cause}")));
                return exit::FAILED;
            }
        }
    } else {
        print(&report(files, &lines, dry));
    }
    if lines.iter().any(|line| line.outcome == Outcome::Failed) { exit::FAILED } else { 0 }
}

fn report(files: &Files, lines: &[Line], dry: bool) -> String {
    let mut text = String::new();
    let mut place = "";
    for line in lines {
        if line.place != place {
            place = &line.place;
            let _ = writeln!(text, "{place}");
        }
        let sign = match line.outcome {
            Outcome::There => "ok     ",
            Outcome::ToMake => "make   ",
            Outcome::Made => "made   ",
            Outcome::ToChange => "change ",
            Outcome::Changed => "changed",
            Outcome::Failed => "FAIL   ",
            Outcome::Note => "note   ",
        };
        let code = line.code.map(|code| format!("[{code}] ")).unwrap_or_default();
        let _ = writeln!(text, "  {sign}  {code}{}", line.what);
        for property in &line.properties {
            let _ = match (&property.from, line.outcome) {
                (None, _) => writeln!(text, "           {}: {}", property.name, property.to),
                (Some(from), Outcome::Failed) => {
                    writeln!(text, "           {}: {from}, and not {}", property.name, property.to)
                }
                (Some(from), _) => writeln!(text, "           {}: {from} -> {}", property.name, property.to),
            };
        }
        if let Some(help) = &line.help {
            let _ = writeln!(text, "           -> {help}");
        }
    }
    let _ = writeln!(text, "{files}: {}", summary(lines, dry));
    text
}

fn summary(lines: &[Line], dry: bool) -> String {
    let count = |outcome| lines.iter().filter(|line| line.outcome == outcome).count();
    let (make, change) = if dry { (Outcome::ToMake, Outcome::ToChange) } else { (Outcome::Made, Outcome::Changed) };
    let (make, change, failed) = (count(make), count(change), count(Outcome::Failed));
    let words = if dry { ["to make", "to change"] } else { ["made", "changed"] };
    match (make + change, failed) {
        _ if lines.is_empty() => "no pipeline uses Pub/Sub: nothing to do".to_owned(),
        (0, 0) => "nothing to do".to_owned(),
        (_, 0) => format!("{make} {}, {change} {}", words[0], words[1]),
        _ => format!("{make} {}, {change} {}, {failed} to mend", words[0], words[1]),
    }
}
