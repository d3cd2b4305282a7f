//! What is expected of a plugin, as people write it: in the golden samples of a swap and in the cases of `tidegate plugin test`.
//!
//! | role | an expectation is |
//! |---|---|
//! | validator | `"accept"`, `{"reject":[{"path","message"}, ...]}` |
//! | migrator | `"unchanged"`, `{"unchanged":VERSION}`, `{"migrated":{"from","to","doc"}}`, `{"failed":REASON}` |
//! | transformer | `"unchanged"`, `{"changes":[{"op","ns","key","doc","headers"}, ...]}`, `{"failed":REASON}` |
//! | router | `{"deliver":[{"sink","target","ordering_key","attributes"}, ...]}`, `{"failed":REASON}` |
//!
//! What a transformer's change does not say of `op`, `ns`, `key` and `headers` is as in the change that went in; any other member that
//! is left out is absent. Documents are Extended or plain JSON. They are compared by value: the order of fields does not count, and a number
//! is written as one likes.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    abi::Outcome,
    component::{Role, Violation},
};
use crate::{
    change::{Change, Doc, Headers},
    format::{
        json::{Style, write_document},
        keep,
    },
};

/// What is expected of one change.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// It passes as it is, with this version where a migrator says one.
    Unchanged(Option<String>),
    /// A validator finds this wrong.
    Reject(Vec<Fault>),
    /// A migrator makes another document of it.
    Migrated(Migrated),
    /// A transformer makes these changes of it.
    Changes(Vec<Output>),
    /// A router sends it there.
    Deliver(Vec<Destination>),
    /// The plugin says that it cannot do its work.
    Failed(String),
}

/// What a validator finds wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    #[serde(default)]
    path: String,
    message: String,
}

/// What a migrator makes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Migrated {
    from: Option<String>,
    to: Option<String>,
    doc: Map<String, Value>,
}

/// One change that a transformer makes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Output {
    op: Option<String>,
    ns: Option<String>,
    key: Option<Map<String, Value>>,
    doc: Option<Map<String, Value>>,
    headers: Option<BTreeMap<String, String>>,
}

/// Where a router sends a change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Destination {
    sink: Option<String>,
    target: Option<String>,
    ordering_key: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

impl Expected {
    /// Reads an expectation of a role.
    ///
    /// # Errors
    /// What it should be.
    pub(crate) fn read(role: Role, value: &Value) -> Result<Self, String> {
        let wrong = || {
            let forms = match role {
                Role::Validator => "`accept` or `reject: [ { path, message } ]`",
                Role::Migrator => {
                    "`unchanged`, `unchanged: VERSION`, `migrated: { from, to, doc }` or `failed: REASON`"
                }
                Role::Transformer => "`unchanged`, `changes: [ { op, ns, key, doc, headers } ]` or `failed: REASON`",
                Role::Router => "`deliver: [ { sink, target, ordering_key, attributes } ]` or `failed: REASON`",
            };
            format!("what is expected of a {} is {forms}, not {value}", role.as_str())
        };
        if let Value::String(word) = value {
            return match (role, word.as_str()) {
                (Role::Validator, "accept") | (Role::Migrator | Role::Transformer, "unchanged") => {
                    Ok(Self::Unchanged(None))
                }
                _ => Err(wrong()),
            };
        }
        let entry = value.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next());
        let Some((word, inner)) = entry else { return Err(wrong()) };
        match (role, word.as_str()) {
            (Role::Validator, "reject") => read(word, inner).map(Self::Reject),
            (Role::Migrator, "unchanged") => read(word, inner).map(|version| Self::Unchanged(Some(version))),
            (Role::Migrator, "migrated") => read(word, inner).map(Self::Migrated),
            (Role::Transformer, "changes") => read(word, inner).map(Self::Changes),
            (Role::Router, "deliver") => read(word, inner).map(Self::Deliver),
            (Role::Migrator | Role::Transformer | Role::Router, "failed") => read(word, inner).map(Self::Failed),
            _ => Err(wrong()),
        }
    }

    /// The sinks it names: a router may name no others than the pipeline has.
    pub(crate) fn sinks(&self) -> impl Iterator<Item = &str> {
        let destinations = match self {
            Self::Deliver(destinations) => destinations.as_slice(),
            _ => &[],
        };
        destinations.iter().filter_map(|destination| destination.sink.as_deref())
    }

    /// Whether it is what the plugin made of `origin`.
    pub(crate) fn is_met(&self, outcome: &Outcome, origin: &Change, sinks: &[String]) -> bool {
        match (self, outcome) {
            (Self::Unchanged(None), Outcome::Unchanged) => true,
            (Self::Unchanged(Some(expected)), Outcome::Version(version)) => **expected == **version,
            (Self::Reject(expected), Outcome::Rejected(violations)) => {
                let same = |(e, v): (&Fault, &Violation)| e.path == v.path && e.message == v.message;
                expected.len() == violations.len() && expected.iter().zip(violations).all(same)
            }
            (Self::Migrated(expected), Outcome::Migrated { document, from, to }) => {
                expected.from.as_deref() == from.as_deref()
                    && expected.to.as_deref() == to.as_deref()
                    && is_document(&expected.doc, Some(document))
            }
            (Self::Changes(expected), Outcome::Became(changes)) => {
                expected.len() == changes.len()
                    && expected.iter().zip(changes).all(|(output, change)| output.is(change, origin))
            }
            (Self::Deliver(expected), Outcome::Routed(destinations)) => {
                expected.len() == destinations.len()
                    && expected.iter().zip(destinations).all(|(e, got)| *e == destination(got, sinks))
            }
            (Self::Failed(expected), Outcome::Failed(reason)) => expected == reason,
            _ => false,
        }
    }
}

