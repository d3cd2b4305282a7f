//! What is watched: names for people, a test for the copy, and the stages the server filters with.
//!
//! Patterns are globs: `*` for any characters, `?` for one, `\` before a character that means itself. The server gets them as
//! anchored regular expressions on `ns`, so a collection that comes later and matches is picked up by the same cursor.

mod glob;
mod problems;

use bson::{Bson, Document, doc};

use self::glob::Glob;
pub use self::problems::problems;
use super::faults::{Place, redacted};
use crate::{
    config::{MongodbSourceConfig, WatchedOperation},
    error::{Code, Fault},
    sink::mongodb::POSITIONS,
};

/// Databases of the server itself; change streams do not show them either.
const INTERNAL: [&str; 3] = ["admin", "config", "local"];

/// Whether nobody watches it: the server's own, and tidegate's, whose every write would cause the next.
pub(super) fn is_internal(database: &str, collection: &str) -> bool {
    collection.starts_with("system.")
        || collection.starts_with("tidegate_")
        || (database == "tidegate" && collection == "checkpoints")
        || INTERNAL.contains(&database)
}

/// Which collections are watched.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The database there is one name for.
    one: Option<String>,
    /// None: all.
    databases: Vec<Glob>,
    /// None: all.
    collections: Vec<Pattern>,
    exclude: Vec<Pattern>,
    /// Whether the positions of mirrors are to be seen too, by which their changes are known.
    mirrors: bool,
    /// Operations that are not wanted.
    unwanted: Vec<WatchedOperation>,
}

/// `database.collection`
#[derive(Clone, Debug)]
struct Pattern {
    database: Glob,
    collection: Glob,
}

impl Pattern {
    /// Of one database, or with the database before the first dot; none where that is missing.
    fn new(one: Option<&str>, text: &str) -> Option<Self> {
        let (database, collection) = match one {
            Some(database) => (Glob::literal_of(database), text),
            None => {
                let (database, collection) = text.split_once('.')?;
                (Glob::new(database), collection)
            }
        };
        Some(Self { database, collection: Glob::new(collection) })
    }

    fn matches(&self, database: &str, collection: &str) -> bool {
        self.database.matches(database) && self.collection.matches(collection)
    }

    /// The one collection it stands for, if it is one.
    fn literal(&self) -> Option<(String, String)> {
        Some((self.database.literal()?, self.collection.literal()?))
    }
}

/// What a `$changeStream` is opened on.
pub(super) enum Scope {
    Deployment,
    Database(String),
    /// The server then need not match each event of the database, which costs it a quarter more CPU time. It ends such a
    /// stream with `invalidate` when the collection goes, and it is opened again.
    Collection(String, String),
}

impl Selection {
    /// What a configuration selects. What it gets wrong is told by [`problems`]; here it selects nothing.
    pub fn new(config: &MongodbSourceConfig) -> Self {
        let one = config.database.clone();
        let patterns =
            |all: &[String]| all.iter().filter_map(|text| Pattern::new(one.as_deref(), text)).collect::<Vec<_>>();
        let databases = match &one {
            Some(name) => vec![Glob::literal_of(name)],
            None => config.databases.iter().map(|name| Glob::new(name)).collect(),
        };
        let unwanted = match config.operations.is_empty() {
            true => Vec::new(),
            false => WatchedOperation::ALL.into_iter().filter(|one| !config.operations.contains(one)).collect(),
        };
        Self {
            collections: patterns(&config.collections),
            exclude: patterns(&config.exclude),
            one,
            databases,
            mirrors: config.skip_mirrored,
            unwanted,
        }
    }

    /// The database, where there is one name for it.
    pub fn one_database(&self) -> Option<&str> {
        self.one.as_deref()
    }

    /// Whether any collection of a database may be watched.
    pub fn matches_database(&self, database: &str) -> bool {
        !INTERNAL.contains(&database)
            && (self.databases.is_empty() || self.databases.iter().any(|glob| glob.matches(database)))
            && (self.collections.is_empty()
                || self.collections.iter().any(|pattern| pattern.database.matches(database)))
    }

