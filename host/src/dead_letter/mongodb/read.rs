//! Reading dead letters out of a MongoDB collection, and marking them there.

use bson::{Bson, Document, RawDocumentBuf, doc, raw::RawDocument};
use futures::TryStreamExt as _;
use mongodb::{Collection, options::FindOptions};

use super::{
    Place,
    document::{part_id, read_letter},
};
use crate::{
    config::MongodbDeadLetterConfig,
    dead_letter::{
        Again, DeadLetter, Kept, Mark, MarkState, Select,
        letters::{Found, PAGE, PAGE_BYTES},
    },
    error::Fault,
    telemetry::metrics::DeadLetterKind,
};

/// Reads the collection, by `seq`.
pub(in crate::dead_letter) struct MongodbLetters {
    place: Place,
    pipeline: String,
    /// Order and key of the last letter read.
    last: Option<(i64, String)>,
    ended: bool,
}

impl MongodbLetters {
    pub(in crate::dead_letter) fn new(config: &MongodbDeadLetterConfig, pipeline: &str) -> Self {
        Self { place: Place::new(config), pipeline: pipeline.to_owned(), last: None, ended: false }
    }

    /// What the server can leave out; the rest is looked at here, as for every place.
    fn filter(&self, select: &Select) -> Document {
        let mut filter = doc! { "pipeline": &self.pipeline };
        if let Some((seq, key)) = &self.last {
            let behind = vec![doc! { "seq": { "$gt": *seq } }, doc! { "seq": *seq, "_id": { "$gt": key } }];
            filter.insert("$or", behind);
        }
        if !select.ids.is_empty() {
            let ids = doc! { "$in": select.ids.clone() };
            filter.insert("$and", vec![doc! { "$or": vec![doc! { "id": ids.clone() }, doc! { "_id": ids }] }]);
        }
        if !select.kinds.is_empty() {
            let kinds: Vec<&str> = select.kinds.iter().map(|kind| kind.as_str()).collect();
            filter.insert("kind", doc! { "$in": kinds });
        }
        for (name, wanted) in [("stage", &select.stages), ("plugin", &select.plugins)] {
            if !wanted.is_empty() {
                filter.insert(name, doc! { "$in": wanted.clone() });
            }
        }
        if let Some(since) = select.since {
            filter.insert("at", doc! { "$gte": bson::DateTime::from_millis(since) });
        }
        if let Some(replayed) = select.replayed {
            filter.insert("replayed_at", doc! { "$exists": replayed });
        }
        filter
    }

    pub(in crate::dead_letter) async fn page(&mut self, select: &Select) -> Result<Vec<Found>, Fault> {
        if self.ended {
            return Ok(Vec::new());
        }
        let collection = self.place.collection().await?;
        let options = FindOptions::builder()
            .sort(doc! { "seq": 1, "_id": 1 })
            .limit(i64::try_from(PAGE).unwrap_or(i64::MAX))
            .batch_size(20)
            .build();
        let find = async { collection.find(self.filter(select)).with_options(options).await };
        let mut cursor = self.place.within(find).await?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        loop {
            let next = async { cursor.try_next().await };
            let Some(document) = self.place.within(next).await? else {
                self.ended = page.len() < PAGE;
                break;
            };
            bytes += document.as_bytes().len();
            let found = self.found(&collection, &document).await?;
            self.last = Some((document.get_i64("seq").unwrap_or_default(), found.key.clone()));
            page.push(found);
            if bytes > PAGE_BYTES {
                break;
            }
        }
        Ok(page)
    }

    async fn found(&self, collection: &Collection<RawDocumentBuf>, document: &RawDocument) -> Result<Found, Fault> {
        let key = document.get_str("_id").unwrap_or_default().to_owned();
        let parts = document.get_i32("parts").ok().and_then(|parts| usize::try_from(parts).ok()).unwrap_or_default();
        let letter = match parts {
            0 => read_letter(document),
            parts => self.joined(collection, &key, parts).await?,
        };
        let letter = letter.map_err(|cause| format!("`{key}` in `{}` is no dead letter: {cause}", self.place.name()));
        let mark = mark_of(document, &key);
        Ok(Found { letter, mark, entry: key.clone(), key, size: document.as_bytes().len(), parts })
    }

