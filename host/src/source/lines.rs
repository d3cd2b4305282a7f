//! JSON Lines of changes from a file or from standard input.
//!
//! A file has positions: `[offset behind the line, 8 bytes][number of the line, 8 bytes][fingerprint, 8 bytes][bytes the fingerprint
//! covers, 8 bytes]`, all big endian, so that they sort. The fingerprint is the hash of the first bytes of the file when it
//! was opened first, 4 KiB at most: another file of the same name is told, not read from its middle; a file that grew is the same.
//! Standard input has none.

use std::{io::SeekFrom, path::PathBuf, time::Duration};

use tokio::{
    fs::File,
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncSeekExt as _, BufReader, Stdin},
    time::Instant,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    batch::{Batch, Unreadable},
    change::Change,
    error::{Code, Fault},
    format::lines::read_change,
    position::{Position, Positions},
    source::{BatchLimits, Read, Source},
};

/// The longest line that is read as a change; a longer one is unreadable. A document of 16 MiB is four times as long in
/// Extended JSON at worst, and a change may hold a few.
const LONGEST_LINE: usize = 64 << 20;
/// How much of a line that is too long is kept for the dead letter.
const KEPT: usize = 4096;
/// How much of a file its fingerprint covers at most.
const FINGERPRINT: usize = 4096;
const READ_BUFFER: usize = 1 << 20;

/// Lines of a reader, one at a time. Cancelling a call loses nothing: what was read stays in here.
struct Lines<R> {
    reader: R,
    /// The beginning of a line whose end was not read yet.
    partial: Vec<u8>,
    /// Bytes of that line in all, of which `partial` may hold fewer.
    length: usize,
    /// Behind the last whole line.
    offset: u64,
    number: u64,
}

enum Line {
    /// Without its line end.
    Whole(Vec<u8>),
    /// Its beginning and its length.
    TooLong(Vec<u8>, usize),
}

impl<R: AsyncBufRead + Unpin + Send> Lines<R> {
    fn new(reader: R, offset: u64, number: u64) -> Self {
        Self { reader, partial: Vec::new(), length: 0, offset, number }
    }

    async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let available = self.reader.fill_buf().await?;
            let at_end = available.is_empty();
            let (part, ended) = match available.iter().position(|byte| *byte == b'\n') {
                Some(end) => (available.get(..=end).unwrap_or(available), true),
                None => (available, at_end),
            };
            let taken = part.len();
            let room = LONGEST_LINE.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(part.get(..room).unwrap_or(part));
            self.length += taken;
            self.reader.consume(taken);
            if !ended {
                continue;
            }
            if at_end && self.length == 0 {
                return Ok(None);
            }
            let length = std::mem::take(&mut self.length);
            let mut line = std::mem::take(&mut self.partial);
            self.offset += length as u64;
            self.number += 1;
            if length > LONGEST_LINE {
                line.truncate(KEPT);
                return Ok(Some(Line::TooLong(line, length)));
            }
            while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                line.pop();
            }
            return Ok(Some(Line::Whole(line)));
        }
    }

    /// Reads lines into `batch` until it is full. After the first change a reader that may wait, waits for `linger` at most.
    async fn fill(
        &mut self,
        batch: &mut Pending,
        name: &str,
        limits: &BatchLimits,
        linger: Option<Duration>,
        fingerprint: Option<(u64, u64)>,
    ) -> Filled {
        while !batch.is_full(limits) {
            let line = match (batch.since, linger) {
                (Some(since), Some(linger)) => match tokio::time::timeout_at(since + linger, self.next()).await {
                    Ok(line) => line,
                    Err(_) => return Filled::More,
                },
                _ => self.next().await,
            };
            match line {
                Ok(Some(line)) => {
                    let position = fingerprint.map(|print| file_position(self.offset, self.number, print));
                    batch.take(line, name, self.number, position);
                }
                Ok(None) => return Filled::End,
                Err(error) => return Filled::Failed(error),
            }
        }
        Filled::More
    }
}

enum Filled {
    More,
    End,
    Failed(std::io::Error),
}

