//! Where a change goes: names that are fixed, the change's own, or made of them.

use std::borrow::Cow;

use crate::{batch::Delivery, config::MongodbSinkConfig};

/// A name with `{database}` and `{collection}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Database,
    Collection,
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// No such word is known.
    Word(String),
    /// A brace is not closed, or was not opened.
    Brace,
}

impl Template {
    /// `{database}` and `{collection}` are the change's own, `{{` and `}}` are braces.
    pub(crate) fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            let doubled = brace.strip_prefix("{{").map(|rest| ('{', rest));
            if let Some((brace, behind)) = doubled.or_else(|| brace.strip_prefix("}}").map(|rest| ('}', rest))) {
                plain.push(brace);
                rest = behind;
                continue;
            }
            let (word, behind) =
                brace.strip_prefix('{').and_then(|word| word.split_once('}')).ok_or(Unreadable::Brace)?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(match word {
                "database" => Part::Database,
                "collection" => Part::Collection,
                word => return Err(Unreadable::Word(word.to_owned())),
            });
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The name for a change from there.
    pub(crate) fn fill<'a>(&'a self, database: &'a str, collection: &'a str) -> Cow<'a, str> {
        let text = |part: &'a Part| match part {
            Part::Text(text) => text.as_str(),
            Part::Database => database,
            Part::Collection => collection,
        };
        match self.0.as_slice() {
            [] => Cow::Borrowed(""),
            [one] => Cow::Borrowed(text(one)),
            parts => Cow::Owned(parts.iter().map(text).collect()),
        }
    }

    /// The name, where it is the same for every change.
    fn fixed(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// Where a sink's changes go.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    database: Template,
    collection: Template,
}

impl Targets {
    /// The configuration was validated: what is no template is a name as it stands.
    pub(crate) fn new(config: &MongodbSinkConfig) -> Self {
        let template = |text: &Option<String>, own: Part| match text {
            None => Template(vec![own]),
            Some(text) => Template::parse(text).unwrap_or_else(|_| Template(vec![Part::Text(text.clone())])),
        };
        Self {
            database: template(&config.database, Part::Database),
            collection: template(&config.collection, Part::Collection),
        }
    }

    /// The database, where it is the same for every change.
    pub(super) fn one_database(&self) -> Option<&str> {
        self.database.fixed()
    }

    /// Database and collection for changes of a collection that no router sends elsewhere.
    pub(crate) fn names(&self, database: &str, collection: &str) -> (String, String) {
        let fill = |template: &Template| template.fill(database, collection).into_owned();
        (fill(&self.database), fill(&self.collection))
    }

    /// Database and collection of a delivery; the target of a router is a collection of that database.
    pub(super) fn of<'a>(&'a self, delivery: &Delivery<'a>) -> (Cow<'a, str>, Cow<'a, str>) {
        let namespace = &delivery.change.namespace;
        let (database, collection) = (namespace.database(), namespace.collection());
        let chosen = delivery.target().map(Cow::Borrowed);
        (self.database.fill(database, collection), chosen.unwrap_or_else(|| self.collection.fill(database, collection)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, Unreadable};

    #[test]
    fn names_are_made_of_the_changes_own() {
        let filled = |text: &str| Template::parse(text).map(|template| template.fill("shop", "stock.eu").into_owned());
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
    fn a_database_is_known_beforehand_where_it_is_the_same_for_all() {
        assert_eq!(Template::parse("copy").unwrap().fixed(), Some("copy"));
        assert_eq!(Template::parse("{database}").unwrap().fixed(), None);
        assert_eq!(Template::parse("{database}_copy").unwrap().fixed(), None);
    }
}
