//! Bad configurations and what is said about them (`bad/*.yaml`, with the answers under `snapshots/`), and good ones.

mod files;

use std::time::Duration;

use super::*;

/// In a variable, this must arrive as it is, and must never be shown. An address, too: what cannot be parsed is refused.
const SECRET: &str = "redis://host/?p#a\"s: s'\n$w{o}@rd";

fn env(name: &str) -> Option<String> {
    let value = match name {
        "MONGODB_URI" => "mongodb://localhost",
        "REDIS_URL" => "redis://localhost",
        "SECRET" => SECRET,
        "LANES" => "7",
        "LISTEN_PORT" => "0",
        _ => return None,
    };
    Some(value.to_owned())
}

fn good(text: &str) -> Config {
    parse(text, "pipeline.yaml", &env).unwrap_or_else(|errors| panic!("{errors}"))
}

macro_rules! bad {
    ($($name:ident)+) => {$(
        #[test]
        fn $name() {
            let text = include_str!(concat!("bad/", stringify!($name), ".yaml"));
            let errors = parse(text, "pipeline.yaml", &env).expect_err("a bad configuration");
            let shown = format!("{errors}\n{errors:?}");
            for secret in ["hunter2", "p#a", "rd"] {
                assert!(!shown.split(|c: char| !c.is_alphanumeric() && c != '#').any(|word| word == secret), "{shown}");
            }
            insta::assert_snapshot!(stringify!($name), errors.to_string());
        }
    )+};
}

mod bad {
    use super::*;

    bad! {
        addresses bad_address bad_duration bad_size bare_word_with_required conflicts dead_letter duplicate_key duplicate_pipeline empty mirror missing_key mongodb names no_choice no_pipelines old_mode pubsub pubsub_setup pubsub_setup_values ranges redis redis_keys redis_loops redis_modes redis_source secret_choice secret_number secret_of_wrong_type stages syntax syntax_secret syntax_unquoted_variable tab two_choices two_documents unknown_choice unknown_enum_value unknown_key unknown_key_hides_missing unknown_key_nested unknown_key_top unset_variables wrong_type_list wrong_type_map wrong_type_number
    }
}

#[test]
fn the_whole_grammar_is_read() {
    let config = good(include_str!("full.yaml"));
    insta::assert_snapshot!("full", format!("{config:#?}"));
}

#[test]
fn json_is_yaml() {
    let text = r#"{"pipelines":{"p":{"source":{"stdin":{}},"sinks":{"out":{"file":{"path":"a\/b-\ud83d\ude00"}}},
	"lanes":3,"stages":[{"plugin":"x","config":{"a":[1,-2,1.5,true,null,"1"]}}]}}}"#;
    let config = good(text);
    let p = &config.pipelines["p"];
    assert_eq!(p.lanes, 3);
    assert!(matches!(&p.sinks["out"], SinkConfig::File(file) if file.path == Path::new("a/b-😀")));
    assert_eq!(p.stages[0].config, Some(serde_json::json!({"a": [1, -2, 1.5, true, null, "1"]})));
}

#[test]
fn variables_arrive_as_they_are_and_numbers_as_numbers() {
    let config = good(
        r#"
admin: { listen: "127.0.0.1:${LISTEN_PORT}" }
log:
  level: ${LEVEL:-warn}
pipelines:
  p:
    source: stdin
    lanes: ${LANES:-4}
    batch: { max_events: "${MAX:-50}", max_bytes: "${BYTES:-2MiB}" }
    stages:
      - plugin: a
        config:
          number: ${LANES}
          text: "${LANES}"
          secret: ${SECRET}
          literal: $${LANES} $x $$ROOT
    sinks:
      cache: { redis: { url: "${SECRET}", stream: 2024 } }
"#,
    );
    let p = &config.pipelines["p"];
    assert_eq!(config.admin.listen.port(), 0);
    assert_eq!(config.log.level, LogLevel::Warn);
    assert_eq!((p.lanes, p.batch.max_events, p.batch.max_bytes), (7, 50, ByteSize(2 << 20)));
    let expected = serde_json::json!({"number": 7, "text": "7", "secret": SECRET, "literal": "${LANES} $x $$ROOT"});
    assert_eq!(p.stages[0].config, Some(expected));
    assert!(
        matches!(&p.sinks["cache"], SinkConfig::Redis(redis) if redis.url.reveal() == SECRET && redis.stream.as_deref() == Some("2024"))
    );
    assert!(!format!("{:?}", p.sinks).contains("p#a"));
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = good("pipelines: { p: { source: stdin, sinks: { out: { stdout: } }, stages: , batch: } }\nlog:\n");
    assert_eq!(config.shutdown_timeout, Span(Duration::from_secs(10)));
    assert!(config.pipelines["p"].stages.is_empty());
    assert!(
        matches!(config.dead_letter("p"), Some(DeadLetterConfig::File(file)) if file.path == Path::new("./.tidegate/p.dead.jsonl"))
    );
    assert!(config.dead_letter("q").is_none());
}

