//! Names of topics and subscriptions.

use std::borrow::Cow;

use crate::google::names::wrong_project;

/// `projects/PROJECT/KIND/NAME`, of a name that is either whole already or stands alone. `kind` is `topics` or `subscriptions`.
pub(crate) fn full<'a>(project: &str, kind: &str, name: &'a str) -> Cow<'a, str> {
    if name.starts_with("projects/") {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("projects/{project}/{kind}/{name}"))
    }
}

/// Project and name of a full name.
pub(crate) fn split(full: &str) -> (&str, &str) {
    let mut parts = full.splitn(4, '/').skip(1).step_by(2);
    (parts.next().unwrap_or_default(), parts.next().unwrap_or(full))
}

/// Why something is no name, whole or alone; none where it is one.
pub(crate) fn wrong(kind: &str, name: &str) -> Option<String> {
    let alone = match name.strip_prefix("projects/") {
        None => name,
        Some(rest) => {
            let mut parts = rest.split('/');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(project), Some(word), Some(alone), None) if word == kind => match wrong_project(project) {
                    Some(why) => return Some(why),
                    None => alone,
                },
                _ => return Some(format!("it is not of the form projects/PROJECT/{kind}/NAME")),
            }
        }
    };
    if alone.contains('/') {
        return Some(format!("a `/` stands only in whole names, which begin with projects/PROJECT/{kind}/"));
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || "-._~+%".contains(c);
    if let Some(other) = alone.chars().find(|c| !letters(*c)) {
        return Some(format!("`{other}` cannot be in it: it has letters, digits and `-._~+%`"));
    }
    if !(3..=255).contains(&alone.len()) {
        return Some("it has 3 to 255 characters".to_owned());
    }
    if !alone.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Some("it begins with a letter".to_owned());
    }
    alone.starts_with("goog").then(|| "names that begin with `goog` are Google's own".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{full, split, wrong};

    #[test]
    fn names_are_whole_or_stand_alone() {
        assert_eq!(full("shop", "topics", "stock"), "projects/shop/topics/stock");
        assert_eq!(full("shop", "topics", "projects/a/topics/b"), "projects/a/topics/b");
        assert_eq!(split("projects/shop/topics/stock"), ("shop", "stock"));
    }

    #[test]
    fn what_is_no_name_is_told() {
        for name in
            ["stock", "a-b.c_d~e+f%20", "projects/shop-1/topics/stock", "projects/example.com:shop/topics/stock"]
        {
            assert_eq!(wrong("topics", name), None, "{name}");
        }
        for (name, says) in [
            ("", "3 to 255"),
            ("ab", "3 to 255"),
            ("1abc", "begins with a letter"),
            ("stock level", "` ` cannot"),
            ("stöck", "`ö` cannot"),
            ("goog-stock", "Google's own"),
            ("a/b", "whole names"),
            ("projects/shop/subscriptions/stock", "projects/PROJECT/topics/NAME"),
            ("projects/shop/topics/stock/x", "projects/PROJECT/topics/NAME"),
            ("projects/S/topics/stock", "by its id"),
        ] {
            let why = wrong("topics", name).unwrap_or_default();
            assert!(why.contains(says), "{name}: {why}");
        }
    }
}
