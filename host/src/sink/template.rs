//! Names that are fixed, a change's own, or made of them and of fields of the document: `{database}:{collection}:{_id}`.

use std::borrow::Cow;

pub(crate) use crate::braces::Unreadable;
use crate::{
    braces::{self, Part},
    change::{Doc, Namespace},
    format::{
        elements::{Element, Elements, Malformed, kind},
        json::{Style, write_element},
    },
};

/// A name with words in braces in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part<Word>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Database,
    Collection,
    Field(String),
}

/// Which words a template may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// `{database}` and `{collection}`.
    Namespace,
    /// These, and any other word for the top-level field of that name.
    Fields,
}

/// Why a template cannot be filled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfilled<'a> {
    /// No document has the field, or it is null.
    Field(&'a str),
    /// A document cannot be read.
    Malformed(Malformed),
}

impl std::fmt::Display for Unfilled<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field(name) => write!(f, "it has no field `{name}`"),
            Self::Malformed(cause) => cause.fmt(f),
        }
    }
}

impl Template {
    /// `{database}` and `{collection}` are the change's own, `{{` and `}}` are braces.
    pub(crate) fn parse(text: &str, words: Words) -> Result<Self, Unreadable> {
        let known = |word: &str| match word {
            "database" => Some(Word::Database),
            "collection" => Some(Word::Collection),
            field if words == Words::Fields && !field.is_empty() && !field.contains(['.', '$', '{', ' ']) => {
                Some(Word::Field(field.to_owned()))
            }
            _ => None,
        };
        braces::parse(text, known).map(Self)
    }

    /// A template of a configuration that was validated: what is none is a name as it stands.
    pub(crate) fn of(text: &str, words: Words) -> Self {
        Self::parse(text, words).unwrap_or_else(|_| Self(vec![Part::Text(text.to_owned())]))
    }

    /// The database of the change.
    pub(super) fn database() -> Self {
        Self(vec![Part::Word(Word::Database)])
    }

    /// The collection of the change.
    pub(super) fn collection() -> Self {
        Self(vec![Part::Word(Word::Collection)])
    }

    /// The name for a change from there. Fields are left out: it is for templates without.
    pub(crate) fn fill<'a>(&'a self, database: &'a str, collection: &'a str) -> Cow<'a, str> {
        let text = |part: &'a Part<Word>| match part {
            Part::Text(text) => text.as_str(),
            Part::Word(Word::Database) => database,
            Part::Word(Word::Collection) => collection,
            Part::Word(Word::Field(_)) => "",
        };
        match self.0.as_slice() {
            [] => Cow::Borrowed(""),
            [one] => Cow::Borrowed(text(one)),
            parts => Cow::Owned(parts.iter().map(text).collect()),
        }
    }

    /// The name for a change of that namespace, with fields out of the first of the documents that has them.
    ///
    /// # Errors
    /// When none has a field, or it is null.
    pub(super) fn fill_from(&self, namespace: &Namespace, documents: &[Option<&Doc>]) -> Result<Vec<u8>, Unfilled<'_>> {
        let mut name = Vec::with_capacity(64);
        for part in &self.0 {
            match part {
                Part::Text(text) => name.extend_from_slice(text.as_bytes()),
                Part::Word(Word::Database) => name.extend_from_slice(namespace.database().as_bytes()),
                Part::Word(Word::Collection) => name.extend_from_slice(namespace.collection().as_bytes()),
                Part::Word(Word::Field(field)) => {
                    let element = find(documents, field).map_err(Unfilled::Malformed)?;
                    let element = element.ok_or(Unfilled::Field(field))?;
                    write_bare(&mut name, &element).map_err(Unfilled::Malformed)?;
                }
            }
        }
        Ok(name)
    }

    /// The names of the fields in it.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Word(Word::Field(field)) => Some(field.as_str()),
            _ => None,
        })
    }

    /// Its bytes; none for each word.
    pub(crate) fn symbols(&self) -> Vec<Option<u8>> {
        let symbols = |part: &Part<Word>| match part {
            Part::Text(text) => text.bytes().map(Some).collect(),
            Part::Word(_) => vec![None],
        };
        self.0.iter().flat_map(symbols).collect()
    }

    /// The name, where it is the same for every change.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The hash tag that every name has which is made of it: text in braces before the first word. Names with the same tag live in
    /// one slot of a Redis Cluster.
    pub(super) fn hash_tag(&self) -> Option<&str> {
        let Some(Part::Text(text)) = self.0.first() else { return None };
        let (tag, _) = text.split_once('{')?.1.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    }
}