#[test]
fn checkpoint_takes_options() {
    let config =
        good("pipelines: { p: { source: stdin, sinks: { out: stdout }, checkpoint: { file: { interval: 1s } } } }");
    let CheckpointConfig::File(file) = &config.pipelines["p"].checkpoint else { panic!("no file") };
    assert_eq!(file.interval, Span(Duration::from_secs(1)));
}

#[test]
fn anchors_and_merges_are_expanded_within_bounds() {
    let config = good(
        "pipelines:\n  a: &base\n    source: { file: { path: x } }\n    sinks: { out: stdout }\n    lanes: 5\n  b: { <<: *base, lanes: 6, sinks: { out: { file: { path: y } } } }\n",
    );
    assert_eq!((config.pipelines["a"].lanes, config.pipelines["b"].lanes), (5, 6));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let errors = parse(&bomb, "pipeline.yaml", &env).expect_err("a bomb");
    assert_eq!(errors.problems().iter().map(Problem::code).collect::<Vec<_>>(), [Code::ConfigSyntax]);
}

#[test]
fn a_file_that_cannot_be_read_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in [folder.join("no-such-file.yaml"), folder.to_owned()] {
        let errors = load(&Files::from(&*path)).expect_err("unreadable");
        let problem = &errors.problems()[0];
        assert_eq!((problem.code(), problem.location()), (Code::ConfigUnreadable, None));
        assert!(problem.help().is_some());
    }
}

#[test]
fn a_place_is_right_behind_other_letters_and_in_long_lines() {
    let text = format!(
        "{{\"pipelines\": {{\"p\": {{\"source\": {{\"file\": {{\"path\": \"{}\"}}}}, \"lanez\": 3, \"sinks\": {{\"out\": \"stdout\"}}}}}}}}",
        "ö".repeat(300)
    );
    let errors = parse(&text, "pipeline.yaml", &env).expect_err("unknown key");
    let problem = &errors.problems()[0];
    let column = text.chars().position(|c| c == 'z').expect("lanez") - 5 + 1;
    assert_eq!(problem.location(), Some(Location { line: 1, column }));
    let shown = errors.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    let caret = lines[4].chars().position(|c| c == '^').expect("a caret");
    assert!(lines[3].chars().skip(caret).collect::<String>().starts_with("\"lanez\""), "{shown}");
    assert!(lines[3].chars().count() < 160, "{shown}");
}

#[test]
fn the_reference_names_every_key_and_its_examples_are_good() {
    let reference = include_str!("../../../../docs/configuration.md");
    let model = [
        include_str!("../model/mod.rs"),
        include_str!("../model/alerts.rs"),
        include_str!("../model/mongodb.rs"),
        include_str!("../model/pipeline.rs"),
        include_str!("../model/plugins.rs"),
        include_str!("../model/pubsub.rs"),
        include_str!("../model/pubsub_setup.rs"),
        include_str!("../model/pubsub_source.rs"),
        include_str!("../model/redis.rs"),
        include_str!("../model/redis_connection.rs"),
        include_str!("../model/redis_keys.rs"),
        include_str!("../model/redis_source.rs"),
        include_str!("../model/store.rs"),
    ];
    let lines = model.iter().flat_map(|file| file.lines());
    let fields = lines.filter_map(|line| line.strip_prefix("    pub ")?.split_once(": "));
    let mut count = 0;
    // A connection is made of keys that stand in a struct of their own.
    for (field, _) in fields.filter(|(field, _)| !field.contains(['(', ' ']) && *field != "connection") {
        assert!(reference.contains(&format!("| `{field}` |")), "docs/configuration.md does not tell of `{field}`");
        count += 1;
    }
    assert!(count > 30, "the fields of the model were not found");
    let examples: Vec<&str> =
        reference.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 2);
    examples.into_iter().for_each(|example| drop(good(example)));
}

