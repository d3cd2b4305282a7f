//! The configuration file: what it may say ([`Config`]), how it is read ([`load`]), and what is said when it is wrong
//! ([`ConfigErrors`]).
//!
//! Files go through six steps: `node` parses YAML into trees with places and replaces `${VARIABLES}`, `merge` makes one tree of them, `decode` makes
//! the model out of it, `validate` looks at what the types cannot say, `stage_files` reads what stages take from other files, and `problem` shows
//! what is wrong, with `mask` between it and anything secret. Why not a YAML library's own serde support: `docs/decisions/0003-configuration-reader.md`.

mod decode;
mod env_file;
mod environment;
mod files;
mod interpolate;
mod mask;
mod merge;
mod model;
mod node;
mod place;
mod problem;
mod schema;
mod sources;
mod stage_files;
#[cfg(test)]
mod tests;
mod units;
mod validate;

use std::path::Path;

pub use environment::Settings;
pub use files::Files;
pub use model::*;
pub use place::HttpPlace;
pub use problem::{ConfigErrors, Location, Problem};
pub use schema::schema;
pub use units::{ByteSize, Moment, Span};

use self::sources::Sources;
use crate::error::{Code, Fault};

/// Reads, checks and interpolates the files of a configuration, with the variables and settings of this process.
///
/// # Errors
/// [`Code::ConfigUnreadable`] when a file cannot be read, [`Code::ConfigEnvFile`] for bad lines of files of variables, else as [`parse`].
pub fn load(files: &Files) -> Result<Config, ConfigErrors> {
    let texts = files.read()?;
    parse_all(&texts.sources, &|name| texts.variable(name), &texts.settings)
}

/// Reads another file that people write, with errors as those of the configuration. It names no variables.
///
/// # Errors
/// As [`load`].
pub fn load_other<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigErrors> {
    let file = path.display().to_string();
    let sources = Sources::of(&file, &files::read(path, "the file")?);
    let mut masks = mask::Masks::default();
    let root = node::parse_literal(sources.text(), &mut masks)
        .map_err(|drafts| ConfigErrors::new(&sources, &masks, drafts))?;
    let Some(root) = root else {
        let help = "the documentation of plugin projects has an example".to_owned();
        return Err(ConfigErrors::whole_file(&file, Code::ConfigValue, "the file is empty".to_owned(), help));
    };
    let (decoded, seen) = decode::decode(&root, sources.ends());
    masks.learn(sources.text(), &seen);
    decoded.map_err(|drafts| ConfigErrors::new(&sources, &masks, drafts))
}

/// Like [`load`], of a text. `file_name` stands in the errors, and what a stage's `config_files` names lies beside it.
///
/// # Errors
/// What is wrong with the text, each with its place. Values of variables, and values of keys such as `uri`, are never shown.
pub fn parse(text: &str, file_name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    parse_all(&Sources::of(file_name, text), env, &Settings::default())
}

/// [`parse`] of several texts, of which a later one wins, with settings of the environment that win over all.
///
/// # Errors
/// As [`parse`], and what the settings get wrong, with the names of their variables.
fn parse_all(
    sources: &Sources,
    env: &dyn Fn(&str) -> Option<String>,
    settings: &Settings,
) -> Result<Config, ConfigErrors> {
    let text = sources.text();
    let mut masks = mask::Masks::default();
    let (root, mut problems) =
        tree(sources, env, &mut masks).map_err(|drafts| ConfigErrors::new(sources, &masks, drafts))?;
    let mut root = match root {
        Some(root) => root,
        // The environment may say it all.
        None if !settings.is_empty() => node::Node { place: 0..0, value: node::Value::Map(Vec::new()) },
        None => {
            return Err(ConfigErrors::whole_file(
                &sources.names(),
                Code::ConfigValue,
                "the configuration is empty".to_owned(),
                "it needs at least `pipelines`, with a `source` and `sinks`; `docs/configuration.md` has an example"
                    .to_owned(),
            ));
        }
    };
    problems.extend(settings.apply(&mut root, text.len()));
    let (decoded, seen) = decode::decode(&root, sources.ends());
    // A value that cannot be had is no matter where another one stands in its place.
    problems.retain(|draft| {
        let at = draft.place.as_ref().map_or(0, |place| place.start);
        let is_value = matches!(draft.code, Code::ConfigVariable | Code::ConfigValueFile) && at < text.len();
        !is_value || root.holds(at) && !seen.passed_over.iter().any(|node| node.holds(at))
    });
    let failed = |masks: &mask::Masks, drafts| Err(ConfigErrors::with_settings(sources, masks, settings, drafts));
    if !problems.is_empty() {
        return failed(&masks, problems);
    }
    masks.learn(text, &seen);
    let mut config: Config = match decoded {
        Ok(config) => config,
        Err(problems) => return failed(&masks, problems),
    };
    let mut problems = validate::validate(&config, &root);
    if problems.is_empty() {
        problems = stage_files::read(&mut config, &root, sources);
    }
    if problems.is_empty() { Ok(config) } else { failed(&masks, problems) }
}

/// What all texts say together, and what is wrong with single values and keys. None: nothing is in them but comments.
///
/// # Errors
/// What is no YAML.
fn tree(
    sources: &Sources,
    env: &dyn Fn(&str) -> Option<String>,
    masks: &mut mask::Masks,
) -> Result<(Option<node::Node>, Vec<problem::Draft>), Vec<problem::Draft>> {
    let mut root: Option<node::Node> = None;
    let (mut problems, mut broken) = (Vec::new(), Vec::new());
    for part in sources.parts() {
        match node::parse(sources.text(), part, env, masks) {
            Ok((later, more)) => {
                problems.extend(more);
                match (&mut root, later) {
                    (Some(root), Some(later)) => merge::over(root, later),
                    (None, later) => root = later,
                    (Some(_), None) => {}
                }
            }
            Err(drafts) => broken.extend(drafts),
        }
    }
    if broken.is_empty() {
        return Ok((root, problems));
    }
    // Another file may have parsed after the one that did not.
    *masks = mask::Masks::unparsed();
    Err(broken)
}

/// Why a host of this configuration cannot stand by; none when it can.
pub fn no_standby(config: &Config) -> Option<Fault> {
    let (name, _) =
        config.pipelines.iter().find(|(_, pipeline)| matches!(pipeline.checkpoint, CheckpointConfig::File(_)))?;
    Some(Fault::fatal(
        Code::ConfigConflict,
        format!(
            "--standby needs a checkpoint that both hosts can reach, and pipeline `{name}` keeps its own in a file; set `checkpoint:` to \
             sink, mongodb, redis or firestore"
        ),
    ))
}
