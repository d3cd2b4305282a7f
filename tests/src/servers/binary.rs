//! Where the programs of the servers are.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// Looks for a server program: the variable that `./dev` sets, then PATH, then where `./dev` keeps its tools.
pub(super) fn find(name: &str, variable: &str, in_cache: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    on_path(name).or_else(|| in_cache_of_dev(in_cache)).with_context(
        || format!("{name} is not installed: run `./dev services` once, which installs it, or put it on PATH, or name it in {variable}"),
    )
}

/// A server program of one version: the variable that `./dev` sets, then where `./dev` keeps its tools. Not PATH: what is there may be
/// of any version.
pub(super) fn find_version(name: &str, variable: &str, in_cache: &str) -> Result<PathBuf> {
    let named = std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.or_else(|| in_cache_of_dev(in_cache)).with_context(|| {
        format!("{name} is not installed: `./dev test` installs it; or name one of yours in {variable}")
    })
}

fn in_cache_of_dev(path: &str) -> Option<PathBuf> {
    cache().map(|cache| cache.join(path)).filter(|path| path.is_file())
}

/// The first program of that name on PATH.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The cache folder of `./dev`.
fn cache() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("TIDEGATE_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("tidegate")))
        .or_else(|| Some(variable("HOME")?.join(".cache/tidegate")))
}