#[test]
fn what_can_be_switched_off_takes_a_word_or_its_options() {
    let swap = |text: &str| {
        let stages = "stages: [{ plugin: a }, { plugin: b }]";
        let text = format!(
            "plugins: {{ {text} }}\npipelines: {{ p: {{ source: stdin, {stages}, sinks: {{ out: stdout }} }} }}"
        );
        parse(&text, "pipeline.yaml", &env)
    };
    let plugins = |text: &str| swap(text).expect(text).plugins;
    let shadow = |text: &str, plugin: &str| plugins(text).shadow(plugin).map(|shadow| shadow.changes);
    assert_eq!(shadow("dir: x", "a"), None);
    assert_eq!(shadow("swap: { shadow: on }", "a"), Some(1000));
    assert_eq!(shadow("swap: { shadow: { changes: 7 } }", "a"), Some(7));
    let each = "swap: { shadow: { changes: 7 } }, each: { a: { swap: { shadow: off } } }";
    assert_eq!((shadow(each, "a"), shadow(each, "b")), (None, Some(7)));
    let failures = |text: &str| plugins(text).probation("a").map(|probation| probation.failures);
    assert_eq!(failures("dir: x"), Some(10));
    assert_eq!(failures("swap: { probation: off }"), None);
    assert_eq!(failures("swap: { probation: off }, each: { a: { swap: { probation: on } } }"), Some(10));
    for (wrong, what) in [
        ("swap: { shadow: { chnges: 7 } }", "unknown key `chnges` in `plugins.swap.shadow`"),
        ("swap: { shadow: of }", "unknown value `of`"),
        ("swap: { shadow: { changes: 0 } }", "`plugins.swap.shadow.changes` is 0"),
        ("swap: { shadow: { sample: 1.5 } }", "is no share of the batches"),
        ("swap: { probation: { factor: 0.5 } }", "is less than 1"),
        ("each: { c: { swap: { shadow: on } } }", "is a plugin that no stage names"),
    ] {
        let said = swap(wrong).expect_err(wrong).to_string();
        assert!(said.contains(what), "{said}");
    }
    let short = "admin: { token: short }\npipelines: { p: { source: stdin, sinks: { out: stdout } } }";
    let said = parse(short, "pipeline.yaml", &env).expect_err("a short token").to_string();
    assert!(said.contains("too short") && !said.contains("token: short"), "{said}");
}

/// Configurations with a connection in each place that has one, `{}` standing for its keys.
const CONNECTIONS: [(&str, &str); 8] = [
    ("mongodb", "source: { mongodb: { {} } }, sinks: { o: stdout }"),
    ("mongodb", "source: stdin, sinks: { o: { mongodb: { {} } } }"),
    ("mongodb", "source: stdin, sinks: { o: stdout }, dead_letter: { mongodb: { {}, database: d, collection: c } }"),
    ("mongodb", "source: stdin, sinks: { o: stdout }, checkpoint: { mongodb: { {} } }"),
    ("redis", "source: { redis: { {}, streams: [s] } }, sinks: { o: stdout }"),
    ("redis", "source: stdin, sinks: { o: { redis: { {}, stream: s } } }"),
    ("redis", "source: stdin, sinks: { o: stdout }, dead_letter: { redis: { {}, stream: s } }"),
    ("redis", "source: stdin, sinks: { o: stdout }, checkpoint: { redis: { {} } }"),
];

fn connected(pipeline: &str, keys: &str) -> Result<String, ConfigErrors> {
    let text = format!("pipelines:\n  p: {{ {} }}\n", pipeline.replace("{}", keys));
    let config = parse(&text, "pipeline.yaml", &env)?;
    let p = &config.pipelines["p"];
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    let secret = match (&p.source, &p.sinks["o"], &p.dead_letter, &p.checkpoint) {
        (SourceConfig::Mongodb(MongodbSourceConfig { uri, .. }), ..)
        | (_, SinkConfig::Mongodb(MongodbSinkConfig { uri, .. }), ..)
        | (_, _, Some(DeadLetterConfig::Mongodb(MongodbDeadLetterConfig { uri, .. })), _)
        | (_, _, _, CheckpointConfig::Mongodb(MongodbCheckpointConfig { uri, .. })) => uri,
        (SourceConfig::Redis(RedisSourceConfig { url, .. }), ..)
        | (_, _, Some(DeadLetterConfig::Redis(RedisDeadLetterConfig { url, .. })), _)
        | (_, _, _, CheckpointConfig::Redis(RedisCheckpointConfig { url, .. })) => url,
        (_, SinkConfig::Redis(redis), ..) => &redis.url,
        other => panic!("no connection in {other:?}"),
    };
    Ok(secret.reveal().to_owned())
}

