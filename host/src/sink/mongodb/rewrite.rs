//! An update that no update operator can say: names with dots, names that begin with `$`, empty names. The document is read
//! in the transaction, changed here, and written whole.

use bson::{Bson, Document};

use super::describe::{Description, Part, Path};

/// Applies a description to the document it was made on.
///
/// # Errors
/// In words: a path leads nowhere in the document, or may mean several of its fields.
pub(super) fn apply(description: &Description<'_>, document: Document) -> Result<Document, String> {
    let mut root = Bson::Document(document);
    for (path, size) in &description.truncated {
        let steps = steps(path, &root, true)?;
        match steps.iter().try_fold(&mut root, |place, part| child_mut(place, *part)) {
            Some(Bson::Array(array)) => array.truncate(usize::try_from(*size).unwrap_or(0)),
            _ => return Err(nowhere(path)),
        }
    }
    for path in &description.unset {
        let steps = steps(path, &root, true)?;
        match home(&mut root, &steps) {
            Some((Bson::Document(home), Part::Field(name))) => {
                home.remove(name);
            }
            _ => return Err(nowhere(path)),
        }
    }
    for (path, value) in &description.set {
        let value = Bson::try_from(*value).map_err(|cause| format!("a value of the update cannot be read: {cause}"))?;
        let steps = steps(path, &root, false)?;
        match home(&mut root, &steps) {
            Some((Bson::Document(home), Part::Field(name))) => {
                home.insert(name, value);
            }
            Some((Bson::Array(home), Part::Index(index))) if index <= home.len() => match home.get_mut(index) {
                Some(element) => *element = value,
                None => home.push(value),
            },
            _ => return Err(nowhere(path)),
        }
    }
    match root {
        Bson::Document(document) => Ok(document),
        _ => unreachable!(),
    }
}

fn nowhere(path: &Path<'_>) -> String {
    format!("it updates `{}`, which the target's document has no place for: it is not what the source's was", path.text)
}

fn child<'b>(place: &'b Bson, part: Part<'_>) -> Option<&'b Bson> {
    match (place, part) {
        (Bson::Document(document), Part::Field(name)) => document.get(name),
        (Bson::Array(array), Part::Index(index)) => array.get(index),
        _ => None,
    }
}

fn child_mut<'b>(place: &'b mut Bson, part: Part<'_>) -> Option<&'b mut Bson> {
    match (place, part) {
        (Bson::Document(document), Part::Field(name)) => document.get_mut(name),
        (Bson::Array(array), Part::Index(index)) => array.get_mut(index),
        _ => None,
    }
}

/// What holds the last step of a path, and that step.
fn home<'b, 'a>(root: &'b mut Bson, steps: &[Part<'a>]) -> Option<(&'b mut Bson, Part<'a>)> {
    let (last, way) = steps.split_last()?;
    Some((way.iter().try_fold(root, |place, part| child_mut(place, *part))?, *last))
}

/// The steps of a path in this document.
fn steps<'a>(path: &Path<'a>, root: &Bson, is_there: bool) -> Result<Vec<Part<'a>>, String> {
    if let Some(parts) = &path.parts {
        return Ok(with_indexes(parts, root));
    }
    let mut found = Vec::new();
    ways(root, path.text, &mut Vec::new(), &mut found);
    found.retain(|(_, there)| *there || !is_there);
    let plain = path.text.split('.').count();
    let nested = found.iter().find(|(way, _)| way.len() == plain);
    let mut there = found.iter().filter(|(_, there)| *there);
    // A name with a dot is rare: one that is not there yet is not what is meant, where something else can be.
    let way = match (there.next(), there.next(), nested) {
        (Some(one), None, None) => Some(one),
        (Some(one), None, Some(nested)) => (one.0 == nested.0).then_some(one),
        (Some(_), Some(_), _) => None,
        (None, _, Some(nested)) => Some(nested),
        (None, _, None) => match found.as_slice() {
            [] => return Err(nowhere(path)),
            [one] => Some(one),
            _ => None,
        },
    };
    way.map(|(way, _)| way.clone()).ok_or_else(|| {
        format!(
            "the path `{}` may mean several fields of the document, since names with dots are in it, and the source's server does not \
             say which; `full_document: lookup` at the source brings whole documents",
            path.text
        )
    })
}

