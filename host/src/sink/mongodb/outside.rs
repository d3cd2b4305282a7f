//! Capped collections of a mirror that keeps its position beside its data: no transaction may write to them.
//!
//! They are written in front of the transaction that moves the position. A crash in between writes them again, which changes nothing
//! where whole documents are written by their key; so what is effectively once elsewhere is at least once here, and a host that was paused
//! past its lease is not kept from it. A journal would show doubles, so `mode: append` refuses them (TG0308).

use std::collections::HashSet;

use bson::{Bson, Document, doc};

use super::{
    MongodbSink,
    run::Failure,
    statements::{Command, Kind, Statements},
};
use crate::{config::WriteMode, error::Fault};

/// Collections that are written outside of transactions.
#[derive(Debug, Default)]
pub(super) struct Outside(HashSet<(String, String)>);

impl Outside {
    pub(super) fn has(&self, command: &Command) -> bool {
        // Hardly ever is there any.
        !self.0.is_empty() && self.0.contains(&(command.database.clone(), command.collection.clone()))
    }
}

impl MongodbSink {
    /// After a transaction that the server does not allow: is a capped collection among its targets that was not known for one?
    pub(super) async fn finds_capped(&mut self, statements: &Statements) -> Result<bool, Fault> {
        if self.config.mode == WriteMode::Append {
            return Ok(false);
        }
        let client = self.connector.client().await?;
        let mut found = false;
        for command in &statements.commands {
            if self.outside.has(command) {
                continue;
            }
            let list = doc! { "listCollections": 1, "filter": { "name": &command.collection } };
            let database = client.database(&command.database);
            let asked = database.run_command(list);
            let answer = self.connector.answer(asked.into_future()).await?;
            let listed = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch")).ok();
            let options = listed
                .and_then(|listed| listed.first())
                .and_then(Bson::as_document)
                .and_then(|listed: &Document| listed.get_document("options").ok());
            if options.is_some_and(|options| options.get_bool("capped").unwrap_or_default()) {
                tracing::info!(
                    event = "sink_capped",
                    ns = format!("{}.{}", command.database, command.collection),
                    "a capped collection takes no part in transactions: it is written before the position, at least once"
                );
                found |= self.outside.0.insert((command.database.clone(), command.collection.clone()));
            }
        }
        Ok(found)
    }

    /// Writes what no transaction may.
    pub(super) async fn run_outside(&mut self, statements: &Statements) -> Result<(), Failure> {
        if !statements.commands.iter().any(|command| self.outside.has(command)) {
            return Ok(());
        }
        let client = self.connector.client().await?;
        for command in statements.commands.iter().filter(|command| self.outside.has(command)) {
            if command.kind == Kind::Rewrite {
                let reason = "its update can only be applied in a transaction, and a capped collection takes no part in one; \
                              `full_document: lookup` brings whole documents";
                return Err(Failure::Guilty(command.deliveries.iter().map(|one| (*one, reason.to_owned())).collect()));
            }
            self.write_outside(&client, command).await?;
        }
        Ok(())
    }
}
