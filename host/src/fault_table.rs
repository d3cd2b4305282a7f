//! What the tables of the servers' errors have in common, and their page in the documentation.

/// What follows from an error code of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It may pass: the same is tried again with backoff.
    Transient,
    /// The change will never be taken: it goes to the dead letter, and the others go on.
    Change,
    /// Every change would meet it: the pipeline stops and says why.
    Pipeline,
}

impl Meaning {
    /// As the documentation says it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Change => "this change",
            Self::Pipeline => "this pipeline",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Meaning;
    use crate::{firestore, mongodb_faults, pubsub, redis};

    /// The rows of a table in `docs/errors/README.md`.
    fn documented(heading: &str) -> Vec<String> {
        let page = include_str!("../../docs/errors/README.md");
        let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no `{heading}`"));
        let section = section.split("\n## ").next().unwrap_or_default();
        section.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
    }

    fn line(code: &str, meaning: Meaning, why: &str) -> String {
        format!("| {code} | {} | {why} |", meaning.as_str())
    }

    #[test]
    fn the_documentation_shows_the_tables_as_they_are() {
        let mongodb: Vec<String> = mongodb_faults::WRITES
            .iter()
            .map(|row| line(&format!("`{}` {}", row.code, row.name), row.meaning, row.why))
            .collect();
        assert_eq!(documented("MongoDB, when writing"), mongodb, "\n{}\n", mongodb.join("\n"));
        let redis: Vec<String> =
            redis::WRITES.iter().map(|row| line(&format!("`{}`", row.says), row.meaning(), row.why)).collect();
        assert_eq!(documented("Redis, when writing"), redis, "\n{}\n", redis.join("\n"));
        let pubsub: Vec<String> =
            pubsub::WRITES.iter().map(|row| line(&format!("`{}`", row.code.name()), row.meaning, row.why)).collect();
        assert_eq!(documented("Pub/Sub, when publishing"), pubsub, "\n{}\n", pubsub.join("\n"));
        let firestore: Vec<String> =
            firestore::CODES.iter().map(|row| line(&format!("`{}`", row.code.name()), row.meaning, row.why)).collect();
        assert_eq!(documented("Firestore"), firestore, "\n{}\n", firestore.join("\n"));
    }
}
