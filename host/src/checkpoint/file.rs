//! Checkpoints in files, one for each pipeline: `STATE_DIR/PIPELINE.checkpoint.json`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{CheckpointStore, Stored};
use crate::{
    error::{Code, Fault},
    files::{blocking, sync_folder},
};

/// The format that is written. A newer one is refused.
const VERSION: u64 = 1;

/// Files in a state directory, which must be held by this process ([`crate::state::StateDir`]).
#[derive(Clone, Debug)]
pub struct FileCheckpoints {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Envelope<P, S> {
    version: u64,
    pipeline: P,
    #[serde(flatten)]
    stored: S,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl FileCheckpoints {
    /// Nothing is read or written yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where the checkpoint of a pipeline is.
    pub fn path(&self, pipeline: &str) -> PathBuf {
        self.dir.join(format!("{}.checkpoint.json", file_name(pipeline)))
    }
}

/// A pipeline's name as part of a file name: what is no letter, digit, `-`, `_` or `.` is written as `%` and its bytes in
/// hexadecimal, so that no two names share a file and none leads out of the folder.
pub(crate) fn file_name(pipeline: &str) -> String {
    use std::fmt::Write as _;
    pipeline.bytes().fold(String::with_capacity(pipeline.len()), |mut name, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
        name
    })
}

impl CheckpointStore for FileCheckpoints {
    async fn load(&self, pipeline: &str, source: &str) -> Result<Option<Stored>, Fault> {
        let path = self.path(pipeline);
        let unusable = |why: String| {
            let message = format!(
                "the checkpoint {} cannot be used: {why}; move the file away to begin anew, or put back what belongs to it",
                path.display()
            );
            Fault::fatal(Code::CheckpointUnreadable, message)
        };
        let file = path.clone();
        let bytes = match blocking(move || fs::read(file)).await {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(unusable(cause.to_string())),
        };
        // The version first: the rest of a newer format may be anything.
        let Version { version } =
            serde_json::from_slice(&bytes).map_err(|cause| unusable(format!("it is no checkpoint ({cause})")))?;
        if version != VERSION {
            return Err(unusable(format!("its format has version {version}, this program knows version {VERSION}")));
        }
        let found: Envelope<String, Stored> =
            serde_json::from_slice(&bytes).map_err(|cause| unusable(format!("it is damaged ({cause})")))?;
        if found.pipeline != pipeline {
            return Err(unusable(format!("it belongs to the pipeline `{}`, not to `{pipeline}`", found.pipeline)));
        }
        let kind = |source: &str| source.split(' ').next().unwrap_or_default().to_owned();
        if kind(&found.stored.source) != kind(source) {
            return Err(unusable(format!(
                "it was made for the source `{}`, the pipeline reads from `{source}`",
                found.stored.source
            )));
        }
        if found.stored.source != source {
            tracing::warn!(
                event = "checkpoint_source_changed",
                pipeline,
                before = found.stored.source,
                now = source,
                "the source is not quite the one of the checkpoint: it goes on from there, and sends no older changes of what is new"
            );
        }
        Ok(Some(found.stored))
    }

    async fn store(&self, pipeline: &str, stored: &Stored) -> Result<(), Fault> {
        let path = self.path(pipeline);
        let failed = |cause: io::Error| {
            let message = format!("the checkpoint {} cannot be written: {cause}", path.display());
            match cause.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
                    Fault::fatal(Code::CheckpointWrite, format!("{message}; the state directory must be writable"))
                }
                _ => Fault::transient(Code::CheckpointWrite, message),
            }
        };
        let mut text = serde_json::to_vec_pretty(&Envelope { version: VERSION, pipeline, stored })
            .map_err(|cause| failed(io::Error::other(cause)))?;
        text.push(b'\n');
        let target = path.clone();
        blocking(move || replace(&target, &text)).await.map_err(failed)
    }
}

/// Replaces a file so that a crash leaves either the old or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = fs::File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::StoredGeneration, position::Position};

    fn stored() -> Stored {
        Stored {
            source: "mongodb shop.[inventory]".into(),
            position: Position::new(vec![0, 1, 0xFF]),
            batches: 7,
            at: "2026-01-31T12:00:00.000Z".into(),
            generations: [("p".to_owned(), StoredGeneration { generation: 2, digest: "ab".into() })].into(),
        }
    }

    #[tokio::test]
    async fn a_checkpoint_comes_back_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileCheckpoints::new(folder.path());
        let source = "mongodb shop.[inventory]";
        assert_eq!(store.load("a/b", source).await.unwrap(), None);
        store.store("a/b", &stored()).await.unwrap();
        let later = Stored { batches: 8, position: Position::new(vec![0, 2]), ..stored() };
        store.store("a/b", &later).await.unwrap();
        assert_eq!(store.load("a/b", source).await.unwrap(), Some(later.clone()));
        assert_eq!(store.load("a/b", "mongodb shop.*").await.unwrap(), Some(later));
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a%2Fb.checkpoint.json"]);
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileCheckpoints::new(folder.path());
        store.store("p", &stored()).await.unwrap();
        let good = fs::read_to_string(store.path("p")).unwrap();
        for (text, source, why) in [
            (good.clone(), "file /x", "made for the source `mongodb shop.[inventory]`"),
            (good.replace("\"p\",", "\"q\","), "mongodb *", "belongs to the pipeline `q`"),
            (good.replace("\"version\": 1", "\"version\": 2"), "mongodb *", "version 2"),
            (good.replace("0001ff", "0001f"), "mongodb *", "damaged"),
            (good[..20].to_owned(), "mongodb *", "no checkpoint"),
            (String::new(), "mongodb *", "no checkpoint"),
        ] {
            fs::write(store.path("p"), text).unwrap();
            let fault = store.load("p", source).await.unwrap_err();
            assert_eq!((fault.code, fault.is_transient()), (Code::CheckpointUnreadable, false));
            assert!(fault.message.contains(why) && fault.message.contains("p.checkpoint.json"), "{fault}");
        }
    }
}
