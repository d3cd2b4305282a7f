//! Compares options and indexes of a collection.

use std::collections::{BTreeMap, BTreeSet};

use bson::{Bson, Document};

use super::scope::Pair;
use crate::error::Fault;

/// What is of a server, or of its version, and not of the collection.
const OF_THE_SERVER: &[&str] =
    &["uuid", "v", "ns", "background", "version", "textIndexVersion", "2dsphereIndexVersion"];

/// What differs, in words.
pub(super) async fn compare(pair: &Pair<'_>) -> Result<Vec<String>, Fault> {
    let (source, target) = match (&pair.in_source, &pair.in_target) {
        (Some(source), Some(target)) => (source, target),
        (Some(_), None) => return Ok(vec!["the target has no such collection".to_owned()]),
        (None, _) => return Ok(vec!["the source has no such collection".to_owned()]),
    };
    let mut found = Vec::new();
    if source.kind != target.kind {
        found.push(format!("it is a {} in the source and a {} in the target", source.kind, target.kind));
    }
    entries("option", &source.options, &target.options, &mut found);
    let (source, target) = tokio::try_join!(pair.source.indexes(), pair.target.indexes())?;
    indexes(&by_name(source), &by_name(target), &mut found);
    Ok(found)
}

fn by_name(indexes: Vec<Document>) -> BTreeMap<String, Document> {
    indexes.into_iter().filter_map(|index| Some((index.get_str("name").ok()?.to_owned(), index))).collect()
}

fn indexes(source: &BTreeMap<String, Document>, target: &BTreeMap<String, Document>, found: &mut Vec<String>) {
    for (name, index) in source {
        match target.get(name) {
            Some(other) => {
                let mut differing = Vec::new();
                // The order of an index's fields counts, as that of nothing else here.
                if index.get_document("key").ok().map(order_of) != other.get_document("key").ok().map(order_of) {
                    differing.push("key".to_owned());
                }
                entries("", index, other, &mut differing);
                differing.dedup();
                if !differing.is_empty() {
                    found.push(format!("index `{name}` differs: {}", differing.join("; ")));
                }
            }
            None => found.push(format!("the target has no index `{name}`")),
        }
    }
    for name in target.keys().filter(|name| !source.contains_key(*name)) {
        found.push(format!("only the target has an index `{name}`"));
    }
}

fn order_of(key: &Document) -> Vec<&str> {
    key.keys().map(String::as_str).collect()
}

/// Entries that differ, whatever their order is.
fn entries(what: &str, source: &Document, target: &Document, found: &mut Vec<String>) {
    let names: BTreeSet<&String> = source.keys().chain(target.keys()).collect();
    for name in names.into_iter().filter(|name| !OF_THE_SERVER.contains(&name.as_str())) {
        let (left, right) = (source.get(name), target.get(name));
        if left.map(plain) != right.map(plain) {
            let told = |value: Option<&Bson>| {
                value.map_or_else(|| "not set".to_owned(), |value| value.clone().into_relaxed_extjson().to_string())
            };
            let what = if what.is_empty() { name.clone() } else { format!("{what} `{name}`") };
            found.push(format!("{what} is {} in the source and {} in the target", told(left), told(right)));
        }
    }
}

/// A value without the order of fields and the types of numbers, which tools write as they like.
fn plain(value: &Bson) -> Bson {
    match value {
        Bson::Document(document) => {
            let sorted: BTreeMap<&String, &Bson> =
                document.iter().filter(|(name, _)| !OF_THE_SERVER.contains(&name.as_str())).collect();
            Bson::Document(sorted.into_iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
        Bson::Array(values) => Bson::Array(values.iter().map(plain).collect()),
        Bson::Int32(number) => Bson::Double(f64::from(*number)),
        Bson::Int64(number) => Bson::Double(*number as f64),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::{by_name, entries, indexes};

    #[test]
    fn only_what_means_something_differs() {
        let mut found = Vec::new();
        let options =
            |size: bson::Bson| doc! { "capped": true, "size": size, "collation": { "locale": "de", "version": "1" } };
        entries("option", &options(4096.into()), &options(4096_i64.into()), &mut found);
        assert_eq!(found, Vec::<String>::new());
        entries("option", &doc! { "capped": true }, &doc! {}, &mut found);
        assert_eq!(found, ["option `capped` is true in the source and not set in the target"]);
    }

    #[test]
    fn indexes_are_known_by_name() {
        let index =
            |name: &str, key: Document, unique: bool| doc! { "v": 2, "name": name, "key": key, "unique": unique };
        let source = vec![
            index("_id_", doc! { "_id": 1 }, false),
            index("a", doc! { "a": 1, "b": 1 }, true),
            index("gone", doc! { "c": 1 }, false),
        ];
        let target = vec![
            index("_id_", doc! { "_id": 1.0 }, false),
            index("a", doc! { "b": 1, "a": 1 }, false),
            index("new", doc! { "d": 1 }, false),
        ];
        let mut found = Vec::new();
        indexes(&by_name(source), &by_name(target), &mut found);
        assert_eq!(
            found,
            [
                "index `a` differs: key; unique is true in the source and false in the target",
                "the target has no index `gone`",
                "only the target has an index `new`",
            ]
        );
    }
}
