//! Patterns of names: `*` stands for any characters, `?` for one, `\` before a character for that character.

use bson::{Bson, Regex};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Char(char),
    One,
    Any,
}

/// A pattern of a name.
#[derive(Clone, Debug)]
pub(super) struct Glob(Vec<Piece>);

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        let mut pieces = Vec::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            match char {
                // Several in a row say no more than one.
                '*' if pieces.last() == Some(&Piece::Any) => {}
                '*' => pieces.push(Piece::Any),
                '?' => pieces.push(Piece::One),
                '\\' => pieces.push(Piece::Char(chars.next().unwrap_or('\\'))),
                char => pieces.push(Piece::Char(char)),
            }
        }
        Self(pieces)
    }

    /// A name in which nothing has a meaning.
    pub(super) fn literal_of(name: &str) -> Self {
        Self(name.chars().map(Piece::Char).collect())
    }

    /// The one name it stands for, if it is one.
    pub(super) fn literal(&self) -> Option<String> {
        let chars = self.0.iter().map(|piece| match piece {
            Piece::Char(char) => Some(*char),
            Piece::One | Piece::Any => None,
        });
        chars.collect()
    }

    /// Whether every name matches.
    pub(super) fn is_everything(&self) -> bool {
        self.0 == [Piece::Any]
    }

    /// What all matching names begin with.
    pub(super) fn start(&self) -> String {
        let chars = self.0.iter().map_while(|piece| match piece {
            Piece::Char(char) => Some(*char),
            Piece::One | Piece::Any => None,
        });
        chars.collect()
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut piece, mut at) = (0, 0);
        // The last `*`, and how far it reaches: a later piece that fails lets it take one character more.
        let mut back: Option<(usize, usize)> = None;
        loop {
            match (self.0.get(piece), name.get(at)) {
                (None, None) => return true,
                (Some(Piece::Any), _) => {
                    back = Some((piece, at));
                    piece += 1;
                    continue;
                }
                (Some(Piece::One), Some(_)) => {}
                (Some(Piece::Char(wanted)), Some(found)) if wanted == found => {}
                _ => match back {
                    Some((star, reached)) if reached < name.len() => {
                        back = Some((star, reached + 1));
                        (piece, at) = (star + 1, reached + 1);
                        continue;
                    }
                    _ => return false,
                },
            }
            piece += 1;
            at += 1;
        }
    }

    /// What the server compares a name with: a text, or an anchored regular expression; none where every name matches.
    pub(super) fn condition(&self) -> Option<Bson> {
        if self.is_everything() {
            return None;
        }
        if let Some(literal) = self.literal() {
            return Some(literal.into());
        }
        let mut pattern = String::from("^");
        for piece in &self.0 {
            match piece {
                Piece::Any => pattern.push_str(".*"),
                Piece::One => pattern.push('.'),
                Piece::Char(char) if char.is_ascii() && !char.is_ascii_alphanumeric() && *char != '_' => {
                    pattern.extend(['\\', *char]);
                }
                Piece::Char(char) => pattern.push(*char),
            }
        }
        pattern.push('$');
        let (pattern, options) = (pattern.try_into().ok()?, "s".to_owned().try_into().ok()?);
        Some(Bson::RegularExpression(Regex { pattern, options }))
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, bson};

    use super::Glob;

    #[test]
    fn patterns_match_as_a_shell_does() {
        for (pattern, yes, no) in [
            ("items", &["items"][..], &["item", "items2", "xitems"][..]),
            ("inv_*", &["inv_", "inv_a", "inv_a.b"], &["inv", "xinv_a"]),
            ("*_log", &["_log", "a_log_log"], &["a_logs"]),
            ("a*b*c", &["abc", "aXbXbXc"], &["ab", "acb"]),
            ("a?c", &["abc", "aüc"], &["ac", "abbc"]),
            ("*", &["", "a"], &[]),
            (r"a\*", &["a*"], &["ab"]),
        ] {
            let glob = Glob::new(pattern);
            assert!(yes.iter().all(|name| glob.matches(name)), "{pattern}");
            assert!(!no.iter().any(|name| glob.matches(name)), "{pattern}");
        }
    }

    #[test]
    fn the_server_gets_anchored_expressions_and_plain_names() {
        assert_eq!(Glob::new("a.b").condition(), Some(bson!("a.b")));
        assert_eq!(Glob::new("**").condition(), None);
        let Some(Bson::RegularExpression(regex)) = Glob::new(r"a.+\*?_*").condition() else { panic!("no expression") };
        assert_eq!((regex.pattern.as_str(), regex.options.as_str()), (r"^a\.\+\*._.*$", "s"));
    }
}
