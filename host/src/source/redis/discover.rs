//! Which streams are read, where each goes on, and what became of it meanwhile.

use std::collections::{BTreeMap, HashMap};

use tokio::time::Instant;

use super::{
    Looking, RedisSource, Stream, Task, broken,
    look::{Info, Judgement, Looked, look},
    not_open,
    place::{EntryId, Place, partition},
};
use crate::{
    config::{OnLostEntries, StreamStart},
    error::{Code, Fault},
};

impl RedisSource {
    /// Where a stream is read from, and what is read of it.
    pub(super) fn stream(&mut self, key: &[u8], info: Option<&Info>, first: bool) -> Result<Stream, Fault> {
        let partition = partition(key);
        let place = if self.group.is_some() {
            Place::default()
        } else {
            match self.known.remove(&partition) {
                Some(place) => self.judged(&partition, place, place.id, info)?,
                None if self.stands.contains_key(key) => {
                    Place { id: self.stands.remove(key).unwrap_or_default(), ordinal: Some(0), ..Place::default() }
                }
                None if first && self.config.start == StreamStart::Now => {
                    info.map_or(Place { ordinal: Some(0), ..Place::default() }, |info| Place {
                        epoch: 0,
                        id: info.last,
                        ordinal: info.added,
                    })
                }
                None => Place { ordinal: info.map_or(Some(0), Info::removed), ..Place::default() },
            }
        };
        Ok(Stream {
            namespace: self.rules.namespace(&partition),
            partition: partition.into(),
            place,
            counted: place.id,
            pending: self.group.is_some().then(EntryId::default),
        })
    }

    /// Where reading goes on in a stream that was read up to `place`, after a look at what the server has.
    ///
    /// # Errors
    /// [`Code::StreamTrimmed`] or [`Code::StreamRemade`], where that is to stop the pipeline.
    fn judged(&self, name: &str, place: Place, asked: EntryId, info: Option<&Info>) -> Result<Place, Fault> {
        // What a group misses is the server's affair.
        let Some(info) = info.filter(|_| self.peeks.is_none()) else { return Ok(place) };
        let stops = self.config.on_lost_position == OnLostEntries::Stop;
        let server = self.reader.place();
        let (code, message, place) = match info.judge(&place, asked) {
            Judgement::Whole => return Ok(place),
            Judgement::Trimmed(count) => {
                let gone = count.map_or_else(|| "entries".to_owned(), |count| format!("{count} entries"));
                let message = format!(
                    "{gone} of the stream `{name}` of Redis at {server} were trimmed before they were read: it was read up to {}",
                    place.id
                );
                // What is missing counts as read.
                let ordinal = place.ordinal.zip(count).map(|(read, count)| read.saturating_add(count));
                (Code::StreamTrimmed, message, Place { ordinal, ..place })
            }
            Judgement::Remade => {
                let message = format!(
                    "the ids of the stream `{name}` of Redis at {server} went back: it was read up to {}, and its newest is {}: it was \
                     deleted and made again, or the server lost its last writes",
                    place.id, info.last
                );
                let ordinal = info.removed();
                (
                    Code::StreamRemade,
                    message,
                    Place { epoch: place.epoch.saturating_add(1), id: EntryId::default(), ordinal },
                )
            }
        };
        if stops {
            return Err(Fault::fatal(
                code,
                format!(
                    "{message}; set `on_lost_position: oldest` of the source to go on with the oldest entry that is there"
                ),
            ));
        }
        tracing::warn!(
            event = "source_position_lost",
            code = code.as_str(),
            stream = name,
            "{message}; it goes on with the oldest entry that is there"
        );
        (self.hooks.on_lost)();
        Ok(place)
    }

    /// Starts a look at the streams when it is time.
    pub(super) async fn start_looking(&mut self) -> Result<(), Fault> {
        if self.open.as_ref().is_none_or(|open| open.looking.is_some() || Instant::now() < open.look_at) {
            return Ok(());
        }
        let mut connection = self.looker.connection().await?;
        let Some(open) = &mut self.open else { return Err(not_open()) };
        let asked = open.streams.iter().map(|(key, stream)| (key.clone(), stream.place.id)).collect();
        let selection = self.selection.clone();
        let task = Task(tokio::spawn(async move { look(&mut connection, &selection).await }));
        open.looking = Some(Looking { task, asked });
        Ok(())
    }

