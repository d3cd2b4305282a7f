//! Sizes and durations as people write them: `64MiB`, `5ms`.

use std::{
    borrow::Cow,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes: `8MiB`, `500kB`, or a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// For memory sizes; saturates on small machines.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A duration: `5ms`, `1s`, `2m`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A moment: `2026-01-01T00:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub SystemTime);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl FromStr for Moment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_rfc3339_weak(text)
            .ok()
            // Resume tokens and oplogs count seconds from 1970 on, in 32 bits.
            .filter(|moment| {
                moment.duration_since(UNIX_EPOCH).is_ok_and(|since| u32::try_from(since.as_secs()).is_ok())
            })
            .map(Moment)
            .ok_or("not a time; write it in UTC, such as `2026-01-01T00:00:00Z`")
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as `64MiB`")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                parse_size(text).ok_or_else(|| {
                    E::custom("not a size; write a number with B, kB, MB, GB, KiB, MiB or GiB, such as `64MiB`")
                })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn parse_size(text: &str) -> Option<ByteSize> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(split)?;
    let number: f64 = number.parse().ok()?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = number * factor as f64;
    (0.0..1e18).contains(&bytes).then_some(ByteSize(bytes as u64))
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text)
            .map(Span)
            // The cause would quote the text, which may come from a variable.
            .map_err(|_| de::Error::custom("not a duration; write a number with a unit, such as `5ms`, `1s` or `2m`"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = [("GiB", 30), ("MiB", 20), ("KiB", 10)].into_iter().find(|(_, bits)| {
            let whole = 1_u64 << bits;
            self.0 >= whole && self.0.is_multiple_of(whole)
        });
        match unit {
            Some((unit, bits)) => write!(f, "{}{unit}", self.0 >> bits),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// As people write them, for the defaults in the schema.
macro_rules! written {
    ($($type:ty)+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

written! { ByteSize Span }

/// What the schema says of them: what is good there may still be no size and no time, but nothing that is one is refused.
macro_rules! described {
    ($($type:ident $schema:tt)+) => {$(
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

described! {
    ByteSize { "type": ["string", "integer"], "minimum": 0, "pattern": r"^\s*[0-9.]+\s*(B|[kK]B|MB|GB|[KMG]iB)?\s*$|\$\{" }
    Span { "type": ["string", "integer"], "maximum": 0, "minimum": 0, "pattern": r"^\s*(0|([0-9.]+\s*[a-zA-Zµ]+\s*)+)$|\$\{" }
    Moment { "type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:|\$\{" }
}

#[cfg(test)]
mod tests {
    use super::{ByteSize, parse_size};

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("64MiB"), Some(ByteSize(64 << 20)));
        assert_eq!(parse_size("1.5 kB"), Some(ByteSize(1500)));
        assert_eq!(parse_size("12"), Some(ByteSize(12)));
        for bad in ["", "MiB", "12 parsecs", "-1", "1e99GiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
