//! What the types of the model cannot say: ranges, names, and parts that contradict each other. All problems are reported at once.

use std::{
    collections::HashMap,
    ops::Range,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use mongodb::{
    error::ErrorKind,
    options::{ConnectionString, HostInfo},
};
use serde_json::Value;

use super::{
    model::{
        CheckpointConfig, Config, DdlAction, DeadLetterConfig, FullDocument, LimitsConfig, Members,
        MongodbDeadLetterConfig, MongodbSourceConfig, PipelineConfig, RetryConfig, Secret, SinkConfig, Snapshot,
        SourceConfig, StageConfig, StartAt, SwapConfig, Switch, WriteConcernConfig, WriteMode,
    },
    node::Node,
    problem::{Draft, did_you_mean},
    units::{ByteSize, Span},
};
use crate::{
    error::Code,
    sink::{
        AnySink,
        mongodb::target::{Template, Unreadable},
    },
    source::{
        AnySource,
        mongodb::{Selection, selection_problems},
    },
};

/// Stages the server allows behind `$changeStream`.
const CHANGE_STREAM_STAGES: &[&str] =
    &["$match", "$project", "$addFields", "$set", "$unset", "$replaceRoot", "$replaceWith", "$redact"];

const LONGEST_NAME: usize = 64;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Fewer characters are soon guessed.
const SHORTEST_TOKEN: usize = 16;

/// All that is wrong; the tree gives the places.
pub(super) fn validate(config: &Config, root: &Node) -> Vec<Draft> {
    let mut check = Check { root, problems: Vec::new(), files: HashMap::new(), stdin: None, stdout: None };
    check.all(config);
    check.problems
}

struct Check<'a> {
    root: &'a Node,
    problems: Vec<Draft>,
    /// Who uses a file: `sink ...`, and whether it writes.
    files: HashMap<PathBuf, (String, bool)>,
    /// Who reads standard input.
    stdin: Option<String>,
    /// Who writes to standard output.
    stdout: Option<String>,
}

/// A step from the root of the file to a value.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// A place in the file, made longer step by step.
#[derive(Clone)]
struct At<'a>(Vec<Step<'a>>);

impl<'a> At<'a> {
    fn root() -> Self {
        Self(Vec::new())
    }

    fn key(&self, key: &'a str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key));
        Self(steps)
    }

    fn item(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Item(index));
        Self(steps)
    }

    fn name(&self) -> String {
        let mut name = String::new();
        for step in &self.0 {
            match step {
                Step::Key(key) if name.is_empty() => name.push_str(key),
                Step::Key(key) => {
                    name.push('.');
                    name.push_str(key);
                }
                Step::Item(index) => name.push_str(&format!("[{index}]")),
            }
        }
        name
    }
}

