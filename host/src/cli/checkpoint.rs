//! `tidegate checkpoint show|set|reset CONFIG PIPELINE`

use std::{
    io::{IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{complain, exit, print};
use crate::{
    checkpoint::{About, Claim, Found, Store},
    config::{self, CheckpointConfig, Config, Files, PipelineConfig, StartAt},
    error::{Code, Fault},
    position::Positions,
    sink::{AnySink, Keeper as _},
    source::AnySource,
    state::StateDir,
};

/// How long a command holds a pipeline at most.
const LEASE: Duration = Duration::from_secs(30);

/// What `show --json` prints and `set` reads.
#[derive(Serialize, Deserialize)]
struct Shown {
    positions: Positions,
}

/// What is to be done.
pub(super) enum Action {
    /// Print what is stored.
    Show {
        /// For `set`, instead of for people.
        json: bool,
    },
    /// Store positions.
    Set {
        /// Where they are from.
        what: What,
        /// Of one sink alone.
        sink: Option<String>,
        /// Do not ask.
        yes: bool,
    },
    /// Forget the position.
    Reset {
        /// Do not ask.
        yes: bool,
    },
}

/// Positions to store.
pub(super) enum What {
    /// What `show --json` printed; `-` for standard input.
    Printed(PathBuf),
    /// Where the source finds this place.
    At(StartAt),
    /// Where the other sinks stand.
    Others,
}

/// A resume token of MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) String);

impl FromStr for Token {
    type Err = &'static str;

    /// As it is stored, or as shells and drivers print it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        #[derive(Deserialize)]
        struct Printed {
            _data: String,
        }
        let token = serde_json::from_str(text).map_or_else(|_| text.trim().to_owned(), |Printed { _data: data }| data);
        match !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(Self(token)),
            false => Err("no resume token; it is the text of `_id._data` of a change event, such as 8265..."),
        }
    }
}

pub(super) fn checkpoint(files: &Files, pipeline: &str, action: Action) -> u8 {
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
            eprintln!("error: the runtime cannot be started: {cause}");
            return exit::FAILED;
        }
    };
    match runtime.block_on(act(&config, pipeline, action)) {
        Ok(()) => 0,
        Err(fault) => {
            complain(&fault);
            exit::FAILED
        }
    }
}

/// A record, wherever it is.
enum Record {
    Store(Box<Store>),
    Sink(String, Box<AnySink>),
}

impl Record {
    fn all(config: &PipelineConfig, state: &StateDir, pipeline: &str, source: &str) -> Vec<Self> {
        match Store::new(&config.checkpoint, state, pipeline, source) {
            Some(store) => vec![Self::Store(Box::new(store))],
            None => {
                let sinks = config.sinks.iter();
                sinks
                    .map(|(name, sink)| {
                        Self::Sink(name.clone(), Box::new(AnySink::new(sink, config.record(pipeline), name)))
                    })
                    .collect()
            }
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Store(store) => store.place(),
            Self::Sink(_, sink) => sink.place(),
        }
    }

    async fn read(&mut self) -> Result<Option<Found>, Fault> {
        match self {
            Self::Store(store) => store.read().await,
            Self::Sink(_, sink) => sink.read().await,
        }
    }

    /// Nobody may run the pipeline meanwhile.
    async fn claim(&mut self, state: &StateDir, pipeline: &str) -> Result<Found, Fault> {
        let claim = match self {
            Self::Store(store) => store.claim().await?,
            Self::Sink(_, sink) => sink.claim(state.holder(), LEASE).await?,
        };
        match claim {
            Claim::Taken(found) => Ok(found),
            Claim::Held(holder, left) => Err(Fault::fatal(
                Code::PipelineHeld,
                format!(
                    "pipeline `{pipeline}` is run by {holder} (its lease lasts {left:.1?} more): stop that host first, a checkpoint is not \
                     changed under a running pipeline"
                ),
            )),
        }
    }

    async fn put(&mut self, about: &About, positions: &Positions) -> Result<(), Fault> {
        match self {
            Self::Store(store) => store.store(positions, 0, Vec::new()).await,
            Self::Sink(_, sink) => sink.begin(about, positions).await,
        }
    }

    async fn remove(&mut self) -> Result<(), Fault> {
        match self {
            Self::Store(store) => store.remove().await,
            Self::Sink(_, sink) => sink.remove().await,
        }
    }

    async fn release(&mut self) {
        match self {
            Self::Store(store) => store.release().await,
            Self::Sink(_, sink) => sink.release().await,
        }
    }
}

