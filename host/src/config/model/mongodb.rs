//! MongoDB as a source and as a sink.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use super::{
    super::units::{Moment, Span},
    Secret,
};

/// `source.mongodb`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MongodbSourceConfig {
    /// Connection string, with what `host`, `port`, `user` and `password` say.
    #[serde(rename = "uri|host|port|user|password", deserialize_with = "super::connection::mongodb")]
    #[schemars(with = "super::connection::MongodbKeys")]
    pub uri: Secret,
    /// One database; none: all of the deployment.
    #[serde(default)]
    pub database: Option<String>,
    /// Several databases, names or patterns.
    #[serde(default)]
    pub databases: Vec<String>,
    /// Collections, names or patterns; none: all. With `database` its collections, else `database.collection`.
    #[serde(default)]
    pub collections: Vec<String>,
    /// What is not watched of these, in the same form.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Changes of documents that are wanted; none: all.
    #[serde(default)]
    pub operations: Vec<WatchedOperation>,
    /// Aggregation stages that follow `$changeStream`, as the server knows them (`$match`, `$project`, ...).
    #[serde(default)]
    pub pipeline: Vec<serde_json::Value>,
    /// How an update gets its whole document.
    #[serde(default)]
    pub full_document: FullDocument,
    /// Whether changes come with the document as it was before.
    #[serde(default)]
    pub before: BeforeImage,
    /// Where to begin when there is no checkpoint.
    #[serde(default)]
    pub start: StartAt,
    /// What to do when the server no longer has the stored position.
    #[serde(default)]
    pub on_lost_position: OnLostPosition,
    /// When the documents that exist already are copied.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// What becomes of what happens to collections and databases as a whole.
    #[serde(default)]
    pub ddl: SourceDdl,
    /// Whether changes that a mirror wrote are passed over, which keeps two mirrors that watch each other from going round.
    #[serde(default)]
    pub skip_mirrored: bool,
    /// How much history must be left before it is warned of.
    #[serde(default = "history_warning")]
    pub history_warning: Span,
}

const fn history_warning() -> Span {
    Span(Duration::from_secs(3600))
}

/// `source.mongodb.operations`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WatchedOperation {
    /// A document is new.
    Insert,
    /// Parts of a document changed.
    Update,
    /// A document was written anew.
    Replace,
    /// A document is gone.
    Delete,
}

impl WatchedOperation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Insert, Self::Update, Self::Replace, Self::Delete];

    /// As change streams call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Delete => "delete",
        }
    }
}

/// `source.mongodb.snapshot`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Snapshot {
    /// Never: only changes are sent.
    #[default]
    Never,
    /// Before the first change, once.
    Initial,
    /// The same, but only collections that the MongoDB sink has not.
    Missing,
    /// At each start of the pipeline.
    Always,
    /// Once, and no changes follow: the pipeline ends.
    Only,
}

/// `source.mongodb.ddl`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceDdl {
    /// It is told in the log and counted.
    #[default]
    Ignore,
    /// It is a change like any other: `create`, `drop`, `rename`, ...
    Deliver,
}

/// `source.mongodb.full_document`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FullDocument {
    /// The host fetches the documents of a batch's updates in one `find`: the state at that time, not at the update's.
    #[default]
    Lookup,
    /// Updates come with their description alone.
    Off,
    /// The server's post-image, where the collection keeps them.
    WhenAvailable,
    /// The server's post-image, in the very state of the change; an update without one stops the pipeline.
    Required,
}

/// `source.mongodb.before`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BeforeImage {
    /// Changes come without it.
    #[default]
    Off,
    /// The server's pre-image, where the collection keeps them.
    WhenAvailable,
    /// The server's pre-image; an update, replace or delete without one stops the pipeline.
    Required,
}

impl FullDocument {
    /// Whether a document may come in a later state than that of its change. Then the target is ahead of the stream, and the
    /// description of an update does not fit it.
    pub const fn may_be_later(self) -> bool {
        matches!(self, Self::Lookup)
    }
}