fn read<T: DeserializeOwned>(word: &str, value: &Value) -> Result<T, String> {
    T::deserialize(value).map_err(|cause| format!("`{word}`: {cause}"))
}

impl Output {
    fn is(&self, change: &Change, origin: &Change) -> bool {
        let document = |expected: &Option<Map<String, Value>>, got: Option<&Doc>| match expected {
            Some(expected) => is_document(expected, got),
            None => got.is_none(),
        };
        self.op.as_deref().unwrap_or(origin.operation.as_str()) == change.operation.as_str()
            && self.ns.as_deref().unwrap_or(origin.namespace.as_str()) == change.namespace.as_str()
            && (self.key.is_none() && change.key == origin.key || document(&self.key, change.key.as_ref()))
            && document(&self.doc, change.document.as_ref())
            && self.headers.clone().unwrap_or_else(|| headers(&origin.headers)) == headers(&change.headers)
    }
}

/// Read with the types of what is there, it must be what is there.
fn is_document(expected: &Map<String, Value>, got: Option<&Doc>) -> bool {
    let Some(got) = got else { return false };
    let text = Value::Object(expected.clone()).to_string();
    keep::read_document(text.as_bytes(), Some(got.as_bytes())).is_ok_and(|expected| expected == got.as_bytes())
}

fn headers(headers: &Headers) -> BTreeMap<String, String> {
    headers.iter().map(|header| (header.name.to_string(), header.value.to_string())).collect()
}

fn destination(got: &crate::batch::Destination, sinks: &[String]) -> Destination {
    Destination {
        sink: got.sink.and_then(|sink| sinks.get(sink)).cloned(),
        target: got.target.as_deref().map(str::to_owned),
        ordering_key: got.ordering_key.as_deref().map(str::to_owned),
        attributes: headers(&got.attributes),
    }
}

/// What a plugin made of `origin`, as an expectation is written.
pub(crate) fn shown(role: Role, outcome: &Outcome, origin: &Change, sinks: &[String]) -> Value {
    match outcome {
        Outcome::Unchanged if role == Role::Validator => json!("accept"),
        Outcome::Unchanged => json!("unchanged"),
        Outcome::Version(version) => json!({ "unchanged": &**version }),
        Outcome::Rejected(violations) => {
            let violations: Vec<Value> =
                violations.iter().map(|v| json!({ "path": v.path, "message": v.message })).collect();
            json!({ "reject": violations })
        }
        Outcome::Migrated { document, from, to } => {
            let mut migrated = Map::new();
            put(&mut migrated, "from", from.as_deref().map(Into::into));
            put(&mut migrated, "to", to.as_deref().map(Into::into));
            put(&mut migrated, "doc", Some(shown_document(document)));
            json!({ "migrated": migrated })
        }
        Outcome::Became(changes) => {
            let changes: Vec<Value> = changes.iter().map(|change| shown_change(change, origin)).collect();
            json!({ "changes": changes })
        }
        Outcome::Routed(destinations) => {
            let destinations: Vec<Value> = destinations
                .iter()
                .map(|got| {
                    let Destination { sink, target, ordering_key, attributes } = destination(got, sinks);
                    let mut members = Map::new();
                    put(&mut members, "sink", sink.map(Value::String));
                    put(&mut members, "target", target.map(Value::String));
                    put(&mut members, "ordering_key", ordering_key.map(Value::String));
                    put(&mut members, "attributes", (!attributes.is_empty()).then(|| json!(attributes)));
                    Value::Object(members)
                })
                .collect();
            json!({ "deliver": destinations })
        }
        Outcome::Failed(reason) => json!({ "failed": reason }),
        Outcome::Unusable(reason) => json!({ "unusable": reason }),
    }
}

fn put(members: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value);
    }
}

