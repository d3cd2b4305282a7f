//! Documents of updates, fetched in one `find` for each collection of a batch.

use std::{collections::HashMap, sync::Arc};

use bson::{Bson, doc, raw::RawDocument};
use bytes::Bytes;
use futures::StreamExt as _;
use mongodb::{
    Client,
    error::Result,
    options::{FindOptions, ReadConcern, ReadPreference, SelectionCriteria},
};

use crate::{
    change::{Change, Doc, Namespace, Operation},
    format::elements::Elements,
    source::mongodb::{event::Reply, stream::Owner},
};

/// An `_id` as its type byte and bytes: equal only to the very same value.
type Id = (u8, Bytes);

/// Gives each update without a document that is `wanted` the document as it is now; an update whose document is gone keeps none.
/// Returns a time at which none of these documents was newer; none where the server tells none, or nothing was looked up.
///
/// It is read from the primary, with read concern majority as the stream: a secondary could still be behind the update, and
/// the old state would stay for good if no later change followed.
pub(in crate::source::mongodb) async fn attach(
    changes: &mut [Change],
    wanted_at: impl Fn(usize, &Change) -> bool,
    client: &Client,
) -> Result<Option<u64>> {
    let mut time = None;
    let mut wanted: HashMap<Arc<Namespace>, HashMap<Id, Vec<usize>>> = HashMap::new();
    for (index, change) in changes.iter().enumerate() {
        if change.operation == Operation::Update
            && change.document.is_none()
            && wanted_at(index, change)
            && let Some(id) = change.key.as_ref().and_then(|key| id_of(key.as_bytes(), Bytes::copy_from_slice))
        {
            wanted.entry(change.namespace.clone()).or_default().entry(id).or_default().push(index);
        }
    }
    for (namespace, mut by_id) in wanted {
        let ids: Vec<Bson> = by_id
            .values()
            .filter_map(|indexes| {
                changes.get(*indexes.first()?)?.key.as_ref()?.as_raw().get("_id").ok()??.try_into().ok()
            })
            .collect();
        let mut options = FindOptions::default();
        options.batch_size = u32::try_from(ids.len() + 1).ok();
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        let collection =
            client.database(namespace.database()).collection::<bson::RawDocumentBuf>(namespace.collection());
        let mut cursor = collection.find(doc! { "_id": { "$in": ids } }).with_options(options).batch().await?;
        while let Some(reply) = cursor.next().await {
            let buffer = Bytes::from_owner(Owner(reply?));
            // What cannot be read is treated as gone; the change itself is not lost.
            let Ok(reply) = Reply::new(buffer.clone()) else { continue };
            time = time.max(reply.operation_time);
            for (document, _) in reply.events(0).flatten() {
                let Some(indexes) = id_of(document, Bytes::copy_from_slice).and_then(|id| by_id.remove(&id)) else {
                    continue;
                };
                let Ok(raw) = RawDocument::from_bytes(document) else { continue };
                for index in indexes {
                    if let Some(change) = changes.get_mut(index) {
                        change.document = Some(Doc::inside(&buffer, raw));
                    }
                }
            }
        }
    }
    Ok(time)
}

fn id_of(document: &[u8], bytes: impl Fn(&[u8]) -> Bytes) -> Option<Id> {
    let id = Elements::of(document).ok()?.find(b"_id").ok()??;
    Some((id.kind, bytes(id.value)))
}
