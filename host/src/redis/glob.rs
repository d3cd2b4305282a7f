//! Patterns of names as Redis matches them: `*`, `?`, `[abc]`, `[^a-z]`, and `\` before what is meant as it stands.

/// Whether a pattern matches a name. `None` in the name stands for any text, of which nothing is known: only `*` takes it, so that a match is
/// one whatever the text is.
pub(crate) fn matches<T: Copy + Into<Option<u8>>>(pattern: &[u8], name: &[T]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    // Behind the last `*`, and what of the name it has taken: when the rest does not fit, it takes one more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), name.get(in_name)) {
            (Some(b'*'), _) => {
                at += 1;
                star = Some((at, in_name));
                continue;
            }
            (None, None) => return true,
            (Some(_), Some(letter)) => {
                if let Some(length) = one(pattern.get(at..).unwrap_or_default(), (*letter).into()) {
                    (at, in_name) = (at + length, in_name + 1);
                    continue;
                }
            }
            _ => {}
        }
        let Some((behind, taken)) = star.filter(|(_, taken)| *taken < name.len()) else { return false };
        star = Some((behind, taken + 1));
        (at, in_name) = (behind, taken + 1);
    }
}

/// How long the part at the beginning of a pattern is that stands for one letter; none where that is not this letter.
fn one(pattern: &[u8], letter: Option<u8>) -> Option<usize> {
    let letter = letter?;
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => in_set(set, letter).map(|length| length + 1),
        [b'\\', escaped, ..] => (*escaped == letter).then_some(2),
        [plain, ..] => (*plain == letter).then_some(1),
        [] => None,
    }
}

/// The same for what stands behind `[`. A set that is not closed goes to the end.
fn in_set(set: &[u8], letter: u8) -> Option<usize> {
    let not = set.first() == Some(&b'^');
    let mut at = usize::from(not);
    let mut found = false;
    loop {
        match set.get(at..).unwrap_or_default() {
            [b'\\', escaped, ..] => {
                found |= *escaped == letter;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&letter);
                at += 3;
            }
            [plain, ..] => {
                found |= *plain == letter;
                at += 1;
            }
            [] => break,
        }
    }
    (found != not).then_some(at)
}

#[cfg(test)]
mod tests {
    use redis::Client;

    use super::matches;
    use crate::testing::Server;

    const PATTERNS: [&str; 28] = [
        "*", "", "a", "a*", "*a", "a*b*c", "**", "?", "a?c", "[abc]", "[^abc]", "[a-c]x", "[c-a]x", "[a-]", "a[b",
        "\\*", "[\\]]", "[]", "a\\", "*[0-9]", "h[^e]llo", "*:?:*", "a[]]c", "a[^b", "a[", "a[b-]c", "a[z-b]c",
        "a[*]c",
    ];
    const NAMES: [&str; 25] = [
        "a", "b", "ab", "abc", "aXbYc", "abcabc", "x", "ax", "cx", "-", "*", "]", "a[b", "a\\", "n1", "hallo", "hello",
        "app:1:z", "é", "a-", "a]c", "a-c", "a^c", "a\\c", "a*c",
    ];

    #[tokio::test]
    async fn names_match_as_the_server_says() {
        let server = Server::redis(&[]);
        let mut redis = Client::open(server.redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        for name in NAMES {
            let () = redis::cmd("SET").arg(name).arg(1).query_async(&mut redis).await.unwrap();
        }
        for pattern in PATTERNS {
            let mut theirs: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut redis).await.unwrap();
            let mut ours: Vec<&str> =
                NAMES.into_iter().filter(|name| matches(pattern.as_bytes(), name.as_bytes())).collect();
            theirs.sort();
            ours.sort_unstable();
            assert_eq!(ours, theirs, "{pattern}");
        }
    }

    #[test]
    fn what_is_not_known_is_taken_by_a_star_alone() {
        let sure = |pattern: &str, form: &str| {
            let form: Vec<Option<u8>> = form.bytes().map(|byte| (byte != b'_').then_some(byte)).collect();
            matches(pattern.as_bytes(), &form)
        };
        assert!(sure("*", "_"));
        assert!(sure("app:*", "app:_"));
        assert!(sure("app:*", "app:_:x_"));
        assert!(sure("*:x", "_:x"));
        assert!(!sure("app:*", "_:app"));
        assert!(!sure("app:??", "app:_"), "it may be longer, or nothing");
        assert!(!sure("app:[^_]", "app:_"));
        assert!(!sure("app", "app_"));
    }
}
