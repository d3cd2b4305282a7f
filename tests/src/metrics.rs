use std::collections::BTreeMap;

/// What `/metrics` says at one moment.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Reads the text format of Prometheus. Lines that are no sample are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { samples: text.lines().filter(|line| !line.starts_with('#')).filter_map(Sample::parse).collect() }
    }

    /// The sum of the samples of that name which have all these labels (others do not matter); `None` where there is none.
    #[must_use]
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut matching = self
            .samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value)))
            .map(|sample| sample.value)
            .peekable();
        matching.peek()?;
        Some(matching.sum())
    }

    /// Every sample as `name{label="value",...}` (labels sorted) and its value, for messages and snapshots.
    pub fn iter(&self) -> impl Iterator<Item = (String, f64)> {
        self.samples.iter().map(|sample| {
            let labels: Vec<_> = sample.labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            (format!("{}{labels}", sample.name), sample.value)
        })
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.split_at(line.find(['{', ' '])?);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => parse_labels(rest)?,
            None => (BTreeMap::new(), rest),
        };
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self { name: name.into(), labels, value })
    }
}

/// The labels after `{`, and what follows `}`.
fn parse_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.into(), value);
        rest = &quoted[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP events Events.
# TYPE events counter
events_total{pipeline="a",op="insert"} 3
events_total{pipeline="a",op="delete"} 4
events_total{pipeline="b, {x} \"y\"",op="delete"} 5 1700000000
lag_seconds 0.25
up +Inf
# EOF
"#;

    #[test]
    fn sums_what_matches() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.get("events_total", &[]), Some(12.0));
        assert_eq!(metrics.get("events_total", &[("pipeline", "a")]), Some(7.0));
        assert_eq!(metrics.get("events_total", &[("op", "delete"), ("pipeline", "a")]), Some(4.0));
        assert_eq!(metrics.get("events_total", &[("pipeline", "b, {x} \"y\"")]), Some(5.0));
        assert_eq!(metrics.get("lag_seconds", &[]), Some(0.25));
        assert_eq!(metrics.get("up", &[]), Some(f64::INFINITY));
        assert_eq!(metrics.get("events", &[]), None);
        assert_eq!(metrics.get("events_total", &[("pipeline", "c")]), None);
    }

    #[test]
    fn names_samples_with_their_labels() {
        let first = Metrics::parse(TEXT).iter().next();
        assert_eq!(first, Some((r#"events_total{op="insert",pipeline="a"}"#.into(), 3.0)));
    }
}
