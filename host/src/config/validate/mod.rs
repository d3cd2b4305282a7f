//! What the types of the model cannot say: ranges, names, and parts that contradict each other. All problems are reported at once.

mod alerts;
mod google;
mod mongodb;
mod pipeline;
mod plugins;
mod pubsub;
mod pubsub_setup;
mod pubsub_source;
mod redis;
mod redis_source;

use std::{
    collections::HashMap,
    ops::Range,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use super::{
    model::{Config, PipelineConfig},
    node::Node,
    problem::Draft,
    units::{ByteSize, Span},
};
use crate::error::Code;

const LONGEST_NAME: usize = 64;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Fewer characters are soon guessed.
const SHORTEST_TOKEN: usize = 16;

/// All that is wrong; the tree gives the places.
pub(super) fn validate(config: &Config, root: &Node) -> Vec<Draft> {
    let mut check = Check { root, problems: Vec::new(), files: HashMap::new(), stdin: None, stdout: None };
    check.all(config);
    check.problems
}

struct Check<'a> {
    root: &'a Node,
    problems: Vec<Draft>,
    /// Who uses a file: `sink ...`, and whether it writes.
    files: HashMap<PathBuf, (String, bool)>,
    /// Who reads standard input.
    stdin: Option<String>,
    /// Who writes to standard output.
    stdout: Option<String>,
}

/// A step from the root of the file to a value.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// A place in the file, made longer step by step.
#[derive(Clone)]
struct At<'a>(Vec<Step<'a>>);

impl<'a> At<'a> {
    fn root() -> Self {
        Self(Vec::new())
    }

    fn key(&self, key: &'a str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key));
        Self(steps)
    }

    fn item(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Item(index));
        Self(steps)
    }

    fn name(&self) -> String {
        let mut name = String::new();
        for step in &self.0 {
            match step {
                Step::Key(key) if name.is_empty() => name.push_str(key),
                Step::Key(key) => {
                    name.push('.');
                    name.push_str(key);
                }
                Step::Item(index) => name.push_str(&format!("[{index}]")),
            }
        }
        name
    }
}

impl Check<'_> {
    /// The place of a key, else of the nearest thing around it that is written in the file.
    fn place(&self, at: &At<'_>) -> Option<Range<usize>> {
        let mut node = self.root;
        let mut place = None;
        for step in &at.0 {
            match step {
                Step::Key(name) => match node.entry(name) {
                    Some((key, value)) => {
                        place = Some(key.place.clone());
                        node = value;
                    }
                    None => break,
                },
                Step::Item(index) => match node.item(*index) {
                    Some(item) => {
                        place = Some(item.place.clone());
                        node = item;
                    }
                    None => break,
                },
            }
        }
        place
    }

    fn report(&mut self, at: &At<'_>, code: Code, message: impl Into<String>, help: impl Into<String>) {
        let mut draft = Draft::new(code, message).help(help);
        draft.place = self.place(at);
        self.problems.push(draft);
    }

    fn value(&mut self, at: &At<'_>, what: &str, help: impl Into<String>) {
        self.report(at, Code::ConfigValue, format!("`{}` {what}", at.name()), help);
    }

    fn all(&mut self, config: &Config) {
        let root = At::root();
        self.span(&root.key("shutdown_timeout"), config.shutdown_timeout, Duration::from_millis(1), HOUR);
        let (state, plugins) = (root.key("state"), root.key("plugins"));
        self.path(&state.key("dir"), &config.state.dir);
        self.path(&plugins.key("dir"), &config.plugins.dir);
        if let Some(file) = &config.log.file {
            let at = root.key("log").key("file");
            self.path(&at.key("path"), &file.path);
            if file.keep == 0 {
                self.value(&at.key("keep"), "is 0, which keeps nothing", "take 1 or more");
            }
        }
        self.limits(&plugins.key("limits"), &config.plugins.limits);
        self.swap(&plugins.key("swap"), &config.plugins.swap);
        for (name, each) in &config.plugins.each {
            let at = plugins.key("each").key(name);
            let runs = |pipeline: &PipelineConfig| pipeline.stages.iter().any(|stage| stage.plugin == *name);
            if !config.pipelines.values().any(runs) {
                self.value(&at, "is a plugin that no stage names", "name it as the stages do, or remove it");
            }
            self.swap(&at.key("swap"), &each.swap);
            for (index, variable) in each.grants.env.iter().enumerate() {
                if variable.is_empty() || variable.contains(['=', '\0']) {
                    let at = at.key("grants").key("env");
                    self.value(&at.item(index), "is no name of a variable", "name it as the environment does");
                }
            }
        }
        if config.admin.token.as_ref().is_some_and(|token| token.reveal().len() < SHORTEST_TOKEN) {
            let help = format!("take at least {SHORTEST_TOKEN} characters at random, or leave it out");
            self.value(&root.key("admin").key("token"), "is too short to keep anybody out", help);
        }

        self.alerts(&root.key("alerts"), &config.alerts);

        let at = root.key("pipelines");
        if config.pipelines.is_empty() {
            self.value(&at, "is empty", "add a pipeline: a name, and under it at least `source` and `sinks`");
        }
        let mut names: HashMap<String, &str> = HashMap::new();
        for (name, pipeline) in &config.pipelines {
            let at = at.key(name);
            self.file_name(&at, "pipeline", name);
            if let Some(other) = names.insert(name.to_lowercase(), name) {
                let message = format!("the names of the pipelines `{other}` and `{name}` differ in case alone");
                self.report(
                    &at,
                    Code::ConfigConflict,
                    message,
                    "their files would be the same on some file systems: rename one",
                );
            }
            self.pipeline(&at, name, pipeline, config);
        }
    }

    /// Names of pipelines and sinks stand in file names, metrics and routers' answers.
    fn file_name(&mut self, at: &At<'_>, kind: &str, name: &str) {
        let good = name.len() <= LONGEST_NAME
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !good {
            let help =
                format!("take letters, digits, `_` and `-`, a letter or digit first, at most {LONGEST_NAME} in all");
            self.report(at, Code::ConfigValue, format!("`{name}` cannot be the name of a {kind}"), help);
        }
    }

    fn span(&mut self, at: &At<'_>, span: Span, least: Duration, most: Duration) {
        if span.0 < least || span.0 > most {
            let help = format!("take {} to {}", Span(least), Span(most));
            self.value(at, "is out of range", help);
        }
    }

    fn size(&mut self, at: &At<'_>, size: ByteSize, least: u64, most: u64, range: &str) {
        if !(least..=most).contains(&size.0) {
            self.value(at, "is out of range", format!("take {range}"));
        }
    }

    fn path(&mut self, at: &At<'_>, path: &Path) {
        if path.as_os_str().is_empty() {
            self.value(at, "is empty", "write a path; relative ones start at the current directory");
        }
    }

    /// No file has two users of which one writes: lines would mix, or a pipeline would read what it wrote.
    fn file(&mut self, at: &At<'_>, path: &Path, who: &str, writes: bool) {
        if path.starts_with("/dev") {
            return;
        }
        match self.files.get(&plain(path)) {
            Some((other, other_writes)) if writes || *other_writes => {
                let message = format!("{other} and {who} use the same file `{}`", path.display());
                self.report(at, Code::ConfigConflict, message, "give each a file of its own");
            }
            Some(_) => {}
            None => {
                self.files.insert(plain(path), (who.to_owned(), writes));
            }
        }
    }
}

/// `./a//b/../c` is `a/c`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            component => out.push(component),
        }
    }
    out
}
