//! What was delivered: the last state of each key, as a log on the host's own disk.
//!
//! Each change is written to the log, and is durable there, before it goes on its way. So after a crash whatever was on its way is
//! given once more, the same and in the same order: from the entry behind the stored position. A position that the log does not
//! reach, of another host or of before the log was lost, makes all of it unsure: a new epoch, in which everything is delivered again.
//!
//! When most of a log is outdated a new one begins, with the last state of each key. The old one stays until all in it is safe.

mod frames;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

pub(super) use self::frames::{Entry, Kind};
use self::frames::{Frame, Frames, HEAD, Head};
use super::{
    at::At,
    index::{Index, KeyId, Slot, UNSURE, key_id, state_id},
};
use crate::{change::Doc, source::Place};

/// Bytes of outdated states that do not matter.
const SLACK: u64 = 64 << 20;
/// Bytes of a frame of a new log.
const FRAME_BYTES: usize = 1 << 20;

/// How far what a log says can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// There was neither a log nor a position.
    Fresh,
    /// The log has all that was delivered.
    Whole,
    /// Everything is delivered again; why, in words.
    Unsure(String),
}

/// The log. After an error it must be opened again.
pub(super) struct Log {
    place: Folder,
    number: u64,
    /// None in a dry run.
    file: Option<File>,
    end: u64,
    /// Where what was delivered before the log began ends.
    base_end: u64,
    head: Head,
    /// The last entry.
    last: u64,
    pub(super) index: Index,
    /// A log of before that is still needed.
    old: Option<Old>,
    _lock: Option<File>,
}

struct Old {
    number: u64,
    base: u64,
    /// All in it was found to be safe once.
    safe: bool,
}

/// What is to be written of a key.
pub(super) struct New {
    pub(super) kind: Kind,
    pub(super) key: Vec<u8>,
    pub(super) document: Option<Doc>,
}

/// What was read again: entries with their numbers, each with the state before it.
pub(super) struct Again {
    pub(super) number: u64,
    pub(super) time: i64,
    pub(super) entry: Entry,
    pub(super) before: Option<Entry>,
}

/// Where logs are kept.
struct Folder(Place);

impl Folder {
    fn file(&self, number: u64) -> PathBuf {
        self.0.folder.join(format!("{}.keys.{number}", self.0.pipeline))
    }

