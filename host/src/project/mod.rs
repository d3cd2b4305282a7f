//! A folder in which a plugin is written: `plugin.yaml` and the sources of some language.
//!
//! [`template`] makes such a folder, [`build`] calls the language's own tools and makes a component of what they give
//! ([`component`]). The host carries the contract, the SDKs and all that turns a compiler's module into a component, so that a person needs
//! the compiler alone.

pub mod build;
pub mod component;
pub mod template;
mod tools;

use std::path::{Path, PathBuf};

use component::World;
use serde::Deserialize;

use crate::{
    config::{self, ConfigErrors},
    error::{Code, Fault},
    plugin::{
        component::{Encoding, Role},
        grants::Grant,
    },
};

/// Name of the file that makes a folder a plugin project.
pub const FILE: &str = "plugin.yaml";

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Rust
    Rust,
    /// TypeScript
    Ts,
    /// JavaScript
    Js,
    /// Python
    Python,
    /// Go
    Go,
    /// C
    C,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Rust, Self::Ts, Self::Js, Self::Python, Self::Go, Self::C];

    /// The name in `plugin.yaml` and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Ts => "ts",
            Self::Js => "js",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// How its plugins want documents: BSON where reading bytes is cheap, JSON where the language has a reader of its own.
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::Rust | Self::C => Encoding::Bson,
            Self::Ts | Self::Js | Self::Python | Self::Go => Encoding::Json,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectFile {
    name: String,
    language: Language,
    roles: Vec<Role>,
    #[serde(default)]
    uses: Vec<Grant>,
    #[serde(default)]
    entry: Option<PathBuf>,
}

/// A plugin project.
#[derive(Clone, Debug)]
pub struct Project {
    /// Where it is.
    pub folder: PathBuf,
    /// Name of the plugin, and of the file that is built.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// What it exports, in the order of the contract.
    pub roles: Vec<Role>,
    /// What it uses that an operator must grant, in the order of [`Grant::ALL`].
    pub uses: Vec<Grant>,
    /// The source file that the build begins with.
    pub entry: PathBuf,
}

/// Why a project cannot be read.
#[derive(Debug)]
pub enum NoProject {
    /// There is none, or its name is none.
    Fault(Fault),
    /// What its file says is wrong.
    File(ConfigErrors),
}

impl Project {
    /// Reads the project in a folder.
    ///
    /// # Errors
    /// When there is none, or its `plugin.yaml` is wrong.
    pub fn load(folder: &Path) -> Result<Self, NoProject> {
        let file = folder.join(FILE);
        if !file.is_file() {
            return Err(NoProject::Fault(Fault::fatal(
                Code::ProjectMissing,
                format!(
                    "{} is no plugin project: it has no {FILE}; name the folder of one, or make one with `tidegate plugin new`",
                    folder.display()
                ),
            )));
        }
        let ProjectFile { name, language, roles, uses, entry } = config::load_other(&file).map_err(NoProject::File)?;
        let wrong =
            |what: String| NoProject::Fault(Fault::fatal(Code::ProjectFile, format!("{}: {what}", file.display())));
        check_name(&name).map_err(|reason| wrong(format!("`name: {name}` {reason}")))?;
        if roles.is_empty() {
            return Err(wrong(
                "`roles` names no role; give it one of validator, migrator, transformer, router".to_owned(),
            ));
        }
        let roles = Role::ALL.into_iter().filter(|role| roles.contains(role)).collect();
        let uses = Grant::ALL.into_iter().filter(|grant| uses.contains(grant)).collect();
        let entry = entry.unwrap_or_else(|| default_entry(language).into());
        if entry.is_absolute() || entry.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(wrong(format!("`entry: {}` is outside of the project", entry.display())));
        }
        Ok(Self { folder: folder.to_owned(), name, language, roles, uses, entry })
    }

    /// The type of what is built.
    pub fn world(&self) -> World<'_> {
        World { roles: &self.roles, encoding: self.language.encoding(), uses: &self.uses }
    }

    /// Where the component is put: a running host that looks into this folder sees it change at once.
    pub fn output(&self) -> PathBuf {
        self.folder.join("build").join(format!("{}.wasm", self.name))
    }
}

const fn default_entry(language: Language) -> &'static str {
    match language {
        Language::Rust => "src/lib.rs",
        Language::Ts => "plugin.ts",
        Language::Js => "plugin.js",
        Language::Python => "plugin.py",
        Language::Go => "plugin.go",
        Language::C => "plugin.c",
    }
}

/// A name fits into file names, identifiers and metrics of every language.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) {
        return Err("is no name of a plugin: take lower-case letters, digits and hyphens, a letter first");
    }
    if name.len() > 40 || name.ends_with('-') || name.contains("--") {
        return Err("is no name of a plugin: 40 characters at most, and hyphens only between others");
    }
    Ok(())
}
