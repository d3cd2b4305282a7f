//! A dry run of a source that reads as a consumer of a group: the group is neither made nor asked, since whatever it gives out is pending from
//! then on. What it would give is read from where it stands.

use std::collections::HashMap;

use redis::Value;

use super::{RedisSource, place::EntryId};
use crate::error::Fault;

impl RedisSource {
    /// Reads what the group would get, and changes nothing of the server. What is pending already, for this consumer or another, is left out.
    pub fn dry(mut self) -> Self {
        self.peeks = self.config.group.take();
        self
    }

    /// In a dry run, asks where the group stands in these streams. Where there is no group yet it would be made as `start` says.
    pub(super) async fn peek(&mut self, keys: impl Iterator<Item = &Vec<u8>>) -> Result<(), Fault> {
        let Some(name) = self.peeks.as_ref().map(|group| group.name.clone()) else { return Ok(()) };
        let mut connection = self.looker.connection().await?;
        for key in keys {
            let asked = redis::cmd("XINFO").arg("GROUPS").arg(key).query_async(&mut connection).await;
            let groups: Vec<HashMap<String, Value>> = match asked {
                Ok(groups) => groups,
                // It is not there, or is no stream.
                Err(error) if error.code() == Some("WRONGTYPE") => continue,
                Err(error) if error.detail().is_some_and(|told| told.contains("no such key")) => continue,
                Err(error) => return Err(self.fault(&error)),
            };
            let text = |group: &HashMap<String, Value>, field: &str| match group.get(field) {
                Some(Value::BulkString(text)) => text.clone(),
                _ => Vec::new(),
            };
            let ours = groups.iter().find(|group| text(group, "name") == name.as_bytes());
            if let Some(id) = ours.and_then(|group| EntryId::parse(&text(group, "last-delivered-id"))) {
                self.stands.insert(key.clone(), id);
            }
        }
        Ok(())
    }
}
