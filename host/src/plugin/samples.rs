//! Golden samples: changes that lie beside a plugin, with what it is to make of each.

use std::path::Path;

use super::{Generation, PluginEngine, stage::StageSpec};
use crate::error::Fault;

/// Runs the samples in a file, where there is one.
pub(super) fn run(_: &PluginEngine, _: &Generation, _: &[&StageSpec], _: &Path) -> Result<(), Fault> {
    Ok(())
}
