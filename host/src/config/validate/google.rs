//! What services of Google Cloud have in common, and Firestore.

use std::{path::Path, time::Duration};

use super::{super::model::FirestoreCheckpointConfig, At, Check, HOUR};
use crate::{error::Code, google};

impl Check<'_> {
    /// `endpoint` and `credentials_file`.
    pub(super) fn google_access(&mut self, at: &At<'_>, code: Code, endpoint: Option<&str>, file: Option<&Path>) {
        if let Some(endpoint) = endpoint {
            let at = at.key("endpoint");
            let place = ["https://", "http://"].iter().find_map(|scheme| endpoint.strip_prefix(scheme));
            let good = |place: &str| {
                let place = place.trim_end_matches('/');
                !place.is_empty() && !place.contains(['/', '@', '?', '#']) && !place.contains(char::is_whitespace)
            };
            if !place.is_some_and(good) {
                let message = format!("`{}` is no endpoint", at.name());
                let help = "it is a URL without a path: `https://HOST`, or `http://HOST:PORT` for an emulator";
                self.report(&at, code, message, help);
            }
        }
        if let Some(file) = file {
            let at = at.key("credentials_file");
            self.path(&at, file);
            if endpoint.is_some_and(google::is_emulator) {
                let message = "credentials are given for an `endpoint` without TLS, which gets none".to_owned();
                let help = "an emulator needs none: leave `credentials_file` out, or write `endpoint: https://HOST`";
                self.report(&at, Code::ConfigConflict, message, help);
            }
        }
    }

    /// `checkpoint.firestore`
    pub(super) fn firestore(&mut self, at: &At<'_>, firestore: &FirestoreCheckpointConfig) {
        let code = Code::FirestoreConfiguration;
        let mut wrong = |key: &str, what: &str, value: &str, why: Option<String>| {
            if let Some(why) = why {
                let at = at.key(key);
                self.report(&at, code, format!("`{}` is no {what}: `{value}`", at.name()), why);
            }
        };
        wrong("project", "project", &firestore.project, google::names::wrong_project(&firestore.project));
        wrong("database", "database", &firestore.database, wrong_database(&firestore.database));
        wrong("collection", "collection", &firestore.collection, wrong_collection(&firestore.collection));
        if let Some(document) = &firestore.document {
            wrong("document", "document", document, wrong_id(document));
        }
        self.google_access(at, code, firestore.endpoint.as_deref(), firestore.credentials_file.as_deref());
        self.span(&at.key("interval"), firestore.interval, Duration::ZERO, HOUR);
        self.span(&at.key("lease"), firestore.lease, Duration::from_millis(500), HOUR);
        self.span(&at.key("timeout"), firestore.timeout, Duration::from_millis(1), HOUR);
    }
}

fn wrong_database(database: &str) -> Option<String> {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = database == "(default)" || ((4..=63).contains(&database.len()) && database.chars().all(letters));
    (!good).then(|| "it has 4 to 63 lower-case letters, digits and `-`, or is `(default)`".to_owned())
}

fn wrong_collection(path: &str) -> Option<String> {
    if path.split('/').count().is_multiple_of(2) {
        return Some("with a `/` in it, it is `COLLECTION/DOCUMENT/COLLECTION`".to_owned());
    }
    path.split('/').find_map(wrong_id)
}

/// Why something names neither a collection nor a document.
fn wrong_id(id: &str) -> Option<String> {
    let why = match id {
        "" => "a name in it is empty",
        "." | ".." => "`.` and `..` are no names",
        id if id.contains('/') => "a name has no `/`",
        id if id.len() > 1500 => "a name has at most 1500 bytes",
        id if id.starts_with("__") && id.ends_with("__") => "names such as `__this__` are Firestore's own",
        _ => return None,
    };
    Some(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{wrong_collection, wrong_database, wrong_id};

    #[test]
    fn what_names_nothing_is_told() {
        for good in ["(default)", "orders", "orders-2"] {
            assert_eq!(wrong_database(good), None, "{good}");
        }
        for bad in ["", "default)", "abc", "Orders", "a/b/c"] {
            assert!(wrong_database(bad).is_some(), "{bad}");
        }
        for good in ["checkpoints", "hosts/one/checkpoints", "Über uns"] {
            assert_eq!(wrong_collection(good), None, "{good}");
        }
        for (bad, says) in [
            ("", "empty"),
            ("a/b", "COLLECTION/DOCUMENT"),
            ("a//c", "empty"),
            ("a/../c", "`..`"),
            ("__a__", "Firestore's own"),
        ] {
            assert!(wrong_collection(bad).is_some_and(|why| why.contains(says)), "{bad}");
        }
        assert!(wrong_id("a/b").is_some_and(|why| why.contains("no `/`")));
        assert!(wrong_id(&"x".repeat(1501)).is_some_and(|why| why.contains("1500")));
    }
}
