//! Where a pipeline's position is kept between runs.

mod file;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{error::Fault, position::Position, state::StateDir};

/// A generation that touched what a checkpoint stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageGeneration {
    /// The plugin.
    pub plugin: String,
    /// Its generation in the run that wrote the checkpoint.
    pub generation: u64,
    /// SHA-256 of its file, in hexadecimal.
    pub digest: String,
}

/// The checkpoint of one pipeline. Cloning gives another handle to the same place.
#[derive(Clone, Debug)]
pub struct Checkpoint(file::FileCheckpoint);

impl Checkpoint {
    /// A file in the state directory. `source` describes what the positions belong to, without secrets.
    pub fn file(state: &StateDir, pipeline: &str, source: &str) -> Self {
        Self(file::FileCheckpoint::new(state.path(), pipeline, source))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The stored position; none when the pipeline never stored one. Touches the disk.
    ///
    /// # Errors
    /// [`crate::error::Code::CheckpointUnreadable`] when it cannot be read or belongs to something else: never a silent
    /// start from now.
    pub fn load(&self) -> Result<Option<Position>, Fault> {
        self.0.load()
    }

    /// Stores a position durably: after a crash either this one or the one before it is read. Touches the disk.
    ///
    /// # Errors
    /// [`crate::error::Code::CheckpointWrite`].
    pub fn store(&self, position: &Position, batch: u64, stages: Vec<StageGeneration>) -> Result<(), Fault> {
        self.0.store(position, batch, stages)
    }
}
