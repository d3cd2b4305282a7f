//! Dead letters in a file: one a line, as [`DeadLetter::write_json`] writes them. Marks stand in a second file beside it
//! (`NAME.marks.jsonl`), because a running host adds to the first one.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use super::{
    DeadLetter, Mark, MarkState,
    letters::{Found, PAGE, PAGE_BYTES},
    marks::short,
};
use crate::{
    error::{Code, Fault},
    files::{AppendFile, sync_folder},
};

/// Reads a file of letters and its marks.
pub(super) struct FileLetters {
    path: PathBuf,
    pipeline: String,
    marks: HashMap<u128, Mark>,
    marks_file: AppendFile,
    open: Option<BufReader<File>>,
    ended: bool,
    line: u64,
}

/// `main.dead.jsonl` has its marks in `main.dead.marks.jsonl`.
fn marks_path(path: &Path) -> PathBuf {
    path.with_extension("marks.jsonl")
}

impl FileLetters {
    pub(super) fn new(path: PathBuf, pipeline: &str) -> Self {
        let marks_file = AppendFile::new(marks_path(&path), Code::DeadLetterWrite);
        Self {
            path,
            pipeline: pipeline.to_owned(),
            marks: HashMap::new(),
            marks_file,
            open: None,
            ended: false,
            line: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn page(&mut self) -> Result<Vec<Found>, Fault> {
        let unreadable = |path: &Path, cause: io::Error| {
            Fault::fatal(
                Code::DeadLetterRead,
                format!("the dead letters in {} cannot be read: {cause}", path.display()),
            )
        };
        if self.ended {
            return Ok(Vec::new());
        }
        let mut reader = match self.open.take() {
            Some(reader) => reader,
            None => {
                self.marks = read_marks(&marks_path(&self.path)).map_err(|cause| unreadable(&self.path, cause))?;
                match File::open(&self.path) {
                    Ok(file) => BufReader::with_capacity(256 << 10, file),
                    // No letter was ever written.
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                    Err(cause) => return Err(unreadable(&self.path, cause)),
                }
            }
        };
        let (mut page, mut bytes, mut line) = (Vec::new(), 0, Vec::new());
        while page.len() < PAGE && bytes < PAGE_BYTES {
            line.clear();
            reader.read_until(b'\n', &mut line).map_err(|cause| unreadable(&self.path, cause))?;
            // A line without its end is still being written, or was never confirmed.
            if !line.ends_with(b"\n") {
                self.ended = true;
                break;
            }
            self.line += 1;
            bytes += line.len();
            if line.trim_ascii().is_empty() {
                continue;
            }
            let place = format!("{}:{}", self.path.display(), self.line);
            let letter = DeadLetter::read_json(&line, &self.pipeline)
                .map_err(|cause| format!("{place} is no dead letter: {cause}"));
            let key = letter.as_ref().map(DeadLetter::key).unwrap_or_default();
            let mark = self.marks.get(&short(&key)).cloned();
            page.push(Found { letter, key, mark, entry: place, size: line.len(), parts: 0 });
        }
        self.open = Some(reader);
        Ok(page)
    }

    pub(super) async fn mark(&mut self, marks: Vec<Mark>) -> Result<(), Fault> {
        let mut lines = Vec::new();
        for mark in &marks {
            write_mark(&mut lines, mark)?;
        }
        self.marks_file.append(lines).await?;
        self.marks.extend(marks.into_iter().map(|mark| (short(&mark.key), mark)));
        Ok(())
    }

    /// Writes both files anew without what was dropped. The letters come first: a crash in between leaves marks that mark nothing.
    pub(super) fn compact(&mut self) -> Result<(), Fault> {
        let failed = |cause: io::Error| {
            Fault::fatal(
                Code::DeadLetterWrite,
                format!(
                    "the dead letters in {} cannot be written anew: {cause}; they are as they were",
                    self.path.display()
                ),
            )
        };
        self.marks = read_marks(&marks_path(&self.path)).map_err(failed)?;
        let old = match File::open(&self.path) {
            Ok(file) => BufReader::new(file),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(cause) => return Err(failed(cause)),
        };
        let is_dropped = |line: &[u8]| {
            DeadLetter::read_json(line, &self.pipeline).is_ok_and(|letter| {
                let mark = self.marks.get(&short(&letter.key()));
                mark.is_some_and(|mark| mark.state == MarkState::Dropped && mark.covers(&letter))
            })
        };
        replace(&self.path, |new| {
            for line in old.split(b'\n') {
                let line = line?;
                if !line.is_empty() && !is_dropped(&line) {
                    new.write_all(&line)?;
                    new.write_all(b"\n")?;
                }
            }
            Ok(())
        })
        .map_err(failed)?;
        let mut lines = Vec::new();
        for mark in self.marks.values().filter(|mark| mark.state != MarkState::Dropped) {
            write_mark(&mut lines, mark)?;
        }
        replace(&marks_path(&self.path), |new| new.write_all(&lines)).map_err(failed)?;
        self.marks_file = AppendFile::new(marks_path(&self.path), Code::DeadLetterWrite);
        Ok(())
    }
}

fn write_mark(lines: &mut Vec<u8>, mark: &Mark) -> Result<(), Fault> {
    serde_json::to_writer(&mut *lines, mark)
        .map_err(|cause| Fault::fatal(Code::Internal, format!("a mark cannot be written: {cause}")))?;
    lines.push(b'\n');
    Ok(())
}

/// The newest mark of each letter. A torn last line was never confirmed.
fn read_marks(path: &Path) -> io::Result<HashMap<u128, Mark>> {
    let file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(cause) => return Err(cause),
    };
    let mut marks = HashMap::new();
    for line in file.split(b'\n') {
        if let Ok(mark) = serde_json::from_slice::<Mark>(&line?) {
            marks.insert(short(&mark.key), mark);
        }
    }
    Ok(marks)
}

/// Puts a new file in the place of one, whole or not at all.
fn replace(path: &Path, write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut new = io::BufWriter::new(File::create(&beside)?);
    write(&mut new)?;
    new.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_folder(path)
}
