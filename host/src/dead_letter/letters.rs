//! Reading dead letters, the same way from every place: oldest first, each once, a page at a time.

use std::{collections::HashSet, path::PathBuf};

use super::{
    DeadLetter, Mark, MarkState, file::FileLetters, marks::short, mongodb::MongodbLetters, redis::RedisLetters,
};
use crate::{config::DeadLetterConfig, error::Fault, telemetry::metrics::DeadLetterKind};

/// Letters read at once.
pub(super) const PAGE: usize = 100;
/// Bytes after which a page is cut short.
pub(super) const PAGE_BYTES: usize = 8 << 20;

/// Which letters are wanted; an empty list asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// One of these ids of changes, or keys of letters.
    pub ids: Vec<String>,
    /// One of these kinds.
    pub kinds: Vec<DeadLetterKind>,
    /// One of these stages: `stages[0]`, `sinks.cache`, `source`.
    pub stages: Vec<String>,
    /// One of these plugins.
    pub plugins: Vec<String>,
    /// One of these namespaces, `database.collection`, or collections.
    pub collections: Vec<String>,
    /// One of these documents, by `_id` as `tidegate dlq list` shows it.
    pub documents: Vec<String>,
    /// Not older than this, in milliseconds since 1970.
    pub since: Option<i64>,
    /// Those that were replayed (true), or those that were not (false).
    pub replayed: Option<bool>,
}

/// What became of a letter so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Open,
    /// A replay failed, at this time in milliseconds since 1970.
    FailedAgain(i64),
    /// It was replayed, at this time.
    Replayed(i64),
}

/// A letter as it is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// `PIPELINE/CHANGE_ID/STAGE`, from its first failure on.
    pub key: String,
    /// The letter, with the newest reason.
    pub letter: DeadLetter,
    /// What became of it.
    pub state: State,
    /// The sinks it is still to be written to, where others have it already; none: all.
    pub sinks: Vec<String>,
    /// Where it stands: the id of a stream's entry.
    pub(super) entry: String,
    /// How many parts of it stand beside it.
    pub(super) parts: usize,
    /// Whether the same letter came before; only [`Letters::with_doubles`] hands it out.
    pub double: bool,
    /// Its size as it is kept, about.
    pub size: usize,
}

impl Kept {
    /// A letter to which nothing happened yet.
    #[cfg(test)]
    pub(crate) fn of(letter: DeadLetter) -> Self {
        let key = letter.key();
        Self {
            key,
            letter,
            state: State::Open,
            sinks: Vec::new(),
            entry: String::new(),
            parts: 0,
            double: false,
            size: 0,
        }
    }
}

/// What a place found.
pub(super) struct Found {
    /// The letter as it was written, or why it cannot be read and where it stands.
    pub(super) letter: Result<DeadLetter, String>,
    /// The key it was written under.
    pub(super) key: String,
    /// The mark on it.
    pub(super) mark: Option<Mark>,
    /// Where it stands.
    pub(super) entry: String,
    /// Its size.
    pub(super) size: usize,
    /// How many parts of it stand beside it.
    pub(super) parts: usize,
}

impl Select {
    /// Whether anything is asked for.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.ids, &self.stages, &self.plugins, &self.collections, &self.documents];
        lists.into_iter().all(Vec::is_empty) && self.kinds.is_empty() && self.since.is_none() && self.replayed.is_none()
    }

    fn takes(&self, kept: &Kept) -> bool {
        let letter = &kept.letter;
        let one_of = |list: &[String], value: &str| list.is_empty() || list.iter().any(|wanted| wanted == value);
        let named =
            |list: &[String], test: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|name| test(name));
        named(&self.ids, &|id| id == letter.id() || id == kept.key)
            && (self.kinds.is_empty() || self.kinds.contains(&letter.kind))
            && one_of(&self.stages, &letter.stage)
            && named(&self.plugins, &|plugin| letter.plugin.as_deref() == Some(plugin))
            && named(&self.collections, &|name| {
                letter.change().is_some_and(|c| c.namespace.as_str() == name || c.namespace.collection() == name)
            })
            && named(&self.documents, &|id| letter.change().is_some_and(|change| change.document_id() == id))
            && self.since.is_none_or(|since| letter.at >= since)
            && self.replayed.is_none_or(|replayed| replayed == matches!(kept.state, State::Replayed(_)))
    }
}

enum Place {
    File(Box<FileLetters>),
    Redis(Box<RedisLetters>),
    Mongodb(Box<MongodbLetters>),
}