impl Check<'_> {
    /// The place of a key, else of the nearest thing around it that is written in the file.
    fn place(&self, at: &At<'_>) -> Option<Range<usize>> {
        let mut node = self.root;
        let mut place = None;
        for step in &at.0 {
            match step {
                Step::Key(name) => match node.entry(name) {
                    Some((key, value)) => {
                        place = Some(key.place.clone());
                        node = value;
                    }
                    None => break,
                },
                Step::Item(index) => match node.item(*index) {
                    Some(item) => {
                        place = Some(item.place.clone());
                        node = item;
                    }
                    None => break,
                },
            }
        }
        place
    }

    fn report(&mut self, at: &At<'_>, code: Code, message: impl Into<String>, help: impl Into<String>) {
        let mut draft = Draft::new(code, message).help(help);
        draft.place = self.place(at);
        self.problems.push(draft);
    }

    fn value(&mut self, at: &At<'_>, what: &str, help: impl Into<String>) {
        self.report(at, Code::ConfigValue, format!("`{}` {what}", at.name()), help);
    }

    fn all(&mut self, config: &Config) {
        let root = At::root();
        self.span(&root.key("shutdown_timeout"), config.shutdown_timeout, Duration::from_millis(1), HOUR);
        let (state, plugins) = (root.key("state"), root.key("plugins"));
        self.path(&state.key("dir"), &config.state.dir);
        self.path(&plugins.key("dir"), &config.plugins.dir);
        self.limits(&plugins.key("limits"), &config.plugins.limits);
        self.swap(&plugins.key("swap"), &config.plugins.swap);
        for (name, each) in &config.plugins.each {
            let at = plugins.key("each").key(name);
            let runs = |pipeline: &PipelineConfig| pipeline.stages.iter().any(|stage| stage.plugin == *name);
            if !config.pipelines.values().any(runs) {
                self.value(&at, "is a plugin that no stage names", "name it as the stages do, or remove it");
            }
            self.swap(&at.key("swap"), &each.swap);
            for (index, variable) in each.grants.env.iter().enumerate() {
                if variable.is_empty() || variable.contains(['=', '\0']) {
                    let at = at.key("grants").key("env");
                    self.value(&at.item(index), "is no name of a variable", "name it as the environment does");
                }
            }
        }
        if config.admin.token.as_ref().is_some_and(|token| token.reveal().len() < SHORTEST_TOKEN) {
            let help = format!("take at least {SHORTEST_TOKEN} characters at random, or leave it out");
            self.value(&root.key("admin").key("token"), "is too short to keep anybody out", help);
        }

        let at = root.key("pipelines");
        if config.pipelines.is_empty() {
            self.value(&at, "is empty", "add a pipeline: a name, and under it at least `source` and `sinks`");
        }
        let mut names: HashMap<String, &str> = HashMap::new();
        for (name, pipeline) in &config.pipelines {
            let at = at.key(name);
            self.file_name(&at, "pipeline", name);
            if let Some(other) = names.insert(name.to_lowercase(), name) {
                let message = format!("the names of the pipelines `{other}` and `{name}` differ in case alone");
                self.report(
                    &at,
                    Code::ConfigConflict,
                    message,
                    "their files would be the same on some file systems: rename one",
                );
            }
            self.pipeline(&at, name, pipeline, config);
        }
    }

    fn pipeline(&mut self, at: &At<'_>, name: &str, pipeline: &PipelineConfig, config: &Config) {
        self.source(&at.key("source"), name, &pipeline.source);
        let batch = at.key("batch");
        if !(1..=100_000).contains(&pipeline.batch.max_events) {
            self.value(&batch.key("max_events"), "is out of range", "take 1 to 100000");
        }
        self.size(&batch.key("max_bytes"), pipeline.batch.max_bytes, 1, 1 << 30, "1B to 1GiB");
        self.span(&batch.key("linger"), pipeline.batch.linger, Duration::ZERO, Duration::from_secs(60));
        if !(1..=64).contains(&pipeline.lanes) {
            self.value(&at.key("lanes"), "is out of range", "take 1 to 64; about one for each core is a good start");
        }
        for (index, stage) in pipeline.stages.iter().enumerate() {
            self.stage(&at.key("stages").item(index), stage);
        }

        let sinks = at.key("sinks");
        if pipeline.sinks.is_empty() {
            self.value(&sinks, "is empty", "add a sink: a name, and under it one of redis, mongodb, file, stdout");
        }
        for (sink_name, sink) in &pipeline.sinks {
            let at = sinks.key(sink_name);
            self.file_name(&at, "sink", sink_name);
            if let SinkConfig::Mongodb(target) = sink
                && target.ddl.rename == DdlAction::Apply
                && !matches!(pipeline.checkpoint, CheckpointConfig::Sink(_))
            {
                let message = format!("the sink `{sink_name}` renames collections, and its position is kept elsewhere");
                let help =
                    "set `checkpoint: sink`: read again after a crash, a rename would meet documents from before it";
                self.report(&at.key("mongodb").key("ddl").key("rename"), Code::ConfigConflict, message, help);
            }
            self.sink(&at, name, sink_name, sink);
            if let (SourceConfig::Mongodb(source), SinkConfig::Mongodb(target)) = (&pipeline.source, sink)
                && source.full_document == FullDocument::Off
            {
                let keeps = matches!(pipeline.checkpoint, CheckpointConfig::Sink(_));
                let help = match target.mode {
                    WriteMode::Mirror if !keeps => {
                        "set the pipeline's `checkpoint: sink`, so that each update meets the document as it was at the source, or \
                         the source's `full_document: lookup`, so that each update brings its document"
                    }
                    WriteMode::Upsert => "set the source's `full_document: lookup`, or the sink's `mode: append`",
                    WriteMode::Mirror | WriteMode::Append => continue,
                };
                let why = match target.mode {
                    WriteMode::Upsert => "writes whole documents",
                    _ => "would apply updates to documents that may be in another state",
                };
                let message = format!("updates come without their documents, and the sink `{sink_name}` {why}");
                self.report(&at.key("mongodb").key("mode"), Code::ConfigConflict, message, help);
            }
        }

        if let SourceConfig::Mongodb(source) = &pipeline.source
            && source.snapshot == Snapshot::Missing
        {
            let mirrors = pipeline.sinks.values().filter(|sink| matches!(sink, SinkConfig::Mongodb(_))).count();
            if mirrors != 1 {
                let message = "copies what is missing in the MongoDB sink, and the pipeline has not exactly one";
                let help = "take `snapshot: initial`, which copies everything once";
                self.report(
                    &at.key("source").key("mongodb").key("snapshot"),
                    Code::ConfigConflict,
                    message.to_owned(),
                    help,
                );
            }
        }

        let dead = at.key("dead_letter");
        let who = format!("the dead letters of pipeline `{name}`");
        match config.dead_letter(name) {
            Some(DeadLetterConfig::File(file)) => {
                let at = dead.key("file").key("path");
                self.path(&at, &file.path);
                self.file(&at, &file.path, &who, true);
            }
            Some(DeadLetterConfig::Redis(redis)) => {
                let at = dead.key("redis");
                self.redis(&at, &redis.url, &redis.stream, redis.timeout);
            }
            Some(DeadLetterConfig::Mongodb(mongodb)) => self.dead_letter_collection(&dead, pipeline, &mongodb),
            None => {}
        }
        self.checkpoint(at, pipeline);
        self.retry(&at.key("retry"), &pipeline.retry);
    }

    fn checkpoint(&mut self, at: &At<'_>, pipeline: &PipelineConfig) {
        let at = at.key("checkpoint");
        let least = Duration::from_millis(500);
        match &pipeline.checkpoint {
            CheckpointConfig::File(file) => {
                self.span(&at.key("file").key("interval"), file.interval, Duration::ZERO, HOUR);
            }
            CheckpointConfig::Sink(sink) => {
                self.span(&at.key("sink").key("lease"), sink.lease, least, HOUR);
                if let Some(name) = &sink.name {
                    self.file_name(&at.key("sink").key("name"), "record", name);
                }
                let other = pipeline.sinks.iter().find(|(_, sink)| !AnySink::keeps_positions(sink));
                if let Some((name, _)) = other {
                    let message = format!("`checkpoint: sink`, but the sink `{name}` cannot keep a position");
                    let help = "redis and mongodb can; give the pipeline only such sinks, or take `checkpoint: file`, mongodb or redis";
                    self.report(&at, Code::ConfigConflict, message, help);
                } else if !AnySource::has_positions(&pipeline.source) {
                    let message = "`checkpoint: sink`, but the source has no positions".to_owned();
                    self.report(&at, Code::ConfigConflict, message, "leave `checkpoint` out");
                }
            }
            CheckpointConfig::Mongodb(mongodb) => {
                let at = at.key("mongodb");
                self.mongodb_uri(&at, &mongodb.uri);
                self.database(&at, Some(&mongodb.database));
                self.span(&at.key("interval"), mongodb.interval, Duration::ZERO, HOUR);
                self.span(&at.key("lease"), mongodb.lease, least, HOUR);
                if let SourceConfig::Mongodb(source) = &pipeline.source
                    && Selection::new(source).matches(&mongodb.database, &mongodb.collection)
                    && same_deployment(&source.uri, &mongodb.uri)
                {
                    let message = format!(
                        "the source watches `{}.{}`, where the position is kept: each position would be a change again",
                        mongodb.database, mongodb.collection
                    );
                    let help = "take another collection, leave it out (`tidegate.checkpoints`), or name it in the `exclude` of the source";
                    self.report(&at, Code::ConfigConflict, message, help);
                }
            }
            CheckpointConfig::Redis(redis) => {
                let at = at.key("redis");
                self.redis_url(&at, &redis.url);
                self.span(&at.key("interval"), redis.interval, Duration::ZERO, HOUR);
                self.span(&at.key("lease"), redis.lease, least, HOUR);
                self.span(&at.key("timeout"), redis.timeout, Duration::from_millis(1), HOUR);
            }
        }
    }

    fn retry(&mut self, at: &At<'_>, retry: &RetryConfig) {
        self.span(&at.key("first"), retry.first, Duration::from_millis(1), HOUR);
        self.span(&at.key("ceiling"), retry.ceiling, Duration::from_millis(1), HOUR);
        if retry.first > retry.ceiling {
            let message = format!("the first wait ({}) is longer than the ceiling ({})", retry.first, retry.ceiling);
            self.report(at, Code::ConfigConflict, message, "make `ceiling` at least as long as `first`");
        }
        if retry.attempts == Some(0) {
            let help = "take 1 or more, or leave it out to try for ever";
            self.value(&at.key("attempts"), "is 0, which stops the pipeline before it failed", help);
        }
    }

    fn source(&mut self, at: &At<'_>, pipeline: &str, source: &SourceConfig) {
        match source {
            SourceConfig::Mongodb(mongodb) => self.mongodb(&at.key("mongodb"), mongodb),
            SourceConfig::File(file) => {
                let at = at.key("file").key("path");
                self.path(&at, &file.path);
                self.file(&at, &file.path, &format!("the source of pipeline `{pipeline}`"), false);
            }
            SourceConfig::Stdin(_) => {
                let who = format!("pipeline `{pipeline}`");
                match self.stdin.replace(who.clone()) {
                    None => {}
                    Some(other) => {
                        let message = format!("standard input is read by {other} and {who}");
                        self.report(
                            at,
                            Code::ConfigConflict,
                            message,
                            "only one pipeline can: give the other another source",
                        );
                    }
                }
            }
        }
    }

    fn mongodb_uri(&mut self, at: &At<'_>, uri: &Secret) {
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

    fn database(&mut self, at: &At<'_>, database: Option<&str>) {
        if let Some(database) = database
            && (database.is_empty() || database.len() > 63 || database.contains(['/', '\\', '.', ' ', '"', '$', '\0']))
        {
            let help =
                "a name has 1 to 63 bytes and none of / \\ . \" $ and space; leave the key out for all databases";
            self.value(&at.key("database"), "is no name of a database", help);
        }
    }

    fn mongodb(&mut self, at: &At<'_>, mongodb: &MongodbSourceConfig) {
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

    /// A collection for dead letters that the source of the pipeline does not watch: a letter about a letter has no end.
    fn dead_letter_collection(&mut self, dead: &At<'_>, pipeline: &PipelineConfig, mongodb: &MongodbDeadLetterConfig) {
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

    fn aggregation(&mut self, at: &At<'_>, stage: &Value) {
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

    fn stage(&mut self, at: &At<'_>, stage: &StageConfig) {
        let plugin = at.key("plugin");
        if let Some(stem) = stage.plugin.strip_suffix(".wasm") {
            self.value(&plugin, "is a file name", format!("name the plugin without `.wasm`: `{stem}`"));
        } else if stage.plugin.is_empty() || stage.plugin.contains(['/', '\\', '\0']) || stage.plugin.starts_with('.') {
            let help = "a plugin is named by its file in `plugins.dir`, without folder and without `.wasm`";
            self.value(&plugin, "is no name of a plugin", help);
        }
        for (index, namespace) in stage.when.ns.iter().enumerate() {
            let good = namespace.split_once('.').is_some_and(|(database, collection)| {
                let word = |part: &str| !part.is_empty() && !part.contains(['*', '$', '\0', ' ', '/', '\\']);
                word(database) && (collection == "*" || word(collection))
            });
            if !good {
                let help = "write `database.collection`, or `database.*` for all collections of a database";
                self.value(&at.key("when").key("ns").item(index), "is no namespace", help);
            }
        }
        self.limits(&at.key("limits"), &stage.limits);
        if stage.breaker.after == 0 {
            let help = "take 1 or more; a big number keeps the breaker from ever tripping";
            self.value(&at.key("breaker").key("after"), "is 0, which trips before anything failed", help);
        }
    }

    fn swap(&mut self, at: &At<'_>, swap: &SwapConfig) {
        if let Some(Switch::On(shadow)) = &swap.shadow {
            let at = at.key("shadow");
            self.span(&at.key("time"), shadow.time, Duration::from_millis(1), DAY);
            if shadow.changes == 0 {
                self.value(&at.key("changes"), "is 0, which compares nothing", "take 1 or more, or `shadow: off`");
            }
            if !(shadow.sample > 0.0 && shadow.sample <= 1.0) {
                self.value(&at.key("sample"), "is no share of the batches", "take more than 0, up to 1.0 for all");
            }
        }
        if let Some(Switch::On(probation)) = &swap.probation {
            let at = at.key("probation");
            self.span(&at.key("time"), probation.time, Duration::from_millis(1), DAY);
            let help = "take 1 or more; 1 takes a plugin back for one bad document";
            for (key, count) in [("failures", probation.failures), ("rejects", probation.rejects)] {
                if count == 0 {
                    self.value(&at.key(key), "is 0, which takes back a plugin that did nothing wrong", help);
                }
            }
            if !(probation.factor >= 1.0 && probation.factor.is_finite()) {
                self.value(&at.key("factor"), "is less than 1", "take 1.0 or more: so many times the rate before");
            }
        }
    }

    fn limits(&mut self, at: &At<'_>, limits: &LimitsConfig) {
        if let Some(memory) = limits.memory {
            self.size(&at.key("memory"), memory, 64 << 10, 4 << 30, "64KiB to 4GiB");
        }
        if let Some(time) = limits.time {
            self.span(&at.key("time"), time, Duration::from_millis(1), HOUR);
        }
        if let Some(output) = limits.output {
            self.size(&at.key("output"), output, 1, 4 << 30, "1B to 4GiB");
        }
        if let Some(time) = limits.http_time {
            self.span(&at.key("http_time"), time, Duration::from_millis(1), HOUR);
        }
        if let Some(size) = limits.http_size {
            self.size(&at.key("http_size"), size, 1, 1 << 30, "1B to 1GiB");
        }
    }

    fn sink(&mut self, at: &At<'_>, pipeline: &str, name: &str, sink: &SinkConfig) {
        let who = format!("sink `{name}` of pipeline `{pipeline}`");
        match sink {
            SinkConfig::Redis(redis) => {
                let at = at.key("redis");
                self.redis(&at, &redis.url, &redis.stream, redis.timeout);
                if redis.maxlen == Some(0) {
                    self.value(
                        &at.key("maxlen"),
                        "is 0, which keeps nothing",
                        "take 1 or more, or leave it out to keep all",
                    );
                }
                if !(1..=100).contains(&redis.pause_at) {
                    self.value(&at.key("pause_at"), "is out of range", "take 1 to 100 (hundredths of `maxmemory`)");
                }
            }
            SinkConfig::Mongodb(mongodb) => {
                let at = at.key("mongodb");
                self.mongodb_uri(&at, &mongodb.uri);
                self.template(&at, "database", mongodb.database.as_deref());
                self.template(&at, "collection", mongodb.collection.as_deref());
                self.write_concern(&at.key("write_concern"), &mongodb.write_concern);
                for (name, action) in [("drop", mongodb.ddl.drop), ("rename", mongodb.ddl.rename)] {
                    if mongodb.collection.is_some() && action == DdlAction::Apply {
                        let message = format!(
                            "`ddl.{name}: apply` with `collection`: all collections of the source are one there"
                        );
                        let help = "leave `collection` out, or do not apply it";
                        self.report(&at.key("ddl").key(name), Code::ConfigConflict, message, help);
                    }
                }
            }
            SinkConfig::File(file) => {
                let at = at.key("file").key("path");
                self.path(&at, &file.path);
                self.file(&at, &file.path, &who, true);
            }
            SinkConfig::Stdout(_) => match self.stdout.replace(who.clone()) {
                None => {}
                Some(other) => {
                    let message = format!("{other} and {who} both write to standard output");
                    self.report(at, Code::ConfigConflict, message, "only one sink can: give the other a file");
                }
            },
        }
    }

    /// The name of a database or collection that may be made of the change's own.
    fn template(&mut self, at: &At<'_>, key: &'static str, text: Option<&str>) {
        let Some(text) = text else { return };
        let place = at.key(key);
        let template = match Template::parse(text) {
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

    fn write_concern(&mut self, at: &At<'_>, concern: &WriteConcernConfig) {
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

    fn redis_url(&mut self, at: &At<'_>, url: &Secret) {
        const SCHEMES: &[&str] = &["redis://", "rediss://", "unix://", "redis+unix://"];
        if !SCHEMES.iter().any(|scheme| url.reveal().starts_with(scheme)) {
            let at = at.key("url");
            let message = format!("`{}` is no Redis URL", at.name());
            let help = "it begins with `redis://`, `rediss://` (TLS) or `unix://` (a socket)";
            self.report(&at, Code::RedisConfiguration, message, help);
        } else if redis::Client::open(url.reveal()).is_err() {
            let at = at.key("url");
            let message = format!("`{}` is no Redis URL", at.name());
            let help = "check host, port and database number: `redis://USER:PASSWORD@HOST:PORT/0`, with `%40` for an `@` in the password";
            self.report(&at, Code::RedisConfiguration, message, help);
        }
    }

    fn redis(&mut self, at: &At<'_>, url: &Secret, stream: &str, timeout: Span) {
        self.redis_url(at, url);
        if stream.is_empty() {
            self.value(&at.key("stream"), "is empty", "name the stream");
        }
        self.span(&at.key("timeout"), timeout, Duration::from_millis(1), HOUR);
    }

    /// Names of pipelines and sinks stand in file names, metrics and routers' answers.
    fn file_name(&mut self, at: &At<'_>, kind: &str, name: &str) {
        let good = name.len() <= LONGEST_NAME
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !good {
            let help =
                format!("take letters, digits, `_` and `-`, a letter or digit first, at most {LONGEST_NAME} in all");
            self.report(at, Code::ConfigValue, format!("`{name}` cannot be the name of a {kind}"), help);
        }
    }

    fn span(&mut self, at: &At<'_>, span: Span, least: Duration, most: Duration) {
        if span.0 < least || span.0 > most {
            let help = format!("take {} to {}", Span(least), Span(most));
            self.value(at, "is out of range", help);
        }
    }

    fn size(&mut self, at: &At<'_>, size: ByteSize, least: u64, most: u64, range: &str) {
        if !(least..=most).contains(&size.0) {
            self.value(at, "is out of range", format!("take {range}"));
        }
    }

    fn path(&mut self, at: &At<'_>, path: &Path) {
        if path.as_os_str().is_empty() {
            self.value(at, "is empty", "write a path; relative ones start at the current directory");
        }
    }

    /// No file has two users of which one writes: lines would mix, or a pipeline would read what it wrote.
    fn file(&mut self, at: &At<'_>, path: &Path, who: &str, writes: bool) {
        if path.starts_with("/dev") {
            return;
        }
        match self.files.get(&plain(path)) {
            Some((other, other_writes)) if writes || *other_writes => {
                let message = format!("{other} and {who} use the same file `{}`", path.display());
                self.report(at, Code::ConfigConflict, message, "give each a file of its own");
            }
            Some(_) => {}
            None => {
                self.files.insert(plain(path), (who.to_owned(), writes));
            }
        }
    }
}

/// Whether two connection strings name a server in common.
fn same_deployment(one: &Secret, other: &Secret) -> bool {
    let hosts = |uri: &Secret| match ConnectionString::parse(uri.reveal()).map(|parsed| parsed.host_info) {
        Ok(HostInfo::HostIdentifiers(hosts)) => hosts.iter().map(ToString::to_string).collect(),
        Ok(HostInfo::DnsRecord(name)) => vec![name],
        _ => Vec::new(),
    };
    let (one, other) = (hosts(one), hosts(other));
    one.iter().any(|host| other.contains(host))
}

/// `./a//b/../c` is `a/c`.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            component => out.push(component),
        }
    }
    out
}
