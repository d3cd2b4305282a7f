//! Numbers of BSON as JSON Schema compares them: no digit of an Int64 is lost, and a Decimal128 is compared as the nearest Double.

use std::borrow::Cow;

use jsonschema::json::JsonNumber;
use serde_json::Number as JsonValue;
use tidegate_plugin::bson::Value;

use super::decimal_text;

/// A number that is finite.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Whole(i64),
    Double(f64),
    Decimal { bytes: [u8; 16], nearest: f64 },
}

impl Number {
    /// None for what plain JSON writes as text: `NaN` and the infinities.
    #[inline]
    pub(crate) fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Int32(number) => Some(Self::Whole(i64::from(number))),
            Value::Int64(number) => Some(Self::Whole(number)),
            Value::Double(number) if number.is_finite() => Some(Self::Double(number)),
            Value::Decimal128(bytes) => {
                let text = decimal_text(bytes);
                let named = text.ends_with("NaN") || text.ends_with("Infinity");
                (!named).then(|| Self::Decimal { bytes, nearest: text.parse().unwrap_or(f64::NAN) })
            }
            _ => None,
        }
    }

    pub(crate) fn to_json(self) -> JsonValue {
        match self {
            Self::Whole(number) => number.into(),
            // A Decimal128 beyond every Double is shown as the greatest of those.
            Self::Double(number) | Self::Decimal { nearest: number, .. } => {
                JsonValue::from_f64(number.clamp(f64::MIN, f64::MAX)).unwrap_or_else(|| 0.into())
            }
        }
    }
}

impl JsonNumber for Number {
    fn as_u64(&self) -> Option<u64> {
        if let Self::Whole(number) = *self { u64::try_from(number).ok() } else { None }
    }

    fn as_i64(&self) -> Option<i64> {
        if let Self::Whole(number) = *self { Some(number) } else { None }
    }

    fn as_f64(&self) -> Option<f64> {
        Some(match *self {
            #[allow(clippy::cast_precision_loss, reason = "asked for last, where neither of the two above is wanted")]
            Self::Whole(number) => number as f64,
            Self::Double(number) | Self::Decimal { nearest: number, .. } => number,
        })
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Owned(match *self {
            Self::Whole(number) => number.to_string(),
            Self::Double(number) => number.to_string(),
            Self::Decimal { bytes, .. } => decimal_text(bytes),
        })
    }

    fn to_number(&self) -> Cow<'_, JsonValue> {
        Cow::Owned(self.to_json())
    }

    /// As the SDK has it for plugins in code: Int32, Int64, and a Double without a fraction up to 2^53, beyond which a Double does
    /// not say which number was meant. Programs read a Decimal128 as something else.
    #[inline]
    fn is_integer(&self) -> bool {
        match *self {
            Self::Whole(_) => true,
            Self::Double(number) => Value::Double(number).as_integer().is_some(),
            Self::Decimal { .. } => false,
        }
    }

    fn is_written_as_integer(&self) -> bool {
        self.is_integer()
    }
}
