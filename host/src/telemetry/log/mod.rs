//! Log lines on standard error: one JSON object a line for machines, short aligned lines for people.
//!
//! Every call of ours gives `event = "snake_case_name"`, which machines look for and which stays, and a message for
//! people, which may change. The other fields carry what the event is about: `correlation_id` (the change's id),
//! `schema_version`, `collection`, `operation`, `document_id`, `warehouse_id`, `pipeline`, `plugin`, `generation`, `code`,
//! `error`. Fields of enclosing spans are part of each line.

mod fields;
mod file;
mod json;
mod layer;
mod pretty;

use std::io::{self, IsTerminal};

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::{EnvFilter, filter::ParseError, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    config::{LogFileConfig, LogFormat, LogLevel},
    error::{Code, Fault},
};

use file::LogFile;
use layer::LineLayer;

/// The environment variable whose directives (`info`, `tidegate=debug,mongodb=info`) win over `log.level`.
pub const ENVIRONMENT: &str = "TIDEGATE_LOG";

/// The terminal that log lines and live lines share, so that they do not garble each other.
///
/// Made by [`init`]; cloning gives another handle to the same terminal.
#[derive(Clone, Debug)]
pub struct Screen {
    progress: MultiProgress,
    terminal: bool,
}

impl Screen {
    /// Standard error, as it is.
    pub fn stderr() -> Self {
        let terminal = io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr_with_hz(4) } else { ProgressDrawTarget::hidden() };
        Self { progress: MultiProgress::with_draw_target(target), terminal }
    }

    /// Whether a person may be looking: live lines are shown only then.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Where live lines are drawn.
    pub(crate) fn progress(&self) -> &MultiProgress {
        &self.progress
    }

    /// Writes whole lines above the live lines. A standard error that is closed is no reason
    /// to stop moving changes.
    pub(crate) fn write(&self, line: &[u8]) {
        use io::Write as _;
        let write = || {
            let _ = io::stderr().lock().write_all(line);
        };
        if self.terminal { self.progress.suspend(write) } else { write() }
    }
}

/// Sets the log of this process up. Lines of `level` and above are written for tidegate and its plugins, and of warnings
/// and above for the libraries it uses; `TIDEGATE_LOG` wins over both. Without a format, a terminal gets
/// [`LogFormat::Pretty`] and everything else [`LogFormat::Json`]. With a file the lines go there and nowhere else.
///
/// # Errors
/// [`Code::LogFile`] when the file cannot be written to, [`Code::ConfigValue`] when `TIDEGATE_LOG` holds no directives, [`Code::ConfigConflict`] when the log is set up already.
pub fn init(level: LogLevel, format: Option<LogFormat>, file: Option<&LogFileConfig>) -> Result<Screen, Fault> {
    let directives = std::env::var(ENVIRONMENT).ok();
    let filter = filter(level, directives.as_deref()).map_err(|cause| {
        Fault::fatal(
            Code::ConfigValue,
            format!(
                "the environment variable {ENVIRONMENT} is no list of log directives ({cause}); write for instance `debug` or \
                 `tidegate=debug,mongodb=info`, or unset it"
            ),
        )
    })?;
    let screen = Screen::stderr();
    let file = file.map(LogFile::open).transpose()?;
    let for_people = screen.is_terminal() && file.is_none();
    let format = format.unwrap_or(if for_people { LogFormat::Pretty } else { LogFormat::Json });
    let coloured = for_people && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let sink = screen.clone();
    let layer = LineLayer::new(format, coloured, move |line: &[u8]| match &file {
        Some(file) => file.write(line),
        None => sink.write(line),
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()
        .map_err(|_| Fault::fatal(Code::ConfigConflict, "the log of this process is set up already; set it up once"))?;
    Ok(screen)
}

/// What is written.
fn filter(level: LogLevel, directives: Option<&str>) -> Result<EnvFilter, ParseError> {
    let own = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    let others = if level == LogLevel::Error { "error" } else { "warn" };
    match directives.map(str::trim).filter(|directives| !directives.is_empty()) {
        Some(directives) => EnvFilter::builder().parse(directives),
        None => EnvFilter::builder().parse(format!("{others},tidegate={own}")),
    }
}

#[cfg(test)]
mod tests;
