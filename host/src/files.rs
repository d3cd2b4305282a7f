//! Files that lines are added to, and that survive a crash in the middle of one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::error::{Code, Fault};

/// A file that whole lines are added to. What [`AppendFile::append`] was given is on disk when it returns.
///
/// A crash can leave the last line torn. On opening, a torn line that is whole JSON gets its line end; any other is cut off, since
/// what it was to say was never confirmed and is sent again. A failed write is taken back in the same way.
#[derive(Debug)]
pub struct AppendFile {
    path: PathBuf,
    code: Code,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    file: Arc<File>,
    /// Length of what is safe; none for what is no plain file (a pipe, a terminal), which can neither be synced nor cut.
    length: Option<u64>,
}

impl AppendFile {
    /// Nothing is opened yet. `code` is the code of its faults.
    pub fn new(path: PathBuf, code: Code) -> Self {
        Self { path, code, open: None }
    }

    /// Opens the file, makes it when it is missing, and mends a torn last line.
    ///
    /// # Errors
    /// When it cannot be opened: fatal, but for a full disk and the like.
    pub async fn open(&mut self) -> Result<(), Fault> {
        if self.open.is_none() {
            let path = self.path.clone();
            let opened = blocking(move || open(&path)).await;
            self.open = Some(opened.map_err(|cause| self.fault(&cause))?);
        }
        Ok(())
    }

    /// Adds whole lines with one write, and syncs them.
    ///
    /// # Errors
    /// When they cannot be written. The file is then as it was, as far as the disk allows, and can be written again.
    pub async fn append(&mut self, lines: Vec<u8>) -> Result<(), Fault> {
        self.open().await?;
        let Some(Open { file, length }) = self.open.take() else { return Ok(()) };
        // Not put back on failure or when cancelled: the next call opens the file again and mends it.
        let grown = length.map(|length| length + lines.len() as u64);
        let handle = file.clone();
        let written = blocking(move || {
            let written = (&*handle).write_all(&lines).and_then(|()| match length {
                Some(_) => handle.sync_data(),
                None => Ok(()),
            });
            if let (Err(_), Some(length)) = (&written, length) {
                handle.set_len(length)?;
            }
            written
        })
        .await;
        written.map_err(|cause| self.fault(&cause))?;
        self.open = Some(Open { file, length: grown });
        Ok(())
    }

    fn fault(&self, cause: &io::Error) -> Fault {
        let message = format!("the file {} cannot be written: {cause}", self.path.display());
        match cause.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::TimedOut
            | io::ErrorKind::StaleNetworkFileHandle => Fault::transient(self.code, format!("{message}; free some space")),
            _ => Fault::fatal(self.code, message),
        }
    }
}

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn open(path: &Path) -> io::Result<Open> {
    let found = path.metadata();
    let plain = found.as_ref().map_or(true, std::fs::Metadata::is_file);
    let file = OpenOptions::new().append(true).create(plain).read(plain).open(path)?;
    if !plain {
        return Ok(Open { file: Arc::new(file), length: None });
    }
    if found.is_err() {
        sync_folder(path)?;
    }
    let length = mend(&file, path)?;
    Ok(Open { file: Arc::new(file), length: Some(length) })
}

/// Makes sure that the file ends with a line end. Returns its length.
fn mend(mut file: &File, path: &Path) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let tail = torn_tail(file, length)?;
    if tail.is_empty() {
        return Ok(length);
    }
    let whole = serde_json::from_slice::<serde::de::IgnoredAny>(&tail).is_ok();
    let length = if whole {
        file.write_all(b"\n")?;
        length + 1
    } else {
        let kept = length - tail.len() as u64;
        file.set_len(kept)?;
        kept
    };
    file.sync_data()?;
    let (path, bytes) = (path.display(), tail.len());
    if whole {
        tracing::warn!(event = "torn_line", %path, bytes, "the last line had no end: one was added");
    } else {
        tracing::warn!(event = "torn_line", %path, bytes, "the last line was torn by a crash: it was cut off and is written again");
    }
    Ok(length)
}

/// What stands behind the last line end.
fn torn_tail(mut file: &File, length: u64) -> io::Result<Vec<u8>> {
    const STEP: u64 = 64 << 10;
    let mut tail = Vec::new();
    let mut start = length;
    while start > 0 {
        let step = STEP.min(start);
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        let mut part = Vec::new();
        (&mut file).take(step).read_to_end(&mut part)?;
        let end = part.iter().rposition(|byte| *byte == b'\n');
        let rest = part.split_off(end.map_or(0, |end| end + 1));
        tail.splice(0..0, rest);
        if end.is_some() {
            break;
        }
    }
    Ok(tail)
}

/// Makes a new or renamed file of a folder survive a crash.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::AppendFile;
    use crate::error::Code;

    #[tokio::test]
    async fn a_torn_line_is_mended_on_opening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let long = "x".repeat(200_000);
        for (before, after) in [
            ("", "{\"new\":1}\n".to_owned()),
            ("{\"a\":1}\n", "{\"a\":1}\n{\"new\":1}\n".to_owned()),
            ("{\"a\":1}\n{\"b\":", "{\"a\":1}\n{\"new\":1}\n".to_owned()),
            ("{\"a\":1}\n{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n{\"new\":1}\n".to_owned()),
            (&format!("{{\"a\":1}}\n{{\"b\":\"{long}"), "{\"a\":1}\n{\"new\":1}\n".to_owned()),
            ("{\"b\":", "{\"new\":1}\n".to_owned()),
        ] {
            std::fs::write(&path, before).unwrap();
            let mut file = AppendFile::new(path.clone(), Code::FileWrite);
            file.append(b"{\"new\":1}\n".to_vec()).await.unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[tokio::test]
    async fn a_full_disk_is_transient_and_a_missing_folder_is_not() {
        let mut file = AppendFile::new("/dev/full".into(), Code::DeadLetterWrite);
        let fault = file.append(b"{}\n".to_vec()).await.unwrap_err();
        assert!(fault.is_transient() && fault.code == Code::DeadLetterWrite, "{fault}");
        let folder = tempfile::tempdir().unwrap();
        let mut file = AppendFile::new(folder.path().join("no/such/file"), Code::FileWrite);
        let fault = file.open().await.unwrap_err();
        assert!(!fault.is_transient() && fault.message.contains("no/such/file"), "{fault}");
    }
}
