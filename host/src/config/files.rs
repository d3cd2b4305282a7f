//! Which files a configuration is read from, and reading them.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{
    ConfigErrors, Settings,
    env_file::{self, Variables},
    sources::Sources,
};
use crate::error::Code;

/// Nobody writes so much by hand: a bigger file was given by mistake.
const MOST_BYTES: u64 = 4 << 20;

/// The files of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// What is configured; a later file wins.
    pub configs: Vec<PathBuf>,
    /// Variables; none: the `.env` beside each configuration file, where there is one. A later file wins, and the process over all.
    pub envs: Vec<PathBuf>,
}

impl From<&Path> for Files {
    fn from(config: &Path) -> Self {
        Self { configs: vec![config.to_owned()], envs: Vec::new() }
    }
}

/// The names of the configuration files.
impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, file) in self.configs.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", file.display())?;
        }
        Ok(())
    }
}

/// What the files say, and the variables for it.
pub(super) struct Texts {
    pub(super) sources: Sources,
    variables: Variables,
    pub(super) settings: Settings,
}

impl Texts {
    /// The value of a variable: that of the process wins.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match std::env::var_os(name) {
            Some(value) => value.into_string().ok(),
            None => self.variables.get(name).map(|variable| variable.value.clone()),
        }
    }
}

impl Files {
    /// Reads all of them.
    ///
    /// # Errors
    /// Every file that cannot be read, and every bad line of a file of variables.
    pub(super) fn read(&self) -> Result<Texts, ConfigErrors> {
        let (mut sources, mut variables) = (Sources::default(), Variables::new());
        let mut wrong: Option<ConfigErrors> = None;
        let mut note = |problems: ConfigErrors| {
            wrong = Some(match wrong.take() {
                Some(before) => before.and(problems),
                None => problems,
            });
        };
        for config in &self.configs {
            match read(config, "the configuration file") {
                Ok(text) => sources.add(&config.display().to_string(), &text),
                Err(problems) => note(problems),
            }
        }
        for file in self.env_files() {
            let read =
                read(&file, "the file of variables").and_then(|text| env_file::add(&text, &file, &mut variables));
            read.unwrap_or_else(&mut note);
        }
        let settings = Settings::of_process(&variables);
        wrong.map_or(Ok(Texts { sources, variables, settings }), Err)
    }

    fn env_files(&self) -> Vec<PathBuf> {
        if !self.envs.is_empty() {
            return self.envs.clone();
        }
        let mut found: Vec<PathBuf> = Vec::new();
        for config in &self.configs {
            let file = config.with_file_name(".env");
            if !found.contains(&file) && file.is_file() {
                found.push(file);
            }
        }
        found
    }
}

/// Reads a file as a whole. `what` it is stands in the error.
///
/// # Errors
/// [`Code::ConfigUnreadable`].
pub(super) fn read(path: &Path, what: &str) -> Result<String, ConfigErrors> {
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
