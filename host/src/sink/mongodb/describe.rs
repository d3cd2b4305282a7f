//! The description of an update, and the statements that apply it.
//!
//! A description names fields by paths joined with dots. Servers before 6.1 do not say whether `a.b` is the field `b` of `a`
//! or a field whose name holds a dot (6.1 and later do, in `disambiguatedPaths`, when asked for expanded events). So where that
//! is open a statement matches only a document that has `a` to hold a `b`; what matches not is looked at by
//! [`rewrite`](super::rewrite). A number in a path needs no such care: the server takes it for an index or a name by what it
//! finds, and the target has what the source had.

use std::{cmp::Ordering, collections::HashMap};

use bson::{
    cstr,
    raw::{CString, RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf},
};

/// A description that was read.
#[derive(Debug, Default)]
pub(super) struct Description<'a> {
    pub(super) truncated: Vec<(Path<'a>, i32)>,
    pub(super) unset: Vec<Path<'a>>,
    pub(super) set: Vec<(Path<'a>, RawBsonRef<'a>)>,
}

/// The path of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path<'a> {
    pub(super) text: &'a str,
    /// Its parts, where the server told them.
    pub(super) parts: Option<Vec<Part<'a>>>,
}

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A field of a document, by its whole name.
    Field(&'a str),
    /// An element of an array.
    Index(usize),
}

/// How a description is applied.
#[derive(Debug)]
pub(super) enum Form {
    /// By these statements, one after the other; there may be none.
    Statements(Vec<Statement>),
    /// No statement can say it: the document is read, changed and written within the transaction.
    Rewrite,
}

/// One update statement.
#[derive(Debug)]
pub(super) struct Statement {
    /// What must hold for it to mean what the source meant, beside the key.
    pub(super) guard: RawDocumentBuf,
    pub(super) update: RawDocumentBuf,
}

impl<'a> Path<'a> {
    /// Whether no update operator can name the field.
    fn is_beyond_operators(&self) -> bool {
        let strange = |name: &str| name.is_empty() || name.starts_with('$');
        match &self.parts {
            Some(parts) => parts.iter().any(|part| match part {
                Part::Field(name) => strange(name) || name.contains('.'),
                Part::Index(_) => false,
            }),
            None => self.text.split('.').any(strange),
        }
    }

    /// Whether the dots in it may be part of a name.
    fn is_open(&self) -> bool {
        self.parts.is_none() && self.text.contains('.')
    }

    /// Where the field lives, and its name there.
    fn split(&self) -> (&'a str, &'a str) {
        self.text.rsplit_once('.').unwrap_or(("", self.text))
    }
}

