//! That the dashboard and the alert rules of `examples/deploy` ask for what there is.

use std::{collections::BTreeSet, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::names::{ALL, Kind, Name};
use crate::config;

/// What Prometheus adds by itself.
const ADDED: [&str; 3] = ["job", "instance", "le"];

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(default)]
    r#for: Option<config::Span>,
    labels: Value,
    annotations: Value,
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy")
}

/// Every text under this key, wherever it stands.
fn texts<'v>(value: &'v Value, key: &str, into: &mut Vec<&'v str>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, into)),
        Value::Object(entries) => entries.iter().for_each(|(name, value)| {
            if name == key {
                into.extend(value.as_str());
            }
            texts(value, key, into);
        }),
        _ => {}
    }
}

/// The series that an expression asks for; a metric that is not in the table is no series.
fn asked(expr: &str) -> Vec<(&str, &'static Name)> {
    let words = expr.split(|c: char| !(c == '_' || c == ':' || c.is_ascii_alphanumeric()));
    let ours = words.filter(|word| word.starts_with("tidegate_") || word.starts_with("process_"));
    let known = |word: &str| {
        ALL.iter().find(|name| match name.kind {
            Kind::Histogram => {
                ["_bucket", "_sum", "_count"].iter().any(|end| word.strip_suffix(end) == Some(name.full))
            }
            _ => name.full == word,
        })
    };
    ours.map(|word| {
        (word, known(word).unwrap_or_else(|| panic!("there is no metric `{word}`, which is asked for in {expr}")))
    })
    .collect()
}

/// The labels that it sums by or chooses by.
fn labels(expr: &str) -> BTreeSet<&str> {
    let by = expr.split("by (").skip(1).filter_map(|rest| rest.split(')').next()).flat_map(|list| list.split(','));
    let chosen = expr.split('{').skip(1).filter_map(|rest| rest.split('}').next()).flat_map(|list| list.split(','));
    by.chain(chosen.filter_map(|one| one.split(['=', '!']).next()))
        .map(str::trim)
        .filter(|label| !label.is_empty())
        .collect()
}

fn check(expr: &str) -> BTreeSet<&'static str> {
    let series = asked(expr);
    assert!(!series.is_empty(), "{expr} asks for nothing");
    for label in labels(expr) {
        let is_known = |(_, name): &(&str, &Name)| name.labels.contains(&label);
        assert!(ADDED.contains(&label) || series.iter().all(is_known), "no label `{label}` for {expr}");
    }
    for (_, name) in &series {
        let is_rated =
            expr.contains("rate(") || expr.contains("increase(") || expr.contains("sum by (plugin) (tidegate_");
        assert!(name.kind != Kind::Counter || is_rated, "{expr} shows a counter as it is");
    }
    series.iter().map(|(_, name)| name.full).collect()
}

#[test]
fn e9_every_metric_of_the_dashboard_is_there() {
    let text = std::fs::read_to_string(folder().join("grafana/tidegate.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let mut exprs = Vec::new();
    texts(&dashboard, "expr", &mut exprs);
    let shown: BTreeSet<&str> = exprs.iter().flat_map(|expr| check(&expr.replace("$__rate_interval", "1m"))).collect();
    assert!(exprs.len() > 20 && shown.len() > 18, "{shown:?}");
    let mut queries = Vec::new();
    texts(&dashboard, "definition", &mut queries);
    assert_eq!(queries.iter().map(|query| asked(query).len()).collect::<Vec<_>>(), [1, 1], "{queries:?}");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have the same id");
    assert!(
        panels
            .iter()
            .all(|panel| panel["type"] == "row" || !panel["description"].as_str().unwrap_or_default().is_empty())
    );
}

#[test]
fn e9_every_metric_of_the_alert_rules_is_there() {
    let rules: Rules =
        config::load_other(&folder().join("prometheus/tidegate.rules.yaml")).unwrap_or_else(|wrong| panic!("{wrong}"));
    let mut names = BTreeSet::new();
    for Group { name, rules } in &rules.groups {
        assert!(!name.is_empty() && !rules.is_empty());
        for Rule { alert, expr, r#for, labels, annotations } in rules {
            assert!(names.insert(alert.as_str()), "{alert} is there twice");
            let metrics = check(expr);
            assert!(["warning", "critical"].iter().any(|word| labels["severity"] == *word), "{alert}: {labels}");
            for text in ["summary", "description"] {
                assert!(annotations[text].as_str().is_some_and(|text| !text.is_empty()), "{alert} has no {text}");
            }
            let moves = metrics.iter().all(|metric| metric.ends_with("_total"));
            assert!(moves || r#for.is_some(), "{alert} tells of a moment");
        }
    }
    // What docs/operations.md calls worth an alert has one.
    let all: BTreeSet<_> =
        rules.groups.iter().flat_map(|group| &group.rules).flat_map(|rule| check(&rule.expr)).collect();
    let operations = include_str!("../../../../docs/operations.md");
    let worth =
        operations.split("Worth an alert:").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the sentence");
    for (word, name) in asked(worth) {
        assert!(all.contains(name.full), "{word} is worth an alert and has none");
    }
}
