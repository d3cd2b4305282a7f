//! What happened to plugins, kept over restarts: `plugins.history.jsonl` in the state directory, a line for each event.
//!
//! A barred file stays barred by it, and a start knows from it what ran last.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};

use super::Generation;
use crate::files::sync_folder;

/// The file in the state directory.
const FILE: &str = "plugins.history.jsonl";

/// Most entries of one plugin that are kept; bars that hold come on top.
const MOST: usize = 200;
/// Most bars of one plugin that are kept on top.
const MOST_BARS: usize = 100;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It runs since the host started.
    Loaded,
    /// It is tried on copies of live batches.
    Shadowed,
    /// It took over.
    Promoted,
    /// It proved itself.
    Confirmed,
    /// The host took it back.
    TakenBack,
    /// The operator took it back.
    RolledBack,
    /// Its bytes are not loaded any more.
    Barred,
    /// It was not taken.
    Refused,
}

impl Event {
    /// As it stands in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Shadowed => "shadowed",
            Self::Promoted => "promoted",
            Self::Confirmed => "confirmed",
            Self::TakenBack => "taken_back",
            Self::RolledBack => "rolled_back",
            Self::Barred => "barred",
            Self::Refused => "refused",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, RFC 3339.
    pub at: String,
    /// The plugin.
    pub plugin: String,
    /// What happened.
    pub event: Event,
    /// To which generation, in the run of the host that wrote it; 0: it never became one.
    pub generation: u64,
    /// As its manifest says; empty where it was not read.
    #[serde(default)]
    pub version: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Digest of what runs instead, of one that was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<String>,
}

impl Entry {
    /// Of now.
    pub(super) fn of(event: Event, generation: &Generation, reason: Option<&str>) -> Self {
        let version = &generation.manifest.version;
        Self::new(event, &generation.plugin, generation.number, version, &generation.digest, reason)
    }

    /// Of now, for what is no generation.
    pub(super) fn new(
        event: Event,
        plugin: &str,
        generation: u64,
        version: &str,
        digest: &str,
        reason: Option<&str>,
    ) -> Self {
        Self {
            at: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            plugin: plugin.to_owned(),
            event,
            generation,
            version: version.to_owned(),
            digest: digest.to_owned(),
            reason: reason.map(str::to_owned),
            back_to: None,
        }
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    entries: Vec<Entry>,
    /// Where it is written; none: nowhere.
    path: Option<PathBuf>,
    file: Option<File>,
    /// Lines in the file.
    lines: usize,
}

/// What a start finds of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing speaks against the file.
    Free,
    /// It is barred, for this reason.
    Barred(String),
    /// It was tried in the shadow, and nobody has decided.
    Undecided,
}

