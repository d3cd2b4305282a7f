//! Names of databases and collections made of the names of keys.

/// A name with `{stream}` or `{key}`, `{1}`, `{2}` ... in it: the name of the key, and its parts between colons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Naming(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
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
            let (word, behind) = brace
                .strip_prefix('{')
                .and_then(|word| word.split_once('}'))
                .ok_or("has a brace that is not closed, or was not opened")?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(match (word, word.parse::<usize>()) {
                ("stream" | "key", _) => Part::Whole,
                (_, Ok(number @ 1..=9)) => Part::Nth(number - 1),
                _ => return Err(format!("has `{{{word}}}`, which stands for nothing")),
            });
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
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
                Part::Whole => key,
                Part::Nth(at) => key.split(':').nth(*at).unwrap_or_default(),
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
