//! The command line: one file for each command.

mod alert;
mod ask;
mod check;
mod checkpoint;
mod compiling;
mod dlq;
mod doctor;
mod explain;
mod files;
mod health;
pub mod live;
mod live_plugins;
mod pipeline;
mod plugin;
mod run;
mod schema;
mod setup;
mod verify;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use self::{
    checkpoint::{Action, Token, What},
    files::{ConfigArgs, ConfigsArgs},
    schema::SchemaCommand,
};
use crate::{
    config::{Moment, StartAt},
    pipeline::Mode,
};

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
        #[command(flatten)]
        config: ConfigsArgs,
        /// End by itself when every source has been quiet for so long and all that was read is delivered, for instance 3s.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        exit_when_idle: Option<Duration>,
        /// Wait while another host runs a pipeline, and take over when it is gone. Needs a checkpoint that both can reach.
        #[arg(long)]
        standby: bool,
        /// Print what the sinks would get, and write nothing: no sink, no dead letter, no checkpoint.
        #[arg(long, conflicts_with = "standby")]
        dry_run: bool,
    },
    /// Check a configuration file and the plugins it names, without connecting to anything.
    Check {
        #[command(flatten)]
        config: ConfigsArgs,
    },
    /// Connect to all that a configuration file names, and print what is there, what is missing, and the way out.
    Doctor {
        #[command(flatten)]
        config: ConfigsArgs,
        /// Print the checklist as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the topics and subscriptions that a configuration file needs in Pub/Sub; what is there stays, and may be changed to fit.
    Setup {
        #[command(flatten)]
        config: ConfigsArgs,
        /// Say what would be done, and do nothing.
        #[arg(long)]
        dry_run: bool,
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print what editors and other programs know a file by.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Ask a running host whether it is alive, or ready; exits with 1 when it is not.
    Health(health::HealthArguments),
    /// Look at the stored position of a pipeline, or change it while no host runs.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Pause a pipeline of a running host, or let it go on.
    #[command(subcommand)]
    Pipeline(PipelineCommand),
    /// Write plugins, try them, look into them.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Look at dead letters, replay them, drop them.
    #[command(subcommand)]
    Dlq(dlq::DlqCommand),
    /// Compare two MongoDB deployments document by document, also while they are written to.
    Verify(verify::VerifyArguments),
    /// Send a test message to the channels of `alerts`.
    #[command(subcommand)]
    Alert(AlertCommand),
    /// Explain an error code, for instance TG0203.
    Explain {
        /// The code; without one all codes are listed.
        code: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// Show what is stored, and who runs the pipeline.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// The pipeline.
        pipeline: String,
        /// Print what `set` reads.
        #[arg(long)]
        json: bool,
    },
    /// Store a position: that of another place, of a time or token, or of the other sinks for a new one.
    Set {
        #[command(flatten)]
        config: ConfigArgs,
        /// The pipeline.
        pipeline: String,
        /// A file with what `show --json` printed; - for standard input.
        positions: Option<PathBuf>,
        /// The changes since this time, in UTC (2026-01-01T00:00:00Z), as far back as the server still has them. MongoDB sources.
        #[arg(long, value_name = "TIME", conflicts_with = "positions")]
        time: Option<Moment>,
        /// The changes behind this resume token (8265..., or the whole of {"_data": "8265..."}). MongoDB sources.
        #[arg(long, value_name = "TOKEN", conflicts_with_all = ["positions", "time"])]
        token: Option<Token>,
        /// Only of this sink.
        #[arg(long)]
        sink: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Forget the position: the pipeline begins anew.
    Reset {
        #[command(flatten)]
        config: ConfigArgs,
        /// The pipeline.
        pipeline: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
enum AlertCommand {
    /// Send a message that says it is a test, and tell whether it arrived.
    Test {
        #[command(flatten)]
        config: ConfigsArgs,
        /// Only to this channel.
        #[arg(long)]
        channel: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum PipelineCommand {
    /// Finish what is in flight, store the position, and read nothing more until it is resumed or the host starts again.
    Pause(PipelineArguments),
    /// Let a paused pipeline go on where it stopped.
    Resume(PipelineArguments),
}

#[derive(Debug, clap::Args)]
struct PipelineArguments {
    #[command(flatten)]
    config: ConfigArgs,
    /// The pipeline.
    pipeline: String,
    /// Where the host answers, such as 127.0.0.1:9610.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,
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
        Command::Run { config, exit_when_idle, standby, dry_run } => {
            run::run((&config).into(), Mode { exit_when_idle, standby, dry_run })
        }
        Command::Checkpoint(command) => {
            let (config, pipeline, action) = match command {
                CheckpointCommand::Show { config, pipeline, json } => (config, pipeline, Action::Show { json }),
                CheckpointCommand::Set { config, pipeline, positions, time, token, sink, yes } => {
                    let start = time.map(StartAt::Time).or_else(|| token.map(|Token(token)| StartAt::Token(token)));
                    let what = match (positions, start) {
                        (_, Some(start)) => What::At(start),
                        (Some(file), None) => What::Printed(file),
                        (None, None) => What::Others,
                    };
                    (config, pipeline, Action::Set { what, sink, yes })
                }
                CheckpointCommand::Reset { config, pipeline, yes } => (config, pipeline, Action::Reset { yes }),
            };
            checkpoint::checkpoint(&(&config).into(), &pipeline, action)
        }
        Command::Pipeline(PipelineCommand::Pause(asked)) => {
            pipeline::pause(&asked.config, &asked.pipeline, true, asked.admin)
        }
        Command::Pipeline(PipelineCommand::Resume(asked)) => {
            pipeline::pause(&asked.config, &asked.pipeline, false, asked.admin)
        }
        Command::Doctor { config, json } => doctor::doctor(&(&config).into(), json),
        Command::Setup { config, dry_run, json } => setup::setup(&(&config).into(), dry_run, json),
        Command::Check { config } => check::check(&(&config).into()),
        Command::Health(asked) => health::health(asked),
        Command::Schema(command) => schema::schema(command),
        Command::Plugin(command) => plugin::plugin(command),
        Command::Dlq(command) => dlq::dlq(command),
        Command::Verify(asked) => verify::command(asked),
        Command::Alert(AlertCommand::Test { config, channel }) => alert::test(&(&config).into(), channel.as_deref()),
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
