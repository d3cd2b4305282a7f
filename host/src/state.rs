//! The state directory, which one host holds at a time.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::error::{Code, Fault};

/// Name of the lock file. It stays when the host ends; what counts is the lock on it.
const LOCK: &str = "lock";

/// A state directory that this process holds until the value is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory where it is missing (readable for its owner alone) and takes its lock.
    ///
    /// # Errors
    /// [`Code::StateLocked`] when another process holds it; [`Code::CheckpointWrite`] when it cannot be made or written.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Fault> {
        let path = path.into();
        let failed = |cause: io::Error| {
            let message = format!(
                "the state directory {} cannot be used: {cause}; set `state.dir` to one this user may write",
                path.display()
            );
            Fault::fatal(Code::CheckpointWrite, message)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Fault::fatal(
                Code::StateLocked,
                format!(
                    "the state directory {} is in use by another tidegate; stop that one, or give this one a `state.dir` of its own",
                    path.display()
                ),
            )),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::StateDir;
    use crate::error::Code;

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/state");
        let held = StateDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(StateDir::open(&path).unwrap_err().code, Code::StateLocked);
        drop(held);
        StateDir::open(&path).unwrap();
        let fault = StateDir::open("/dev/null/state").unwrap_err();
        assert_eq!(fault.code, Code::CheckpointWrite);
    }
}
