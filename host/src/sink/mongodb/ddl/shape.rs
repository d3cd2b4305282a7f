//! What a change of a collection says, as the commands that do the same: the server tells of it in another form than it takes.

use bson::{Bson, Document, doc};

/// Options of `create` that are copied.
const CREATE: [&str; 12] = [
    "capped",
    "size",
    "max",
    "timeseries",
    "expireAfterSeconds",
    "clusteredIndex",
    "changeStreamPreAndPostImages",
    "validator",
    "validationLevel",
    "validationAction",
    "viewOn",
    "pipeline",
];
/// What the server says of a collection that is nobody's choice: `temp` is of a collection that `$out` fills, which gets its name when
/// it is full.
const OWN: [&str; 7] = ["idIndex", "temp", "uuid", "autoIndexId", "flags", "nsType", "to"];
/// What `collMod` takes.
const MODIFY: [&str; 12] = [
    "index",
    "validator",
    "validationLevel",
    "validationAction",
    "viewOn",
    "pipeline",
    "cappedSize",
    "cappedMax",
    "expireAfterSeconds",
    "changeStreamPreAndPostImages",
    "timeseries",
    "recordPreImages",
];
/// Where the server keeps the documents of a time-series collection; the collection itself is a view on it.
const BUCKETS: &str = "system.buckets.";

/// A command's options, and the names of those that were left out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Options {
    pub(super) taken: Document,
    pub(super) left: Vec<String>,
}

/// The options of `create`. Before 8.0 a server tells of a time-series collection as of a view on its buckets.
pub(super) fn create(description: &Document) -> Options {
    if let Some(timeseries) = unpacked(description) {
        return Options { taken: doc! { "timeseries": timeseries }, left: Vec::new() };
    }
    let mut options = Options::default();
    for (name, value) in description {
        match name.as_str() {
            "collation" => _ = options.taken.insert(name, collation(value)),
            "timeseries" => _ = options.taken.insert(name, timeseries(value)),
            known if CREATE.contains(&known) => _ = options.taken.insert(name, value.clone()),
            own if OWN.contains(&own) => {}
            other => options.left.push(other.to_owned()),
        }
    }
    options
}

/// The options of `collMod`.
pub(super) fn modify(description: &Document) -> Options {
    if let Some(timeseries) = unpacked(description) {
        let granularity = timeseries.get("granularity").cloned();
        let taken = granularity.map(|granularity| doc! { "timeseries": { "granularity": granularity } });
        return Options { taken: taken.unwrap_or_default(), left: Vec::new() };
    }
    let mut options = Options::default();
    for (name, value) in description {
        match name.as_str() {
            known if MODIFY.contains(&known) => _ = options.taken.insert(name, value.clone()),
            own if OWN.contains(&own) => {}
            other => options.left.push(other.to_owned()),
        }
    }
    options
}

/// The indexes of a change as `createIndexes` takes them. The version and the place are the server's own; the index on `_id` and the
/// one of a clustered collection are there with the collection.
pub(super) fn indexes(description: &Document) -> Vec<Document> {
    let specs = description.get_array("indexes").map(Vec::as_slice).unwrap_or_default();
    let specs = specs.iter().filter_map(Bson::as_document);
    let own =
        |spec: &&Document| spec.get_str("name").ok() == Some("_id_") || spec.get_bool("clustered").ok() == Some(true);
    specs
        .filter(|spec| !own(spec))
        .map(|spec| {
            let kept = spec.iter().filter(|(name, _)| !matches!(name.as_str(), "v" | "ns" | "background"));
            kept.map(|(name, value)| (name.clone(), if name == "collation" { collation(value) } else { value.clone() }))
                .collect()
        })
        .collect()
}

/// Without the version of the tables, which differs from server to server.
fn collation(value: &Bson) -> Bson {
    without(value, &["version"])
}

/// Without what follows from the granularity, where there is one.
fn timeseries(value: &Bson) -> Bson {
    match value.as_document() {
        Some(options) if options.contains_key("granularity") => {
            without(value, &["bucketMaxSpanSeconds", "bucketRoundingSeconds"])
        }
        _ => value.clone(),
    }
}

