//! Texts of plugins that people read: in logs, in dead letters, on terminals. Nobody reads a megabyte, and a dead letter that big
//! may find no place, so they are cut.

use super::{Outcome, Violation};

/// Longest text, in bytes: a reason, a message, an error.
const LONGEST: usize = 4 << 10;
/// Longest path of a violation.
const LONGEST_PATH: usize = 1 << 10;
/// Most violations of one change; the last then says how many there are besides.
const MOST_VIOLATIONS: usize = 100;

/// The text, cut with a word about its length.
pub(in crate::plugin) fn cut(text: String) -> String {
    cut_to(text, LONGEST)
}

fn cut_to(mut text: String, longest: usize) -> String {
    let all = text.len();
    if all > longest {
        text.truncate(text.floor_char_boundary(longest));
        text.push_str(&format!(" ... (cut, it has {all} bytes)"));
        text.shrink_to_fit();
    }
    text
}

/// A name within a sentence.
pub(super) fn quoted(name: &str) -> &str {
    name.get(..name.floor_char_boundary(100)).unwrap_or_default()
}

/// Cuts what an outcome says.
pub(super) fn cut_outcome(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed(reason) => Outcome::Failed(cut(reason)),
        Outcome::Unusable(reason) => Outcome::Unusable(cut(reason)),
        Outcome::Rejected(violations) => {
            let all = violations.len();
            let short = |violation: Violation| Violation {
                path: cut_to(violation.path, LONGEST_PATH),
                message: cut(violation.message),
            };
            let mut violations: Vec<_> = violations.into_iter().take(MOST_VIOLATIONS).map(short).collect();
            if all > MOST_VIOLATIONS {
                let message = format!("... and {} more violations", all - MOST_VIOLATIONS);
                violations.push(Violation { path: String::new(), message });
            }
            Outcome::Rejected(violations)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Violation, cut, cut_outcome};

    #[test]
    fn short_texts_stay_and_long_ones_are_cut_between_characters() {
        assert_eq!(cut("why".to_owned()), "why");
        let long = cut("é".repeat(5000));
        assert!(long.starts_with('é') && long.ends_with(" ... (cut, it has 10000 bytes)") && long.len() < 4200);
    }

    #[test]
    fn violations_are_so_many_and_the_rest_is_counted() {
        let violation = || Violation { path: "p".repeat(2000), message: "no".to_owned() };
        let Outcome::Rejected(list) = cut_outcome(Outcome::Rejected((0..150).map(|_| violation()).collect())) else {
            unreachable!("it stays a rejection")
        };
        assert_eq!(list.len(), 101);
        assert!(list[0].path.len() < 1100 && list[0].message == "no");
        assert_eq!(list[100].message, "... and 50 more violations");
    }
}