impl History {
    /// What is in the state directory; with `writes` false nothing is ever written. Lines that cannot be read are passed over: a crash
    /// can have torn the last one.
    pub(super) fn open(state: Option<&Path>, writes: bool) -> Self {
        let path = state.map(|state| state.join(FILE));
        let text = path.as_ref().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
        let entries: Vec<Entry> = lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let torn = entries.len() != lines.len() || text.last().is_some_and(|byte| *byte != b'\n');
        let mut book = Book { lines: lines.len(), entries, path: path.filter(|_| writes), file: None };
        if torn {
            book.rewrite_or_tell();
        }
        Self(Mutex::new(book))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds entries durably. What cannot be written is told of, and holds for this run all the same.
    pub(super) fn add(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut book = self.lock();
        let mut text = Vec::new();
        for entry in entries {
            if serde_json::to_writer(&mut text, &entry).is_ok() {
                text.push(b'\n');
                book.lines += 1;
            }
            book.entries.push(entry);
        }
        if let Err(cause) = book.append(&text) {
            book.file = None;
            book.tell(&cause);
        }
        if book.is_long() {
            book.shorten();
            book.rewrite_or_tell();
        }
    }

    /// What happened to a plugin, oldest first.
    pub(super) fn of(&self, plugin: &str) -> Vec<Entry> {
        self.lock().entries.iter().filter(|entry| entry.plugin == plugin).cloned().collect()
    }

    /// How it stands with a file of a plugin.
    pub(super) fn standing(&self, plugin: &str, digest: &str) -> Standing {
        let book = self.lock();
        let last = book.entries.iter().rev().find(|entry| {
            entry.plugin == plugin
                && entry.digest == digest
                && !matches!(entry.event, Event::TakenBack | Event::RolledBack)
        });
        match last {
            Some(Entry { event: Event::Barred, reason, .. }) => Standing::Barred(reason.clone().unwrap_or_default()),
            Some(Entry { event: Event::Shadowed, .. }) => Standing::Undecided,
            _ => Standing::Free,
        }
    }

    /// The files of a plugin that are barred, newest last.
    pub(super) fn barred(&self, plugin: &str) -> Vec<Entry> {
        let book = self.lock();
        book.bars(plugin).into_iter().cloned().collect()
    }

    /// The digest of what ran last.
    pub(super) fn last_running(&self, plugin: &str) -> Option<String> {
        self.lock().entries.iter().rev().filter(|entry| entry.plugin == plugin).find_map(|entry| match entry.event {
            Event::Loaded | Event::Promoted | Event::Confirmed => Some(entry.digest.clone()),
            Event::TakenBack | Event::RolledBack => entry.back_to.clone(),
            Event::Shadowed | Event::Barred | Event::Refused => None,
        })
    }

    /// The digests that ran last, of all plugins.
    pub(super) fn all_last_running(&self) -> Vec<String> {
        let mut plugins: Vec<String> = self.lock().entries.iter().map(|entry| entry.plugin.clone()).collect();
        plugins.sort_unstable();
        plugins.dedup();
        plugins.iter().filter_map(|plugin| self.last_running(plugin)).collect()
    }

    /// Whether a file of a plugin ran before.
    pub(super) fn ran(&self, plugin: &str, digest: &str) -> bool {
        let ran = |event| matches!(event, Event::Loaded | Event::Promoted | Event::Confirmed);
        self.lock().entries.iter().any(|entry| entry.plugin == plugin && entry.digest == digest && ran(entry.event))
    }
}

impl Book {
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                let new = !path.exists();
                let file = OpenOptions::new().append(true).create(true).open(path)?;
                if new {
                    sync_folder(path)?;
                }
                empty.insert(file)
            }
        };
        file.write_all(text)?;
        file.sync_data()
    }

    fn tell(&self, cause: &io::Error) {
        tracing::error!(
            event = "plugin_history_failed",
            "the history of plugins cannot be written, a restart will not know of it: {cause}"
        );
    }

    /// The bars of a plugin that hold.
    fn bars(&self, plugin: &str) -> Vec<&Entry> {
        let mut bars: Vec<&Entry> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.plugin == plugin) {
            match entry.event {
                Event::Barred => {
                    bars.retain(|bar| bar.digest != entry.digest);
                    bars.push(entry);
                }
                Event::Promoted | Event::Loaded | Event::Shadowed => bars.retain(|bar| bar.digest != entry.digest),
                _ => {}
            }
        }
        bars
    }

    fn is_long(&self) -> bool {
        let plugins: std::collections::BTreeSet<&str> = self.entries.iter().map(|entry| &*entry.plugin).collect();
        self.lines > 2 * plugins.len().max(1) * MOST
    }

    /// Forgets what is old, but for the bars that hold.
    fn shorten(&mut self) {
        let mut plugins: Vec<String> = self.entries.iter().map(|entry| entry.plugin.clone()).collect();
        plugins.sort_unstable();
        plugins.dedup();
        let mut keep = vec![false; self.entries.len()];
        for plugin in &plugins {
            let bars = self.bars(plugin);
            let bars: Vec<*const Entry> =
                bars.iter().rev().take(MOST_BARS).map(|bar| std::ptr::from_ref(*bar)).collect();
            let own = self.entries.iter().zip(&mut keep).rev().filter(|(entry, _)| entry.plugin == *plugin);
            for (place, (entry, keep)) in own.enumerate() {
                *keep = place < MOST || bars.contains(&std::ptr::from_ref(entry));
            }
        }
        let mut keep = keep.into_iter();
        self.entries.retain(|_| keep.next().unwrap_or(true));
    }

    fn rewrite_or_tell(&mut self) {
        if let Err(cause) = self.rewrite() {
            self.tell(&cause);
        }
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut text = Vec::new();
        for entry in &self.entries {
            serde_json::to_writer(&mut text, entry)?;
            text.push(b'\n');
        }
        let beside = path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        sync_folder(path)?;
        self.file = None;
        self.lines = self.entries.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Event, FILE, History, MOST, Standing};

    fn entry(plugin: &str, event: Event, digest: &str) -> Entry {
        let back_to = matches!(event, Event::TakenBack).then(|| "good".to_owned());
        Entry { back_to, ..Entry::new(event, plugin, 1, "v", digest, Some("why")) }
    }

    #[test]
    fn bars_hold_over_restarts_until_the_file_is_promoted() {
        let folder = tempfile::tempdir().unwrap();
        let open = || History::open(Some(folder.path()), true);
        let history = open();
        history.add([entry("p", Event::Loaded, "good"), entry("p", Event::Promoted, "bad")]);
        assert_eq!(history.last_running("p").as_deref(), Some("bad"));
        history.add([entry("p", Event::TakenBack, "bad"), entry("p", Event::Barred, "bad")]);
        let history = open();
        assert_eq!(history.last_running("p").as_deref(), Some("good"));
        assert_eq!(history.standing("p", "bad"), Standing::Barred("why".to_owned()));
        assert_eq!(history.standing("q", "bad"), Standing::Free, "of another plugin");
        assert_eq!(history.barred("p").len(), 1);
        history.add([entry("p", Event::Promoted, "bad")]);
        assert_eq!((open().standing("p", "bad"), open().barred("p").len()), (Standing::Free, 0));
    }

    #[test]
    fn a_candidate_nobody_decided_on_is_known() {
        let history = History::default();
        history.add([entry("p", Event::Loaded, "good"), entry("p", Event::Shadowed, "new")]);
        assert_eq!(history.standing("p", "new"), Standing::Undecided);
        assert_eq!(history.last_running("p").as_deref(), Some("good"));
        assert!(history.ran("p", "good") && !history.ran("p", "new"));
    }

    #[test]
    fn it_stays_small_and_keeps_the_bars() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(Some(folder.path()), true);
        history.add([entry("p", Event::Barred, "bad"), entry("q", Event::Loaded, "other")]);
        for turn in 0..5 * MOST {
            history.add([entry("p", Event::Promoted, &format!("d{turn}"))]);
        }
        let lines = std::fs::read_to_string(folder.path().join(FILE)).unwrap().lines().count();
        assert!(lines <= 4 * MOST + 1, "{lines}");
        let again = History::open(Some(folder.path()), true);
        assert!(matches!(again.standing("p", "bad"), Standing::Barred(_)));
        assert_eq!(again.last_running("q").as_deref(), Some("other"));
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        History::open(Some(folder.path()), true).add([entry("p", Event::Loaded, "one")]);
        let file = folder.path().join(FILE);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{text}{{\"at\":\"20")).unwrap();
        History::open(Some(folder.path()), true).add([entry("p", Event::Promoted, "two")]);
        let history = History::open(Some(folder.path()), false);
        assert_eq!(history.of("p").len(), 2);
    }
}
