//! The documents that are inserted: inventory documents of schema version `v1`, valid, 275 to 300 bytes, as issue trackers
//! and shops have them: mostly short texts, some numbers.

use bson::{RawDocumentBuf, oid::ObjectId, rawdoc};

/// A router sends each warehouse to a stream of its own.
pub(crate) const WAREHOUSES: [&str; 4] = ["WH-EAST-1", "WH-EAST-2", "WH-NORTH-1", "WH-WEST-1"];

const CATEGORIES: [&str; 3] = ["electronics", "furniture", "groceries"];
const BRANDS: [&str; 2] = ["Northwind", "Contoso Ltd"];

/// The document with a number; the same number gives the same document but for its `_id`.
pub(crate) fn inventory(number: u64) -> RawDocumentBuf {
    let (hours, minutes, seconds) = (number / 3600 % 24, number / 60 % 60, number % 60);
    rawdoc! {
        "_id": ObjectId::new(),
        "_schema_version": "v1",
        "product_id": format!("PROD-{number:08}"),
        "warehouse_id": pick(&WAREHOUSES, number),
        "quantity": i32::try_from(number % 1000).unwrap_or_default(),
        "last_updated": format!("2026-03-14T{hours:02}:{minutes:02}:{seconds:02}Z"),
        "category": pick(&CATEGORIES, number),
        "brand": pick(&BRANDS, number / 3),
        "sku": format!("SKU-{number:010}"),
        "threshold_min": 10,
        "threshold_max": 500,
        "location": "aisle 12, rack 4",
    }
}

fn pick(names: &[&'static str], number: u64) -> &'static str {
    let index = usize::try_from(number).unwrap_or_default() % names.len().max(1);
    names.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::inventory;

    #[test]
    fn documents_have_the_size_the_figures_are_stated_for() {
        for number in [0, 7, 299_999, 1_000_000] {
            let size = inventory(number).as_bytes().len();
            assert!((275..=300).contains(&size), "document {number} has {size} bytes");
        }
    }
}
