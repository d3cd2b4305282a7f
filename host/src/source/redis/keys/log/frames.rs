//! How a log is written: a head, then frames with a checksum, each with entries that became durable together.
//!
//! Head: `TGKEYS1\n`, epoch (4 bytes), the number of the last entry before the log (8), what its documents are made by (8), checksum (8).
//! Frame: length (4), checksum (8), number of the first entry or 0 (8), milliseconds since 1970 (8), entries.
//! Entry: kind (1), length of the key (4), where the state before stands (8), length of the document (4), key, document.
//! All numbers are little endian. Frames with the number 0 hold what was delivered before the log began.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::change::Doc;

const MAGIC: &[u8; 8] = b"TGKEYS1\n";
pub(super) const HEAD: u64 = 36;
const FRAME: u64 = 28;
const ENTRY: usize = 17;
/// No state before.
const NONE: u64 = u64::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: u32,
    /// The last entry before the log.
    pub(super) base: u64,
    /// What the documents are made by: of other settings, nothing of it counts as delivered.
    pub(super) form: u64,
}

impl Head {
    pub(super) fn write(self) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&self.epoch.to_le_bytes());
        head.extend_from_slice(&self.base.to_le_bytes());
        head.extend_from_slice(&self.form.to_le_bytes());
        head.extend_from_slice(&xxh3_64(&head).to_le_bytes());
        head
    }

    /// None where it is no whole head.
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEAD as usize];
        match file.read_exact_at(&mut bytes, 0) {
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let (head, check) = bytes.split_at(HEAD as usize - 8);
        let mut fields = Fields(head);
        let whole = fields.take(8) == Some(MAGIC) && check == xxh3_64(head).to_le_bytes();
        let mut read = || Some(Self { epoch: fields.u32()?, base: fields.u64()?, form: fields.u64()? });
        Ok(if whole { read() } else { None })
    }
}

/// What an entry says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It has this value.
    Value,
    /// It vanished.
    Gone,
    /// It vanished, and this marks its documents.
    Marked,
    /// Nothing is known of it any more, and nothing was delivered.
    Forgotten,
    /// It had this value, which may not have been delivered.
    Unsure,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Value, Self::Gone, Self::Marked, Self::Forgotten, Self::Unsure];

    fn byte(self) -> u8 {
        Self::ALL.iter().position(|kind| *kind == self).and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
    }
}

/// An entry, as it is read.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) key: Vec<u8>,
    /// Where the state before it stands.
    pub(crate) before: Option<u64>,
    pub(crate) document: Option<Doc>,
}

/// Writes an entry behind what is there.
pub(super) fn write_entry(out: &mut Vec<u8>, kind: Kind, key: &[u8], before: Option<u64>, document: Option<&Doc>) {
    let document = document.map(Doc::as_bytes).unwrap_or_default();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.push(kind.byte());
    out.extend_from_slice(&length(key));
    out.extend_from_slice(&before.unwrap_or(NONE).to_le_bytes());
    out.extend_from_slice(&length(document));
    out.extend_from_slice(key);
    out.extend_from_slice(document);
}

/// The entry at a place.
pub(super) fn entry_at(file: &File, at: u64) -> io::Result<Entry> {
    let mut head = [0; ENTRY];
    file.read_exact_at(&mut head, at)?;
    let lengths = (|| {
        let mut fields = Fields(&head);
        fields.take(1)?;
        let key = fields.u32()?;
        fields.take(8)?;
        Some(key as usize + fields.u32()? as usize)
    })();
    let mut bytes = vec![0; ENTRY + lengths.unwrap_or_default()];
    file.read_exact_at(&mut bytes, at)?;
    let mut fields = Fields(&bytes);
    fields.entry().ok_or_else(|| io::Error::other("it has something else where a state should stand"))
}

/// An empty frame, to which entries are added.
pub(super) fn begun(first: u64, time: i64) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend_from_slice(&first.to_le_bytes());
    frame.extend_from_slice(&time.to_le_bytes());
    frame
}

/// The length of the frame up to where an entry is to be added.
pub(super) fn length(frame: &[u8]) -> u64 {
    frame.len() as u64
}

/// Puts length and checksum in front.
pub(super) fn ended(frame: &mut [u8]) {
    let Some((head, body)) = frame.split_at_mut_checked(12) else { return };
    let (length, check) = (u32::try_from(body.len()).unwrap_or(u32::MAX), xxh3_64(body));
    if let Some((to_length, to_check)) = head.split_at_mut_checked(4) {
        to_length.copy_from_slice(&length.to_le_bytes());
        to_check.copy_from_slice(&check.to_le_bytes());
    }
}

/// A frame that was read.
pub(super) struct Frame {
    /// The number of its first entry; none for what was delivered before the log began.
    pub(super) first: Option<u64>,
    pub(super) time: i64,
    /// With the place of each.
    pub(super) entries: Vec<(u64, Entry)>,
}

/// The frames of a log, one after the other.
pub(crate) struct Frames {
    file: BufReader<File>,
    length: u64,
    /// Where the next one begins: all before it is whole.
    pub(super) at: u64,
}

impl Frames {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut file = BufReader::with_capacity(1 << 20, file.try_clone()?);
        file.seek(SeekFrom::Start(HEAD))?;
        Ok(Self { file, length, at: HEAD })
    }

    /// None at the end, and before a frame that a crash left unfinished.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        if self.length < self.at + FRAME {
            return Ok(None);
        }
        let mut head = [0; 12];
        self.file.read_exact(&mut head)?;
        let mut fields = Fields(&head);
        let (Some(length), Some(check)) = (fields.u32(), fields.u64()) else { return Ok(None) };
        if self.at + 12 + u64::from(length) > self.length {
            return Ok(None);
        }
        let mut body = vec![0; length as usize];
        self.file.read_exact(&mut body)?;
        if xxh3_64(&body) != check {
            return Ok(None);
        }
        let mut fields = Fields(&body);
        let (Some(first), Some(time)) = (fields.u64(), fields.u64()) else { return Ok(None) };
        let mut entries = Vec::new();
        while !fields.0.is_empty() {
            let at = self.at + 12 + (body.len() - fields.0.len()) as u64;
            let Some(entry) = fields.entry() else { return Ok(None) };
            entries.push((at, entry));
        }
        self.at += 12 + u64::from(length);
        Ok(Some(Frame { first: (first > 0).then_some(first), time: time.cast_signed(), entries }))
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn entry(&mut self) -> Option<Entry> {
        let [kind] = self.take(1)? else { return None };
        let kind = *Kind::ALL.get(usize::from(*kind))?;
        let (key, before, document) = (self.u32()?, self.u64()?, self.u32()?);
        let key = self.take(key as usize)?.to_vec();
        let document = match self.take(document as usize)? {
            [] => None,
            bytes => Some(Doc::from_bytes(Bytes::copy_from_slice(bytes)).ok()?),
        };
        Some(Entry { kind, key, before: (before != NONE).then_some(before), document })
    }
}
