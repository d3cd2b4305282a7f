//! The state directory: checkpoints, dead letters and compiled plugins, used by one host at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::error::{Code, Fault};

/// A state directory that this process holds; another process gets it when this one ends, however it ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the directory when it is missing (only for this user), and takes its lock.
    ///
    /// # Errors
    /// [`Code::StateLocked`] when another host holds it, [`Code::FileWrite`] when it cannot be made or written.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let failed = |cause: std::io::Error| {
            Fault::fatal(
                Code::FileWrite,
                format!("the state directory {} cannot be used: {cause}; set `state.dir` to one that can", path.display()),
            )
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let file = path.join("lock");
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&file).unwrap_or_default();
                let holder = holder.trim();
                let holder = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
                return Err(Fault::fatal(
                    Code::StateLocked,
                    format!(
                        "the state directory {} is in use by {holder}; stop that host, or give this one a `state.dir` of its own",
                        path.display()
                    ),
                ));
            }
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        // Who holds it, for the message above; the lock itself is what counts.
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::StateDir;
    use crate::error::Code;

    #[test]
    fn one_host_at_a_time() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a/b");
        let first = StateDir::open(&path)?;
        let second = StateDir::open(&path);
        assert!(second.is_err_and(|fault| {
            fault.code == Code::StateLocked && fault.message.contains(&std::process::id().to_string())
        }));
        drop(first);
        StateDir::open(&path)?;
        Ok(())
    }
}
