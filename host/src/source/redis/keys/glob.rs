//! Patterns as the server has them (`KEYS`, `SCAN`, `PSUBSCRIBE`), byte by byte.

/// Whether a key matches.
pub(super) fn matches(pattern: &[u8], key: &[u8]) -> bool {
    let (mut p, mut k) = (0, 0);
    // Behind the last star, and the first byte that it does not cover yet.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            star = Some((p, k));
            continue;
        }
        let step = match key.get(k) {
            None if p >= pattern.len() => return true,
            None => return false,
            Some(byte) => one(pattern.get(p..).unwrap_or_default(), *byte),
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                k += 1;
            }
            (None, Some((behind, covered))) => {
                p = behind;
                k = covered + 1;
                star = Some((behind, k));
            }
            (None, None) => return false,
        }
    }
}

/// How long what stands for one byte is, where it stands for this one.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', class @ ..] => {
            let (length, has) = class_has(class, byte);
            has.then_some(length + 1)
        }
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// How long a class is without its first bracket, and whether the byte is in it. One that is not closed reaches to the end.
fn class_has(class: &[u8], byte: u8) -> (usize, bool) {
    let not = class.first() == Some(&b'^');
    let mut at = usize::from(not);
    let mut has = false;
    loop {
        match class.get(at..).unwrap_or_default() {
            [] => return (at, has != not),
            [b'\\', literal, ..] => {
                has |= *literal == byte;
                at += 2;
            }
            [b']', ..] => return (at + 1, has != not),
            [from, b'-', to, ..] => {
                has |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                has |= *literal == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::AsyncCommands as _;

    use super::matches;
    use crate::testing::Server;

    /// What the server says is right.
    #[tokio::test]
    async fn patterns_are_those_of_the_server() {
        let server = Server::redis(&[]);
        let client = redis::Client::open(server.redis_url()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let keys = ["", "a", "b", "ab", "abc", "a*c", "a]c", "a-c", "a^c", "a\\c", "app:1:x", "app::x", "aXbXc", "é"];
        for key in keys {
            let () = redis.set(key, 1).await.unwrap();
        }
        for pattern in [
            "*", "?", "a", "a*", "*c", "a*c", "a**c", "*b*", "a?c", "a[*]c", "a[b-z]c", "a[z-b]c", "a[^b]c", "a\\*c",
            "a[]]c", "a[\\]]c", "a[b", "a[^b", "app:*:x", "a*b*c", "*a*b*c*", "[a-b]", "??", "", "a[b-]c", "a\\", "a[",
        ] {
            let mut expected: Vec<String> = redis.keys(pattern).await.unwrap();
            expected.sort();
            let mut found: Vec<&str> =
                keys.into_iter().filter(|key| matches(pattern.as_bytes(), key.as_bytes())).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
