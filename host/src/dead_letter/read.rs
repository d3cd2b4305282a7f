//! A dead letter back from its JSON form.

use bytestring::ByteString;
use serde_json::{Map, Value};

use super::{DeadLetter, Letter};
use crate::{change::Change, format::lines::read_kept, telemetry::metrics::DeadLetterKind};

impl DeadLetter {
    /// Reads what [`DeadLetter::write_json`] wrote. `pipeline` is the pipeline of letters that do not name theirs, as those
    /// of earlier versions.
    ///
    /// # Errors
    /// Why it is no dead letter.
    pub fn read_json(text: &[u8], pipeline: &str) -> Result<Self, String> {
        let mut members = match serde_json::from_slice(text) {
            Ok(Value::Object(members)) => members,
            Ok(_) => return Err("a dead letter is a JSON object".to_owned()),
            Err(cause) => return Err(cause.to_string()),
        };
        let id = taken(&mut members, "id")?.ok_or("`id` is missing")?;
        let stage = taken(&mut members, "stage")?.ok_or("`stage` is missing")?;
        let reason = taken(&mut members, "reason")?.unwrap_or_default();
        let at = taken(&mut members, "at")?.ok_or("`at` is missing")?;
        let at = bson::DateTime::parse_rfc3339_str(&at).map_err(|_| format!("`at` is no time: {at}"))?;
        let violations = violations(members.remove("violations"))?;
        let kind = match taken(&mut members, "kind")? {
            Some(kind) => DeadLetterKind::from_name(&kind).ok_or_else(|| format!("`kind` is not known: {kind}"))?,
            // Letters of before there was a kind.
            None if stage == "source" => DeadLetterKind::Unreadable,
            None if stage.starts_with("sinks.") => DeadLetterKind::Refused,
            None if violations.is_empty() => DeadLetterKind::Failed,
            None => DeadLetterKind::Rejected,
        };
        let letter = match (change(&mut members, "change", &id)?, taken(&mut members, "raw")?) {
            (Some(change), _) => Letter::Change(Box::new(change)),
            (None, Some(raw)) => Letter::Raw { id: ByteString::from(&*id), raw },
            (None, None) => return Err("it has neither `change` nor `raw`".to_owned()),
        };
        Ok(Self {
            letter,
            original: change(&mut members, "original", &id)?.map(Box::new),
            pipeline: taken(&mut members, "pipeline")?.unwrap_or_else(|| pipeline.to_owned()),
            kind,
            stage,
            plugin: taken(&mut members, "plugin")?,
            generation: members.get("generation").and_then(Value::as_u64),
            plugin_version: taken(&mut members, "plugin_version")?,
            plugin_digest: taken(&mut members, "plugin_digest")?,
            reason,
            violations,
            at: at.timestamp_millis(),
        })
    }
}

fn taken(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is no text")),
    }
}

fn change(members: &mut Map<String, Value>, name: &str, id: &str) -> Result<Option<Change>, String> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(change)) => {
            read_kept(change, id).map(Some).map_err(|cause| format!("`{name}`: {}", cause.reason))
        }
        Some(_) => Err(format!("`{name}` is no JSON object")),
    }
}

fn violations(value: Option<Value>) -> Result<Vec<(String, String)>, String> {
    let list = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("`violations` is no list".to_owned()),
    };
    let text =
        |violation: &Value, name: &str| violation.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(list.iter().map(|violation| (text(violation, "path"), text(violation, "message"))).collect())
}