fn without(value: &Bson, names: &[&str]) -> Bson {
    match value.as_document() {
        Some(document) => {
            let kept = document.iter().filter(|(name, _)| !names.contains(&name.as_str()));
            Bson::Document(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        None => value.clone(),
    }
}

/// The options of the time-series collection of which this is the view.
fn unpacked(description: &Document) -> Option<Document> {
    description.get_str("viewOn").ok()?.strip_prefix(BUCKETS)?;
    let stages = description.get_array("pipeline").ok()?;
    let unpack = stages.first()?.as_document()?.get_document("$_internalUnpackBucket").ok()?;
    let mut options = doc! { "timeField": unpack.get_str("timeField").ok()? };
    if let Ok(meta) = unpack.get_str("metaField") {
        options.insert("metaField", meta);
    }
    match unpack.get("bucketMaxSpanSeconds").and_then(whole) {
        Some(3600) => _ = options.insert("granularity", "seconds"),
        Some(86400) => _ = options.insert("granularity", "minutes"),
        Some(2_592_000) => _ = options.insert("granularity", "hours"),
        Some(span) => {
            options.insert("bucketMaxSpanSeconds", span);
            options.insert("bucketRoundingSeconds", span);
        }
        None => {}
    }
    Some(options)
}

fn whole(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

/// Whether a collection that has the options `found` is what `wanted` would make.
pub(super) fn same_collection(wanted: &Document, found: &Document) -> bool {
    let (mut wanted, mut found) = (create(wanted).taken, create(found).taken);
    for options in [&mut wanted, &mut found] {
        for (name, default) in [("validationLevel", "strict"), ("validationAction", "error")] {
            if options.get_str(name).ok() == Some(default) {
                options.remove(name);
            }
        }
        if options.get_document("validator").is_ok_and(Document::is_empty) {
            options.remove("validator");
        }
        if options
            .get_document("changeStreamPreAndPostImages")
            .is_ok_and(|images| images.get_bool("enabled").ok() == Some(false))
        {
            options.remove("changeStreamPreAndPostImages");
        }
        if options.get_bool("capped").ok() == Some(false) {
            options.remove("capped");
        }
        // The server rounds it up.
        if let Some(size) = options.get("size").and_then(whole) {
            options.insert("size", (size + 255) / 256 * 256);
        }
        if let Ok(clustered) = options.get_document_mut("clusteredIndex") {
            clustered.remove("v");
            clustered.remove("name");
        }
        if let Ok(timeseries) = options.get_document_mut("timeseries") {
            timeseries.remove("bucketMaxSpanSeconds");
            timeseries.remove("bucketRoundingSeconds");
            if timeseries.get_str("granularity").ok() == Some("seconds") {
                timeseries.remove("granularity");
            }
        }
    }
    // The event of a time-series collection does not tell when its documents expire.
    if wanted.contains_key("timeseries") && !wanted.contains_key("expireAfterSeconds") {
        found.remove("expireAfterSeconds");
    }
    same(&Bson::Document(wanted), &Bson::Document(found))
}

/// Equal but for the types of numbers and the order of options.
fn same(one: &Bson, other: &Bson) -> bool {
    match (one, other) {
        (Bson::Document(one), Bson::Document(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        (Bson::Array(one), Bson::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        _ => match (whole(one), whole(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
    }
}

/// The option that a server complains of, among those it was given: it does not know it, or knows it in another form.
pub(super) fn unknown<'a>(told: &str, given: &'a Document) -> Option<&'a str> {
    let complaint = told.contains("unknown field") || told.contains("wrong type") || told.contains("not a valid");
    let named = |name: &&str| told.contains(&format!("'create.{name}'")) || told.contains(&format!("'{name}'"));
    given.keys().map(String::as_str).filter(|_| complaint).find(named)
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::{Options, create, indexes, modify, same_collection, unknown};

    #[test]
    fn time_series_are_told_from_their_buckets() {
        let event = |span: i32| {
            let unpack = doc! { "timeField": "t", "metaField": "m", "bucketMaxSpanSeconds": span };
            doc! { "viewOn": "system.buckets.ts", "pipeline": [{ "$_internalUnpackBucket": unpack }] }
        };
        let options = create(&event(86400)).taken;
        assert_eq!(options, doc! { "timeseries": { "timeField": "t", "metaField": "m", "granularity": "minutes" } });
        assert_eq!(modify(&event(2_592_000)).taken, doc! { "timeseries": { "granularity": "hours" } });
        let found = doc! {
            "expireAfterSeconds": 100_i64,
            "timeseries": { "timeField": "t", "metaField": "m", "granularity": "minutes", "bucketMaxSpanSeconds": 86400 },
        };
        assert!(same_collection(&event(86400), &found));
        assert!(!same_collection(&event(3600), &found));
    }

    #[test]
    fn what_the_server_chose_is_left_out_and_what_it_may_not_know_is_named() {
        let description = doc! {
            "capped": true, "size": 5120, "collation": { "locale": "fr", "version": "57.1" }, "temp": true, "uuid": 1,
            "storageEngine": {}, "idIndex": { "v": 2 },
        };
        let expected = doc! { "capped": true, "size": 5120, "collation": { "locale": "fr" } };
        assert_eq!(create(&description), Options { taken: expected, left: vec!["storageEngine".into()] });
        let specs = doc! { "indexes": [
            { "v": 2, "key": { "_id": 1 }, "name": "_id_" },
            { "v": 2, "key": { "_id": 1 }, "name": "c", "clustered": true, "unique": true },
            { "v": 2, "ns": "d.c", "key": { "a": 1 }, "name": "a", "collation": { "locale": "de", "version": "57.1" } },
        ] };
        assert_eq!(indexes(&specs), [doc! { "key": { "a": 1 }, "name": "a", "collation": { "locale": "de" } }]);
    }

    #[test]
    fn the_same_collection_in_other_words() {
        let wanted = doc! { "capped": true, "size": 5000, "max": 3, "idIndex": {} };
        assert!(same_collection(&wanted, &doc! { "capped": true, "max": 3_i64, "size": 5120.0, "uuid": 7 }));
        assert!(!same_collection(&wanted, &doc! { "capped": true, "size": 5120 }));
        assert!(same_collection(&doc! {}, &doc! { "validationLevel": "strict", "validationAction": "error" }));
        assert!(!same_collection(&doc! {}, &doc! { "validator": { "a": 1 } }));
    }

    #[test]
    fn the_option_that_a_server_complains_of() {
        let given = doc! { "validator": {}, "clusteredIndex": {} };
        let told = "BSON field 'create.clusteredIndex' is the wrong type 'object', expected types '[bool, long]'";
        assert_eq!(unknown(told, &given), Some("clusteredIndex"));
        assert_eq!(unknown("BSON field 'create.bogus' is an unknown field.", &given), None);
        assert_eq!(unknown("'validator' is odd", &given), None);
    }
}
