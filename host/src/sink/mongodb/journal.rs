//! `mode: append`: a document for each change.

use bson::{
    cstr,
    raw::{RawBsonRef, RawDocumentBuf},
};

use crate::batch::Delivery;

/// A change as a document of its own.
pub(super) fn entry(delivery: &Delivery<'_>) -> Result<RawDocumentBuf, String> {
    let change = delivery.change;
    let mut item = RawDocumentBuf::new();
    item.append(cstr!("id"), &*change.id);
    item.append(cstr!("op"), change.operation.as_str());
    item.append(cstr!("ns"), change.namespace.as_str());
    for (name, document) in
        [(cstr!("key"), &change.key), (cstr!("doc"), &change.document), (cstr!("update"), &change.update)]
    {
        if let Some(document) = document {
            item.append(name, RawBsonRef::Document(document.as_raw()));
        }
    }
    if let Some(time) = change.cluster_time {
        let time = bson::Timestamp { time: (time >> 32) as u32, increment: (time & u64::from(u32::MAX)) as u32 };
        item.append(cstr!("cluster_time"), time);
    }
    if let Some(wall) = change.wall_time {
        item.append(cstr!("wall_time"), bson::DateTime::from_millis(wall));
    }
    let mut headers = RawDocumentBuf::new();
    for (name, value) in delivery.headers() {
        let name = bson::raw::CString::try_from(name.to_owned())
            .map_err(|_| format!("the name of its header `{}` holds a NUL", name.escape_debug()))?;
        headers.append(name, value);
    }
    if !headers.is_empty() {
        item.append(cstr!("headers"), headers);
    }
    Ok(item)
}
