//! What is compared with what.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    read::Reader,
    side::{Described, Side},
};
use crate::{
    config::{Config, Secret, SinkConfig, SourceConfig, WriteMode},
    error::{Code, Fault},
    sink::mongodb::POSITIONS,
};

/// The database where a host keeps its own by default, such as checkpoints: beside a mirror of a whole deployment.
const OUR_DATABASE: &str = "tidegate";

/// Which collections are compared, and where each is in the target.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Patterns of names in the source, with `*`; one that begins with `!` leaves out.
    pub databases: Vec<String>,
    /// The same of collections.
    pub collections: Vec<String>,
    /// `source.collection=target.collection`, or `database=database`.
    pub maps: Vec<String>,
    /// The database of the target that all are in.
    pub into_database: Option<String>,
    /// The collection of the target that the one of the source is in.
    pub into_collection: Option<String>,
}

/// A collection of the source and its counterpart; either may not be there.
pub(super) struct Pair<'a> {
    pub(super) source: Reader<'a>,
    pub(super) target: Reader<'a>,
    pub(super) in_source: Option<Described>,
    pub(super) in_target: Option<Described>,
}

/// Why a collection is compared as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unordered {
    /// They have no index on `_id`, and give the fields of a document in the order of their buckets.
    TimeSeries,
    /// The two sides sort `_id`s by the rules of different languages.
    Collations,
}

impl Unordered {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::TimeSeries => "time-series",
            Self::Collations => "different collations",
        }
    }
}

impl Pair<'_> {
    /// Whether the documents of the two sides come in no common order, and can be compared only as a whole; and why.
    pub(super) fn unordered(&self) -> Option<Unordered> {
        let both = [&self.in_source, &self.in_target];
        if both.iter().any(|side| side.as_ref().is_some_and(|side| side.kind == "timeseries")) {
            return Some(Unordered::TimeSeries);
        }
        let collation = |side: &Option<Described>| {
            let mut collation = side.as_ref()?.options.get_document("collation").ok()?.clone();
            collation.remove("version"); // of the library, which is another in each version of the server
            Some(collation)
        };
        let apart = self.in_source.is_some() && self.in_target.is_some() && {
            collation(&self.in_source) != collation(&self.in_target)
        };
        apart.then_some(Unordered::Collations)
    }
}

/// The source, the target and the scope of a pipeline that mirrors.
///
/// # Errors
/// When there is no such pipeline, or it is no mirror.
pub fn of_pipeline(config: &Config, name: &str, sink: Option<&str>) -> Result<(Secret, Secret, Scope), Fault> {
    let none = |message: String| Err(Fault::fatal(Code::VerifyPipeline, message));
    let Some(pipeline) = config.pipelines.get(name) else {
        let names: Vec<&str> = config.pipelines.keys().map(String::as_str).collect();
        return none(format!("there is no pipeline `{name}`; there are: {}", names.join(", ")));
    };
    let SourceConfig::Mongodb(source) = &pipeline.source else {
        return none(format!("the source of pipeline `{name}` is not MongoDB"));
    };
    let mut mirrors = pipeline.sinks.iter().filter_map(|(name, config)| match config {
        SinkConfig::Mongodb(mongodb) if sink.is_none_or(|sink| sink == name) => Some(mongodb),
        _ => None,
    });
    let Some(target) = mirrors.next() else {
        return none(match sink {
            Some(sink) => format!("pipeline `{name}` has no MongoDB sink `{sink}`"),
            None => format!("pipeline `{name}` has no MongoDB sink"),
        });
    };
    if mirrors.next().is_some() {
        return none(format!("pipeline `{name}` has several MongoDB sinks: name one with --sink"));
    }
    if target.mode == WriteMode::Append {
        return none(format!(
            "the MongoDB sink of pipeline `{name}` has `mode: append`: a journal of changes is no mirror"
        ));
    }
    let scope = Scope {
        databases: source.database.iter().cloned().collect(),
        collections: source.collections.clone(),
        into_database: target.database.clone(),
        into_collection: target.collection.clone(),
        ..Scope::default()
    };
    Ok((source.uri.clone(), target.uri.clone(), scope))
}