    /// Takes up what a look has found, if one is over. Nothing is being read meanwhile, so that places are those of all that was read.
    pub(super) async fn finish_looking(&mut self) -> Result<(), Fault> {
        let Some(open) = &mut self.open else { return Err(not_open()) };
        if let Some(looking) = open.looking.as_mut().filter(|looking| looking.task.0.is_finished()) {
            let found = (&mut looking.task.0).await;
            let asked = std::mem::take(&mut looking.asked);
            open.looking = None;
            open.look_at = Instant::now() + self.config.discover_every.0;
            match found {
                Ok(Ok(found)) => open.found = Some((found, asked)),
                Ok(Err(why)) => return Err(self.no_look(why)),
                Err(cause) => return Err(broken(&cause)),
            }
        }
        let Some((found, _)) = &open.found else { return Ok(()) };
        let new = |(key, looked): (&Vec<u8>, &Looked)| {
            (matches!(looked, Looked::Stream(_)) && !open.streams.contains_key(key)).then(|| key.clone())
        };
        let new: Vec<Vec<u8>> = found.iter().filter_map(new).collect();
        self.peek(new.iter()).await?;
        self.make_groups(new.iter(), false).await?;
        // Nothing waits from here on.
        let Some(open) = &mut self.open else { return Err(not_open()) };
        let Some((found, asked)) = open.found.take() else { return Ok(()) };
        let mut streams = std::mem::take(&mut open.streams);
        let looked_through = self.look_through(&mut streams, &found, &asked);
        if let Some(open) = &mut self.open {
            open.streams = streams;
        }
        looked_through
    }

    fn look_through(
        &mut self,
        streams: &mut BTreeMap<Vec<u8>, Stream>,
        found: &BTreeMap<Vec<u8>, Looked>,
        asked: &HashMap<Vec<u8>, EntryId>,
    ) -> Result<(), Fault> {
        // Those of a pattern that are gone are not asked for any more; where they stood is remembered.
        streams.retain(|key, stream| {
            let stays = self.selection.names(key) || matches!(found.get(key), Some(Looked::Stream(_)));
            if !stays {
                self.known.insert(stream.partition.to_string(), stream.place);
                tracing::info!(event = "source_stream_gone", stream = &*stream.partition, "a stream is gone");
            }
            stays
        });
        for (key, looked) in found {
            let Looked::Stream(info) = looked else { continue };
            let Some(stream) = streams.get_mut(key) else {
                let stream = self.stream(key, Some(info), false)?;
                tracing::info!(event = "source_stream_found", stream = &*stream.partition, "a new stream is read");
                streams.insert(key.clone(), stream);
                continue;
            };
            if self.group.is_some() {
                continue;
            }
            let asked = asked.get(key).copied().unwrap_or_default();
            let place = self.judged(&stream.partition, stream.place, asked, Some(info))?;
            if place.epoch != stream.place.epoch {
                stream.counted = EntryId::default();
            }
            stream.place = place;
            self.recount(stream, info);
        }
        Ok(())
    }

    /// Where all of a stream is read, what was counted and what the server has counted differ by what was trimmed before it was read,
    /// unless entries were taken out by name.
    fn recount(&self, stream: &mut Stream, info: &Info) {
        let known = info.last == stream.place.id && self.peeks.is_none();
        let Some(added) = info.added.filter(|_| known) else { return };
        let missing = stream.place.ordinal.and_then(|read| added.checked_sub(read)).unwrap_or(0);
        if missing > 0 && info.deleted <= stream.counted {
            tracing::warn!(
                event = "source_position_lost",
                code = Code::StreamTrimmed.as_str(),
                stream = &*stream.partition,
                "{missing} entries of the stream `{}` were trimmed before they were read",
                stream.partition
            );
            (self.hooks.on_lost)();
        }
        stream.place.ordinal = Some(added);
        stream.counted = stream.place.id;
    }
}
