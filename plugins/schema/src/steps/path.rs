//! Where in a document a step works: `address.city`, or `lines[].sku` for each element of an array.

use super::tree::{Fields, Item};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    parts: Vec<Part>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    /// The field is an array, and each of its elements is meant.
    each: bool,
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split('.').map(|part| {
            let (name, each) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
            if name.is_empty() || name.contains(['[', ']', '\0']) {
                return Err(format!("{text:?} is no path; write for instance address.city, or lines[].sku"));
            }
            Ok(Part { name: name.to_owned(), each })
        });
        Ok(Self { parts: parts.collect::<Result<_, _>>()?, text: text.to_owned() })
    }

    /// As [`parse`](Self::parse), of one field that is no element of an array.
    pub(crate) fn parse_field(text: &str) -> Result<Self, String> {
        let path = Self::parse(text)?;
        match path.parts.last() {
            Some(Part { each: true, .. }) => Err(format!("{text:?} names the elements of an array, not a field")),
            _ => Ok(path),
        }
    }

    /// As [`parse_field`](Self::parse_field), of a field that is there once.
    pub(crate) fn parse_single(text: &str) -> Result<Self, String> {
        let path = Self::parse(text)?;
        if path.parts.iter().any(|part| part.each) {
            return Err(format!(
                "{text:?} leads into an array: that is for rename, default, set, remove, convert and map"
            ));
        }
        Ok(path)
    }

    fn last(&self) -> Option<(&Part, &[Part])> {
        self.parts.split_last()
    }

    /// Whether this is a field of the other one's document, or that one itself.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.parts.starts_with(&other.parts)
    }

    /// Calls `work` with each document that has or would have the field, and the field's name.
    pub(crate) fn each_parent<'a>(
        &self,
        fields: &mut Fields<'a>,
        make: bool,
        work: &mut dyn FnMut(&mut Fields<'a>, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some((last, way)) = self.last() else { return Ok(()) };
        walk(fields, way, make, &mut |fields| work(fields, &last.name))
    }

    /// Calls `work` with each value that is there.
    pub(crate) fn each_value<'a>(
        &self,
        fields: &mut Fields<'a>,
        work: &mut dyn FnMut(&mut Item<'a>) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some((last, way)) = self.last() else { return Ok(()) };
        walk(fields, way, false, &mut |fields| match fields.get_mut(&last.name) {
            Some(item) if last.each => elements(item, &last.name)?.iter_mut().try_for_each(&mut *work),
            Some(item) => work(item),
            None => Ok(()),
        })
    }

    /// Takes the value away.
    pub(crate) fn take<'a>(&self, fields: &mut Fields<'a>) -> Result<Option<Item<'a>>, String> {
        let mut taken = None;
        self.each_parent(fields, false, &mut |fields, name| {
            taken = fields.remove(name);
            Ok(())
        })?;
        Ok(taken)
    }

    /// Puts a value there; documents on the way to it are made.
    pub(crate) fn put<'a>(&self, fields: &mut Fields<'a>, item: Item<'a>) -> Result<(), String> {
        let mut item = Some(item);
        self.each_parent(fields, true, &mut |fields, name| {
            if let Some(item) = item.take() {
                fields.set(name, item);
            }
            Ok(())
        })
    }
}

fn elements<'i, 'a>(item: &'i mut Item<'a>, name: &str) -> Result<&'i mut Vec<Item<'a>>, String> {
    let found = item.type_name();
    let elements = item.elements().map_err(|error| error.to_string())?;
    elements.ok_or_else(|| format!("{name} must be an array, is {found}"))
}

fn document<'i, 'a>(item: &'i mut Item<'a>, name: &str) -> Result<&'i mut Fields<'a>, String> {
    let found = item.type_name();
    let fields = item.fields().map_err(|error| error.to_string())?;
    fields.ok_or_else(|| format!("{name} must be a document, is {found}"))
}

fn walk<'a>(
    fields: &mut Fields<'a>,
    way: &[Part],
    make: bool,
    work: &mut dyn FnMut(&mut Fields<'a>) -> Result<(), String>,
) -> Result<(), String> {
    let Some((first, rest)) = way.split_first() else { return work(fields) };
    if !fields.has(&first.name) {
        if !make || first.each {
            return Ok(());
        }
        fields.set(&first.name, Item::Document(Fields::default()));
    }
    let Some(item) = fields.get_mut(&first.name) else { return Ok(()) };
    if first.each {
        let items = elements(item, &first.name)?;
        return items
            .iter_mut()
            .try_for_each(|item| walk(document(item, &format!("each of {}", first.name))?, rest, make, work));
    }
    walk(document(item, &first.name)?, rest, make, work)
}