/// The first element of that name that is not null.
pub(super) fn find<'a>(documents: &[Option<&'a Doc>], name: &str) -> Result<Option<Element<'a>>, Malformed> {
    for document in documents.iter().flatten() {
        let found = Elements::of(document.as_bytes())?.find(name.as_bytes())?;
        if let Some(element) = found.filter(|element| !matches!(element.kind, kind::NULL | kind::UNDEFINED)) {
            return Ok(Some(element));
        }
    }
    Ok(None)
}

/// A value as plain JSON writes it, text without its quotes: a name, or the field of a hash.
pub(super) fn write_bare(out: &mut Vec<u8>, element: &Element<'_>) -> Result<(), Malformed> {
    if element.kind == kind::STRING {
        out.extend_from_slice(element.text_bytes()?);
        return Ok(());
    }
    let start = out.len();
    write_element(out, element, Style::Plain)?;
    if let [b'"', text @ .., b'"'] = out.get(start..).unwrap_or_default() {
        let end = start + text.len();
        out.copy_within(start + 1..=end, start);
        out.truncate(end);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, doc, oid::ObjectId};

    use super::{Template, Unfilled, Unreadable, Words};
    use crate::change::{Doc, Namespace};

    fn filled(text: &str) -> Result<String, Unreadable> {
        Template::parse(text, Words::Namespace).map(|template| template.fill("shop", "stock.eu").into_owned())
    }

    #[test]
    fn names_are_made_of_the_changes_own() {
        assert_eq!(filled("{database}_copy"), Ok("shop_copy".to_owned()));
        assert_eq!(filled("{database}/{collection}"), Ok("shop/stock.eu".to_owned()));
        assert_eq!(filled("plain"), Ok("plain".to_owned()));
        assert_eq!(filled("{{{collection}}}"), Ok("{stock.eu}".to_owned()));
        assert_eq!(filled("{db}"), Err(Unreadable::Word("db".to_owned())));
        for half in ["{database", "database}", "a{b", "}{"] {
            assert_eq!(filled(half), Err(Unreadable::Brace), "{half}");
        }
    }

    #[test]
    fn a_name_is_known_beforehand_where_it_is_the_same_for_all() {
        let fixed = |text: &str| Template::of(text, Words::Namespace).fixed().map(str::to_owned);
        assert_eq!(fixed("copy"), Some("copy".to_owned()));
        assert_eq!(fixed("{database}"), None);
        assert_eq!(fixed("{database}_copy"), None);
    }

    #[test]
    fn fields_are_text_of_the_first_document_that_has_them() {
        let doc = |document: bson::Document| Doc::from(RawDocumentBuf::try_from(&document).unwrap());
        let id = ObjectId::from_bytes([7; 12]);
        let when = bson::DateTime::from_millis(0);
        let one = doc(doc! { "_id": id, "n": 5_i64, "gone": null, "when": when, "sku": "a\"b" });
        let two = doc(doc! { "gone": true, "sku": "no", "both": { "a": 1, "b": "x" } });
        let namespace = Namespace::new("shop", "items");
        let name = |text: &str| {
            let template = Template::parse(text, Words::Fields).unwrap();
            let name = template.fill_from(&namespace, &[None, Some(&one), Some(&two)]);
            name.map(|name| String::from_utf8(name).unwrap()).map_err(|unfilled| unfilled.to_string())
        };
        let oid = "07".repeat(12);
        assert_eq!(name("{database}:{collection}:{_id}"), Ok(format!("shop:items:{oid}")));
        assert_eq!(name("{n}/{gone}/{sku}"), Ok("5/true/a\"b".to_owned()));
        assert_eq!(name("{when}"), Ok("1970-01-01T00:00:00.000Z".to_owned()));
        assert_eq!(name("{both}"), Ok(r#"{"a":1,"b":"x"}"#.to_owned()));
        assert_eq!(name("{nothing}"), Err(Unfilled::Field("nothing").to_string()));
        assert_eq!(Template::parse("{a.b}", Words::Fields), Err(Unreadable::Word("a.b".to_owned())));
        assert_eq!(Template::parse("{}", Words::Fields), Err(Unreadable::Word(String::new())));
        let template = Template::parse("{region}:{database}:{_id}", Words::Fields).unwrap();
        assert_eq!(template.fields().collect::<Vec<_>>(), ["region", "_id"]);
    }

    #[test]
    fn a_hash_tag_is_what_every_name_has() {
        let tag = |text: &str| Template::of(text, Words::Fields).hash_tag().map(str::to_owned);
        assert_eq!(tag("{{shop}}:{_id}"), Some("shop".to_owned()));
        assert_eq!(tag("a{{b}}c"), Some("b".to_owned()));
        assert_eq!(tag("{{}}:{_id}"), None);
        assert_eq!(tag("{_id}:{{shop}}"), None, "the field may hold a brace");
        assert_eq!(tag("{{{_id}}}"), None);
        assert_eq!(tag("plain"), None);
    }
}
