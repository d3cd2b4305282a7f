//! Several files, and values from files.

use super::*;

fn merged(texts: &[(&str, &str)], settings: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let mut sources = Sources::default();
    texts.iter().for_each(|(name, text)| sources.add(name, text));
    let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    parse_all(&sources, &env, &Settings::of(settings))
}

const BASE: &str = "log: { level: warn, fields: [a, b] }
pipelines:
  shop:
    source: { mongodb: { uri: '${UNSET}', database: shop, collections: [a, b] } }
    batch: { max_events: 10, linger: 1s }
    sinks:
      out: { redis: { url: 'redis://u:hunter2@h/', stream: s, timeout: 3s } }
      log: { file: { path: x } }
";

#[test]
fn a_later_file_wins_map_by_map() {
    let over = "# over the base
log: { fields: [c], level: }
pipelines:
  shop:
    lanes: 4
    source: { file: { path: in.jsonl } }
    batch: { linger: 2s }
    sinks:
      out: { redis: { stream: t } }
      log: stdout
";
    let config = merged(&[("base.yaml", BASE), ("empty.yaml", "# nothing\n"), ("over.yaml", over)], &[])
        .unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.log.level, config.log.fields.as_slice()), (LogLevel::Warn, ["c".to_owned()].as_slice()));
    let shop = &config.pipelines["shop"];
    // The variable that is not set is the other source's.
    assert!(
        matches!(&shop.source, SourceConfig::File(file) if file.path == Path::new("in.jsonl")),
        "{:?}",
        shop.source
    );
    assert_eq!((shop.lanes, shop.batch.max_events, shop.batch.linger), (4, 10, Span(Duration::from_secs(2))));
    let SinkConfig::Redis(redis) = &shop.sinks["out"] else { panic!("{:?}", shop.sinks) };
    assert_eq!(
        (redis.stream.as_deref(), redis.timeout, redis.url.reveal()),
        (Some("t"), Span(Duration::from_secs(3)), "redis://u:hunter2@h/")
    );
    assert!(matches!(shop.sinks["log"], SinkConfig::Stdout(_)));

    let config = merged(&[("base.yaml", BASE), ("over.yaml", over)], &[("TIDEGATE__PIPELINES__SHOP__LANES", "7")])
        .expect("good");
    assert_eq!(config.pipelines["shop"].lanes, 7);
}

#[test]
fn each_problem_names_its_file_and_line() {
    let good = "pipelines: { shop: { source: stdin } }\n";
    let told = |texts: &[(&str, &str)]| {
        let said = merged(texts, &[]).expect_err("bad").to_string();
        assert!(!said.contains("hunter2"), "{said}");
        said
    };
    for (over, expected) in [
        (
            "\npipelines:\n  shop:\n    source: stdin\n    lanez: 4\n",
            "--> over.yaml:5:5\n  |\n5 |     lanez: 4\n  |     ^^^^^\n  = help: did you mean `lanes`?",
        ),
        (
            "pipelines: { shop: { source: stdin, lanes: many } }\n",
            "--> over.yaml:1:44\n  |\n1 | pipelines: { shop: { source: stdin, lanes: many } }",
        ),
        ("pipelines: { shop: { source: stdin, lanes: 99 } }\n", "--> over.yaml:1:37\n"),
        ("pipelines:\n  shop: { source: stdin, source: stdin }\n", "= note: it is first given in line 2"),
        (
            "pipelines: { shop: { source: stdin, sinks: { out: { redis: { mode: '${LEVEL}' } } } } }",
            "the environment variable `LEVEL` is not set\n --> over.yaml:1:69",
        ),
        ("pipelines: { shop: { source: stdin, sinks: [a] } }", "takes a map, but this is a list\n --> over.yaml:1:37"),
        ("pipelines: { shop\n", "--> over.yaml:1:12\n"),
    ] {
        let said = told(&[("base.yaml", BASE), ("over.yaml", over)]);
        assert!(said.contains(expected) && said.matches("error[").count() == 1, "{said}");
    }
    // What is wrong in the first is told of the first, with its secrets hidden, whatever stands in the others.
    let said = told(&[("base.yaml", &BASE.replace("timeout: 3s", "timeout: 3")), ("over.yaml", good)]);
    assert!(said.contains("--> base.yaml:7:72\n") && said.contains("url: ***, stream: s, timeout: 3"), "{said}");
    let said = told(&[("base.yaml", &BASE.replace("timeout: 3s } }", "timeout: 3s")), ("over.yaml", good)]);
    assert!(said.contains("--> base.yaml:") && said.contains("TG0102"), "{said}");
    let said = told(&[("a.yaml", "# a"), ("b.yaml", "")]);
    assert!(said.contains("the configuration is empty\n --> a.yaml, b.yaml"), "{said}");
    let said =
        told(&[("base.yaml", BASE), ("over.yaml", "pipelines: { shop: { source: { stdin: , file: { path: x } } } }")]);
    assert!(said.contains("has both `stdin` and `file`") && said.contains("--> over.yaml:1:41"), "{said}");
}

#[test]
fn a_value_from_a_file_is_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "hunter2\n").expect("a file");
    let text = |rest: &str| {
        format!(
            "pipelines:\n  p:\n    source: {{ mongodb: {{ host: h, user: u, password: '${{file:{}}}' }} }}\n    sinks: {{ out: stdout }}\n{rest}",
            file.display()
        )
    };
    let config = good(&text(""));
    let SourceConfig::Mongodb(source) = &config.pipelines["p"].source else { panic!("{config:?}") };
    assert_eq!(source.uri.reveal(), "mongodb://u:hunter2@h/");
    let said = |text: &str| parse(text, "p.yaml", &env).expect_err("bad").to_string();
    let shown = said(&text(&format!("    lanes: '${{file:{}}}'\n", file.display())));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains(&format!("the value comes from a file: {}", file.display())), "{shown}");
    let shown = said(&text("").replace("/secret}", "/none}"));
    assert!(shown.contains("TG0107") && shown.contains("there is no such file\n --> p.yaml:3:55\n"), "{shown}");
}
