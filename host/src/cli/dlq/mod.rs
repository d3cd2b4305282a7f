//! `tidegate dlq ...`: dead letters, looked at, replayed and dropped. None of these needs the host to stand still.

mod show;
mod work;

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};

use super::{complain, exit, files::ConfigArgs};
use crate::{
    config::{self, Config, DeadLetterConfig, Files},
    dead_letter::Select,
    error::{Code, Fault},
    format::time::now_millis,
    pipeline::replay::Wishes,
    telemetry::metrics::DeadLetterKind,
};

#[derive(Debug, Subcommand)]
pub(super) enum DlqCommand {
    /// List dead letters, oldest first.
    List {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        filter: FilterArgs,
        /// Most letters shown, 0 for all [default: 50; all with --json].
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// One JSON object a line, with the whole letter.
        #[arg(long)]
        json: bool,
    },
    /// Show whole letters, as JSON.
    Show {
        #[command(flatten)]
        place: PlaceArgs,
        /// Id of the change.
        id: String,
    },
    /// Run letters through the plugins of today and write them to the sinks.
    Replay {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        choice: ChoiceArgs,
        /// Replay those that were replayed before too.
        #[arg(long)]
        again: bool,
        /// Take documents back to what they were in the letter, where a sink mirrors documents and has another state
        #[arg(long)]
        overwrite: bool,
    },
    /// Give letters up for good.
    Drop {
        #[command(flatten)]
        place: PlaceArgs,
        #[command(flatten)]
        choice: ChoiceArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The pipeline.
    pipeline: String,
}

#[derive(Debug, Args)]
pub(super) struct FilterArgs {
    /// Only of this kind: rejected, failed, trap, timeout, memory, result, output, breaker, unreadable, refused. May be given again.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Vec<DeadLetterKind>,
    /// Only of this stage: stages[0], sinks.NAME, source. May be given again.
    #[arg(long, value_name = "STAGE")]
    stage: Vec<String>,
    /// Only of this plugin. May be given again.
    #[arg(long, value_name = "NAME")]
    plugin: Vec<String>,
    /// Only of this collection, with or without its database. May be given again.
    #[arg(long, value_name = "NAME")]
    collection: Vec<String>,
    /// Only of the document with this _id, as the list shows it. May be given again.
    #[arg(long, value_name = "ID")]
    document: Vec<String>,
    /// Only since then: 2h (ago), or 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<i64>,
    /// Only those that were replayed.
    #[arg(long)]
    replayed: bool,
    /// Only those that were not replayed.
    #[arg(long, conflicts_with = "replayed")]
    open: bool,
}

#[derive(Debug, Args)]
pub(super) struct ChoiceArgs {
    /// Ids of changes.
    ids: Vec<String>,
    /// All letters that the options below leave.
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

fn kind(text: &str) -> Result<DeadLetterKind, String> {
    let known = || DeadLetterKind::ALL.map(DeadLetterKind::as_str).join(", ");
    DeadLetterKind::from_name(text).ok_or_else(|| format!("the kinds are {}", known()))
}

fn since(text: &str) -> Result<i64, String> {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    if let Ok(span) = humantime::parse_duration(text) {
        return Ok(now_millis().saturating_sub(millis(span)));
    }
    let time = humantime::parse_rfc3339_weak(text)
        .map_err(|_| "neither a duration such as 2h nor a time such as 2026-01-31T12:00:00Z".to_owned())?;
    Ok(time.duration_since(SystemTime::UNIX_EPOCH).map(millis).unwrap_or_default())
}

impl FilterArgs {
    fn select(self, ids: Vec<String>) -> Select {
        let replayed = match (self.replayed, self.open) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        };
        Select {
            ids,
            kinds: self.kind,
            stages: self.stage,
            plugins: self.plugin,
            collections: self.collection,
            documents: self.document,
            since: self.since,
            replayed,
        }
    }
}

/// A pipeline of a configuration, and where its dead letters are.
struct Place {
    config: Config,
    pipeline: String,
    dead_letter: DeadLetterConfig,
}

impl Place {
    fn load(args: PlaceArgs) -> Result<Self, u8> {
        let PlaceArgs { config, pipeline } = args;
        let files = Files::from(&config);
        let config = config::load(&files).map_err(|problems| {
            eprintln!("{problems}");
            exit::CONFIGURATION
        })?;
        let Some(dead_letter) = config.dead_letter(&pipeline) else {
            let names: Vec<&str> = config.pipelines.keys().map(String::as_str).collect();
            complain(&Fault::fatal(
                Code::DeadLetterUnknown,
                format!("{files} has no pipeline `{pipeline}`; it has: {}", names.join(", ")),
            ));
            return Err(exit::CONFIGURATION);
        };
        Ok(Self { config, pipeline, dead_letter })
    }

    /// One replay or drop at a time, of this machine; the host is not kept from anything.
    fn lock(&self) -> Result<File, Fault> {
        let path = self.config.state.dir.join(format!("{}.dlq.lock", self.pipeline));
        let failed = |cause: std::io::Error| {
            Fault::fatal(Code::FileWrite, format!("the file {} cannot be written: {cause}", path.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.config.state.dir).map_err(failed)?;
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Fault::fatal(
                Code::DeadLetterBusy,
                format!(
                    "the dead letters of pipeline `{}` are being replayed or dropped by another process; wait until it is done",
                    self.pipeline
                ),
            )),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }
}

pub(super) fn dlq(command: DlqCommand) -> u8 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("the runtime cannot be started: {cause}");
            return exit::FAILED;
        }
    };
    let done = runtime.block_on(async {
        match command {
            DlqCommand::List { place, filter, limit, json } => {
                show::list(Place::load(place)?, filter.select(Vec::new()), limit, json).await
            }
            DlqCommand::Show { place, id } => show::show(Place::load(place)?, id).await,
            DlqCommand::Replay { place, choice, again, overwrite } => {
                work::replay(Place::load(place)?, choice, Wishes { again, overwrite }).await
            }
            DlqCommand::Drop { place, choice } => work::drop_letters(Place::load(place)?, choice).await,
        }
    });
    runtime.shutdown_background();
    done.unwrap_or_else(|code| code)
}

/// An error with its code, and the exit code.
fn failed(fault: &Fault) -> u8 {
    complain(fault);
    exit::FAILED
}
