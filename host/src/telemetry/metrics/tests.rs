use std::{collections::BTreeSet, time::Duration};

use super::{DeadLetterKind, FailureKind, HttpOutcome, MAX_NAMES, Metrics, is_name, names};

/// Metrics with every family in use.
fn used() -> Metrics {
    let metrics = Metrics::new();
    let pipeline = metrics.pipeline("p");
    pipeline.events_in.inc_by(7);
    pipeline.ddl("drop");
    pipeline.history(Duration::from_secs(60));
    pipeline.dead_letters(DeadLetterKind::Rejected).inc();
    pipeline.dead_letters(FailureKind::Output.into()).inc_by(2);
    metrics.circuit("p", "source").set(1);
    metrics.sink("p", "s").observe(Duration::from_millis(3));
    let stage = metrics.stage("p", "a");
    stage.observe(100, Duration::from_micros(30));
    stage.failures(FailureKind::Trap).inc();
    let plugin = metrics.plugin("a");
    plugin.generation.set(3);
    assert!(plugin.count("seen", 5) && plugin.gauge("depth", 1.5));
    plugin.http(HttpOutcome::Answered, Duration::from_millis(3));
    metrics
}

#[test]
fn every_name_is_registered_and_no_other() {
    let text = used().encode();
    let described: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).map(|(name, _)| name).collect();
    let listed: BTreeSet<&str> = names::ALL
        .iter()
        .map(|name| match name.kind {
            names::Kind::Counter => name.full.trim_end_matches("_total"),
            names::Kind::Info => name.full.trim_end_matches("_info"),
            names::Kind::Gauge | names::Kind::Histogram => name.full,
        })
        .collect();
    assert_eq!(described, listed);
    for name in names::ALL {
        let sample = text.lines().find(|line| {
            let rest = line.strip_prefix(name.full).and_then(|rest| match name.kind {
                names::Kind::Histogram => rest.strip_prefix("_count"),
                _ => Some(rest),
            });
            rest.is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        });
        let sample = sample.unwrap_or_else(|| panic!("{} has no sample in\n{text}", name.full));
        for label in name.labels {
            assert!(sample.contains(&format!("{label}=\"")), "{sample} lacks label {label}");
        }
        assert_eq!(sample.matches("=\"").count(), name.labels.len(), "{sample}");
    }
}

#[test]
fn figures_are_encoded_as_counted() {
    let text = used().encode();
    for line in [
        r#"tidegate_events_in_total{pipeline="p"} 7"#,
        r#"tidegate_source_ddl_total{pipeline="p",kind="drop"} 1"#,
        r#"tidegate_dead_letters_total{pipeline="p",kind="rejected"} 1"#,
        r#"tidegate_dead_letters_total{pipeline="p",kind="output"} 2"#,
        r#"tidegate_dead_letters_total{pipeline="p",kind="refused"} 0"#,
        r#"tidegate_sink_write_seconds_count{pipeline="p",sink="s"} 1"#,
        r#"tidegate_plugin_changes_total{pipeline="p",plugin="a"} 100"#,
        r#"tidegate_plugin_failures_total{pipeline="p",plugin="a",kind="trap"} 1"#,
        r#"tidegate_plugin_generation{plugin="a"} 3"#,
        r#"tidegate_plugin_counter_total{plugin="a",name="seen"} 5"#,
        r#"tidegate_plugin_gauge{plugin="a",name="depth"} 1.5"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn handles_of_one_name_share_their_figures() {
    let metrics = Metrics::new();
    metrics.pipeline("p").events_in.inc_by(2);
    metrics.pipeline("p").events_in.inc();
    assert_eq!(metrics.pipeline("p").events_in.get(), 3);
    assert_eq!(metrics.pipeline("q").events_in.get(), 0);
    metrics.pipeline("p").dead_letters(DeadLetterKind::Failed).inc();
    assert_eq!(metrics.pipeline("p").dead_letters_total(), 1);
}

#[test]
fn every_kind_has_a_counter_of_its_own() {
    let metrics = Metrics::new();
    let (pipeline, stage) = (metrics.pipeline("p"), metrics.stage("p", "a"));
    for (times, kind) in (1..).zip(DeadLetterKind::ALL) {
        pipeline.dead_letters(kind).inc_by(times);
    }
    for (times, kind) in (1..).zip(FailureKind::ALL) {
        stage.failures(kind).inc_by(times);
    }
    let text = metrics.encode();
    for (times, kind) in (1..).zip(DeadLetterKind::ALL) {
        let line = format!("tidegate_dead_letters_total{{pipeline=\"p\",kind=\"{kind}\"}} {times}\n");
        assert!(text.contains(&line), "{line}");
    }
    for (times, kind) in (1..).zip(FailureKind::ALL) {
        let line = format!("tidegate_plugin_failures_total{{pipeline=\"p\",plugin=\"a\",kind=\"{kind}\"}} {times}\n");
        assert!(text.contains(&line), "{line}");
    }
    assert_eq!(stage.failures_total(), 15);
}

#[test]
fn a_plugin_cannot_make_names_without_end() {
    let metrics = Metrics::new();
    for i in 0..MAX_NAMES / 2 {
        let plugin = metrics.plugin("greedy");
        assert!(plugin.count(&format!("c{i}"), 1) && plugin.gauge(&format!("g{i}"), 1.0));
    }
    let plugin = metrics.plugin("greedy");
    assert!(!plugin.count("one_more", 1) && !plugin.gauge("one_more", 1.0));
    assert!(plugin.count("c0", 1) && plugin.gauge("g0", 2.0), "known names still work");
    assert!(metrics.plugin("modest").count("one_more", 1), "each plugin has its own limit");
    assert!(!metrics.encode().contains("greedy\",name=\"one_more"));
}

#[test]
fn names_of_plugins_are_restricted() {
    assert!(is_name("orders.seen:total-1_A"));
    let long = "x".repeat(101);
    for bad in ["", "with space", "quote\"", "line\nbreak", "ünïcode", long.as_str()] {
        assert!(!is_name(bad), "{bad:?}");
        assert!(!Metrics::new().plugin("p").count(bad, 1), "{bad:?}");
    }
}

#[test]
fn the_documentation_lists_every_metric_with_its_labels_and_no_other() {
    let page = include_str!("../../../../docs/operations.md");
    let section = page.split("## Metrics").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    let documented: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let registered: Vec<Vec<String>> = names::ALL
        .iter()
        .map(|name| {
            let labels: Vec<String> = name.labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
            let kind = format!("{:?}", name.kind).to_lowercase();
            vec![format!("`{}`", name.full), kind, labels, name.unit.to_owned(), name.help.to_owned()]
        })
        .collect();
    assert_eq!(documented, registered);
    for word in
        page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("tidegate_"))
    {
        assert!(
            names::ALL.iter().any(|name| name.full == word),
            "docs/operations.md speaks of {word}, which is no metric"
        );
    }
}
