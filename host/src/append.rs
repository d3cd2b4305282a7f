//! A file that lines are added to, durably.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use crate::error::{Code, Fault};

/// A file of whole lines. What a crash left of a last line is taken out when the file is opened: it was never confirmed,
/// and is written again.
#[derive(Debug)]
pub struct AppendFile {
    file: File,
    path: PathBuf,
    end: u64,
}

impl AppendFile {
    /// Opens the file, makes it when it is missing, and takes out a torn last line. Returns how many bytes that were.
    ///
    /// # Errors
    /// [`Code::FileWrite`].
    pub fn open(path: &Path) -> Result<(Self, u64), Fault> {
        let failed = |cause: io::Error| fault(path, &cause, false);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let end = last_line_end(&mut file, length).map_err(failed)?;
        if end < length {
            file.set_len(end).map_err(failed)?;
        }
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        Ok((Self { file, path: path.to_owned(), end }, length - end))
    }

    /// Adds whole lines with one write; they are on the disk when it returns. After an error nothing of them stays.
    ///
    /// # Errors
    /// [`Code::FileWrite`], transient when the disk is full: room may be made.
    pub fn append(&mut self, lines: &[u8]) -> Result<(), Fault> {
        match self.file.write_all(lines).and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.end += lines.len() as u64;
                Ok(())
            }
            Err(cause) => {
                let full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::Interrupted);
                let back = self.file.set_len(self.end).and_then(|()| self.file.seek(SeekFrom::Start(self.end)));
                Err(fault(&self.path, &cause, full && back.is_ok()))
            }
        }
    }
}

fn fault(path: &Path, cause: &io::Error, transient: bool) -> Fault {
    let message = format!("{} cannot be written: {cause}", path.display());
    if transient { Fault::transient(Code::FileWrite, message) } else { Fault::fatal(Code::FileWrite, message) }
}

/// The end of the last whole line.
fn last_line_end(file: &mut File, length: u64) -> io::Result<u64> {
    let mut block = vec![0; 64 << 10];
    let mut end = length;
    while end > 0 {
        let from = end.saturating_sub(block.len() as u64);
        let Some(part) = usize::try_from(end - from).ok().and_then(|size| block.get_mut(..size)) else { break };
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(part)?;
        if let Some(at) = part.iter().rposition(|byte| *byte == b'\n') {
            return Ok(from + at as u64 + 1);
        }
        end = from;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::AppendFile;

    #[test]
    fn a_torn_line_is_taken_out_and_whole_ones_stay() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("new/lines.jsonl");
        let (mut file, torn) = AppendFile::open(&path)?;
        assert_eq!(torn, 0);
        file.append(b"one\ntwo\n")?;
        drop(file);
        let mut bytes = std::fs::read(&path)?;
        bytes.extend_from_slice(&[b'x'; 200_000]);
        std::fs::write(&path, &bytes)?;
        let (mut file, torn) = AppendFile::open(&path)?;
        assert_eq!(torn, 200_000);
        file.append(b"three\n")?;
        assert_eq!(std::fs::read_to_string(&path)?, "one\ntwo\nthree\n");
        Ok(())
    }

    #[test]
    fn a_file_of_one_torn_line_is_empty() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("lines");
        std::fs::write(&path, "no end")?;
        let (_, torn) = AppendFile::open(&path)?;
        assert_eq!((torn, std::fs::read(&path)?.len()), (6, 0));
        Ok(())
    }
}
