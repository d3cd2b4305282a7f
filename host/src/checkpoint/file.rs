//! One small JSON file for each pipeline, replaced as a whole: written beside, flushed, renamed, and the folder flushed. After a
//! crash, of the process or of the machine, either the old or the new one is there.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::record::{About, Found, VERSION, unusable};
use crate::{
    error::{Code, Fault},
    position::{Position, Positions},
};

#[derive(Serialize, Deserialize)]
struct Content {
    #[serde(flatten)]
    about: About,
    fence: u64,
    positions: Positions,
}

/// The first form: one position, no fence.
#[derive(Deserialize)]
struct Content1 {
    #[serde(flatten)]
    about: About,
    position: Position,
}

/// Read first, so that a newer form is told as such.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Clone, Debug)]
pub(super) struct FileRecord {
    path: PathBuf,
    pipeline: String,
}

impl FileRecord {
    pub(super) fn new(folder: &Path, pipeline: &str) -> Self {
        Self { path: folder.join(format!("{pipeline}.checkpoint.json")), pipeline: pipeline.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(&self) -> Result<Option<Found>, Fault> {
        let bad = |why: String| unusable(&self.path.display().to_string(), &self.pipeline, &why);
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(bad(cause.to_string())),
        };
        decode(&text).map(Some).map_err(bad)
    }

    pub(super) fn write(&self, about: About, fence: u64, positions: Positions) -> Result<(), Fault> {
        let text = serde_json::to_vec_pretty(&Content { about, fence, positions }).map_err(io::Error::other);
        text.and_then(|text| self.replace(&text)).map_err(|cause| self.failed(&cause))
    }

    pub(super) fn remove(&self) -> Result<(), Fault> {
        match fs::remove_file(&self.path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(self.failed(&cause)),
            _ => Ok(()),
        }
    }

    fn failed(&self, cause: &io::Error) -> Fault {
        let message = format!("the checkpoint {} cannot be written: {cause}", self.path.display());
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Fault::transient(Code::CheckpointWrite, format!("{message}; free some space: it is tried again"))
            }
            _ => Fault::fatal(
                Code::CheckpointWrite,
                format!("{message}; the pipeline stops rather than going on without one"),
            ),
        }
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

/// What the text of a record says.
///
/// # Errors
/// In words: it is none, or of a newer form.
pub(crate) fn decode(text: &str) -> Result<Found, String> {
    let no_checkpoint = |cause: serde_json::Error| format!("it is no checkpoint: {cause}");
    let head: Head = serde_json::from_str(text).map_err(no_checkpoint)?;
    let (about, fence, positions) = match head.version {
        1 => {
            let Content1 { about, position } = serde_json::from_str(text).map_err(no_checkpoint)?;
            (about, 0, position.into())
        }
        VERSION => {
            let Content { about, fence, positions } = serde_json::from_str(text).map_err(no_checkpoint)?;
            (about, fence, positions)
        }
        newer => return Err(format!("its form is {newer}, this program reads up to {VERSION}")),
    };
    Ok(Found { fence, about: Some(about), positions, held: None })
}

#[cfg(test)]
mod tests {
    use super::{About, FileRecord, Position};
    use crate::error::Code;

    #[test]
    fn what_was_written_is_read_and_what_is_broken_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let record = FileRecord::new(dir.path(), "orders");
        assert!(record.read()?.is_none());
        let about = || About::new("orders", "mongodb shop.orders", 1, Vec::new());
        for byte in 0..3 {
            record.write(about(), 7, Position::new(vec![byte]).into())?;
        }
        let found = record.read()?.ok_or("nothing is there")?;
        assert_eq!((found.fence, found.positions.whole()), (7, Some(&Position::new(vec![2]))));
        assert_eq!(std::fs::read_dir(dir.path())?.count(), 1, "nothing is left beside it");

        let refused = |why: &str| {
            let fault = record.read().err();
            assert!(
                fault.as_ref().is_some_and(|f| f.code == Code::CheckpointUnreadable && f.message.contains(why)),
                "{fault:?}"
            );
        };
        let text = std::fs::read_to_string(record.path())?;
        std::fs::write(record.path(), text.replace("\"version\": 2", "\"version\": 3"))?;
        refused("its form is 3");
        std::fs::write(record.path(), text.get(..40).unwrap_or_default())?;
        refused("no checkpoint");
        let first =
            r#"{"version":1,"pipeline":"orders","source":"mongodb x","position":"0a","batch":1,"at":"","stages":[]}"#;
        std::fs::write(record.path(), first)?;
        let found = record.read()?.ok_or("nothing is there")?;
        assert_eq!((found.fence, found.positions.whole()), (0, Some(&Position::new(vec![10]))));
        record.remove()?;
        assert!(record.read()?.is_none());
        Ok(())
    }
}
