//! The state directory: checkpoints, dead letters and compiled plugins, used by one host at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint::Holder,
    error::{Code, Fault},
};

/// A state directory that this process holds; another process gets it when this one ends, however it ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    holder: Holder,
    _lock: Option<File>,
}

/// What is known of a pipeline that ran here.
#[derive(Serialize, Deserialize)]
struct Ran {
    pipeline: String,
    /// Where its checkpoint was kept, without secrets.
    checkpoint: String,
    /// When it ran first, RFC 3339.
    since: String,
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
                format!(
                    "the state directory {} cannot be used: {cause}; set `state.dir` to one that can",
                    path.display()
                ),
            )
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let file = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&file)
            .map_err(failed)?;
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
        let holder = Holder { id: identity(path).map_err(failed)?, host: host_name(), pid: std::process::id() };
        Ok(Self { path: path.to_owned(), holder, _lock: Some(lock) })
    }

    /// A directory that is only looked into: it is neither made nor held.
    pub fn unlocked(path: &Path) -> Self {
        let id = fs::read_to_string(path.join("host-id")).unwrap_or_default().trim().to_owned();
        let holder = Holder { id, host: host_name(), pid: std::process::id() };
        Self { path: path.to_owned(), holder, _lock: None }
    }

    /// This host, as others know it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    fn ran_file(&self, pipeline: &str) -> PathBuf {
        self.path.join(format!("{pipeline}.ran.json"))
    }

    /// Where the checkpoint of a pipeline was kept that ran here before.
    pub fn ran(&self, pipeline: &str) -> Option<String> {
        let text = fs::read(self.ran_file(pipeline)).ok()?;
        // What cannot be read is still a sign that it ran.
        Some(serde_json::from_slice::<Ran>(&text).map_or_else(|_| "a place unknown".to_owned(), |ran| ran.checkpoint))
    }

    /// Keeps in mind that a pipeline ran here, and where its checkpoint is.
    ///
    /// # Errors
    /// [`Code::FileWrite`].
    pub fn remember(&self, pipeline: &str, checkpoint: &str) -> Result<(), Fault> {
        if self.ran(pipeline).is_some_and(|known| known == checkpoint) {
            return Ok(());
        }
        let since = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        let ran = Ran { pipeline: pipeline.to_owned(), checkpoint: checkpoint.to_owned(), since };
        let text = serde_json::to_vec_pretty(&ran).map_err(std::io::Error::other);
        text.and_then(|text| fs::write(self.ran_file(pipeline), text)).map_err(|cause| {
            let message = format!("{} cannot be written: {cause}", self.ran_file(pipeline).display());
            Fault::transient(Code::FileWrite, message)
        })
    }

    /// Forgets that a pipeline ran here.
    pub fn forget(&self, pipeline: &str) {
        let _ = fs::remove_file(self.ran_file(pipeline));
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The number of a state directory: made once, kept in it.
fn identity(path: &Path) -> std::io::Result<String> {
    let file = path.join("host-id");
    if let Ok(id) = fs::read_to_string(&file)
        && !id.trim().is_empty()
    {
        return Ok(id.trim().to_owned());
    }
    let mut number = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut number)?;
    let id = format!("{:032x}", u128::from_be_bytes(number));
    fs::write(&file, format!("{id}\n"))?;
    Ok(id)
}

/// The name of this machine.
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME"));
    name.map_or_else(|_| "an unnamed machine".to_owned(), |name| name.trim().to_owned())
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
