//! Values of one type made values of another. Nothing is rounded: what does not fit is an error.

use tidegate_plugin::bson::{DateTime, ObjectId, Value};

use super::tree::Item;
use crate::{
    complaint::quoted,
    view::{decimal_from_text, decimal_text, text},
};

/// What `convert` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    String,
    Int,
    Long,
    Double,
    Decimal,
    Bool,
    Date,
    DateFromSeconds,
    DateFromMilliseconds,
    Seconds,
    Milliseconds,
    ObjectId,
}

const TARGETS: [(&str, Target); 12] = [
    ("string", Target::String),
    ("int", Target::Int),
    ("long", Target::Long),
    ("double", Target::Double),
    ("decimal", Target::Decimal),
    ("bool", Target::Bool),
    ("date", Target::Date),
    ("date_from_seconds", Target::DateFromSeconds),
    ("date_from_milliseconds", Target::DateFromMilliseconds),
    ("seconds", Target::Seconds),
    ("milliseconds", Target::Milliseconds),
    ("objectId", Target::ObjectId),
];

/// 2^53: beyond it a Double does not hold each whole number.
const EXACT: i64 = 1 << 53;

impl Target {
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target).ok_or_else(|| {
            let known: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            format!("nothing is converted to {name:?}; there are {}", known.join(", "))
        })
    }

    pub(crate) fn name(self) -> &'static str {
        TARGETS.iter().find(|(_, target)| *target == self).map_or("", |(name, _)| *name)
    }

    /// Null stays null.
    ///
    /// # Errors
    /// What the value is, where it does not fit.
    pub(crate) fn convert<'a>(self, item: &Item<'a>) -> Result<Item<'a>, String> {
        let not = || format!("is {}, which cannot be made {}", item.type_name(), self.name());
        let Some(value) = item.value() else { return Err(not()) };
        if value.is_null() {
            return Ok(item.clone());
        }
        let plain = |made: Option<Value<'static>>| match made {
            Some(made) => Ok(Item::Value(made)),
            None => match text(value) {
                Some(text) => Err(format!("is {}, which cannot be made {}", quoted(&text), self.name())),
                None => Err(not()),
            },
        };
        match self {
            Self::String => match (item, value) {
                (_, Value::String(_)) => Ok(item.clone()),
                (_, Value::Double(number)) => Ok(Item::Text(number.to_string())),
                (_, Value::Decimal128(bytes)) => Ok(Item::Text(decimal_text(bytes))),
                _ => value.to_text().or_else(|| text(value)).map(|text| Item::Text(text.into_owned())).ok_or_else(not),
            },
            Self::Int => plain(whole(value).and_then(|number| i32::try_from(number).ok()).map(Value::Int32)),
            Self::Long => plain(whole(value).map(Value::Int64)),
            Self::Double => plain(double(value).map(Value::Double)),
            Self::Decimal => plain(decimal(value).map(Value::Decimal128)),
            Self::Bool => plain(truth(value).map(Value::Bool)),
            Self::Date => plain(date(value).map(Value::DateTime)),
            Self::DateFromSeconds => plain(seconds(value).map(|time| Value::DateTime(DateTime(time)))),
            Self::DateFromMilliseconds => plain(whole(value).map(|time| Value::DateTime(DateTime(time)))),
            Self::Seconds => plain(date(value).map(|date| Value::Int64(date.0.div_euclid(1000)))),
            Self::Milliseconds => plain(date(value).map(|date| Value::Int64(date.0))),
            Self::ObjectId => plain(object_id(value).map(Value::ObjectId)),
        }
    }
}

fn whole(value: Value<'_>) -> Option<i64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Decimal128(bytes) => {
            let text = decimal_text(bytes);
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            if fraction.bytes().all(|digit| digit == b'0') { whole.parse().ok() } else { None }
        }
        _ => value.as_integer(),
    }
}

fn double(value: Value<'_>) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        Value::Decimal128(bytes) => {
            let text = decimal_text(bytes);
            text.parse::<f64>().ok().filter(|number| number.is_finite() || text.ends_with("Infinity") || text == "NaN")
        }
        #[allow(clippy::cast_precision_loss, reason = "as just checked")]
        Value::Int64(number) => (-EXACT..=EXACT).contains(&number).then_some(number as f64),
        _ => value.as_f64(),
    }
}

fn decimal(value: Value<'_>) -> Option<[u8; 16]> {
    match value {
        Value::Decimal128(bytes) => Some(bytes),
        Value::String(text) => decimal_from_text(text.trim()),
        Value::Double(number) => decimal_from_text(&number.to_string()),
        Value::Int32(_) | Value::Int64(_) => decimal_from_text(&value.to_text()?),
        _ => None,
    }
}

fn truth(value: Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(value),
        Value::String("true" | "1") => Some(true),
        Value::String("false" | "0") => Some(false),
        _ => match value.as_integer() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
    }
}

fn date(value: Value<'_>) -> Option<DateTime> {
    match value {
        Value::DateTime(date) => Some(date),
        Value::String(text) => DateTime::parse_iso8601(text).ok(),
        _ => None,
    }
}

/// Milliseconds; a Double may have a fraction.
fn seconds(value: Value<'_>) -> Option<i64> {
    #[allow(clippy::cast_precision_loss, reason = "a bound")]
    let most = EXACT as f64;
    match value {
        #[allow(clippy::cast_possible_truncation, reason = "in range and whole, as just checked")]
        Value::Double(number) => {
            let milliseconds = (number * 1000.0).round();
            (-most..=most).contains(&milliseconds).then_some(milliseconds as i64)
        }
        _ => whole(value)?.checked_mul(1000),
    }
}

fn object_id(value: Value<'_>) -> Option<ObjectId> {
    match value {
        Value::ObjectId(id) => Some(id),
        Value::String(text) => object_id_of(text),
        _ => None,
    }
}

/// Of 24 hexadecimal digits.
pub(crate) fn object_id_of(text: &str) -> Option<ObjectId> {
    if text.len() != 24 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(text, 16).ok()?.to_be_bytes();
    number.last_chunk().copied().map(ObjectId)
}