/// A name of a collection: database, collection.
type Name = (String, String);

/// How names of the source become names of the target.
#[derive(Debug, Default)]
struct Mapping {
    collections: BTreeMap<Name, Name>,
    databases: BTreeMap<String, String>,
    into_database: Option<String>,
    into_collection: Option<String>,
}

impl Mapping {
    fn new(scope: &Scope, source: Option<&str>, target: Option<&str>) -> Result<Self, Fault> {
        let mut mapping = Self {
            into_database: scope.into_database.clone(),
            into_collection: scope.into_collection.clone(),
            ..Self::default()
        };
        // Two connection strings that name a database each compare these two.
        if let (Some(source), Some(target)) = (source, target) {
            mapping.databases.insert(source.to_owned(), target.to_owned());
        }
        for map in &scope.maps {
            let parts = map.split_once('=').map(|(from, to)| (from, from.split_once('.'), to, to.split_once('.')));
            match parts {
                Some((_, Some((db, name)), _, Some((to_db, to_name)))) => {
                    mapping.collections.insert((db.into(), name.into()), (to_db.into(), to_name.into()));
                }
                Some((from, None, to, None)) if !from.is_empty() && !to.is_empty() => {
                    mapping.databases.insert(from.to_owned(), to.to_owned());
                }
                _ => {
                    let message = format!("--map {map} does not map a name to a name: write db.coll=db.coll, or db=db");
                    return Err(Fault::fatal(Code::VerifyScope, message));
                }
            }
        }
        Ok(mapping)
    }

    fn database(&self, source: &str) -> String {
        let mapped = self.databases.get(source).or(self.into_database.as_ref());
        mapped.map_or_else(|| source.to_owned(), Clone::clone)
    }

    fn target(&self, (database, collection): &Name) -> Name {
        self.collections.get(&(database.clone(), collection.clone())).cloned().unwrap_or_else(|| {
            (self.database(database), self.into_collection.clone().unwrap_or_else(|| collection.clone()))
        })
    }

    /// The name in the source that would become this one; none where no name does.
    fn source<'a>(&self, (database, collection): &Name, sources: impl Iterator<Item = &'a String>) -> Option<Name> {
        if self.into_collection.is_some() {
            return None;
        }
        let mut from: Vec<&String> = sources.filter(|source| self.database(source) == *database).collect();
        if from.is_empty() && self.into_database.is_none() && self.database(database) == *database {
            from.push(database);
        }
        let name = ((*from.first()?).clone(), collection.clone());
        (!self.collections.contains_key(&name)).then_some(name)
    }
}

/// Whether the patterns take a name.
fn takes(patterns: &[String], name: &str) -> bool {
    let (out, of): (Vec<&str>, Vec<&str>) = patterns.iter().map(String::as_str).partition(|p| p.starts_with('!'));
    (of.is_empty() || of.iter().any(|pattern| fits(pattern, name)))
        && !out.iter().any(|pattern| fits(pattern.trim_start_matches('!'), name))
}

/// Whether a name fits a pattern: `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// The collections of the databases that `wanted` takes, without what the server or this program keeps for itself; views apart.
async fn collections(
    side: &Side,
    wanted: impl Fn(&str) -> bool,
) -> Result<(BTreeMap<Name, Described>, BTreeSet<Name>), Fault> {
    let (mut found, mut views) = (BTreeMap::new(), BTreeSet::new());
    for database in side.databases().await? {
        if !wanted(&database) {
            continue;
        }
        for described in side.collections(&database).await? {
            let name = (database.clone(), described.name.clone());
            if described.kind == "view" {
                views.insert(name);
            } else if !described.name.starts_with("system.") && described.name != POSITIONS {
                found.insert(name, described);
            }
        }
    }
    Ok((found, views))
}

