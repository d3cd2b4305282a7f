//! What is wrong with a selection, found before anything is connected.

use super::{Pattern, Selection, is_internal};
use crate::config::MongodbSourceConfig;

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key of the source, and the item of its list.
    pub at: (&'static str, Option<usize>),
    /// Goes on behind the name of the value: `is given twice`.
    pub message: String,
    /// The way out.
    pub help: String,
}

const NEVER: &str = "`system.*`, `admin`, `config`, `local` and tidegate's own collections (`tidegate_*`, `tidegate.checkpoints`) are \
                     not watched";

/// All that is wrong with what a source selects.
pub fn problems(config: &MongodbSourceConfig) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut report = |at, message: String, help: &str| found.push(Problem { at, message, help: help.to_owned() });
    let one = config.database.as_deref();
    if one.is_some() && !config.databases.is_empty() {
        let help = "keep one of them: `database` for one database, `databases` for several";
        report(("databases", None), "cannot stand beside `database`".to_owned(), help);
    }
    if one.is_some_and(|name| is_internal(name, "")) {
        report(("database", None), "is never watched".to_owned(), NEVER);
    }
    for (index, name) in config.databases.iter().enumerate() {
        let at = ("databases", Some(index));
        if !may_be_database(name) {
            let help = "a name has 1 to 63 bytes and none of / \\ . \" $ and space; `*` stands for any characters";
            report(at, "is no name or pattern of a database".to_owned(), help);
        } else if config.databases.iter().take(index).any(|other| other == name) {
            report(at, "is given twice".to_owned(), "keep one of them");
        } else if is_internal(name, "") {
            report(at, "is never watched".to_owned(), NEVER);
        }
    }
    let mut lists = [("collections", &config.collections, Vec::new()), ("exclude", &config.exclude, Vec::new())];
    for (key, texts, patterns) in &mut lists {
        for (index, text) in texts.iter().enumerate() {
            let at = (*key, Some(index));
            let Some(pattern) = Pattern::new(one, text) else {
                let help = "without `database` a pattern is `database.collection`, such as `shop.items`, `shop.*` or `*.items`";
                report(at, "names no database".to_owned(), help);
                continue;
            };
            let (database, collection) = (pattern.database.start(), pattern.collection.start());
            let name = one.map_or_else(|| text.split_once('.').map_or("", |(_, name)| name), |_| text);
            if name.is_empty() || name.contains(['$', '\0']) {
                report(at, "is no name of a collection".to_owned(), "a name is not empty and holds no `$`");
            } else if one.is_none() && !may_be_database(text.split_once('.').map_or("", |(database, _)| database)) {
                let help = "a database has 1 to 63 bytes and none of / \\ . \" $ and space";
                report(at, "names no possible database".to_owned(), help);
            } else if texts.iter().take(index).any(|other| other == text) {
                report(at, "is given twice".to_owned(), "keep one of them");
            } else if is_internal(pattern.database.literal().as_deref().unwrap_or_default(), &collection) {
                report(at, "matches only what is never watched".to_owned(), NEVER);
            } else if one.is_none()
                && pattern.database.literal().is_some()
                && !config.databases.is_empty()
                && !Selection::new(&MongodbSourceConfig { collections: Vec::new(), ..config.clone() })
                    .matches_database(&database)
            {
                report(
                    at,
                    "is in none of the `databases`".to_owned(),
                    "add the database to `databases`, or take this out",
                );
            }
            patterns.push((index, pattern));
        }
    }
    let [(_, _, collections), (_, _, exclude)] = lists;
    for (index, pattern) in &exclude {
        let all_databases = one.is_some() || pattern.database.is_everything();
        let literals: Option<Vec<_>> = collections.iter().map(|(_, pattern)| pattern.literal()).collect();
        if pattern.collection.is_everything() && all_databases {
            report(
                ("exclude", Some(*index)),
                "excludes everything".to_owned(),
                "take it out, or name what is not wanted",
            );
        } else if let Some(literals) = literals.filter(|literals| !literals.is_empty())
            && !literals.iter().any(|(database, collection)| pattern.matches(database, collection))
        {
            let help = "`collections` lists names, and this is none of them: take it out";
            report(("exclude", Some(*index)), "excludes nothing that is selected".to_owned(), help);
        }
    }
    for (index, pattern) in &collections {
        if let Some((database, collection)) = pattern.literal()
            && exclude.iter().any(|(_, excluded)| excluded.matches(&database, &collection))
        {
            let help = "take it out of `collections`, or make `exclude` smaller";
            report(("collections", Some(*index)), "is excluded by `exclude`".to_owned(), help);
        }
    }
    for (index, operation) in config.operations.iter().enumerate() {
        if config.operations.iter().take(index).any(|other| other == operation) {
            report(("operations", Some(index)), "is given twice".to_owned(), "keep one of them");
        }
    }
    found
}

fn may_be_database(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && !name.contains(['/', '\\', '.', ' ', '"', '$', '\0'])
}
