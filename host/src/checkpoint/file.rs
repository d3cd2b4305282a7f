//! One small JSON file for each pipeline, replaced as a whole: written beside, flushed, renamed.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::StageGeneration;
use crate::{
    error::{Code, Fault},
    position::Position,
};

/// The form of the file that this program writes, and the newest it reads.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    pipeline: String,
    source: String,
    position: Position,
    /// Number of the batch in the run that wrote it.
    batch: u64,
    at: String,
    stages: Vec<StageGeneration>,
}

/// Read first, so that a newer form is told as such.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Clone, Debug)]
pub(super) struct FileCheckpoint {
    path: Arc<Path>,
    pipeline: Arc<str>,
    source: Arc<str>,
}

impl FileCheckpoint {
    pub(super) fn new(folder: &Path, pipeline: &str, source: &str) -> Self {
        let path = folder.join(format!("{pipeline}.checkpoint.json")).into();
        Self { path, pipeline: pipeline.into(), source: source.into() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn load(&self) -> Result<Option<Position>, Fault> {
        let unusable = |why: String| {
            Fault::fatal(
                Code::CheckpointUnreadable,
                format!(
                    "the checkpoint {} of pipeline `{}` cannot be used: {why}; to begin anew on purpose, move the file away",
                    self.path.display(),
                    self.pipeline
                ),
            )
        };
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(unusable(cause.to_string())),
        };
        let head: Head = serde_json::from_str(&text).map_err(|cause| unusable(format!("it is no checkpoint: {cause}")))?;
        if head.version != VERSION {
            return Err(unusable(format!("its form is {}, this program reads {VERSION}", head.version)));
        }
        let content: Content =
            serde_json::from_str(&text).map_err(|cause| unusable(format!("it is no checkpoint: {cause}")))?;
        if *content.pipeline != *self.pipeline {
            return Err(unusable(format!("it belongs to pipeline `{}`", content.pipeline)));
        }
        if kind(&content.source) != kind(&self.source) {
            return Err(unusable(format!("it belongs to the source {}, the pipeline reads {}", content.source, self.source)));
        }
        Ok(Some(content.position))
    }

    pub(super) fn store(&self, position: &Position, batch: u64, stages: Vec<StageGeneration>) -> Result<(), Fault> {
        let content = Content {
            version: VERSION,
            pipeline: self.pipeline.to_string(),
            source: self.source.to_string(),
            position: position.clone(),
            batch,
            at: humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string(),
            stages,
        };
        let failed = |cause: String| {
            Fault::fatal(
                Code::CheckpointWrite,
                format!("the checkpoint {} cannot be written: {cause}; the pipeline stops rather than going on without one", self.path.display()),
            )
        };
        let text = serde_json::to_vec_pretty(&content).map_err(|cause| failed(cause.to_string()))?;
        self.replace(&text).map_err(|cause| failed(cause.to_string()))
    }

    /// The rename is the moment of truth; the folder is flushed so that it outlives a power cut.
    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let beside = self.path.with_extension("json.new");
        let mut file = File::create(&beside)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// `mongodb` of `mongodb shop.orders`: other collections may be read from the same position, another system may not.
fn kind(source: &str) -> &str {
    source.split([' ', ',']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::FileCheckpoint;
    use crate::{error::Code, position::Position};

    #[test]
    fn what_was_stored_is_loaded_and_what_is_foreign_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let checkpoint = FileCheckpoint::new(dir.path(), "orders", "mongodb shop.orders");
        assert_eq!(checkpoint.load()?, None);
        for byte in 0..3 {
            checkpoint.store(&Position::new(vec![byte]), u64::from(byte), Vec::new())?;
        }
        assert_eq!(checkpoint.load()?, Some(Position::new(vec![2])));
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 1, "nothing is left beside it");

        // More collections of the same system may be read from it.
        let wider = FileCheckpoint::new(dir.path(), "orders", "mongodb shop.[orders, items]");
        assert_eq!(wider.load()?, Some(Position::new(vec![2])));

        let refused = |checkpoint: &FileCheckpoint, why: &str| {
            let fault = checkpoint.load().err();
            assert!(
                fault.as_ref().is_some_and(|f| f.code == Code::CheckpointUnreadable && f.message.contains(why)),
                "{fault:?}"
            );
        };
        refused(&FileCheckpoint::new(dir.path(), "orders", "file a.jsonl"), "belongs to the source");
        std::fs::copy(checkpoint.path(), dir.path().join("other.checkpoint.json"))?;
        refused(&FileCheckpoint::new(dir.path(), "other", "mongodb shop.orders"), "belongs to pipeline `orders`");
        let text = std::fs::read_to_string(checkpoint.path())?;
        std::fs::write(checkpoint.path(), text.replace("\"version\": 1", "\"version\": 2"))?;
        refused(&checkpoint, "its form is 2");
        std::fs::write(checkpoint.path(), text.get(..40).unwrap_or_default())?;
        refused(&checkpoint, "no checkpoint");
        Ok(())
    }
}