async fn act(config: &Config, name: &str, action: Action) -> Result<(), Fault> {
    let pipeline = config.pipelines.get(name).ok_or_else(|| {
        let known: Vec<&str> = config.pipelines.keys().map(String::as_str).collect();
        Fault::fatal(Code::ConfigValue, format!("there is no pipeline `{name}`; the file has: {}", known.join(", ")))
    })?;
    if !AnySource::has_positions(&pipeline.source) {
        return Err(Fault::fatal(Code::ConfigValue, format!("the source of pipeline `{name}` has no positions")));
    }
    let source = AnySource::describe(&pipeline.source);
    if let Action::Show { json } = action {
        let state = StateDir::unlocked(&config.state.dir);
        return show(Record::all(pipeline, &state, name, &source), name, json).await;
    }
    let state = StateDir::open(&config.state.dir)?;
    let mut records = Record::all(pipeline, &state, name, &source);
    let places: Vec<String> = records.iter().map(Record::place).collect();
    match action {
        Action::Show { .. } => Ok(()),
        Action::Reset { yes } => {
            let question = format!(
                "forget the position of pipeline {name} in {}? It begins anew at the next start, and what happened since is not sent",
                places.join("; ")
            );
            confirm(&question, yes)?;
            for record in &mut records {
                // What cannot be read is what a reset is for: only a holder keeps it from being done.
                match record.claim(&state, name).await {
                    Err(fault) if fault.code != Code::CheckpointUnreadable => return Err(fault),
                    _ => record.remove().await?,
                }
            }
            state.forget(name);
            print(&format!("the position of pipeline {name} is forgotten\n"));
            Ok(())
        }
        Action::Set { what, sink, yes } => {
            if let Some(sink) = &sink
                && !matches!(&pipeline.checkpoint, CheckpointConfig::Sink(_) if pipeline.sinks.contains_key(sink))
            {
                let message = format!("pipeline `{name}` keeps no position in a sink `{sink}`");
                return Err(Fault::fatal(Code::ConfigValue, message));
            }
            let chosen = |record: &Record| match (&sink, record) {
                (Some(sink), Record::Sink(name, _)) => name == sink,
                _ => true,
            };
            let positions = match &what {
                What::Printed(file) => read_positions(file)?,
                What::At(start) => {
                    let mut before = Positions::default();
                    for record in &mut records {
                        // One that cannot be read stands nowhere.
                        if let Ok(Some(found)) = record.read().await
                            && found.positions.whole() > before.whole()
                        {
                            before = found.positions;
                        }
                    }
                    AnySource::positions_at(&pipeline.source, start, &before).await?
                }
                What::Others => {
                    let mut oldest: Option<Positions> = None;
                    for record in records.iter_mut().filter(|record| !chosen(record)) {
                        if let Some(found) = record.read().await?.filter(|found| found.about.is_some()) {
                            oldest = Some(oldest.map_or(found.positions.clone(), |old| old.older(&found.positions)));
                        }
                    }
                    oldest.ok_or_else(|| {
                        Fault::fatal(
                            Code::ConfigValue,
                            "no positions were given: name a file with what `tidegate checkpoint show --json` printed, or `-`; --time or \
                             --token take a place in the oplog of MongoDB; a new sink gets those of the other sinks when it is named with \
                             --sink",
                        )
                    })?
                }
            };
            confirm(&format!("set the position of pipeline {name} in {}", places.join("; ")), yes)?;
            let about = About::new(name, &source, 0, Vec::new());
            for record in records.iter_mut().filter(|record| chosen(record)) {
                record.claim(&state, name).await?;
                let put = record.put(&about, &positions).await;
                record.release().await;
                put?;
            }
            state.remember(name, &places.join("; "))?;
            print(&format!("the position of pipeline {name} is set\n"));
            Ok(())
        }
    }
}

async fn show(records: Vec<Record>, name: &str, json: bool) -> Result<(), Fault> {
    let mut oldest: Option<Positions> = None;
    let mut text = String::new();
    for mut record in records {
        let place = record.place();
        let Some(found) = record.read().await? else {
            text += &format!("{name}  no position yet  ({place})\n");
            continue;
        };
        oldest = Some(oldest.map_or(found.positions.clone(), |oldest| oldest.older(&found.positions)));
        text += &format!("{name}  {place}\n");
        if let Some(about) = &found.about {
            text += &format!("  source   {}\n  written  {}\n", about.source, about.at);
            for stage in &about.stages {
                let digest = stage.digest.get(..12).unwrap_or_default();
                let version = if stage.version.is_empty() { String::new() } else { format!(" {}", stage.version) };
                text += &format!("  plugin   {}{version} generation {} ({digest})\n", stage.plugin, stage.generation);
            }
        }
        text += &format!("  fence    {}\n", found.fence);
        if let Some((holder, _)) = &found.held {
            text += &format!("  holder   {holder}\n");
        }
        for (partition, position) in found.positions.iter() {
            text += &format!("  {partition:<7}  {}\n", position.to_hex());
        }
    }
    if json {
        let shown = Shown { positions: oldest.unwrap_or_default() };
        text = serde_json::to_string(&shown).unwrap_or_default() + "\n";
    }
    print(&text);
    Ok(())
}

fn read_positions(file: &Path) -> Result<Positions, Fault> {
    let failed = |cause: String| {
        Fault::fatal(
            Code::FileRead,
            format!(
                "{} holds no positions: {cause}; give it what `tidegate checkpoint show --json` printed",
                file.display()
            ),
        )
    };
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map_err(|cause| failed(cause.to_string()))?;
    } else {
        text = std::fs::read_to_string(file).map_err(|cause| failed(cause.to_string()))?;
    }
    let shown: Shown = serde_json::from_str(&text).map_err(|cause| failed(cause.to_string()))?;
    Ok(shown.positions)
}

/// Asks a person at a terminal; elsewhere `--yes` is needed.
fn confirm(question: &str, yes: bool) -> Result<(), Fault> {
    if yes {
        return Ok(());
    }
    if std::io::stdin().is_terminal() {
        eprint!("{question} [y/N] ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let _ = std::io::stdin().read_line(&mut answer);
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        return Err(Fault::fatal(Code::ConfigValue, "nothing was changed"));
    }
    Err(Fault::fatal(Code::ConfigValue, format!("this asks first ({question}); without a terminal say --yes")))
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_taken_as_people_find_it() {
        for text in ["8265A0", " 8265A0\n", r#"{"_data":"8265A0"}"#, r#"{ "_data": "8265A0", "_typeBits": "x" }"#] {
            assert_eq!(text.parse(), Ok(Token("8265A0".to_owned())), "{text}");
        }
        for text in ["", "8265 A0", "now", r#"{"_data":""}"#, r#"{"token":"8265"}"#] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}