impl<'a> Description<'a> {
    /// Reads what a server sent.
    ///
    /// # Errors
    /// In words: it is none that this program knows.
    pub(super) fn read(update: &'a RawDocument) -> Result<Self, String> {
        const NONE: &str = "its description of the update is none that tidegate knows";
        let none = |_| NONE.to_owned();
        let (mut updated, mut removed, mut truncated, mut told) = (None, None, None, None);
        for element in update {
            let (name, value) = element.map_err(none)?;
            match (name.as_str(), value) {
                ("updatedFields", RawBsonRef::Document(fields)) => updated = Some(fields),
                ("removedFields", RawBsonRef::Array(fields)) => removed = Some(fields),
                ("truncatedArrays", RawBsonRef::Array(fields)) => truncated = Some(fields),
                ("disambiguatedPaths", RawBsonRef::Document(paths)) => told = Some(paths),
                // From a newer server: what it adds may be part of the update.
                (name, _) => {
                    return Err(format!("its description of the update holds `{name}`, which tidegate does not know"));
                }
            }
        }
        let mut parts = HashMap::new();
        for element in told.into_iter().flatten() {
            let (path, value) = element.map_err(none)?;
            let mut steps = Vec::new();
            for step in value.as_array().ok_or(NONE)? {
                steps.push(match step.map_err(none)? {
                    RawBsonRef::String(name) => Part::Field(name),
                    RawBsonRef::Int32(index) => Part::Index(usize::try_from(index).map_err(|_| NONE)?),
                    RawBsonRef::Int64(index) => Part::Index(usize::try_from(index).map_err(|_| NONE)?),
                    _ => return Err(NONE.to_owned()),
                });
            }
            parts.insert(path.as_str(), steps);
        }
        // A server that tells leaves out what has one meaning alone.
        let path = |text: &'a str| Path {
            text,
            parts: told.map(|_| parts.get(text).cloned().unwrap_or_else(|| text.split('.').map(Part::Field).collect())),
        };
        let mut description = Self::default();
        for element in updated.into_iter().flatten() {
            let (name, value) = element.map_err(none)?;
            description.set.push((path(name.as_str()), value));
        }
        for name in removed.into_iter().flatten() {
            description.unset.push(path(name.map_err(none)?.as_str().ok_or(NONE)?));
        }
        for array in truncated.into_iter().flatten() {
            let array = array.map_err(none)?.as_document().ok_or(NONE)?;
            let field = array.get_str("field").map_err(|_| NONE)?;
            let size = match array.get("newSize").map_err(none)? {
                Some(RawBsonRef::Int32(size)) => size,
                Some(RawBsonRef::Int64(size)) => i32::try_from(size).map_err(|_| NONE)?,
                _ => return Err(NONE.to_owned()),
            };
            description.truncated.push((path(field), size));
        }
        Ok(description)
    }

    fn paths(&self) -> impl Iterator<Item = &Path<'a>> {
        let set = self.set.iter().map(|(path, _)| path);
        self.truncated.iter().map(|(path, _)| path).chain(&self.unset).chain(set)
    }

    /// How it is applied; a careful reader takes nothing for granted about dots.
    pub(super) fn form(&self, careful: bool) -> Result<Form, String> {
        if self.paths().any(|path| path.is_beyond_operators() || (careful && path.is_open())) {
            return Ok(Form::Rewrite);
        }
        let mut drafts = vec![Draft::default()];
        for (path, size) in &self.truncated {
            // Two parts of one statement must not touch the same path.
            if last(&mut drafts).truncated.iter().any(|(other, _)| touch(other.text, path.text)) {
                drafts.push(Draft::default());
            }
            last(&mut drafts).truncated.push((path, *size));
        }
        let others = || self.unset.iter().chain(self.set.iter().map(|(path, _)| path));
        let overlaps = |(array, _): &(&Path<'_>, i32)| others().any(|path| touch(array.text, path.text));
        if last(&mut drafts).truncated.iter().any(overlaps) {
            drafts.push(Draft::default());
        }
        last(&mut drafts).unset.extend(&self.unset);
        // One statement adds its new fields by its own order, which is not the same in all versions: what comes in another order
        // is another statement, so that the fields of the target stand as those of the source.
        let mut before: HashMap<&str, &str> = HashMap::new();
        for (path, value) in &self.set {
            let (parent, name) = path.split();
            if before.get(parent).is_some_and(|before| !rises(before, name)) {
                drafts.push(Draft::default());
                before.clear();
            }
            before.insert(parent, name);
            last(&mut drafts).set.push((path, *value));
        }
        drafts
            .iter()
            .filter(|draft| !draft.is_empty())
            .map(Draft::statement)
            .collect::<Result<_, _>>()
            .map(Form::Statements)
    }
}

fn last<'d, 'a, 'p>(drafts: &'d mut [Draft<'a, 'p>]) -> &'d mut Draft<'a, 'p> {
    // There is one from the beginning.
    drafts.last_mut().unwrap_or_else(|| unreachable!())
}