    /// The logs that are there, the newest first.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let prefix = format!("{}.keys.", self.0.pipeline);
        let mut numbers = Vec::new();
        let folder = match fs::read_dir(&self.0.folder) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(numbers),
            folder => folder?,
        };
        for file in folder {
            let name = file?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.parse::<u64>().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    fn remove(&self, number: u64) -> io::Result<()> {
        match fs::remove_file(self.file(number)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> io::Result<Option<File>> {
        if self.0.dry {
            return Ok(None);
        }
        fs::create_dir_all(&self.0.folder)?;
        let path = self.0.folder.join(format!("{}.keys.lock", self.0.pipeline));
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Some(lock))
    }
}

impl Log {
    /// Opens the log for a pipeline that stands at `at`, whose documents are made by `form`.
    pub(super) fn open(place: Place, at: Option<At>, form: u64) -> io::Result<(Self, Trust)> {
        let place = Folder(place);
        let lock = place.lock()?;
        let mut numbers = place.numbers()?.into_iter();
        let newest = loop {
            let Some(number) = numbers.next() else { break None };
            let file = OpenOptions::new().read(true).write(!place.0.dry).open(place.file(number))?;
            // One without a whole head was never begun.
            match Head::read(&file)? {
                Some(head) => break Some((number, file, head)),
                None if place.0.dry => {}
                None => place.remove(number)?,
            }
        };
        let Some((number, file, head)) = newest else {
            let epoch = at.map_or(1, |at| at.epoch.saturating_add(1));
            let log = Self::create(place, lock, 1, Head { epoch, base: 0, form })?;
            let trust = match at {
                None => Trust::Fresh,
                Some(_) => Trust::Unsure("this host has none of what was delivered".to_owned()),
            };
            return Ok((log, trust));
        };
        let mut log = Self {
            number,
            end: HEAD,
            base_end: HEAD,
            last: head.base,
            file: Some(file),
            head,
            index: Index::new(),
            old: None,
            _lock: lock,
            place,
        };
        log.load()?;
        for number in numbers {
            let base = File::open(log.place.file(number)).and_then(|file| Head::read(&file))?;
            match base.filter(|old| old.epoch == head.epoch && log.old.is_none()) {
                Some(old) => log.old = Some(Old { number, base: old.base, safe: false }),
                None if log.place.0.dry => {}
                None => log.place.remove(number)?,
            }
        }
        let oldest = log.old.as_ref().map_or(head.base, |old| old.base);
        let why = match at {
            _ if head.form != form => "shape, database or collection were changed".to_owned(),
            None if log.last == 0 => return Ok((log, Trust::Fresh)),
            None => "the pipeline has no checkpoint".to_owned(),
            Some(at) if at.epoch == head.epoch && (oldest..=log.last).contains(&at.entry) => {
                if at.entry >= head.base {
                    log.forget_old()?;
                }
                return Ok((log, Trust::Whole));
            }
            Some(at) => format!(
                "the checkpoint stands at {}/{}, what this host knows of reaches from {}/{oldest} to {}",
                at.epoch, at.entry, head.epoch, log.last
            ),
        };
        let epoch = head.epoch.max(at.map_or(0, |at| at.epoch)).saturating_add(1);
        log.begin_anew(Head { epoch, base: log.last, form }, true)?;
        log.forget_old()?;
        Ok((log, Trust::Unsure(why)))
    }

    fn create(place: Folder, lock: Option<File>, number: u64, head: Head) -> io::Result<Self> {
        let file = match place.0.dry {
            true => None,
            false => Some(write_new(&place.file(number), &place.0.folder, |file| file.write_all(&head.write()))?),
        };
        let (index, last) = (Index::new(), head.base);
        Ok(Self { place, number, file, end: HEAD, base_end: HEAD, head, last, index, old: None, _lock: lock })
    }

    fn load(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut frames = Frames::of(file)?;
        while let Some(frame) = frames.next()? {
            match frame.first {
                Some(first) => self.last = first + frame.entries.len() as u64 - 1,
                None => self.base_end = frames.at,
            }
            for (at, entry) in &frame.entries {
                let state = entry.document.as_ref().map_or(UNSURE, |document| state_id(document.as_bytes()));
                note(&mut self.index, &entry.key, entry.kind, state, Some(*at));
            }
        }
        self.end = frames.at;
        if !self.place.0.dry && file.metadata()?.len() > self.end {
            // What a crash left unfinished was not given to anybody.
            file.set_len(self.end)?;
            file.sync_data()?;
        }
        Ok(())
    }

    /// Behind all that is in it.
    pub(super) fn at(&self) -> At {
        At::behind(self.head.epoch, self.last)
    }

    /// Writes entries, and returns the number of the first when they are durable.
    pub(super) fn append(&mut self, entries: &[New], time: i64) -> io::Result<u64> {
        use std::os::unix::fs::FileExt as _;
        let first = self.last + 1;
        let file = self.file.as_ref().filter(|_| !self.place.0.dry);
        let mut frame = frames::begun(first, time);
        let mut places = Vec::with_capacity(entries.len());
        for New { kind, key, document } in entries {
            places.push(file.map(|_| self.end + frames::length(&frame)));
            let before = self.index.get(&key_id(key)).and_then(Slot::at);
            frames::write_entry(&mut frame, *kind, key, before, document.as_ref());
        }
        frames::ended(&mut frame);
        if let Some(file) = file {
            file.write_all_at(&frame, self.end)?;
            file.sync_data()?;
        }
        for (New { kind, key, document }, at) in entries.iter().zip(places) {
            let state = document.as_ref().map_or(UNSURE, |document| state_id(document.as_bytes()));
            note(&mut self.index, key, *kind, state, at);
        }
        self.end += frame.len() as u64;
        self.last += entries.len() as u64;
        Ok(first)
    }

    /// The entry at a place of the index.
    pub(super) fn entry(&self, slot: &Slot) -> io::Result<Option<Entry>> {
        let (Some(file), Some(at)) = (&self.file, slot.at()) else { return Ok(None) };
        frames::entry_at(file, at).map(Some)
    }

    /// Gives all entries behind a place, a frame at a time.
    pub(super) fn again(&self, from: At) -> io::Result<Replay> {
        let mut files = Vec::new();
        if let Some(file) = &self.file {
            files.push(file.try_clone()?);
        }
        if let Some(old) = self.old.as_ref().filter(|_| from.entry < self.head.base) {
            files.push(File::open(self.place.file(old.number))?);
        }
        Ok(Replay { files, reading: None, from })
    }

    /// Everything up to this entry is safe in every sink. An old log goes a call later, when the checkpoint has surely been written.
    pub(super) fn safe(&mut self, through: u64) -> io::Result<()> {
        match &mut self.old {
            Some(old) if old.safe => self.forget_old(),
            Some(old) => {
                old.safe = through >= self.head.base;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn forget_old(&mut self) -> io::Result<()> {
        match self.old.take() {
            Some(old) if !self.place.0.dry => self.place.remove(old.number),
            _ => Ok(()),
        }
    }

    /// Begins a new log where most of this one is outdated.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        if self.place.0.dry || self.old.is_some() || self.end < 2 * self.base_end + SLACK {
            return Ok(());
        }
        self.begin_anew(Head { base: self.last, ..self.head }, false)
    }

    /// Begins a new log with the last state of each key.
    fn begin_anew(&mut self, head: Head, unsure: bool) -> io::Result<()> {
        if unsure {
            self.index.slots_mut().for_each(|slot| (slot.state, slot.marked) = (UNSURE, false));
        }
        let Some(file) = self.file.as_ref().filter(|_| !self.place.0.dry) else {
            self.head = head;
            return Ok(());
        };
        let mut frames = Frames::of(file)?;
        let (index, mut end) = (&mut self.index, HEAD);
        let number = self.number + 1;
        let new = write_new(&self.place.file(number), &self.place.0.folder, |out| {
            out.write_all(&head.write())?;
            let mut frame = frames::begun(0, 0);
            let mut flush = |frame: &mut Vec<u8>, end: &mut u64| {
                frames::ended(frame);
                *end += frame.len() as u64;
                out.write_all(&std::mem::replace(frame, frames::begun(0, 0)))
            };
            while let Some(Frame { entries, .. }) = frames.next()? {
                for (at, entry) in entries {
                    let Some(slot) = index.get_mut(&key_id(&entry.key)) else { continue };
                    // The last of a key alone.
                    if slot.at() != Some(at) {
                        continue;
                    }
                    let kind = if slot.is_unsure() { Kind::Unsure } else { entry.kind };
                    slot.go_to(end + frames::length(&frame));
                    frames::write_entry(&mut frame, kind, &entry.key, None, entry.document.as_ref());
                    if frame.len() > FRAME_BYTES {
                        flush(&mut frame, &mut end)?;
                    }
                }
            }
            flush(&mut frame, &mut end)
        })?;
        self.old = Some(Old { number: self.number, base: self.head.base, safe: false });
        (self.file, self.number, self.head) = (Some(new), number, head);
        (self.end, self.base_end) = (end, end);
        Ok(())
    }
}

/// What was on its way.
pub(super) struct Replay {
    /// The oldest last.
    files: Vec<File>,
    reading: Option<(File, Frames)>,
    from: At,
}

impl Replay {
    /// The entries of the next frame; none when all were given.
    pub(super) fn next(&mut self) -> io::Result<Option<Vec<Again>>> {
        loop {
            let Some((file, frames)) = &mut self.reading else {
                let Some(file) = self.files.pop() else { return Ok(None) };
                let frames = Frames::of(&file)?;
                self.reading = Some((file, frames));
                continue;
            };
            let Some(frame) = frames.next()? else {
                self.reading = None;
                continue;
            };
            let Some(first) = frame.first else { continue };
            let mut again = Vec::new();
            for (number, (_, entry)) in (first..).zip(frame.entries) {
                if At::behind(self.from.epoch, number) > self.from {
                    let before = entry.before.map(|at| frames::entry_at(file, at)).transpose()?;
                    again.push(Again { number, time: frame.time, entry, before });
                }
            }
            if !again.is_empty() {
                return Ok(Some(again));
            }
        }
    }
}

/// Takes up in the index what an entry says.
fn note(index: &mut Index, key: &[u8], kind: Kind, state: super::index::StateId, at: Option<u64>) {
    let id: KeyId = key_id(key);
    let seen = index.get(&id).map_or(super::index::UNSEEN, |slot| slot.seen);
    let mut slot = match kind {
        Kind::Value => Slot::new(state, at, false),
        Kind::Unsure => Slot::new(UNSURE, at, false),
        Kind::Marked => Slot::new(state, at, true),
        Kind::Gone | Kind::Forgotten => return index.remove(&id),
    };
    slot.seen = seen;
    index.set(id, slot);
}

/// A file that is there as a whole or not at all.
fn write_new(
    path: &Path,
    folder: &Path,
    write: impl FnOnce(&mut io::BufWriter<&File>) -> io::Result<()>,
) -> io::Result<File> {
    let beside = path.with_extension("new");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let mut out = io::BufWriter::with_capacity(1 << 20, &file);
    write(&mut out)?;
    out.flush()?;
    drop(out);
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}