fn shown_change(change: &Change, origin: &Change) -> Value {
    let mut members = Map::new();
    put(&mut members, "op", (change.operation != origin.operation).then(|| json!(change.operation.as_str())));
    let moved = change.namespace.as_str() != origin.namespace.as_str();
    put(&mut members, "ns", moved.then(|| json!(change.namespace.as_str())));
    put(&mut members, "key", change.key.as_ref().filter(|_| change.key != origin.key).map(shown_document));
    put(&mut members, "doc", change.document.as_ref().map(shown_document));
    let (own, before) = (headers(&change.headers), headers(&origin.headers));
    put(&mut members, "headers", (own != before).then(|| json!(own)));
    Value::Object(members)
}

/// What cannot be written as JSON is shown by its bytes.
fn shown_document(document: &Doc) -> Value {
    let mut text = Vec::new();
    let written = write_document(&mut text, document.as_bytes(), Style::Interchange);
    match written.ok().and_then(|()| serde_json::from_slice(&text).ok()) {
        Some(value) => value,
        None => json!({ "$bson": crate::position::Position::new(document.as_bytes().to_vec()).to_hex() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Expected, Outcome, Role, Violation, shown};
    use crate::{change::Change, format::lines::read_change};

    fn change(doc: &str) -> Change {
        read_change(format!(r#"{{"id":"1","op":"insert","ns":"d.c","doc":{doc}}}"#).as_bytes(), "x:1").unwrap()
    }

    #[test]
    fn what_is_shown_is_what_is_expected() {
        let origin = change(r#"{"_id":1,"n":{"$numberLong":"5"}}"#);
        let document = change(r#"{"_id":1,"n":{"$numberLong":"5"},"at":{"$date":"2026-01-31T12:00:00Z"}}"#).document;
        let mut moved = change(r#"{"_id":1}"#);
        moved.headers.set("a".into(), "b".into());
        let cases = [
            (Role::Validator, Outcome::Unchanged),
            (
                Role::Validator,
                Outcome::Rejected(vec![Violation { path: "n".to_owned(), message: "is wrong".to_owned() }]),
            ),
            (Role::Migrator, Outcome::Unchanged),
            (Role::Migrator, Outcome::Version("v2".into())),
            (Role::Migrator, Outcome::Migrated { document: document.unwrap(), from: Some("v1".into()), to: None }),
            (Role::Transformer, Outcome::Became(vec![moved, origin.clone()])),
            (Role::Transformer, Outcome::Became(vec![])),
            (Role::Router, Outcome::Routed(smallvec::smallvec![])),
            (
                Role::Router,
                Outcome::Routed(smallvec::smallvec![crate::batch::Destination {
                    sink: Some(1),
                    target: Some("t".into()),
                    ordering_key: None,
                    attributes: crate::change::Headers::default(),
                }]),
            ),
            (Role::Router, Outcome::Failed("no".to_owned())),
        ];
        let sinks = ["a".to_owned(), "b".to_owned()];
        let all: Vec<_> = cases.iter().map(|(role, outcome)| shown(*role, outcome, &origin, &sinks)).collect();
        for (at, (role, outcome)) in cases.iter().enumerate() {
            for (other, value) in all.iter().enumerate() {
                let Ok(expected) = Expected::read(*role, value) else { continue };
                assert_eq!(expected.is_met(outcome, &origin, &sinks), at == other, "{value} of {outcome:?}");
            }
        }
    }

    #[test]
    fn numbers_and_the_order_of_fields_are_written_as_one_likes() {
        let document = change(r#"{"_id":1,"n":{"$numberLong":"5"},"d":{"$numberDouble":"2.0"}}"#).document.unwrap();
        let outcome = Outcome::Migrated { document, from: None, to: None };
        let is_met = |doc: serde_json::Value| {
            let expected = Expected::read(Role::Migrator, &json!({ "migrated": { "doc": doc } })).unwrap();
            expected.is_met(&outcome, &change("{}"), &[])
        };
        assert!(is_met(json!({ "d": 2, "n": 5, "_id": 1 })));
        assert!(is_met(json!({ "_id": 1, "n": { "$numberLong": "5" }, "d": 2.0 })));
        assert!(!is_met(json!({ "_id": 1, "n": 5 })) && !is_met(json!({ "_id": 1, "n": 6, "d": 2 })));
    }

    #[test]
    fn what_is_no_expectation_says_what_would_be_one() {
        let wrong = |role, value| Expected::read(role, &value).unwrap_err();
        assert!(wrong(Role::Validator, json!("unchanged")).contains("`accept` or `reject"));
        assert!(wrong(Role::Router, json!({ "reject": [] })).contains("`deliver: [ {"));
        assert!(wrong(Role::Validator, json!({ "reject": [{ "pth": "" }] })).contains("unknown field `pth`"));
    }
}
