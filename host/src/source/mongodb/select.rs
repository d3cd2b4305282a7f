//! What is watched: names for people, and the stages the server filters with.

use bson::{Bson, Document, doc};

use super::faults::{Place, redacted};
use crate::{
    config::MongodbSourceConfig,
    error::{Code, Fault},
    sink::mongodb::POSITIONS,
};

/// What is watched, without secrets: `mongodb shop.[inventory,transactions]`.
pub(super) fn describe(config: &MongodbSourceConfig) -> String {
    match (&config.database, &*config.collections) {
        (None, _) => "mongodb *".to_owned(),
        (Some(database), []) => format!("mongodb {database}.*"),
        (Some(database), collections) => format!("mongodb {database}.[{}]", collections.join(",")),
    }
}

/// The same in a sentence.
pub(super) fn watched(config: &MongodbSourceConfig) -> String {
    match &config.database {
        None => "the whole deployment".to_owned(),
        Some(database) => format!("database {database}"),
    }
}

/// The stages after `$changeStream`: the collections, then the operator's own.
pub(super) fn stages(config: &MongodbSourceConfig, place: &Place) -> Result<Vec<Document>, Fault> {
    let mut stages = Vec::new();
    if config.collections.len() > 1 || (config.skip_mirrored && !config.collections.is_empty()) {
        let mut collections = config.collections.clone();
        if config.skip_mirrored {
            collections.push(POSITIONS.to_owned());
        }
        stages.push(doc! { "$match": { "$or": [
            { "ns.coll": { "$in": collections } },
            { "operationType": { "$in": ["invalidate", "dropDatabase"] } },
        ] } });
    }
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
