//! `config_files` of a stage: files beside the configuration whose text goes to the plugin as a part of its `config`.
//!
//! They are read with the configuration, and stand in the model as if they had been written there: whoever compares two
//! configurations sees a file that changed.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    model::{Config, StageConfig},
    node::Node,
    problem::Draft,
    sources::Sources,
};
use crate::error::Code;

/// Of one file. Nobody writes so much by hand.
const MOST_BYTES: u64 = 4 << 20;
/// Of all files of a stage.
const MOST_IN_ALL: u64 = 16 << 20;
const MOST_FILES: usize = 1000;
/// Folders in folders: what is deeper is a loop of links.
const DEEPEST: usize = 16;

/// Reads the files of every stage into its `config`. Relative paths start at the folder of the configuration file that names them.
pub(super) fn read(config: &mut Config, root: &Node, sources: &Sources) -> Vec<Draft> {
    let mut problems = Vec::new();
    for (name, pipeline) in &mut config.pipelines {
        for (index, stage) in pipeline.stages.iter_mut().enumerate() {
            let folder = |key: &str| {
                let at = place(root, name, index, key).map_or(0, |place| place.start);
                // What the environment names stands behind all files: it is beside the last.
                Path::new(sources.file(at.min(sources.text().len())).0).parent().unwrap_or(Path::new(""))
            };
            if let Err(wrong) = read_stage(stage, folder) {
                let within = format!("pipelines.{name}.stages[{index}].config_files.{}", wrong.key);
                let mut draft = Draft::new(wrong.code, format!("`{within}`: {}", wrong.message)).help(wrong.help);
                draft.place = place(root, name, index, &wrong.key);
                problems.push(draft);
            }
        }
    }
    problems
}

struct Wrong {
    key: String,
    code: Code,
    message: String,
    help: &'static str,
}

/// The value of the key, else the nearest thing around it that is written in the file.
fn place(root: &Node, pipeline: &str, stage: usize, key: &str) -> Option<Range<usize>> {
    let (_, stages) = root.entry("pipelines")?.1.entry(pipeline)?.1.entry("stages")?;
    let stage = stages.item(stage)?;
    let (files, value) = stage.entry("config_files")?;
    Some(value.entry(key).map_or(files.place.clone(), |(_, value)| value.place.clone()))
}

fn read_stage<'s>(stage: &mut StageConfig, folder: impl Fn(&str) -> &'s Path) -> Result<(), Wrong> {
    if stage.config_files.is_empty() {
        return Ok(());
    }
    let mut left = MOST_IN_ALL;
    for (key, path) in &stage.config_files {
        let wrong = |code, message, help| Wrong { key: key.clone(), code, message, help };
        let conflict = |message: &str, help| wrong(Code::ConfigConflict, message.to_owned(), help);
        let path = folder(key).join(path);
        let text = read_path(&path, &mut left).map_err(|Unreadable { path, cause, help }| {
            wrong(Code::ConfigUnreadable, format!("{} cannot be read: {cause}", path.display()), help)
        })?;
        let config = stage.config.get_or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(config) = config else {
            return Err(conflict(
                "the stage's `config` is no map",
                "make it a map: the text of files is one of its keys",
            ));
        };
        if config.contains_key(key) {
            return Err(conflict("the stage's `config` has this key too", "write it in one of the two"));
        }
        config.insert(key.clone(), text);
    }
    Ok(())
}

struct Unreadable {
    path: PathBuf,
    cause: String,
    help: &'static str,
}

impl Unreadable {
    fn new(path: &Path, cause: impl Into<String>, help: &'static str) -> Self {
        Self { path: path.to_owned(), cause: cause.into(), help }
    }

    fn of(path: &Path, error: &io::Error) -> Self {
        let help = match error.kind() {
            io::ErrorKind::NotFound => "relative paths here start at the folder of the configuration file",
            io::ErrorKind::PermissionDenied => "let the user that runs tidegate read it",
            _ => "see that the path is right and the disk is well",
        };
        let cause = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        Self::new(path, cause, help)
    }
}

/// The text of a file; of a folder a map with the text of each file below it.
fn read_path(path: &Path, left: &mut u64) -> Result<Value, Unreadable> {
    let metadata = fs::metadata(path).map_err(|error| Unreadable::of(path, &error))?;
    if !metadata.is_dir() {
        return read_file(path, left).map(Value::String);
    }
    let mut texts = Map::new();
    read_folder(path, "", 0, &mut texts, left)?;
    if texts.is_empty() {
        return Err(Unreadable::new(
            path,
            "the folder has no file",
            "put files into it; those that begin with a dot are passed over",
        ));
    }
    // In the order of their names, so that the same files are the same configuration.
    texts.sort_keys();
    Ok(Value::Object(texts))
}

fn read_folder(
    folder: &Path,
    prefix: &str,
    depth: usize,
    texts: &mut Map<String, Value>,
    left: &mut u64,
) -> Result<(), Unreadable> {
    if depth > DEEPEST {
        let help = "give a folder with no more than 16 levels; a link may lead back to where it stands";
        return Err(Unreadable::new(folder, "it lies too deep", help));
    }
    for entry in fs::read_dir(folder).map_err(|error| Unreadable::of(folder, &error))? {
        let path = entry.map_err(|error| Unreadable::of(folder, &error))?.path();
        let name = path.file_name().unwrap_or_default();
        let Some(name) = name.to_str() else {
            return Err(Unreadable::new(&path, "its name is not UTF-8", "rename it"));
        };
        // Those of editors, of version control, and of mounted volumes.
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        let name = format!("{prefix}{name}");
        // Through links: a mounted volume is made of them.
        if fs::metadata(&path).map_err(|error| Unreadable::of(&path, &error))?.is_dir() {
            read_folder(&path, &format!("{name}/"), depth + 1, texts, left)?;
            continue;
        }
        if texts.len() >= MOST_FILES {
            return Err(Unreadable::new(
                folder,
                "there are more than 1000 files",
                "name the folder that holds what is meant",
            ));
        }
        let text = read_file(&path, left)?;
        texts.insert(name, Value::String(text));
    }
    Ok(())
}

fn read_file(path: &Path, left: &mut u64) -> Result<String, Unreadable> {
    let length = fs::metadata(path).map_err(|error| Unreadable::of(path, &error))?.len();
    if length > MOST_BYTES {
        return Err(Unreadable::new(path, "it is bigger than 4 MiB", "name another file"));
    }
    *left = left.checked_sub(length).ok_or_else(|| {
        Unreadable::new(path, "the files of the stage are bigger than 16 MiB in all", "give the plugin fewer")
    })?;
    let bytes = fs::read(path).map_err(|error| Unreadable::of(path, &error))?;
    String::from_utf8(bytes).map_err(|_| Unreadable::new(path, "it is not UTF-8 text", "save it as UTF-8"))
}

#[cfg(test)]
mod tests;
