//! The fields of an event or span, kept in the order in which they were given.

use std::{borrow::Cow, error::Error, fmt};

use serde_json::{Number, Value};
use tracing::field::{Field, Visit};

/// Names and values; a later value of a name replaces the earlier one.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(Cow<'static, str>, Value)>);

/// A field of this name holds a JSON object, whose members become fields: for names that the operator chose
/// (`log.fields`). What is given beside it wins.
pub(crate) const CHOSEN: &str = "chosen_fields";

impl Fields {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    fn set(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let value = Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number);
        self.set(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.into());
    }

    /// An error says its causes too.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.set(field.name(), text.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == CHOSEN {
            if let Ok(Value::Object(members)) = serde_json::from_str(&format!("{value:?}")) {
                for (name, value) in members {
                    if self.get(&name).is_none() {
                        self.set(name, value);
                    }
                }
            }
            return;
        }
        self.set(field.name(), format!("{value:?}").into());
    }
}