/// Reads the letters of one pipeline, and marks them.
///
/// What is remembered while it reads is sixteen bytes a letter, so that one that was written twice is shown once; of a file,
/// the marks too.
pub struct Letters {
    place: Place,
    select: Select,
    page: std::vec::IntoIter<Found>,
    ended: bool,
    /// Shown already, and whether as replayed.
    seen: HashSet<(u128, bool)>,
    doubles: bool,
    unreadable: Vec<String>,
}

impl Letters {
    /// The letters of a pipeline at the place that a configuration names; nothing is opened yet.
    pub fn new(config: &DeadLetterConfig, pipeline: &str, select: Select) -> Self {
        let place = match config {
            DeadLetterConfig::File(file) => Place::File(Box::new(FileLetters::new(file.path.clone(), pipeline))),
            DeadLetterConfig::Redis(redis) => Place::Redis(Box::new(RedisLetters::new(redis, pipeline))),
            DeadLetterConfig::Mongodb(mongodb) => Place::Mongodb(Box::new(MongodbLetters::new(mongodb, pipeline))),
        };
        let (page, seen) = (Vec::new().into_iter(), HashSet::new());
        Self { place, select, page, ended: false, seen, doubles: false, unreadable: Vec::new() }
    }

    /// Hands out what was written twice as often as it was: for who removes it.
    #[must_use]
    pub fn with_doubles(mut self) -> Self {
        self.doubles = true;
        self
    }

    /// The next letter that is wanted; none at the end.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub async fn next(&mut self) -> Result<Option<Kept>, Fault> {
        loop {
            let Some(found) = self.page.next() else {
                if self.ended {
                    return Ok(None);
                }
                let page = match &mut self.place {
                    Place::File(file) => file.page()?,
                    Place::Redis(redis) => redis.page().await?,
                    Place::Mongodb(mongodb) => mongodb.page(&self.select).await?,
                };
                self.ended = page.is_empty();
                self.page = page.into_iter();
                continue;
            };
            if let Some(kept) = self.look(found) {
                return Ok(Some(kept));
            }
        }
    }

    fn look(&mut self, found: Found) -> Option<Kept> {
        let Found { letter, key, mark, entry, size, parts } = found;
        let mut letter = match letter {
            Ok(letter) => letter,
            Err(reason) => {
                self.unreadable.push(reason);
                return None;
            }
        };
        let mark = mark.filter(|mark| mark.covers(&letter));
        let (mut state, mut sinks) = (State::Open, Vec::new());
        match mark {
            None => {}
            Some(Mark { state: MarkState::Dropped, .. }) => return None,
            Some(Mark { state: MarkState::Replayed, at, .. }) => state = State::Replayed(at),
            Some(Mark { state: MarkState::Failed, at, again, .. }) => {
                state = State::FailedAgain(at);
                if let Some(again) = again {
                    again.overlay(&mut letter);
                    sinks = again.sinks;
                }
            }
        }
        let mut kept = Kept { key, letter, state, sinks, entry, parts, size, double: false };
        if !self.select.takes(&kept) {
            return None;
        }
        kept.double = !self.seen.insert((short(&kept.key), matches!(kept.state, State::Replayed(_))));
        (self.doubles || !kept.double).then_some(kept)
    }

    /// What could not be read as a letter so far, and where it stands.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Keeps marks durably.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn mark(&mut self, marks: Vec<Mark>) -> Result<(), Fault> {
        if marks.is_empty() {
            return Ok(());
        }
        match &mut self.place {
            Place::File(file) => file.mark(marks).await,
            Place::Redis(redis) => redis.mark(&marks).await,
            Place::Mongodb(mongodb) => mongodb.mark(&marks).await,
        }
    }

    /// Removes letters. Those of a file are marked as dropped; [`Letters::compact`] takes them out of it.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub async fn remove(&mut self, letters: &[Kept]) -> Result<(), Fault> {
        match &mut self.place {
            Place::File(file) => file.mark(letters.iter().map(dropped).collect()).await,
            Place::Redis(redis) => redis.remove(letters).await,
            Place::Mongodb(mongodb) => mongodb.remove(letters).await,
        }
    }

    /// Takes dropped letters out of a file. Only while no host has it open.
    ///
    /// # Errors
    /// When the file cannot be written anew.
    pub fn compact(&mut self) -> Result<(), Fault> {
        match &mut self.place {
            Place::File(file) => file.compact(),
            Place::Redis(_) | Place::Mongodb(_) => Ok(()),
        }
    }

    /// The file, where it is one: its letters are gone for good only when no host runs.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.place {
            Place::File(file) => Some(file.path().to_owned()),
            Place::Redis(_) | Place::Mongodb(_) => None,
        }
    }
}

fn dropped(kept: &Kept) -> Mark {
    let at = crate::format::time::now_millis().max(kept.letter.at);
    Mark { key: kept.key.clone(), state: MarkState::Dropped, at, again: None }
}