/// A batch that is being filled; it is kept over cancelled calls.
#[derive(Default)]
struct Pending {
    batch: Batch,
    size: usize,
    since: Option<Instant>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.batch.changes.is_empty() && self.batch.unreadable.is_empty()
    }

    fn is_full(&self, limits: &BatchLimits) -> bool {
        self.batch.changes.len() + self.batch.unreadable.len() >= limits.max_events || self.size >= limits.max_bytes
    }

    fn take(&mut self, line: Line, name: &str, number: u64, position: Option<Position>) {
        let place = format!("{name}:{number}");
        let mut unreadable = |raw: &[u8], reason: String| {
            let raw = String::from_utf8_lossy(raw).into_owned();
            self.size += raw.len() + 128;
            self.batch.unreadable.push(Unreadable { id: place.as_str().into(), raw, reason });
        };
        match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => return,
            Line::Whole(line) => match read_change(&line, &place) {
                Ok(change) => {
                    self.size += change.size();
                    self.batch.changes.push(Change { position, ..change });
                }
                Err(cause) => unreadable(&line, format!("{place}:{cause}")),
            },
            Line::TooLong(start, length) => {
                unreadable(
                    &start,
                    format!("{place}:1: the line has {length} bytes; {LONGEST_LINE} at most are read as a change"),
                );
            }
        }
        self.since.get_or_insert_with(Instant::now);
    }

    fn finish(&mut self, position: Option<Position>) -> Batch {
        let mut batch = std::mem::take(self).batch;
        batch.position = position;
        batch
    }
}

/// A file of changes; ends at the end of the file.
pub struct FileSource {
    path: PathBuf,
    name: String,
    limits: BatchLimits,
    open: Option<OpenFile>,
    pending: Pending,
}

struct OpenFile {
    lines: Lines<BufReader<File>>,
    /// Hash of the first bytes, and how many.
    fingerprint: (u64, u64),
    ended: bool,
}

impl FileSource {
    /// Nothing is opened before [`Source::open`].
    pub fn new(path: PathBuf, limits: BatchLimits) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { path, name, limits, open: None, pending: Pending::default() }
    }

    fn unreadable(&self, cause: &std::io::Error) -> Fault {
        let message = format!("the file {} cannot be read: {cause}", self.path.display());
        match cause.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::IsADirectory => {
                Fault::fatal(Code::FileRead, message)
            }
            _ => Fault::transient(Code::FileRead, message),
        }
    }

    async fn fingerprint(file: &mut File, covered: u64) -> std::io::Result<(u64, u64)> {
        let mut start = Vec::with_capacity(FINGERPRINT);
        file.seek(SeekFrom::Start(0)).await?;
        (&mut *file).take(covered.min(FINGERPRINT as u64)).read_to_end(&mut start).await?;
        Ok((xxh3_64(&start), start.len() as u64))
    }
}

fn file_position(offset: u64, number: u64, fingerprint: (u64, u64)) -> Position {
    Position::new([offset, number, fingerprint.0, fingerprint.1].map(u64::to_be_bytes).concat())
}

fn parts(position: &Position) -> Option<[u64; 4]> {
    let (numbers, rest) = position.as_bytes().as_chunks::<8>();
    let numbers: [[u8; 8]; 4] = numbers.try_into().ok()?;
    rest.is_empty().then(|| numbers.map(u64::from_be_bytes))
}

impl Source for FileSource {
    async fn open(&mut self, from: &Positions) -> Result<Positions, Fault> {
        self.pending = Pending::default();
        self.open = None;
        let mut file = File::open(&self.path).await.map_err(|cause| self.unreadable(&cause))?;
        let (offset, number, fingerprint) = match from.whole() {
            None => {
                (0, 0, Self::fingerprint(&mut file, FINGERPRINT as u64).await.map_err(|cause| self.unreadable(&cause))?)
            }
            Some(position) => {
                let [offset, number, hash, covered] = parts(position).ok_or_else(|| {
                    Fault::fatal(
                        Code::CheckpointUnreadable,
                        format!(
                            "the stored position is none of a file such as {}; `tidegate checkpoint reset` gives it up",
                            self.path.display()
                        ),
                    )
                })?;
                let found = Self::fingerprint(&mut file, covered).await.map_err(|cause| self.unreadable(&cause))?;
                let length = file.metadata().await.map_err(|cause| self.unreadable(&cause))?.len();
                if found != (hash, covered) || length < offset {
                    return Err(Fault::fatal(
                        Code::CheckpointUnreadable,
                        format!(
                            "the file {} is not the one the checkpoint was made for: it begins differently, or is shorter than \
                             what was read; `tidegate checkpoint reset` reads it from its beginning",
                            self.path.display()
                        ),
                    ));
                }
                (offset, number, found)
            }
        };
        file.seek(SeekFrom::Start(offset)).await.map_err(|cause| self.unreadable(&cause))?;
        let lines = Lines::new(BufReader::with_capacity(READ_BUFFER, file), offset, number);
        tracing::info!(event = "source_opened", path = %self.path.display(), offset, "the file is read");
        self.open = Some(OpenFile { lines, fingerprint, ended: false });
        Ok(file_position(offset, number, fingerprint).into())
    }

