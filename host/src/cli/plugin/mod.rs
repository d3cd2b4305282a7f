//! `tidegate plugin ...`: from an idea to a component that was tried.

mod build;
mod cases;
mod check;
mod dev;
mod inspect;
mod new;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{compiling::OnStderr, complain, exit, live_plugins};
use crate::{
    error::Fault,
    plugin::{PluginEngine, component::Role},
    project::{Language, NoProject, Project},
};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Make the folder of a new plugin, which builds and passes its own test at once.
    New {
        /// Name of the plugin: lower-case letters, digits and hyphens.
        name: String,
        /// What it is written in.
        #[arg(long, value_name = "LANGUAGE")]
        lang: Language,
        /// What it does with changes.
        #[arg(long, value_name = "ROLE", default_value = "validator")]
        role: Role,
        /// Where the folder is made [default: NAME in the current directory].
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
    /// Build the plugin of a folder into a component, with the tools of its language.
    Build {
        /// The folder with the plugin.yaml.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Where the component goes [default: build/NAME.wasm in the folder].
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Build the plugin of a folder and run its cases (*.case.yaml).
    Test {
        /// The folder with the plugin.yaml.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Try this component instead of building one.
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
    },
    /// Build on each save, run the newest code over changes, and show what differs from the run before.
    Dev {
        /// The folder with the plugin.yaml.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Changes as JSON Lines, such as a file sink writes [default: those of the cases].
        #[arg(long, value_name = "FILE")]
        changes: Option<PathBuf>,
        /// The configuration of the plugin, as JSON [default: that of the first case].
        #[arg(long, value_name = "JSON")]
        config: Option<String>,
        /// Build and run once.
        #[arg(long)]
        once: bool,
    },
    /// Look whether a host can use a component: contract, imports, manifest, configuration, and whether it gives the same twice.
    Check {
        /// The file (*.wasm, a WebAssembly component).
        file: PathBuf,
        /// A configuration to try, as JSON.
        #[arg(long, value_name = "JSON", default_value = "{}")]
        config: String,
        /// What it gets in the place of what an operator grants, as JSON: clock, env, http.
        #[arg(long, value_name = "JSON", default_value = "{}")]
        given: String,
        /// Changes to try it on, as JSON Lines [default: 64 made up].
        #[arg(long, value_name = "FILE")]
        changes: Option<PathBuf>,
    },
    /// Show what a plugin file says of itself: roles, version, imports, schema of its configuration.
    Inspect {
        /// The file (*.wasm, a WebAssembly component).
        file: PathBuf,
    },
    #[command(flatten)]
    Live(live_plugins::LiveCommand),
}

pub(super) fn plugin(command: PluginCommand) -> u8 {
    let done = match command {
        PluginCommand::New { name, lang, role, dir } => new::new(&name, lang, role, dir),
        PluginCommand::Build { folder, out } => build::build(&folder, out),
        PluginCommand::Test { folder, component } => cases::test(&folder, component.as_deref()),
        PluginCommand::Dev { folder, changes, config, once } => {
            dev::dev(&folder, changes.as_deref(), config.as_deref(), once)
        }
        PluginCommand::Check { file, config, given, changes } => {
            check::check(&file, &config, &given, changes.as_deref())
        }
        PluginCommand::Inspect { file } => return inspect::inspect(&file),
        PluginCommand::Live(command) => return live_plugins::run(&command),
    };
    match done {
        Ok(code) => code,
        Err(code) => code,
    }
}

fn load(folder: &Path) -> Result<Project, u8> {
    Project::load(folder).map_err(|wrong| {
        match wrong {
            NoProject::Fault(fault) => complain(&fault),
            NoProject::File(problems) => eprintln!("{problems}"),
        }
        exit::CONFIGURATION
    })
}

/// Compiled code is kept for the person who writes the plugin: big components take seconds to compile.
fn engine() -> Result<PluginEngine, u8> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).filter(|path| path.is_absolute());
    let cache = caches.map(|caches| caches.join("tidegate").join("compiled"));
    // Where it cannot be kept everything works all the same.
    PluginEngine::new(cache.as_deref(), OnStderr::default())
        .or_else(|_| PluginEngine::new(None, OnStderr::default()))
        .map_err(|fault| failed(&fault))
}

/// An error of what the person gave, or of what was built from it.
fn failed(fault: &Fault) -> u8 {
    complain(fault);
    exit::FAILED
}