/// All pairs to compare, by name.
pub(super) async fn pairs<'a>(source: &'a Side, target: &'a Side, scope: &Scope) -> Result<Vec<Pair<'a>>, Fault> {
    // `admin` in a connection string is where a user logs in.
    let named = |side: &Side| side.database.clone().filter(|name| name != "admin");
    let (of_source, of_target) = (named(source), named(target));
    let mapping = Mapping::new(scope, of_source.as_deref(), of_target.as_deref())?;
    let mut databases = scope.databases.clone();
    if databases.is_empty() {
        databases.extend(of_source);
    }
    let (mut in_source, views) = collections(source, |name| takes(&databases, name)).await?;
    let known: BTreeSet<String> = in_source
        .keys()
        .map(|(database, _)| database.clone())
        .chain(databases.iter().filter(|name| !name.contains(['*', '!'])).cloned())
        .collect();
    let (mut in_target, _) = collections(target, |_| true).await?;

    let mut sources: BTreeMap<Name, Name> = BTreeMap::new();
    for name in in_source.keys().filter(|(_, collection)| takes(&scope.collections, collection)) {
        if let Some(first) = sources.insert(mapping.target(name), name.clone()) {
            let (into_db, into) = mapping.target(name);
            let message = format!(
                "{}.{} and {}.{} are both {into_db}.{into} in the target: two collections in one cannot be compared with either; choose with \
                 --database and --collection, or tell where they are with --map",
                first.0, first.1, name.0, name.1
            );
            return Err(Fault::fatal(Code::VerifyScope, message));
        }
    }
    for name in in_target.keys() {
        if let Some(from) = mapping.source(name, known.iter())
            && takes(&databases, &from.0)
            && takes(&scope.collections, &from.1)
            && !views.contains(&from)
            && (!databases.is_empty() || name.0 != OUR_DATABASE)
        {
            sources.entry(name.clone()).or_insert(from);
        }
    }
    if sources.is_empty() {
        let message = "there is nothing to compare: no collection of the source or the target is meant; look at the names in the \
                       connection strings, --database and --collection";
        return Err(Fault::fatal(Code::VerifyScope, message));
    }
    let mut pairs: Vec<Pair<'_>> = sources
        .into_iter()
        .map(|(to, from)| Pair {
            source: Reader::new(source, &from.0, &from.1),
            target: Reader::new(target, &to.0, &to.1),
            in_source: in_source.remove(&from),
            in_target: in_target.remove(&to),
        })
        .collect();
    pairs.sort_by_key(|pair| pair.source.name());
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::{Mapping, Scope, fits, takes};

    #[test]
    fn patterns_take_names_and_leave_them_out() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*c", "abcd", false),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "acb", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        let patterns = ["o*", "!old*"].map(str::to_owned);
        assert_eq!(["orders", "old_orders", "stock"].map(|name| takes(&patterns, name)), [true, false, false]);
        assert!(takes(&["!a".to_owned()], "b") && !takes(&["!a".to_owned()], "a"));
    }

    #[test]
    fn names_are_mapped_there_and_back() {
        let scope = Scope { maps: ["a.x.y=b.z", "c=d"].map(str::to_owned).to_vec(), ..Scope::default() };
        let mapping = Mapping::new(&scope, None, None).unwrap();
        let name = |db: &str, collection: &str| (db.to_owned(), collection.to_owned());
        assert_eq!(mapping.target(&name("a", "x.y")), name("b", "z"));
        assert_eq!(mapping.target(&name("a", "x")), name("a", "x"));
        assert_eq!(mapping.target(&name("c", "x")), name("d", "x"));
        let known = ["a", "c"].map(str::to_owned);
        assert_eq!(mapping.source(&name("d", "x"), known.iter()), Some(name("c", "x")));
        // What is in the target under a name of the source that is elsewhere is nobody's.
        assert_eq!(mapping.source(&name("c", "x"), known.iter()), None);
        assert_eq!(mapping.source(&name("e", "x"), known.iter()), Some(name("e", "x")));
        // The one that is said to be elsewhere is not looked for here.
        assert_eq!(mapping.source(&name("a", "x.y"), known.iter()), None);
    }

    #[test]
    fn a_map_is_of_two_names_of_a_kind() {
        for map in ["a", "a=", "=b", "a.b=c", "a=b.c"] {
            let scope = Scope { maps: vec![map.to_owned()], ..Scope::default() };
            assert!(Mapping::new(&scope, None, None).is_err(), "{map}");
        }
    }
}