    async fn next(&mut self) -> Result<Read, Fault> {
        let Some(open) = &mut self.open else {
            return Err(Fault::transient(Code::FileRead, "the file is not open"));
        };
        if !open.ended {
            match open.lines.fill(&mut self.pending, &self.name, &self.limits, None, Some(open.fingerprint)).await {
                Filled::More => {}
                Filled::End => open.ended = true,
                Filled::Failed(cause) => return Err(self.unreadable(&cause)),
            }
        }
        if self.pending.is_empty() {
            return Ok(Read::End);
        }
        let position = file_position(open.lines.offset, open.lines.number, open.fingerprint);
        Ok(Read::Batch(self.pending.finish(Some(position))))
    }
}

/// Changes on standard input; ends when it is closed.
pub struct StdinSource {
    lines: Lines<BufReader<Stdin>>,
    limits: BatchLimits,
    pending: Pending,
    ended: bool,
}

impl StdinSource {
    /// Reads from the standard input of this process.
    pub fn new(limits: BatchLimits) -> Self {
        let reader = BufReader::with_capacity(READ_BUFFER, tokio::io::stdin());
        Self { lines: Lines::new(reader, 0, 0), limits, pending: Pending::default(), ended: false }
    }
}

impl Source for StdinSource {
    async fn open(&mut self, _: &Positions) -> Result<Positions, Fault> {
        Ok(Positions::default())
    }

    async fn next(&mut self) -> Result<Read, Fault> {
        if !self.ended {
            match self.lines.fill(&mut self.pending, "stdin", &self.limits, Some(self.limits.linger), None).await {
                Filled::More => {}
                Filled::End => self.ended = true,
                Filled::Failed(cause) => {
                    return Err(Fault::fatal(Code::FileRead, format!("standard input cannot be read: {cause}")));
                }
            }
        }
        if self.pending.is_empty() {
            return Ok(Read::End);
        }
        Ok(Read::Batch(self.pending.finish(None)))
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::FileSource;
    use crate::{
        batch::Batch,
        error::Code,
        position::{Position, Positions},
        source::{BatchLimits, Read, Source as _},
    };

    const LIMITS: BatchLimits = BatchLimits { max_events: 2, max_bytes: 1 << 20, linger: Duration::from_millis(5) };

    fn line(n: u32) -> String {
        format!("{{\"op\":\"insert\",\"ns\":\"d.c\",\"doc\":{{\"_id\":{n}}}}}\n")
    }

    async fn all(path: &Path, from: Option<&Position>) -> Vec<Batch> {
        let mut source = FileSource::new(path.to_owned(), LIMITS);
        source.open(&from.cloned().into()).await.unwrap();
        let mut batches = Vec::new();
        while let Read::Batch(batch) = source.next().await.unwrap() {
            batches.push(batch);
        }
        batches
    }

    fn ids(batches: &[Batch]) -> Vec<&str> {
        batches.iter().flat_map(|batch| &batch.changes).map(|change| &*change.id).collect()
    }

    #[tokio::test]
    async fn a_file_is_read_in_batches_and_from_each_position() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.jsonl");
        std::fs::write(&path, format!("{}{}\n{}no change\n{}", line(1), line(2), line(3), line(4).trim_end())).unwrap();
        let batches = all(&path, None).await;
        assert_eq!(ids(&batches), ["in.jsonl:1", "in.jsonl:2", "in.jsonl:4", "in.jsonl:6"]);
        assert_eq!(batches[1].unreadable[0].raw, "no change");
        assert!(batches[1].unreadable[0].reason.starts_with("in.jsonl:5:2: expected"), "{:?}", batches[1].unreadable);
        for (index, batch) in batches.iter().enumerate() {
            let rest = all(&path, batch.position.as_ref()).await;
            assert_eq!(ids(&rest), ids(&batches[index + 1..]), "behind batch {index}");
        }
        assert!(batches[0].position < batches[1].position);
        // The last change of a batch stands where the batch ends, if no line without a change follows.
        assert_eq!(batches[0].changes[1].position, batches[0].position);
        assert!(batches[0].changes[0].position < batches[0].changes[1].position);
    }

    #[tokio::test]
    async fn a_file_that_grew_is_the_same_and_another_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.jsonl");
        std::fs::write(&path, line(1)).unwrap();
        let batches = all(&path, None).await;
        let position = batches[0].position.clone().unwrap();
        std::fs::write(&path, line(1) + &line(2)).unwrap();
        assert_eq!(ids(&all(&path, Some(&position)).await), ["in.jsonl:2"]);
        std::fs::write(&path, line(3) + &line(4)).unwrap();
        let fault = FileSource::new(path.clone(), LIMITS).open(&position.clone().into()).await.unwrap_err();
        assert_eq!((fault.code, fault.is_transient()), (Code::CheckpointUnreadable, false));
        std::fs::remove_file(&path).unwrap();
        let fault = FileSource::new(path, LIMITS).open(&Positions::default()).await.unwrap_err();
        assert_eq!((fault.code, fault.is_transient()), (Code::FileRead, false));
    }
}
