//! MongoDB: connection strings, names, aggregation stages, write concerns.

use std::time::Duration;

use mongodb::{
    error::ErrorKind,
    options::{ConnectionString, HostInfo},
};
use serde_json::Value;

use super::{
    super::{
        model::{
            DdlAction, Members, MongodbDeadLetterConfig, MongodbSinkConfig, MongodbSourceConfig, PipelineConfig,
            Secret, SourceConfig, StartAt, WriteConcernConfig,
        },
        problem::did_you_mean,
    },
    At, Check, DAY, HOUR,
};
use crate::{
    error::Code,
    sink::template::{Template, Unreadable, Words},
    source::mongodb::{Selection, selection_problems},
};

/// Stages the server allows behind `$changeStream`.
const CHANGE_STREAM_STAGES: &[&str] =
    &["$match", "$project", "$addFields", "$set", "$unset", "$replaceRoot", "$replaceWith", "$redact"];

impl Check<'_> {
    pub(super) fn mongodb_uri(&mut self, at: &At<'_>, uri: &Secret) {
        if !["mongodb://", "mongodb+srv://"].iter().any(|scheme| uri.reveal().starts_with(scheme)) {
            let at = at.key("uri");
            let message = format!("`{}` is no MongoDB connection string", at.name());
            self.report(&at, Code::MongoConfiguration, message, "it begins with `mongodb://` or `mongodb+srv://`");
        } else if let Err(cause) = ConnectionString::parse(uri.reveal()) {
            let at = at.key("uri");
            let message = format!("`{}` is no MongoDB connection string", at.name());
            // The cause may quote what the driver took for a host and is part of a password: told only where there is none.
            let help = match (&*cause.kind, uri.reveal().contains('@')) {
                (ErrorKind::InvalidArgument { message, .. }, false) => message.clone(),
                _ => "check hosts, ports and options; in user name and password write `%40` for `@`, `%3A` for `:`, `%2F` for `/`"
                    .to_owned(),
            };
            self.report(&at, Code::MongoConfiguration, message, help);
        }
    }

    pub(super) fn database(&mut self, at: &At<'_>, database: Option<&str>) {
        if let Some(database) = database
            && (database.is_empty() || database.len() > 63 || database.contains(['/', '\\', '.', ' ', '"', '$', '\0']))
        {
            let help =
                "a name has 1 to 63 bytes and none of / \\ . \" $ and space; leave the key out for all databases";
            self.value(&at.key("database"), "is no name of a database", help);
        }
    }

    pub(super) fn mongodb_source(&mut self, at: &At<'_>, mongodb: &MongodbSourceConfig) {
        self.mongodb_uri(at, &mongodb.uri);
        self.database(at, mongodb.database.as_deref());
        self.span(&at.key("history_warning"), mongodb.history_warning, Duration::from_secs(1), 30 * DAY);
        if let StartAt::Token(token) = &mongodb.start
            && (token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            let help = "a resume token is the text of `_id._data` of a change event, such as `8265...`";
            self.value(&at.key("start").key("token"), "is no resume token", help);
        }
        for problem in selection_problems(mongodb) {
            let (key, index) = problem.at;
            let at = at.key(key);
            self.value(&index.map_or_else(|| at.clone(), |index| at.item(index)), &problem.message, problem.help);
        }
        if mongodb.skip_mirrored && !mongodb.pipeline.is_empty() {
            let message = "`skip_mirrored` does not go with `pipeline`";
            let help = "the stages could hide what a mirror's changes are known by; select with `database` and `collections`, or \
                        filter with a stage of the pipeline";
            self.report(&at.key("skip_mirrored"), Code::ConfigConflict, message, help);
        }
        for (index, stage) in mongodb.pipeline.iter().enumerate() {
            self.aggregation(&at.key("pipeline").item(index), stage);
        }
    }

    pub(super) fn mongodb_sink(&mut self, at: &At<'_>, mongodb: &MongodbSinkConfig) {
        self.mongodb_uri(at, &mongodb.uri);
        self.template(at, "database", mongodb.database.as_deref());
        self.template(at, "collection", mongodb.collection.as_deref());
        self.write_concern(&at.key("write_concern"), &mongodb.write_concern);
        for (name, action) in [("drop", mongodb.ddl.drop), ("rename", mongodb.ddl.rename)] {
            if mongodb.collection.is_some() && action == DdlAction::Apply {
                let message =
                    format!("`ddl.{name}: apply` with `collection`: all collections of the source are one there");
                let help = "leave `collection` out, or do not apply it";
                self.report(&at.key("ddl").key(name), Code::ConfigConflict, message, help);
            }
        }
    }

    /// A collection for dead letters that the source of the pipeline does not watch: a letter about a letter has no end.
    pub(super) fn dead_letter_collection(
        &mut self,
        dead: &At<'_>,
        pipeline: &PipelineConfig,
        mongodb: &MongodbDeadLetterConfig,
    ) {
        let at = dead.key("mongodb");
        self.mongodb_uri(&at, &mongodb.uri);
        self.database(&at, Some(&mongodb.database));
        if mongodb.collection.is_empty() || mongodb.collection.contains(['$', '\0']) {
            let help = "a name is not empty and holds no `$`";
            self.value(&at.key("collection"), "is no name of a collection", help);
        }
        self.span(&at.key("timeout"), mongodb.timeout, Duration::from_millis(1), HOUR);
        let SourceConfig::Mongodb(source) = &pipeline.source else { return };
        let watched = Selection::new(source).matches(&mongodb.database, &mongodb.collection);
        if watched && same_deployment(&source.uri, &mongodb.uri) {
            let message = format!(
                "the source watches `{}.{}`, where the dead letters go: each letter would be a change again",
                mongodb.database, mongodb.collection
            );
            let help = "take another database, or name it in the `exclude` of the source";
            self.report(&at, Code::ConfigConflict, message, help);
        }
    }

    pub(super) fn aggregation(&mut self, at: &At<'_>, stage: &Value) {
        let entry = match stage {
            Value::Object(map) if map.len() == 1 => map.iter().next(),
            _ => None,
        };
        let Some((operator, arguments)) = entry.filter(|(operator, _)| operator.starts_with('$')) else {
            let message = format!("`{}` is no aggregation stage", at.name());
            let help =
                "a stage is a map with one key that begins with `$`, such as `$match: { operationType: insert }`";
            return self.report(at, Code::MongoConfiguration, message, help);
        };
        if !CHANGE_STREAM_STAGES.contains(&operator.as_str()) {
            let message = format!("a change stream takes no stage `{operator}`");
            return self.report(
                at,
                Code::MongoConfiguration,
                message,
                did_you_mean(operator, "allowed", CHANGE_STREAM_STAGES),
            );
        }
        let touches_id = |key: &String| key == "_id" || key.starts_with("_id.");
        let bad = match (operator.as_str(), arguments) {
            ("$unset", Value::String(name)) => touches_id(name),
            ("$unset", Value::Array(names)) => {
                names.iter().any(|name| matches!(name, Value::String(name) if touches_id(name)))
            }
            ("$set" | "$addFields", Value::Object(map)) => map.keys().any(touches_id),
            ("$project", Value::Object(map)) => map.iter().any(|(key, value)| {
                let kept = key == "_id" && (value == &Value::Bool(true) || value.as_f64().is_some_and(|n| n != 0.0));
                touches_id(key) && !kept
            }),
            _ => false,
        };
        if bad {
            let message = format!("`{operator}` removes or changes `_id`, which is the position in the change stream");
            self.report(at, Code::MongoConfiguration, message, "leave `_id` as it is");
        }
    }

    /// The name of a database or collection that may be made of the change's own.
    pub(super) fn template(&mut self, at: &At<'_>, key: &'static str, text: Option<&str>) {
        let Some(text) = text else { return };
        let place = at.key(key);
        let template = match Template::parse(text, Words::Namespace) {
            Ok(template) => template,
            Err(Unreadable::Word(word)) => {
                let what = format!("has `{{{word}}}`, which stands for nothing");
                return self.value(&place, &what, did_you_mean(&word, "known words", &["database", "collection"]));
            }
            Err(Unreadable::Brace) => {
                let help = "write `{database}` and `{collection}`, and `{{` or `}}` for a brace itself";
                return self.value(&place, "has a brace without its other half", help);
            }
        };
        // With names that are as short as can be, and of which nothing is forbidden.
        let name = template.fill("d", "c");
        if key == "database" {
            self.database(at, Some(&name));
        } else if name.is_empty() || name.contains(['$', '\0']) {
            self.value(&place, "is no name of a collection", "a name is not empty and holds no `$`");
        }
    }

    pub(super) fn write_concern(&mut self, at: &At<'_>, concern: &WriteConcernConfig) {
        match &concern.w {
            Members::Count(0) => {
                let help = "take `majority`, which survives an election, or at least 1";
                self.value(&at.key("w"), "is 0: what nobody confirms cannot be checkpointed", help);
            }
            Members::Count(count) if *count > 50 => {
                self.value(&at.key("w"), "is out of range", "a replica set has at most 50 members");
            }
            Members::Named(name) if name.is_empty() => {
                self.value(
                    &at.key("w"),
                    "is empty",
                    "take `majority`, a number of members or the name of a write concern",
                );
            }
            _ => {}
        }
        if let Some(wtimeout) = concern.wtimeout {
            self.span(&at.key("wtimeout"), wtimeout, Duration::from_millis(1), Duration::from_secs(25));
        }
    }
}

/// Whether two connection strings name a server in common.
pub(super) fn same_deployment(one: &Secret, other: &Secret) -> bool {
    let hosts = |uri: &Secret| match ConnectionString::parse(uri.reveal()).map(|parsed| parsed.host_info) {
        Ok(HostInfo::HostIdentifiers(hosts)) => hosts.iter().map(ToString::to_string).collect(),
        Ok(HostInfo::DnsRecord(name)) => vec![name],
        _ => Vec::new(),
    };
    let (one, other) = (hosts(one), hosts(other));
    one.iter().any(|host| other.contains(host))
}
