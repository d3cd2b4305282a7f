//! The changes that are measured with: what the host holds of an insert.

use std::sync::Arc;

use bson::{DateTime, oid::ObjectId, rawdoc};
use bytes::Bytes;
use tidegate::change::{Change, Doc, Header, Headers, Namespace, Operation, SCHEMA_VERSION};
use wasmtime::{Result, ensure};

/// Bytes of a document, as in the figures of decision 0001.
const DOCUMENT_BYTES: usize = 308;

/// Inserts of inventory documents in one collection, each with one header.
pub(crate) fn batch(size: usize) -> Result<Vec<Change>> {
    let namespace = Arc::new(Namespace::new("shop", "inventory"));
    (0..size).map(|index| change(index, &namespace)).collect()
}

fn change(index: usize, namespace: &Arc<Namespace>) -> Result<Change> {
    let id = ObjectId::parse_str(format!("65f1c0de{index:016x}"))?;
    let document = rawdoc! {
        "_id": id,
        "_schema_version": "v1",
        "product_id": format!("PROD-{index:08}"),
        "warehouse_id": "WH-EAST-1",
        "category": "electronics",
        "brand": "Northwind Traders",
        "sku": format!("SKU-{index:010}"),
        "threshold_min": 10,
        "threshold_max": 500,
        "quantity": 42,
        "updated_at": DateTime::from_millis(1_700_000_000_000),
        "location": "aisle 12, rack 4, shelf 3, front right",
    };
    ensure!(document.as_bytes().len() == DOCUMENT_BYTES, "a document has {} bytes", document.as_bytes().len());
    let header = Header { name: SCHEMA_VERSION.into(), value: "v1".into() };
    Ok(Change {
        id: format!("65f1c0de.{index:08x}.0").into(),
        operation: Operation::Insert,
        namespace: namespace.clone(),
        key: Some(Doc::from_bytes(Bytes::from(rawdoc! { "_id": id }.into_bytes()))?),
        document: Some(document.into()),
        before: None,
        update: None,
        cluster_time: Some(0x65f1_c0de_0000_0001 + index as u64),
        wall_time: Some(1_700_000_000_000),
        headers: Headers::from_iter([header]),
        position: None,
    })
}
