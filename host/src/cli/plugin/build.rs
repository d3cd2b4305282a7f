//! `tidegate plugin build [FOLDER]`

use std::path::{Path, PathBuf};

use super::{engine, failed, load};
use crate::{
    cli::print,
    plugin::PluginEngine,
    project::{
        Project,
        build::{self, Built},
    },
};

pub(super) fn build(folder: &Path, out: Option<PathBuf>) -> Result<u8, u8> {
    let project = load(folder)?;
    let output = out.unwrap_or_else(|| project.output());
    let built = run(&engine()?, &project, &output)?;
    print(&told(&built));
    Ok(0)
}

/// Builds, with a word on standard error that it may take a while.
pub(super) fn run(engine: &PluginEngine, project: &Project, output: &Path) -> Result<Built, u8> {
    eprintln!("building {} ({})", project.name, project.language.as_str());
    build::build(engine, project, output).map_err(|fault| failed(&fault))
}

fn told(built: &Built) -> String {
    let roles: Vec<&str> = built.generation.roles.iter().map(|role| role.as_str()).collect();
    format!(
        "{}: {} {}, {}, {} KiB, {:.1} s\n",
        built.file.display(),
        built.generation.manifest.name,
        built.generation.manifest.version,
        roles.join(" and "),
        built.generation.size.div_ceil(1024),
        built.took.as_secs_f64()
    )
}
