//! `tidegate verify SOURCE TARGET`, `tidegate verify --pipeline NAME CONFIG`

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::{complain, files::MoreArgs, print};
use crate::{
    config::{self, Secret},
    error::{Code, Fault},
    verify::{Options, Progress, Scope, count, of_pipeline, text, verify},
};

/// Exit codes of this command alone, as those of `diff`.
mod exit {
    pub(super) const EQUAL: u8 = 0;
    pub(super) const DIFFERS: u8 = 1;
    pub(super) const NOT_COMPARED: u8 = 2;
}

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
#[command(
    override_usage = "tidegate verify [OPTIONS] <SOURCE> <TARGET>\n       tidegate verify [OPTIONS] --pipeline <NAME> <CONFIG>"
)]
pub(super) struct VerifyArguments {
    /// Two connection strings; with --pipeline, the configuration file (YAML).
    #[arg(required = true, value_name = "PLACE")]
    places: Vec<String>,
    #[command(flatten)]
    more: MoreArgs,
    /// Take both sides from this pipeline: its source and its MongoDB sink.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// The MongoDB sink of the pipeline, where it has several.
    #[arg(long, value_name = "NAME", requires = "pipeline")]
    sink: Option<String>,
    /// Databases of the source, such as shop or 'shop_*'; '!NAME' leaves one out. May be given several times.
    #[arg(long, value_name = "PATTERN")]
    database: Vec<String>,
    /// Collections, likewise.
    #[arg(long, value_name = "PATTERN")]
    collection: Vec<String>,
    /// Where it is in the target: db.coll=db.coll, or db=db. May be given several times.
    #[arg(long, value_name = "FROM=TO")]
    map: Vec<String>,
    /// Compare options and indexes too.
    #[arg(long)]
    schema: bool,
    /// How long what differs is read again before it is called a difference.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Differences told one by one for each collection; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20)]
    max_differences: usize,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn command(asked: VerifyArguments) -> u8 {
    let (source, target, scope) = match sides(&asked) {
        Ok(sides) => sides,
        Err(code) => return code,
    };
    let options = Options { wait: asked.wait, max_differences: asked.max_differences, schema: asked.schema };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("error: the runtime cannot be started: {cause}");
            return exit::NOT_COMPARED;
        }
    };
    let report = runtime.block_on(async {
        let progress = Progress::default();
        let compared = verify(&source, &target, &scope, &options, &progress);
        watched(compared, &progress).await
    });
    // Connections that are still being closed need not be waited for.
    runtime.shutdown_background();
    let report = match report {
        Ok(report) => report,
        Err(fault) => {
            complain(&fault);
            return exit::NOT_COMPARED;
        }
    };
    if asked.json {
        match serde_json::to_string_pretty(&report) {
            Ok(json) => print(&format!("{json}\n")),
            Err(cause) => {
                complain(&Fault::fatal(Code::Internal, format!("the report cannot be written as JSON: {cause}")));
                return exit::NOT_COMPARED;
            }
        }
    } else {
        print(&text(&report));
    }
    if report.equal { exit::EQUAL } else { exit::DIFFERS }
}

fn sides(asked: &VerifyArguments) -> Result<(Secret, Secret, Scope), u8> {
    let (source, target, mut scope) = match (&asked.pipeline, &*asked.places) {
        (None, [source, target]) => (source.clone().into(), target.clone().into(), Scope::default()),
        (Some(pipeline), [config]) => {
            let files = asked.more.clone().files(vec![config.into()]);
            let config = config::load(&files).map_err(|problems| {
                eprintln!("{problems}");
                exit::NOT_COMPARED
            })?;
            of_pipeline(&config, pipeline, asked.sink.as_deref()).map_err(|fault| {
                complain(&fault);
                exit::NOT_COMPARED
            })?
        }
        // Not clap's own words: they would repeat an argument, which may hold a password.
        (None, given) => {
            eprintln!(
                "error: two connection strings are compared, SOURCE and TARGET, and {} given",
                given_words(given)
            );
            return Err(exit::NOT_COMPARED);
        }
        (Some(_), given) => {
            eprintln!("error: with --pipeline, one configuration file is read, and {} given", given_words(given));
            return Err(exit::NOT_COMPARED);
        }
    };
    if !asked.database.is_empty() {
        scope.databases.clone_from(&asked.database);
    }
    if !asked.collection.is_empty() {
        scope.collections.clone_from(&asked.collection);
    }
    scope.maps.extend(asked.map.iter().cloned());
    Ok((source, target, scope))
}

fn given_words(given: &[String]) -> String {
    match given.len() {
        1 => "1 argument is".to_owned(),
        more => format!("{more} arguments are"),
    }
}

/// Waits, with a bar on a terminal.
async fn watched<T>(compared: impl Future<Output = T>, progress: &Progress) -> T {
    let bar = ProgressBar::new(0);
    // Nothing is drawn where standard error is no terminal.
    let template = "{bar:16} {human_pos} of {human_len} documents, {eta} left  {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let mut ticks = tokio::time::interval(TICK);
    let mut compared = std::pin::pin!(compared);
    let ended = loop {
        tokio::select! {
            ended = &mut compared => break ended,
            _ = ticks.tick() => {
                let (documents, expected) = progress.documents();
                bar.set_length(expected.max(documents));
                bar.set_position(documents);
                bar.set_message(match progress.waiting() {
                    0 => progress.now(),
                    waiting => format!("{}, {} to be read again", progress.now(), count(waiting)),
                });
            }
        }
    };
    bar.finish_and_clear();
    ended
}
