//! Whether a server is what the sink needs.

use super::MongodbSink;
use crate::{config::WriteMode, doctor::Finding, mongodb::examine::Needs};

impl MongodbSink {
    /// Looks at the server, and at what the user may do where all changes go to one database.
    pub(crate) async fn examine(&mut self, keeps: bool) -> Vec<Finding> {
        let actions: &[&str] = match self.config.mode {
            WriteMode::Append => &["insert"],
            _ => &["find", "insert", "update", "remove"],
        };
        let database = self.targets.one_database().map(str::to_owned);
        let mut needs = Vec::new();
        if let Some(database) = &database {
            needs.push(Needs { actions, database: Some(database), role: "readWrite" });
        }
        if keeps {
            let actions = &["find", "insert", "update", "remove"];
            needs.push(Needs { actions, database: Some(&self.record.database), role: "readWrite" });
        }
        let mut findings = self.connector.examine(keeps, &needs).await;
        if database.is_none() {
            let what = "each change names the database it goes to: the rights to them are not looked at";
            findings.push(Finding::unknown(what).help("grant the user `readWrite` on each of them"));
        }
        findings
    }
}