/// Whether one is the other or leads through it.
fn touch(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether every server sets a field of the first name before one of the second: by bytes until 4.4, later numbers by value.
fn rises(first: &str, second: &str) -> bool {
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    let by_value = match (is_number(first), is_number(second)) {
        (true, true) => first.len().cmp(&second.len()).then(first.cmp(second)),
        _ => first.cmp(second),
    };
    by_value == Ordering::Less && first < second
}

/// A statement in the making.
#[derive(Default)]
struct Draft<'a, 'p> {
    truncated: Vec<(&'p Path<'a>, i32)>,
    unset: Vec<&'p Path<'a>>,
    set: Vec<(&'p Path<'a>, RawBsonRef<'a>)>,
}

impl Draft<'_, '_> {
    fn is_empty(&self) -> bool {
        self.truncated.is_empty() && self.unset.is_empty() && self.set.is_empty()
    }

    fn statement(&self) -> Result<Statement, String> {
        let mut update = RawDocumentBuf::new();
        let mut guards: Vec<(&str, &[&str])> = Vec::new();
        if !self.truncated.is_empty() {
            let mut push = RawDocumentBuf::new();
            for (path, size) in &self.truncated {
                let mut slice = RawDocumentBuf::new();
                slice.append(cstr!("$each"), RawArrayBuf::new());
                slice.append(cstr!("$slice"), *size);
                push.append(name(path.text)?, slice);
                if path.is_open() {
                    guards.push((path.text, &["array"]));
                }
            }
            update.append(cstr!("$push"), push);
        }
        if !self.unset.is_empty() {
            let mut unset = RawDocumentBuf::new();
            for path in &self.unset {
                unset.append(name(path.text)?, "");
            }
            update.append(cstr!("$unset"), unset);
        }
        if !self.set.is_empty() {
            let mut set = RawDocumentBuf::new();
            for (path, value) in &self.set {
                set.append(name(path.text)?, *value);
            }
            update.append(cstr!("$set"), set);
        }
        let homes = self.unset.iter().copied().chain(self.set.iter().map(|(path, _)| *path));
        guards.extend(homes.filter(|path| path.is_open()).map(|path| (path.split().0, HOLDERS)));
        guards.sort_unstable();
        guards.dedup_by_key(|(path, _)| *path);
        let mut guard = RawDocumentBuf::new();
        for (path, types) in guards {
            let mut list = RawArrayBuf::new();
            types.iter().for_each(|kind| list.push(*kind));
            let mut test = RawDocumentBuf::new();
            test.append(cstr!("$type"), list);
            guard.append(name(path)?, test);
        }
        Ok(Statement { guard, update })
    }
}

/// What a field can live in.
const HOLDERS: &[&str] = &["object", "array"];

fn name(text: &str) -> Result<CString, String> {
    CString::try_from(text.to_owned()).map_err(|_| "a path in its description of the update holds a NUL".to_owned())
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc, raw::RawDocumentBuf};

    use super::{Description, Form};

    /// The guards and updates of the statements; none: the document is rewritten.
    fn statements(update: Document, careful: bool) -> Option<Vec<(Document, Document)>> {
        let update = RawDocumentBuf::try_from(&update).unwrap();
        let description = Description::read(&update).unwrap();
        match description.form(careful).unwrap() {
            Form::Rewrite => None,
            Form::Statements(statements) => {
                let parsed = |raw: &RawDocumentBuf| Document::try_from(raw.as_ref()).unwrap();
                Some(statements.iter().map(|one| (parsed(&one.guard), parsed(&one.update))).collect())
            }
        }
    }

    fn slice(size: i32) -> Document {
        doc! { "$each": [], "$slice": size }
    }

    fn set(fields: Document) -> (Document, Document) {
        (doc! {}, doc! { "$set": fields })
    }

    #[test]
    fn a_description_becomes_operators() {
        let update =
            doc! { "updatedFields": { "a": 1, "b": { "$x": 1 } }, "removedFields": ["c"], "truncatedArrays": [] };
        let expected = doc! { "$unset": { "c": "" }, "$set": { "a": 1, "b": { "$x": 1 } } };
        assert_eq!(statements(update, true), Some(vec![(doc! {}, expected)]));
        assert_eq!(statements(doc! { "updatedFields": {}, "removedFields": [] }, false), Some(vec![]));
    }

    #[test]
    fn an_open_path_must_find_a_home() {
        let update = doc! {
            "updatedFields": { "a.0.b": 1, "a.0.c": 2, "d": 3 }, "removedFields": ["e.f"],
            "truncatedArrays": [{ "field": "g.h", "newSize": 2 }],
        };
        let holders = || doc! { "$type": ["object", "array"] };
        let guard = doc! { "a.0": holders(), "e": holders(), "g.h": { "$type": ["array"] } };
        let expected = doc! {
            "$push": { "g.h": slice(2) }, "$unset": { "e.f": "" }, "$set": { "a.0.b": 1, "a.0.c": 2, "d": 3 },
        };
        assert_eq!(statements(update.clone(), false), Some(vec![(guard, expected.clone())]));
        assert_eq!(statements(update.clone(), true), None);
        // A server that tells which paths have several meanings leaves nothing open.
        let mut told = update;
        told.insert("disambiguatedPaths", doc! { "a.0.b": ["a", 0, "b"], "a.0.c": ["a", 0, "c"] });
        assert_eq!(statements(told, true), Some(vec![(doc! {}, expected)]));
    }

    #[test]
    fn a_path_and_what_leads_through_it_are_in_two_statements() {
        let update = doc! {
            "updatedFields": { "a.0": 1 },
            "truncatedArrays": [{ "field": "a", "newSize": 2 }, { "field": "a.1.b", "newSize": 3_i64 }, { "field": "ab", "newSize": 0 }],
            "disambiguatedPaths": {},
        };
        let expected = vec![
            (doc! {}, doc! { "$push": { "a": slice(2) } }),
            (doc! {}, doc! { "$push": { "a.1.b": slice(3), "ab": slice(0) } }),
        ];
        let mut both = expected.clone();
        both[1].1.insert("$set", doc! { "a.0": 1 });
        assert_eq!(statements(update.clone(), false), Some(both));
        let mut same = update;
        same.insert("updatedFields", doc! { "a.1.b.0": 1 });
        let mut three = expected;
        three.push(set(doc! { "a.1.b.0": 1 }));
        assert_eq!(statements(same, false), Some(three));
    }

    #[test]
    fn new_fields_keep_their_order_whatever_the_version() {
        let update = |fields: Document| doc! { "updatedFields": fields, "disambiguatedPaths": {} };
        assert_eq!(
            statements(update(doc! { "z": 1, "a": 2, "b": 3, "s.m": 4, "s.b": 5 }), false),
            Some(vec![set(doc! { "z": 1 }), set(doc! { "a": 2, "b": 3, "s.m": 4 }), set(doc! { "s.b": 5 })])
        );
        // By value in one version, by bytes in the other.
        assert_eq!(
            statements(update(doc! { "9": 1, "10": 2, "11": 2 }), false),
            Some(vec![set(doc! { "9": 1 }), set(doc! { "10": 2, "11": 2 })])
        );
    }

    #[test]
    fn what_no_operator_can_name_is_rewritten() {
        let set = |path: &str| doc! { "updatedFields": { path: 1 } };
        for path in ["$a", "a.$b", "a.$[].c", "", "a.", ".a", "a..b"] {
            assert_eq!(statements(set(path), false), None, "{path}");
        }
        let told = |parts: Vec<Bson>| doc! { "updatedFields": { "a.b": 1 }, "disambiguatedPaths": { "a.b": parts } };
        assert_eq!(statements(told(vec!["a.b".into()]), false), None);
        assert!(statements(told(vec!["a".into(), "b".into()]), true).is_some());
    }

    #[test]
    fn what_is_no_description_is_refused() {
        let read = |update: Document| {
            let update = RawDocumentBuf::try_from(&update).unwrap();
            Description::read(&update).map(drop).unwrap_err()
        };
        assert!(read(doc! { "updatedFields": {}, "renamedFields": ["a"] }).contains("`renamedFields`"));
        for broken in [
            doc! { "removedFields": [1] },
            doc! { "truncatedArrays": ["a"] },
            doc! { "truncatedArrays": [{ "field": "a" }] },
            doc! { "updatedFields": { "a": 1 }, "disambiguatedPaths": { "a": 1 } },
            doc! { "updatedFields": { "a": 1 }, "disambiguatedPaths": { "a": [-1] } },
        ] {
            assert!(read(broken.clone()).contains("none that tidegate knows"), "{broken}");
        }
    }
}