/// A path whose parts the server did not list has its indexes as text.
fn with_indexes<'a>(parts: &[Part<'a>], root: &Bson) -> Vec<Part<'a>> {
    let mut place = Some(root);
    let step = |part: &Part<'a>| {
        let step = match (part, place) {
            (Part::Field(name), Some(Bson::Array(_))) => name.parse().map_or(*part, Part::Index),
            (part, _) => *part,
        };
        place = place.and_then(|place| child(place, step));
        step
    };
    parts.iter().map(step).collect()
}

/// All ways that `text` can lead from a place, and whether something is there at their end.
fn ways<'a>(from: &Bson, text: &'a str, so_far: &mut Vec<Part<'a>>, found: &mut Vec<(Vec<Part<'a>>, bool)>) {
    for end in text.match_indices('.').map(|(at, _)| at).chain([text.len()]) {
        let (name, rest) = text.split_at(end);
        let part = match from {
            Bson::Document(_) => Part::Field(name),
            Bson::Array(_) => match name.parse() {
                Ok(index) => Part::Index(index),
                Err(_) => continue,
            },
            _ => return,
        };
        let next = child(from, part);
        so_far.push(part);
        match (rest.strip_prefix('.'), next) {
            (Some(rest), Some(next)) => ways(next, rest, so_far, found),
            (Some(_), None) => {}
            (None, next) => found.push((so_far.clone(), next.is_some())),
        }
        so_far.pop();
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc, raw::RawDocumentBuf};

    use super::apply;
    use crate::sink::mongodb::describe::Description;

    fn applied(document: Document, update: Document) -> Result<Document, String> {
        let update = RawDocumentBuf::try_from(&update).unwrap();
        apply(&Description::read(&update).unwrap(), document)
    }

    #[test]
    fn what_a_path_means_is_told_by_the_document() {
        let set = |path: &str| doc! { "updatedFields": { path: 9 } };
        for (document, path, after) in [
            (doc! { "a.b": 1 }, "a.b", doc! { "a.b": 9 }),
            (doc! { "a": { "b": 1 } }, "a.b", doc! { "a": { "b": 9 } }),
            (doc! { "a": { "c": 1 } }, "a.b", doc! { "a": { "c": 1, "b": 9 } }),
            (doc! { "x": 1 }, "a.b", doc! { "x": 1, "a.b": 9 }),
            (doc! { "a.b": { "c.d": 1 } }, "a.b.c.d", doc! { "a.b": { "c.d": 9 } }),
            (doc! { "a": [1, { "0": 2 }] }, "a.1.0", doc! { "a": [1, { "0": 9 }] }),
            (doc! { "a": [1] }, "a.1", doc! { "a": [1, 9] }),
            (doc! { "$a": { "": { "$b.c": 1 } } }, "$a..$b.c", doc! { "$a": { "": { "$b.c": 9 } } }),
        ] {
            assert_eq!(applied(document.clone(), set(path)), Ok(after), "{path} of {document}");
        }
        for document in [doc! { "a": { "b": 1 }, "a.b": 1 }, doc! { "a": {}, "a.b": 1 }] {
            let several = applied(document, set("a.b")).unwrap_err();
            assert!(several.contains("`a.b` may mean several fields"), "{several}");
        }
        for update in
            [doc! { "removedFields": ["a.3.$x"] }, doc! { "truncatedArrays": [{ "field": "a.3", "newSize": 1 }] }]
        {
            for document in [doc! { "a": 1 }, doc! { "a": [] }, doc! { "a": { "3": 1 } }, doc! {}] {
                let nowhere = applied(document.clone(), update.clone()).unwrap_err();
                assert!(nowhere.contains("no place for"), "{document}: {nowhere}");
            }
        }
    }

    #[test]
    fn what_the_server_told_of_a_path_counts() {
        let update = doc! {
            "updatedFields": { "a.b": 9, "c.0": 8 }, "removedFields": ["d.0.e"], "truncatedArrays": [{ "field": "f.g", "newSize": 1 }],
            "disambiguatedPaths": { "a.b": ["a.b"], "c.0": ["c", "0"], "d.0.e": ["d", 0, "e"], "f.g": ["f.g"] },
        };
        let document = doc! { "a": { "b": 1 }, "a.b": 1, "c": {}, "d": [{ "e": 1, "h": 1 }], "f.g": [1, 2, 3], "f": { "g": [1, 2] } };
        let after =
            doc! { "a": { "b": 1 }, "a.b": 9, "c": { "0": 8 }, "d": [{ "h": 1 }], "f.g": [1], "f": { "g": [1, 2] } };
        assert_eq!(applied(document, update), Ok(after));
    }
}
