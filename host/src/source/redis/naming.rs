//! Names of databases and collections made of the names of keys.

use crate::braces::{self, Part, Unreadable};

/// A name with `{stream}` or `{key}`, `{1}`, `{2}` ... in it: the name of the key, and its parts between colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Naming(Vec<Part<Word>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Whole,
    /// From 0.
    Nth(usize),
}

impl Naming {
    /// `{{` and `}}` are braces.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let known = |word: &str| match (word, word.parse::<usize>()) {
            ("stream" | "key", _) => Some(Word::Whole),
            (_, Ok(number @ 1..=9)) => Some(Word::Nth(number - 1)),
            _ => None,
        };
        braces::parse(text, known).map(Self).map_err(|unreadable| match unreadable {
            Unreadable::Word(word) => format!("has `{{{word}}}`, which stands for nothing"),
            Unreadable::Brace => "has a brace that is not closed, or was not opened".to_owned(),
        })
    }

    /// A name in which nothing has a meaning.
    pub(super) fn literal(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// The name for a key. A part that the key does not have is nothing; where that leaves no name at all, it is that of the key.
    pub(super) fn fill(&self, key: &str) -> String {
        let name: String = self
            .0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Word(Word::Whole) => key,
                Part::Word(Word::Nth(at)) => key.split(':').nth(*at).unwrap_or_default(),
            })
            .collect();
        if name.is_empty() { key.to_owned() } else { name }
    }
}

#[cfg(test)]
mod tests {
    use super::Naming;

    #[test]
    fn names_are_made_of_keys() {
        let name = |template: &str, key: &str| Naming::parse(template).unwrap().fill(key);
        assert_eq!(name("{stream}", "app:orders"), "app:orders");
        assert_eq!(name("{key}", "app:orders"), "app:orders");
        assert_eq!(name("{2}_log", "app:orders"), "orders_log");
        assert_eq!(name("{2}-{1}", "app:orders:eu"), "orders-app");
        assert_eq!(name("{3}", "app:orders"), "app:orders");
        assert_eq!(name("{{1}}", "app"), "{1}");
        // What a name brings is not read as a template.
        assert_eq!(name("{stream}", "{1}"), "{1}");
        assert!(Naming::parse("{0}").unwrap_err().contains("{0}"));
        assert!(Naming::parse("{collection}").is_err());
        assert!(Naming::parse("a}").is_err());
    }
}
