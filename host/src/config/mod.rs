//! The configuration file: what it may say ([`Config`]), how it is read ([`load`]), and what is said when it is wrong
//! ([`ConfigErrors`]).
//!
//! A file goes through five steps: `node` parses YAML into a tree with places and replaces `${VARIABLES}`, `decode` makes the
//! model out of the tree, `validate` looks at what the types cannot say, `files` reads what stages take from other files, and
//! `problem` shows what is wrong, with `mask` between it and anything secret. Why not a YAML library's own serde support: `docs/decisions/0003-configuration-reader.md`.

mod decode;
mod environment;
mod files;
mod interpolate;
mod mask;
mod model;
mod node;
mod place;
mod problem;
#[cfg(test)]
mod tests;
mod units;
mod validate;

use std::path::Path;

pub use environment::Settings;
pub use model::*;
pub use place::HttpPlace;
pub use problem::{ConfigErrors, Location, Problem};
pub use units::{ByteSize, Moment, Span};

use crate::error::{Code, Fault};

/// Nobody writes so much by hand: a bigger file was given by mistake.
const MOST_BYTES: u64 = 4 << 20;

/// Reads, checks and interpolates a configuration file, with the variables and settings of this process.
///
/// # Errors
/// [`Code::ConfigUnreadable`] when the file cannot be read, else as [`parse`].
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let text = read(path, "the configuration file")?;
    parse_with(&text, &path.display().to_string(), &|name| std::env::var(name).ok(), &Settings::of_process())
}

/// Reads another file that people write, with errors as those of the configuration. It names no variables.
///
/// # Errors
/// As [`load`].
pub fn load_other<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigErrors> {
    let (text, file) = (read(path, "the file")?, path.display().to_string());
    let mut masks = mask::Masks::default();
    let root =
        node::parse_literal(&text, &mut masks).map_err(|drafts| ConfigErrors::new(&file, &text, &masks, drafts))?;
    let Some(root) = root else {
        let help = "the documentation of plugin projects has an example".to_owned();
        return Err(ConfigErrors::whole_file(&file, Code::ConfigValue, "the file is empty".to_owned(), help));
    };
    let (decoded, seen) = decode::decode(&root);
    masks.learn(&text, &seen);
    decoded.map_err(|drafts| ConfigErrors::new(&file, &text, &masks, drafts))
}

fn read(path: &Path, what: &str) -> Result<String, ConfigErrors> {
    let file = path.display().to_string();
    let unreadable = |cause: String, help: &str| {
        let message = format!("{what} cannot be read: {cause}");
        ConfigErrors::whole_file(&file, Code::ConfigUnreadable, message, help.to_owned())
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(unreadable("it is a directory".to_owned(), "name the file in it"));
        }
        Ok(metadata) if metadata.len() > MOST_BYTES => {
            return Err(unreadable("it is bigger than 4 MiB".to_owned(), "name another file"));
        }
        _ => {}
    }
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            unreadable("there is no such file".to_owned(), "relative paths start at the current directory")
        }
        std::io::ErrorKind::PermissionDenied => {
            unreadable("permission denied".to_owned(), "let the user that runs tidegate read it")
        }
        _ => unreadable(error.to_string(), "see that the path is right and the disk is well"),
    })?;
    String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned(), "save it as UTF-8"))
}

/// Like [`load`], of a text. `file_name` stands in the errors, and what a stage's `config_files` names lies beside it.
///
/// # Errors
/// What is wrong with the text, each with its place. Values of variables, and values of keys such as `uri`, are never shown.
pub fn parse(text: &str, file_name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    parse_with(text, file_name, env, &Settings::default())
}

/// [`parse`], with settings of the environment that win over the text.
///
/// # Errors
/// As [`parse`], and what the settings get wrong, with the names of their variables.
pub fn parse_with(
    text: &str,
    file_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
    settings: &Settings,
) -> Result<Config, ConfigErrors> {
    let mut masks = mask::Masks::default();
    let (root, mut problems) =
        node::parse(text, env, &mut masks).map_err(|drafts| ConfigErrors::new(file_name, text, &masks, drafts))?;
    let mut root = match root {
        Some(root) => root,
        // The environment may say it all.
        None if !settings.is_empty() => node::Node { place: 0..0, value: node::Value::Map(Vec::new()) },
        None => {
            return Err(ConfigErrors::whole_file(
                file_name,
                Code::ConfigValue,
                "the configuration is empty".to_owned(),
                "it needs at least `pipelines`, with a `source` and `sinks`; `docs/configuration.md` has an example"
                    .to_owned(),
            ));
        }
    };
    problems.extend(settings.apply(&mut root, text.len()));
    // A variable that is not set is no matter where a setting stands in place of its value.
    problems.retain(|draft| {
        let at = draft.place.as_ref().map_or(0, |place| place.start);
        draft.code != Code::ConfigVariable || at >= text.len() || root.holds(at)
    });
    let failed =
        |masks: &mask::Masks, drafts| Err(ConfigErrors::with_settings(file_name, text, masks, settings, drafts));
    if !problems.is_empty() {
        return failed(&masks, problems);
    }
    let (decoded, seen) = decode::decode(&root);
    masks.learn(text, &seen);
    let mut config: Config = match decoded {
        Ok(config) => config,
        Err(problems) => return failed(&masks, problems),
    };
    let mut problems = validate::validate(&config, &root);
    if problems.is_empty() {
        problems = files::read(&mut config, &root, Path::new(file_name).parent().unwrap_or(Path::new("")));
    }
    if problems.is_empty() { Ok(config) } else { failed(&masks, problems) }
}

/// Why a host of this configuration cannot stand by; none when it can.
pub fn no_standby(config: &Config) -> Option<Fault> {
    let (name, _) =
        config.pipelines.iter().find(|(_, pipeline)| matches!(pipeline.checkpoint, CheckpointConfig::File(_)))?;
    Some(Fault::fatal(
        Code::ConfigConflict,
        format!(
            "--standby needs a checkpoint that both hosts can reach, and pipeline `{name}` keeps its own in a file; set `checkpoint:` to \
             sink, mongodb or redis"
        ),
    ))
}
