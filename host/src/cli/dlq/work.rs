//! `tidegate dlq replay` and `tidegate dlq drop`

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use super::{ChoiceArgs, Place, exit, failed, show::warn};
use crate::{
    cli::{compiling::OnStderr, complain, print},
    config::{LogLevel, SinkConfig},
    dead_letter::{Letters, Select},
    error::{Code, Fault},
    host,
    pipeline::replay::{Outcome, Replay, Wishes},
    plugin::Memory,
    state::StateDir,
    status::Status,
    telemetry::{log, metrics::Metrics},
};

/// Letters removed at once.
const TOGETHER: usize = 100;

pub(super) async fn replay(place: Place, choice: ChoiceArgs, wishes: Wishes) -> Result<u8, u8> {
    let (select, yes) = chosen(choice)?;
    // A terminal may be the reader of a sink: then what is said to people goes to the other stream.
    let Place { config, pipeline, dead_letter } = &place;
    let Some(pipeline_config) = config.pipelines.get(pipeline) else { return Err(exit::CONFIGURATION) };
    let quiet = pipeline_config.sinks.values().any(|sink| matches!(sink, SinkConfig::Stdout(_)));
    let say = |text: &str| if quiet { eprint!("{text}") } else { print(text) };
    let log = log::init(LogLevel::Warn, config.log.format, None);
    log.map_err(|fault| failed(&fault))?;

    let _lock = place.lock().map_err(|fault| failed(&fault))?;
    let _state = own_files(&place).map_err(|fault| failed(&fault))?;
    let sinks: Vec<&str> = pipeline_config.sinks.keys().map(String::as_str).collect();
    let question =
        |count: u64| format!("replay {} of pipeline {pipeline} into {}?", letters_of(count), sinks.join(", "));
    if !yes && !agreed(&place, &select, question).await? {
        return Ok(exit::FAILED);
    }
    let mut own = config.clone();
    own.pipelines.retain(|name, _| name == pipeline);
    let status = Status::new(Metrics::new());
    let cache = config.state.dir.join("compiled");
    // What the host would run: not a file that is barred.
    let memory = Memory { state: Some(&config.state.dir), writes: false };
    let plugins = host::load_plugins(&own, Some(&cache), memory, OnStderr::default(), &status).map_err(|faults| {
        faults.iter().for_each(complain);
        exit::CONFIGURATION
    })?;
    let mut replay = Replay::new(pipeline, pipeline_config, &plugins, wishes).map_err(|fault| failed(&fault))?;
    let mut letters = Letters::new(dead_letter, pipeline, select);
    let ended = replay
        .run(&mut letters, &mut |kept, outcome| {
            let id = kept.letter.id();
            match outcome {
                Outcome::Replayed | Outcome::Filtered | Outcome::Done => {}
                Outcome::Failed(again) => {
                    let who = again.plugin.as_ref().map(|plugin| format!(" {plugin}")).unwrap_or_default();
                    say(&format!("failed again  {id}  {}{who}: {}\n", again.stage, again.reason));
                }
                Outcome::HeldBack => {
                    say(&format!("held back     {id}  an earlier change of the document failed again\n"))
                }
                Outcome::Skipped(reason) => say(&format!("skipped       {id}  {reason}\n")),
            }
        })
        .await;
    warn(&letters);
    let summary = replay.summary();
    say(&format!(
        "replayed {}, failed again {}, held back {}, skipped {}\n",
        summary.replayed, summary.failed, summary.held_back, summary.skipped
    ));
    ended.map_err(|fault| failed(&fault))?;
    Ok(if summary.failed + summary.held_back > 0 { exit::FAILED } else { 0 })
}

pub(super) async fn drop_letters(place: Place, choice: ChoiceArgs) -> Result<u8, u8> {
    let (select, yes) = chosen(choice)?;
    let _lock = place.lock().map_err(|fault| failed(&fault))?;
    let question = |count: u64| format!("drop {} of pipeline {} for good?", letters_of(count), place.pipeline);
    if !yes && !agreed(&place, &select, question).await? {
        return Ok(exit::FAILED);
    }
    let dropped = drop_all(&place, select).await.map_err(|fault| failed(&fault))?;
    print(&format!("dropped {}\n", letters_of(dropped)));
    Ok(0)
}

async fn drop_all(place: &Place, select: Select) -> Result<u64, Fault> {
    let mut letters = Letters::new(&place.dead_letter, &place.pipeline, select).with_doubles();
    let (mut dropped, mut together) = (0, Vec::new());
    loop {
        let next = letters.next().await?;
        let ended = next.is_none();
        if let Some(kept) = next {
            dropped += u64::from(!kept.double);
            together.push(kept);
        }
        if ended || together.len() >= TOGETHER {
            letters.remove(&together).await?;
            together.clear();
        }
        if ended {
            break;
        }
    }
    if let Some(file) = letters.file() {
        // A running host adds to the file: what is marked as dropped then goes with the next drop.
        match StateDir::open(&place.config.state.dir) {
            Ok(_held) => letters.compact()?,
            Err(fault) if fault.code == Code::StateLocked => print(&format!(
                "a host is running: they are marked as dropped, and leave {} with the next drop while no host runs\n",
                file.display()
            )),
            Err(fault) => return Err(fault),
        }
    }
    warn(&letters);
    Ok(dropped)
}

/// What the command line chose; nothing chosen is not everything.
fn chosen(choice: ChoiceArgs) -> Result<(Select, bool), u8> {
    let ChoiceArgs { ids, all, filter, yes } = choice;
    let select = filter.select(ids);
    if select.is_empty() && !all {
        eprintln!("error: say which letters: their ids, a filter such as --kind or --plugin, or --all");
        return Err(exit::CONFIGURATION);
    }
    Ok((select, yes))
}

/// A file sink that a running host adds to as well would be torn: the host has to stand still, and this takes its place.
fn own_files(place: &Place) -> Result<Option<StateDir>, Fault> {
    let pipeline = place.config.pipelines.get(&place.pipeline);
    let file = pipeline.and_then(|p| p.sinks.iter().find(|(_, sink)| matches!(sink, SinkConfig::File(_))));
    let Some((sink, _)) = file else { return Ok(None) };
    StateDir::open(&place.config.state.dir).map(Some).map_err(|fault| match fault.code {
        Code::StateLocked => Fault::fatal(
            Code::DeadLetterBusy,
            format!(
                "sink `{sink}` is a file, which only one process may write to, and {}; replay while no host runs",
                fault.message.split(';').next().unwrap_or_default()
            ),
        ),
        _ => fault,
    })
}

/// Asks on the terminal, with the number of letters; where there is none, `--yes` has to be given.
async fn agreed(place: &Place, select: &Select, question: impl Fn(u64) -> String) -> Result<bool, u8> {
    if !std::io::stdin().is_terminal() {
        eprintln!("error: nobody can be asked here; give --yes");
        return Err(exit::CONFIGURATION);
    }
    let mut letters = Letters::new(&place.dead_letter, &place.pipeline, select.clone());
    let mut count = 0;
    while letters.next().await.map_err(|fault| failed(&fault))?.is_some() {
        count += 1;
    }
    eprint!("{} [y/N] ", question(count));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn letters_of(count: u64) -> String {
    if count == 1 { "1 letter".to_owned() } else { format!("{count} letters") }
}
