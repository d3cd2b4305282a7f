//! Whether a server is what the source needs.

use std::time::Duration;

use bson::{Bson, Document, doc};

use super::{
    Selection,
    stream::{is_full, oldest},
};
use crate::{
    config::MongodbSourceConfig,
    doctor::Finding,
    mongodb::{MongoConnector, examine::Needs},
};

/// Looks at the server, at what the user may do, and at how far the oplog reaches back.
pub async fn examine(config: &MongodbSourceConfig) -> Vec<Finding> {
    let selection = Selection::new(config);
    let database = selection.one_database();
    let role = if database.is_some() { "read" } else { "readAnyDatabase" };
    let mut connector = MongoConnector::new(config.uri.clone());
    let needs = [Needs { actions: &["find", "changeStream"], database, role }];
    let mut findings = connector.examine(false, &needs).await;
    let Ok(client) = connector.client().await else { return findings };
    let newest = async {
        let oplog = client.database("local").collection::<Document>("oplog.rs");
        let entry = oplog.find_one(doc! {}).sort(doc! { "$natural": -1 }).projection(doc! { "ts": 1 }).await?;
        Ok::<u32, mongodb::error::Error>(match entry.as_ref().and_then(|entry| entry.get("ts")) {
            Some(Bson::Timestamp(time)) => time.time,
            _ => 0,
        })
    };
    let all = async { Ok((oldest(&client).await?, newest.await?, is_full(&client).await?)) };
    findings.push(match connector.answer(all).await {
        Ok((oldest, newest, full)) => {
            let reaches = Duration::from_secs(newest.saturating_sub(oldest.time).into());
            let what = format!("the oplog reaches {} back", humantime::format_duration(reaches));
            match (reaches >= config.history_warning.0, full) {
                (true, _) => Finding::good(what),
                (false, false) => Finding::good(format!("{what}, and still has room")),
                (false, true) => {
                    let help = format!(
                        "make it bigger (replSetResizeOplog), until it reaches {} (`history_warning`)",
                        config.history_warning
                    );
                    Finding::warning(format!("{what}: a pipeline that stands still for longer loses changes"))
                        .help(help)
                }
            }
        }
        Err(_) => Finding::unknown("how far the oplog reaches back is not known: the user may not read it")
            .help("grant the user the role `read` on the database `local`"),
    });
    findings
}
