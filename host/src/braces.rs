//! Text with words in braces, such as `{database}:{_id}`: how it is read, whatever the words stand for.

/// A part of such a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part<W> {
    /// As it stands.
    Text(String),
    /// What a word stands for.
    Word(W),
}

/// Why a text cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// No such word is known.
    Word(String),
    /// A brace is not closed, or was not opened.
    Brace,
}

/// The parts of a text, in which `{{` and `}}` are braces; `known` says what a word stands for, if anything.
pub(crate) fn parse<W>(text: &str, known: impl Fn(&str) -> Option<W>) -> Result<Vec<Part<W>>, Unreadable> {
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
        let (word, behind) = brace.strip_prefix('{').and_then(|word| word.split_once('}')).ok_or(Unreadable::Brace)?;
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(Part::Word(known(word).ok_or_else(|| Unreadable::Word(word.to_owned()))?));
        rest = behind;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::{Part, Unreadable, parse};

    #[test]
    fn words_stand_in_braces_and_braces_are_doubled() {
        let parts = |text| parse(text, |word| (word != "no").then(|| word.to_owned()));
        let text = |text: &str| Part::Text(text.to_owned());
        let word = |text: &str| Part::Word(text.to_owned());
        assert_eq!(parts(""), Ok(vec![]));
        assert_eq!(parts("plain"), Ok(vec![text("plain")]));
        assert_eq!(parts("a{b}{c}d"), Ok(vec![text("a"), word("b"), word("c"), text("d")]));
        assert_eq!(parts("{{{b}}}"), Ok(vec![text("{"), word("b"), text("}")]));
        assert_eq!(parts("{no}"), Err(Unreadable::Word("no".to_owned())));
        for half in ["{a", "a}", "a{b", "}{", "{a}}"] {
            assert_eq!(parts(half), Err(Unreadable::Brace), "{half}");
        }
    }
}
