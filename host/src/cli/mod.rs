//! The command line: one file for each command.

mod check;
mod explain;
mod inspect;
pub mod live;
mod run;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

/// Moves changes between databases, with your own logic in the middle.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the pipelines of a configuration file until they end or SIGTERM or SIGINT comes.
    Run {
        /// The configuration file (YAML).
        config: PathBuf,
        /// End by itself when every source has been quiet for so long and all that was read is delivered, for instance 3s.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        exit_when_idle: Option<Duration>,
    },
    /// Check a configuration file and the plugins it names, without connecting to anything.
    Check {
        /// The configuration file (YAML).
        config: PathBuf,
    },
    /// Look into plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Explain an error code, for instance TG0203.
    Explain {
        /// The code; without one all codes are listed.
        code: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Show what a plugin file says of itself: roles, version, imports, schema of its configuration.
    Inspect {
        /// The file (*.wasm, a WebAssembly component).
        file: PathBuf,
    },
}

/// Exit codes, as documented in `docs/operations.md`.
mod exit {
    /// Something went wrong that is no mistake in the configuration.
    pub(super) const FAILED: u8 = 1;
    /// The configuration, or a plugin it names, cannot be used.
    pub(super) const CONFIGURATION: u8 = 2;
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    ExitCode::from(match cli.command {
        Command::Run { config, exit_when_idle } => run::run(&config, exit_when_idle),
        Command::Check { config } => check::check(&config),
        Command::Plugin(PluginCommand::Inspect { file }) => inspect::inspect(&file),
        Command::Explain { code } => explain::command(code.as_deref()),
    })
}

/// Prints to standard output; a reader that went away is no error.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Prints an error with its code to standard error.
fn complain(fault: &crate::error::Fault) {
    eprintln!("error[{}]: {}", fault.code, fault.message);
    eprintln!("  = see: tidegate explain {}", fault.code);
}