/// `source.mongodb.start`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// With the first change after the pipeline starts; documents that exist already are not sent.
    #[default]
    Now,
    /// Behind the event with this resume token.
    Token(String),
    /// With the changes since this time.
    Time(Moment),
}

/// `source.mongodb.on_lost_position`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLostPosition {
    /// The pipeline stops.
    #[default]
    Stop,
    /// It copies all that is watched, then goes on with the changes since.
    CopyAgain,
    /// It goes on with the oldest change the server still has.
    Oldest,
    /// It goes on with the changes from now on.
    Newest,
}

/// `mongodb` as a sink
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MongodbSinkConfig {
    /// Connection string, with what `host`, `port`, `user` and `password` say.
    #[serde(rename = "uri|host|port|user|password", deserialize_with = "super::connection::mongodb")]
    #[schemars(with = "super::connection::MongodbKeys")]
    pub uri: Secret,
    /// The database written to; none: the one the change is from. `{database}` and `{collection}` stand for the change's own.
    #[serde(default)]
    pub database: Option<String>,
    /// The collection written to, with the same words; none: the one the change is from. A router may choose another.
    #[serde(default)]
    pub collection: Option<String>,
    /// What becomes of a change.
    #[serde(default)]
    pub mode: WriteMode,
    /// What is done with what happened to collections and databases as a whole.
    #[serde(default)]
    pub ddl: DdlConfig,
    /// When a write counts as safe.
    #[serde(default)]
    pub write_concern: WriteConcernConfig,
}

/// `ddl` of a MongoDB sink
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DdlConfig {
    /// Collections and views that were made.
    pub create: DdlAction,
    /// Indexes that were made or dropped.
    pub indexes: DdlAction,
    /// Options of collections and indexes that were changed.
    pub modify: DdlAction,
    /// Collections and databases that were dropped.
    pub drop: DdlAction,
    /// Collections that got another name.
    pub rename: DdlAction,
}

impl Default for DdlConfig {
    fn default() -> Self {
        let (apply, ignore) = (DdlAction::Apply, DdlAction::Ignore);
        Self { create: apply, indexes: apply, modify: apply, drop: ignore, rename: ignore }
    }
}

/// What a MongoDB sink does with a change of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DdlAction {
    /// The same is done to the target.
    Apply,
    /// It is told in the log and counted.
    Ignore,
}

/// `write_concern` of a MongoDB sink
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WriteConcernConfig {
    /// How many members must have it.
    pub w: Members,
    /// Whether it must be in their journals.
    pub j: bool,
    /// How long a write waits for them before it is tried again; none: as long as it takes.
    pub wtimeout: Option<Span>,
}

impl Default for WriteConcernConfig {
    fn default() -> Self {
        Self { w: Members::Majority, j: true, wtimeout: None }
    }
}

/// `write_concern.w`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Most of them: what survives an election.
    Majority,
    /// So many.
    Count(u32),
    /// As the replica set's settings define under this name.
    Named(String),
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`majority`, a number of members or the name of a write concern")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<Members, E> {
                Ok(Members::Count(u32::try_from(count).unwrap_or(u32::MAX)))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Members, E> {
                Ok(if word == "majority" { Members::Majority } else { Members::Named(word.to_owned()) })
            }
        }
        deserializer.deserialize_any(Word)
    }
}

impl JsonSchema for Members {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Members".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 0 })
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Majority => serializer.serialize_str("majority"),
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Named(name) => serializer.serialize_str(name),
        }
    }
}

/// `mode` of a MongoDB sink
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WriteMode {
    /// The document of the same key is replaced, updated, made or deleted: the target becomes what the source is.
    #[default]
    Mirror,
    /// Whole documents are inserted or replaced by key; nothing is deleted: the target keeps what the source forgets.
    Upsert,
    /// A document of its own is added for each change: the target is a journal.
    Append,
}
