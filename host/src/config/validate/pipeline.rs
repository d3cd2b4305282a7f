//! Pipelines: batches, sources and sinks, and which of them go together.

use std::time::Duration;

use super::{
    super::model::{
        CheckpointConfig, Config, DdlAction, DeadLetterConfig, FullDocument, PipelineConfig, RetryConfig, SinkConfig,
        Snapshot, SourceConfig, WriteMode,
    },
    At, Check, HOUR,
    mongodb::same_deployment,
};
use crate::{
    error::Code,
    sink::AnySink,
    source::{AnySource, mongodb::Selection},
};

impl Check<'_> {
    pub(super) fn pipeline(&mut self, at: &At<'_>, name: &str, pipeline: &PipelineConfig, config: &Config) {
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
            self.value(
                &sinks,
                "is empty",
                "add a sink: a name, and under it one of redis, mongodb, pubsub, file, stdout",
            );
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
            if let SinkConfig::Redis(redis) = sink {
                self.redis_of_source(&at, sink_name, redis, &pipeline.source);
            }
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
                self.redis(&at, &redis.url, &redis.tls, &redis.stream, redis.timeout);
                self.redis_dead_letter_loop(&at, &redis, &pipeline.source);
            }
            Some(DeadLetterConfig::Mongodb(mongodb)) => self.dead_letter_collection(&dead, pipeline, &mongodb),
            None => {}
        }
        self.checkpoint(at, pipeline);
        self.retry(&at.key("retry"), &pipeline.retry);
    }

    pub(super) fn checkpoint(&mut self, at: &At<'_>, pipeline: &PipelineConfig) {
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
                    let help = "redis (but for `mode: pubsub`) and mongodb can, and Google Cloud Pub/Sub stores nothing beside messages; give the pipeline only such sinks, or take `checkpoint: file`, mongodb, redis or firestore";
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
                self.redis_url(&at, &redis.url, &redis.tls);
                self.span(&at.key("interval"), redis.interval, Duration::ZERO, HOUR);
                self.span(&at.key("lease"), redis.lease, least, HOUR);
                self.span(&at.key("timeout"), redis.timeout, Duration::from_millis(1), HOUR);
            }
            CheckpointConfig::Firestore(firestore) => self.firestore(&at.key("firestore"), firestore),
        }
    }

    pub(super) fn retry(&mut self, at: &At<'_>, retry: &RetryConfig) {
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

    pub(super) fn source(&mut self, at: &At<'_>, pipeline: &str, source: &SourceConfig) {
        match source {
            SourceConfig::Mongodb(mongodb) => self.mongodb_source(&at.key("mongodb"), mongodb),
            SourceConfig::Redis(redis) => self.redis_source(&at.key("redis"), redis),
            SourceConfig::Pubsub(pubsub) => self.pubsub_source(&at.key("pubsub"), pubsub),
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

    pub(super) fn sink(&mut self, at: &At<'_>, pipeline: &str, name: &str, sink: &SinkConfig) {
        let who = format!("sink `{name}` of pipeline `{pipeline}`");
        match sink {
            SinkConfig::Redis(redis) => self.redis_sink(&at.key("redis"), redis),
            SinkConfig::Mongodb(mongodb) => self.mongodb_sink(&at.key("mongodb"), mongodb),
            SinkConfig::Pubsub(pubsub) => self.pubsub_sink(&at.key("pubsub"), pubsub),
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
}