#[test]
fn a_connection_is_given_whole_or_in_parts() {
    for (system, pipeline) in CONNECTIONS {
        let whole = if system == "mongodb" { "uri" } else { "url" };
        for (keys, expected) in [
            (format!("{whole}: '{system}://u:hunter2@h:1/'"), "u:hunter2@h:1/"),
            ("host: db.example.com".to_owned(), "db.example.com/"),
            ("host: 10.0.0.1, port: '${LANES}'".to_owned(), "10.0.0.1:7/"),
            ("host: '::1', port: 1".to_owned(), "[::1]:1/"),
            (
                "host: h, user: 'a@b', password: 'hunter2:/?#[]@%'".to_owned(),
                "a%40b:hunter2%3A%2F%3F%23%5B%5D%40%25@h/",
            ),
            (format!("{whole}: '{system}://h:1/', user: u, password: 12345"), "u:12345@h:1/"),
            (format!("{whole}: '{system}://u@h:1/', password: hunter2"), "u:hunter2@h:1/"),
            // As a variable that is empty.
            ("host: h, user: '', password: ''".to_owned(), "h/"),
            ("host: h, port: , user: , password:".to_owned(), "h/"),
        ] {
            let connected = connected(pipeline, &keys).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(connected, format!("{system}://{expected}"), "{keys}");
        }
    }
}

#[test]
fn a_connection_that_is_not_whole_or_too_much_is_explained() {
    for (system, pipeline) in CONNECTIONS {
        let (whole, lacking) = if system == "mongodb" { ("uri", "user") } else { ("url", "password") };
        let alone = if lacking == "user" { "password: hunter2" } else { "user: u" };
        for (keys, says, at) in [
            (format!("{whole}: '{system}://h', host: h"), "`host`", "host: h"),
            (format!("{whole}: '{system}://h', port: 1"), "`port`", "port: 1"),
            (format!("{whole}: '{system}://u:hunter2@h', user: u"), "`user`", "user: u"),
            (format!("{whole}: '{system}://u:hunter2@h', password: hunter2"), "`password`", "password: ***"),
            ("port: 1".to_owned(), &*format!("key `{whole}` is missing"), ""),
            ("hst: h".to_owned(), "did you mean `host`? known keys: ur", "hst: h"),
            (format!("host: h, {alone}"), &*format!("key `{lacking}` is missing"), ""),
            ("host: 'h:1'".to_owned(), "is no name and no address of a server", "'h:1'"),
            ("host: 'a,b'".to_owned(), "is no name and no address of a server", "'a,b'"),
            ("host: ''".to_owned(), "is no name and no address of a server", "''"),
            ("host: h, port: 0".to_owned(), "`port`", "0"),
            ("host: h, port: 65536".to_owned(), "takes a whole number from 0 to 65535", "65536"),
            ("host: h, password: [hunter2]".to_owned(), "takes text", "password: ***"),
        ] {
            let said = connected(pipeline, &keys).expect_err(&keys).to_string();
            assert!(said.contains(says) && !said.contains("hunter2"), "{keys}: {said}");
            assert_eq!(said.matches("error[").count(), 1, "{keys}: {said}");
            let lines: Vec<&str> = said.lines().collect();
            let caret = lines[4].find('^').expect("a caret");
            assert!(lines[3][caret..].starts_with(at), "{keys}: {said}");
        }
    }
    let reference = include_str!("../../../../docs/configuration.md");
    for key in ["host", "port", "user", "password"] {
        assert!(reference.contains(&format!("| `{key}` |")), "docs/configuration.md does not tell of `{key}`");
    }
}

#[test]
fn what_is_secret_by_its_type_is_hidden_and_nothing_else() {
    let text = r#"
pipelines:
  p:
    source: { mongodb: { uri: "mongodb://u:hunter2@h", start: { token: 8200 } } }
    stages: [{ plugin: a, config: { key: hunter2 }, when: { op: [inserd] } }]
    sinks: { o: { redis: { url: "${SECRET}", mode: string, key: "{databse}", ttl: 0s } } }
    lanes: 99
"#;
    let said = parse(text, "pipeline.yaml", &env).expect_err("an operation").to_string();
    assert!(said.contains("config: { key: *** }") && !said.contains("hunter2"), "{said}");
    let said = parse(&text.replace("inserd", "insert"), "pipeline.yaml", &env).expect_err("a ttl").to_string();
    assert!(said.contains(r#"key: "{databse}", ttl: 0s"#) && !said.contains("hunter2"), "{said}");
    let text = "alerts: { channels: { c: { webhook: { url: 'http://h', headers: { x-key: hunter2 }, body: x } } } }
pipelines: { p: { source: stdin, sinks: { o: stdout } } }";
    let said = parse(text, "pipeline.yaml", &env).expect_err("a body").to_string();
    assert!(said.contains("x-key: *** }, body: x") && !said.contains("hunter2"), "{said}");
}