    /// A letter that was too large for one document.
    async fn joined(
        &self,
        collection: &Collection<RawDocumentBuf>,
        key: &str,
        parts: usize,
    ) -> Result<Result<DeadLetter, String>, Fault> {
        let mut json = Vec::new();
        for number in 0..parts {
            let find = async { collection.find_one(doc! { "_id": part_id(key, number) }).await };
            match self.place.within(find).await? {
                Some(part) => match part.get_binary("bytes") {
                    Ok(bytes) => json.extend_from_slice(bytes.bytes),
                    Err(cause) => return Ok(Err(cause.to_string())),
                },
                None => return Ok(Err(format!("part {number} of {parts} is missing"))),
            }
        }
        Ok(DeadLetter::read_json(&json, &self.pipeline))
    }

    pub(in crate::dead_letter) async fn mark(&mut self, marks: &[Mark]) -> Result<(), Fault> {
        let collection = self.place.collection().await?;
        for mark in marks {
            let at = bson::DateTime::from_millis(mark.at);
            let update = match (&mark.state, &mark.again) {
                (MarkState::Failed, Some(again)) => failed_again(at, again),
                (MarkState::Failed, None) => doc! { "$set": { "failed_at": at } },
                _ => doc! { "$set": { "replayed_at": at }, "$unset": { "failed_at": "", "replay_sinks": "" } },
            };
            // Only what was written before it was replayed: a letter that came in again meanwhile stays open.
            let which = doc! { "_id": &mark.key, "at": { "$lte": at } };
            let call = async { collection.update_one(which, update).await };
            self.place.within(call).await?;
        }
        Ok(())
    }

    pub(in crate::dead_letter) async fn remove(&mut self, letters: &[Kept]) -> Result<(), Fault> {
        let keys: Vec<&str> = letters.iter().map(|kept| kept.key.as_str()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let collection = self.place.collection().await?;
        // The letters first: parts that are left over belong to nobody, a letter without its parts could not be read.
        let call = async { collection.delete_many(doc! { "_id": { "$in": &keys } }).await };
        self.place.within(call).await?;
        for kept in letters.iter().filter(|kept| kept.parts > 0) {
            let parts: Vec<String> = (0..kept.parts).map(|number| part_id(&kept.key, number)).collect();
            let call = async { collection.delete_many(doc! { "_id": { "$in": parts } }).await };
            self.place.within(call).await?;
        }
        Ok(())
    }
}

fn failed_again(at: bson::DateTime, again: &Again) -> Document {
    let mut set = doc! {
        "failed_at": at,
        "kind": &again.kind,
        "stage": &again.stage,
        "reason": &again.reason,
        "replay_sinks": again.sinks.clone(),
        "violations": again
            .violations
            .iter()
            .map(|(path, message)| Bson::from(doc! { "path": path, "message": message }))
            .collect::<Vec<_>>(),
    };
    let mut unset = doc! { "replayed_at": "" };
    for (name, value) in
        [("plugin", &again.plugin), ("plugin_version", &again.plugin_version), ("plugin_digest", &again.plugin_digest)]
    {
        match value {
            Some(value) => drop(set.insert(name, value)),
            None => drop(unset.insert(name, "")),
        }
    }
    match again.generation {
        Some(generation) => drop(set.insert("generation", i64::try_from(generation).unwrap_or(i64::MAX))),
        None => drop(unset.insert("generation", "")),
    }
    doc! { "$set": set, "$unset": unset }
}

fn mark_of(document: &RawDocument, key: &str) -> Option<Mark> {
    let at = |name: &str| document.get_datetime(name).ok().map(|at| at.timestamp_millis());
    if let Some(at) = at("replayed_at") {
        return Some(Mark { key: key.to_owned(), state: MarkState::Replayed, at, again: None });
    }
    let at = at("failed_at")?;
    let letter = read_letter(document).ok();
    let text = |name: &str| document.get_str(name).unwrap_or_default().to_owned();
    let sinks = document
        .get_array("replay_sinks")
        .ok()
        .map(|list| list.into_iter().flatten().filter_map(|sink| sink.as_str().map(str::to_owned)).collect::<Vec<_>>());
    let again = Again {
        kind: letter.as_ref().map_or(DeadLetterKind::Failed, |letter| letter.kind).as_str().to_owned(),
        stage: text("stage"),
        plugin: document.get_str("plugin").ok().map(str::to_owned),
        generation: document.get_i64("generation").ok().and_then(|generation| u64::try_from(generation).ok()),
        plugin_version: document.get_str("plugin_version").ok().map(str::to_owned),
        plugin_digest: document.get_str("plugin_digest").ok().map(str::to_owned),
        reason: text("reason"),
        violations: letter.map(|letter| letter.violations).unwrap_or_default(),
        sinks: sinks.unwrap_or_default(),
    };
    Some(Mark { key: key.to_owned(), state: MarkState::Failed, at, again: Some(Box::new(again)) })
}