    /// Whether a collection is watched.
    pub fn matches(&self, database: &str, collection: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(database, collection));
        !is_internal(database, collection)
            && self.matches_database(database)
            && (self.collections.is_empty() || any(&self.collections))
            && !any(&self.exclude)
    }

    /// What the stream is opened on: as little as holds all that is selected.
    pub(super) fn scope(&self) -> Scope {
        let database = match (&self.one, self.databases.as_slice()) {
            (Some(one), _) => Some(one.clone()),
            (None, [one]) => one.literal(),
            (None, _) => None,
        };
        match (self.collections.as_slice(), self.exclude.as_slice(), database) {
            // Positions are seen from the database alone.
            ([one], [], None)
                if self.mirrors
                    && let Some((database, _)) = one.literal() =>
            {
                Scope::Database(database)
            }
            (.., Some(database)) if self.mirrors => Scope::Database(database),
            ([one], [], _) if let Some((database, collection)) = one.literal() => {
                Scope::Collection(database, collection)
            }
            (.., Some(database)) => Scope::Database(database),
            (.., None) => Scope::Deployment,
        }
    }

    /// The `$match` on namespaces; none where the scope says it all.
    fn filter(&self) -> Option<Document> {
        let deployment = match self.scope() {
            Scope::Collection(..) => return None,
            Scope::Database(_) => false,
            Scope::Deployment => true,
        };
        let databases = match deployment && !self.databases.is_empty() {
            true => one_of(&self.databases),
            false => None,
        };
        if databases.is_none() && self.collections.is_empty() && self.exclude.is_empty() {
            return None;
        }
        let within = |side: &str| {
            let named = |pattern: &Pattern| {
                let mut named = Document::new();
                if deployment && let Some(name) = pattern.database.condition() {
                    named.insert(format!("{side}.db"), name);
                }
                // Events of whole databases have no `coll`.
                let name = pattern.collection.condition().unwrap_or_else(|| doc! { "$exists": true }.into());
                named.insert(format!("{side}.coll"), name);
                named
            };
            let mut within = Document::new();
            if let Some(databases) = &databases {
                within.insert(format!("{side}.db"), databases.clone());
            }
            if !self.collections.is_empty() {
                within.insert("$or", self.collections.iter().map(named).collect::<Vec<_>>());
            }
            if !self.exclude.is_empty() {
                within.insert("$nor", self.exclude.iter().map(named).collect::<Vec<_>>());
            }
            within
        };
        let mut renamed = doc! { "operationType": "rename" };
        renamed.extend(within("to"));
        let mut dropped = doc! { "operationType": "dropDatabase" };
        if let Some(databases) = &databases {
            dropped.insert("ns.db", databases.clone());
        }
        // What tells that the stream or its collections end passes in every case.
        let mut passes = vec![within("ns"), renamed, dropped, doc! { "operationType": "invalidate" }];
        if self.mirrors {
            passes.push(doc! { "ns.coll": POSITIONS });
        }
        Some(doc! { "$or": passes })
    }

    /// The stages of the server's filter.
    pub(super) fn stages(&self) -> Vec<Document> {
        let mut stages: Vec<_> = self.filter().map(|filter| doc! { "$match": filter }).into_iter().collect();
        if !self.unwanted.is_empty() {
            // By what is not wanted: all that is no change of a document passes, whatever later servers call it.
            let unwanted: Vec<_> = self.unwanted.iter().map(|operation| operation.name()).collect();
            let mut passes = vec![doc! { "operationType": { "$nin": unwanted } }];
            if self.mirrors {
                passes.push(doc! { "ns.coll": POSITIONS });
            }
            stages.push(doc! { "$match": { "$or": passes } });
        }
        stages
    }
}

/// A condition that any of these fulfils; none where that is everything.
fn one_of(globs: &[Glob]) -> Option<Bson> {
    let conditions: Option<Vec<Bson>> = globs.iter().map(Glob::condition).collect();
    conditions.map(|all| doc! { "$in": all }.into())
}

/// What is watched, without secrets: `mongodb shop.[inventory,transactions]`.
pub(super) fn describe(config: &MongodbSourceConfig) -> String {
    let list = |all: &[String]| format!("[{}]", all.join(","));
    let mut text = match (&config.database, &*config.databases, &*config.collections) {
        (None, [], []) => "mongodb *".to_owned(),
        (Some(database), _, []) => format!("mongodb {database}.*"),
        (Some(database), _, collections) => format!("mongodb {database}.{}", list(collections)),
        (None, databases, []) => format!("mongodb {}.*", list(databases)),
        (None, _, collections) => format!("mongodb {}", list(collections)),
    };
    if !config.exclude.is_empty() {
        text += &format!(" without {}", list(&config.exclude));
    }
    text
}

/// The same in a sentence.
pub(super) fn watched(config: &MongodbSourceConfig) -> String {
    match (&config.database, &*config.databases) {
        (Some(database), _) => format!("database {database}"),
        (None, []) => "the whole deployment".to_owned(),
        (None, databases) => format!("the databases {}", databases.join(", ")),
    }
}

/// The stages after `$changeStream`: what is selected, then the operator's own.
pub(super) fn stages(config: &MongodbSourceConfig, place: &Place) -> Result<Vec<Document>, Fault> {
    let mut stages = Selection::new(config).stages();
    for (index, stage) in config.pipeline.iter().enumerate() {
        match Bson::try_from(stage.clone()) {
            Ok(Bson::Document(stage)) => stages.push(stage),
            Ok(_) => {
                let message =
                    format!("stage {} of the source's `pipeline` is no map such as {{$match: ...}}", index + 1);
                return Err(Fault::fatal(Code::MongoConfiguration, message));
            }
            Err(cause) => {
                let cause = redacted(&cause.to_string(), place.password.as_deref());
                let message = format!("stage {} of the source's `pipeline` is no Extended JSON: {cause}", index + 1);
                return Err(Fault::fatal(Code::MongoConfiguration, message));
            }
        }
    }
    Ok(stages)
}
