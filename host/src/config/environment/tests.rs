use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    time::Duration,
};

use super::Settings;
use crate::config::{
    CheckpointConfig, Config, ConfigErrors, LogLevel, SinkConfig, SourceConfig, parse_all, sources::Sources,
};

const FILE: &str = "log: { level: warn }
pipelines:
  shop-a:
    source: { mongodb: { uri: 'mongodb://file', database: d, collections: [a, b] } }
    sinks: { out: stdout }
    checkpoint: file
    lanes: 2
";

fn of(settings: &[(&str, &str)]) -> Settings {
    Settings::of(settings.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

fn with(settings: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    parse_all(&Sources::of("c.yaml", FILE), &|_| None, &of(settings))
}

fn wrong(settings: &[(&str, &str)]) -> String {
    with(settings).expect_err("a bad setting").to_string()
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = with(&[
        ("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__URI", "mongodb://env"),
        ("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__COLLECTIONS__1", "c*"),
        ("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__EXCLUDE", r#"[cx, "cy*"]"#),
        ("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__ON_LOST_POSITION", "oldest"),
        ("TIDEGATE__PIPELINES__SHOP_A__LANES", "4"),
        ("TIDEGATE__PIPELINES__SHOP_A__CHECKPOINT__FILE__INTERVAL", "3s"),
        ("TIDEGATE__PIPELINES__SHOP_A__SINKS__CACHE__REDIS__URL", "redis://env"),
        ("TIDEGATE__PIPELINES__SHOP_A__SINKS__CACHE__REDIS__STREAM", "{collection}"),
        ("TIDEGATE__LOG__LEVEL", "debug"),
        ("TIDEGATE_LOG__LEVEL", "is another's"),
    ])
    .unwrap();
    let pipeline = &config.pipelines["shop-a"];
    let SourceConfig::Mongodb(source) = &pipeline.source else { panic!("{:?}", pipeline.source) };
    assert_eq!(source.uri.reveal(), "mongodb://env");
    assert_eq!(
        (&*source.collections, &*source.exclude),
        (&["a", "c*"].map(str::to_owned)[..], &["cx", "cy*"].map(str::to_owned)[..])
    );
    assert_eq!(source.on_lost_position, crate::config::OnLostPosition::Oldest);
    assert_eq!((pipeline.lanes, config.log.level), (4, LogLevel::Debug));
    let CheckpointConfig::File(file) = &pipeline.checkpoint else { panic!("{:?}", pipeline.checkpoint) };
    assert_eq!(file.interval.0, Duration::from_secs(3));
    let SinkConfig::Redis(redis) = &pipeline.sinks["cache"] else { panic!("{:?}", pipeline.sinks) };
    assert_eq!((redis.url.reveal(), redis.stream.as_deref()), ("redis://env", Some("{collection}")));
    assert!(matches!(pipeline.sinks["out"], SinkConfig::Stdout(_)));
}

#[test]
fn a_list_is_made_in_the_order_of_its_numbers() {
    let all: Vec<(String, String)> = (0..12)
        .rev()
        .map(|at| (format!("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__COLLECTIONS__{at}"), format!("c{at}")))
        .collect();
    let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let config = with(&all).unwrap();
    let SourceConfig::Mongodb(source) = &config.pipelines["shop-a"].source else { panic!("no MongoDB") };
    assert_eq!(source.collections, (0..12).map(|at| format!("c{at}")).collect::<Vec<_>>());
}

#[test]
fn a_pipeline_may_be_made_of_settings_alone() {
    let all = of(&[
        ("TIDEGATE__PIPELINES__TRY__SOURCE", "stdin"),
        (
            "TIDEGATE__PIPELINES__TRY__SINKS",
            "{out: {file: {path: a.jsonl}}, cache: {redis: {url: 'redis://h', stream: s}}}",
        ),
        // A part of what another variable sets as a whole.
        ("TIDEGATE__PIPELINES__TRY__SINKS__OUT__FILE__PATH", "b.jsonl"),
        ("TIDEGATE__PIPELINES__TRY__STAGES__0__PLUGIN", "[x]"),
        (
            "TIDEGATE__PIPELINES__TRY__STAGES__0__CONFIG",
            r#"{"currency": "USD", "rates": [1, 2.5], "none": null, "p": "[ab]"}"#,
        ),
        ("TIDEGATE__PIPELINES__TRY__STAGES__0__CONFIG__warehouseId", "7"),
    ]);
    for file in ["", "# nothing but a comment\n"] {
        let config =
            parse_all(&Sources::of("c.yaml", file), &|_| None, &all).unwrap_or_else(|errors| panic!("{errors}"));
        let pipeline = &config.pipelines["try"];
        assert!(matches!(&pipeline.sinks["out"], SinkConfig::File(file) if file.path.ends_with("b.jsonl")));
        assert!(matches!(&pipeline.sinks["cache"], SinkConfig::Redis(redis) if redis.url.reveal() == "redis://h"));
        let stage = &pipeline.stages[0];
        assert_eq!(stage.plugin, "[x]", "text in brackets is text where text is wanted");
        let expected =
            serde_json::json!({"currency": "USD", "rates": [1, 2.5], "none": null, "p": "[ab]", "warehouseId": 7});
        assert_eq!(stage.config, Some(expected));
    }
}

#[test]
fn a_choice_may_be_made_anew() {
    let sink = "TIDEGATE__PIPELINES__SHOP_A__SINKS__OUT";
    let (path, lease) = (format!("{sink}__FILE__PATH"), "TIDEGATE__PIPELINES__SHOP_A__CHECKPOINT__SINK__LEASE");
    let config = with(&[(&path, "x"), (lease, "1s"), ("TIDEGATE__PIPELINES__SHOP_A__SINKS__OUT__FILE", "")]);
    assert!(config.is_err(), "what is empty text is no map");
    let config = with(&[(&path, "x")]).unwrap();
    assert!(matches!(config.pipelines["shop-a"].sinks["out"], SinkConfig::File(_)));
    // Options of one beside those of another are no choice; the whole may be set.
    let source = "TIDEGATE__PIPELINES__SHOP_A__SOURCE";
    let shown = wrong(&[(&format!("{source}__FILE__PATH"), "x")]);
    assert!(shown.contains("has both `mongodb` and `file`") && shown.contains(source), "{shown}");
    let config = with(&[(source, "{file: {}}"), (&format!("{source}__FILE__PATH"), "x")]).unwrap();
    assert!(matches!(config.pipelines["shop-a"].source, SourceConfig::File(_)));
}

#[test]
fn what_is_wrong_is_told_with_the_variable_and_without_its_value() {
    for (name, value, says) in [
        ("TIDEGATE__PIPELINES__SHOP_A__LANES", "s3cret", "takes a whole number"),
        ("TIDEGATE__PIPELINES__SHOP_A__LANES", "400", "is out of range"),
        ("TIDEGATE__PIPELINES__SHOP_A__LANES__X", "s3cret", "takes a whole number"),
        ("TIDEGATE__PIPELINES__SHOP_A__LAMES", "4", "did you mean `lanes`"),
        ("TIDEGATE__PIPELINE__SHOP_A__LANES", "4", "did you mean `pipelines`"),
        ("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__URI", "s3cret", "is no MongoDB connection string"),
        ("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__COLLECTIONS__7", "s3cret", "is no place in a list of 2"),
        ("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__EXCLUDE__1", "s3cret", "begin with 0"),
        ("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__COLLECTIONS", "[s3cret", "takes a list, but this is text"),
        ("TIDEGATE__PIPELINES__SHOP_A__SOURCE__MONGODB__COLLECTIONS", "s3cret", "takes a list, but this is text"),
        ("TIDEGATE__PIPELINES__SHOP_A__SINKS", "{a: {s3cret: 1", "takes a map, but this is text"),
        ("TIDEGATE__PIPELINES__SHOP_A__CHECKPOINT", "s3cret", "unknown value"),
        ("TIDEGATE__PIPELINES__SHOP_A__SINKS", "{a: s3cret}", "unknown value"),
        ("TIDEGATE__LOG__LEVEL", "", "unknown value"),
        ("TIDEGATE__PIPELINES____LANES", "4", "is empty"),
        ("TIDEGATE__", "4", "is empty"),
    ] {
        let shown = wrong(&[(name, value)]);
        let place = format!(" --> the environment variable {name}");
        assert!(shown.contains(says) && shown.lines().any(|line| line == place), "{name}: {shown}");
        assert!(!shown.contains("s3cret") && !shown.contains("c.yaml"), "{name}: {shown}");
        assert_eq!(shown.matches("error[").count(), 1, "{shown}");
    }
    let debug = format!("{:?}", of(&[("TIDEGATE__LOG__LEVEL", "s3cret")]));
    assert!(debug.contains("TIDEGATE__LOG__LEVEL") && !debug.contains("s3cret"), "{debug}");
}

#[test]
fn no_variable_is_passed_over() {
    let shown = wrong(&[("TIDEGATE__LOG__LEVEL", "info"), ("TIDEGATE__log__level", "warn")]);
    assert!(shown.contains("TIDEGATE__LOG__LEVEL sets the same"), "{shown}");
    let bytes = OsString::from_vec(b"s3cret\xff".to_vec());
    assert_eq!(bytes.as_bytes().len(), 7);
    let settings = Settings::of([(OsString::from("TIDEGATE__LOG__LEVEL"), bytes)]);
    let shown = parse_all(&Sources::of("c.yaml", FILE), &|_| None, &settings).expect_err("no UTF-8").to_string();
    assert!(shown.contains("TIDEGATE__LOG__LEVEL") && shown.contains("not UTF-8"), "{shown}");
    let two =
        "pipelines: { a-b: { source: stdin, sinks: { o: stdout } }, a_b: { source: stdin, sinks: { o: stdout } } }";
    let settings = of(&[("TIDEGATE__PIPELINES__A_B__LANES", "3")]);
    let shown = parse_all(&Sources::of("c.yaml", two), &|_| None, &settings).expect_err("two names").to_string();
    assert!(shown.contains("`A_B` may be `a-b` and `a_b`"), "{shown}");
}

#[test]
fn a_variable_need_not_be_set_where_a_setting_takes_its_place() {
    let file =
        "pipelines: { p: { source: { mongodb: { uri: \"${UNSET}\" } }, sinks: { o: stdout }, lanes: \"${OTHER}\" } }";
    let uri = ("TIDEGATE__PIPELINES__P__SOURCE__MONGODB__URI", "mongodb://h");
    let shown =
        parse_all(&Sources::of("c.yaml", file), &|_| None, &of(&[uri])).expect_err("one is missing").to_string();
    assert!(shown.contains("`OTHER`") && !shown.contains("`UNSET`"), "{shown}");
    assert!(
        parse_all(&Sources::of("c.yaml", file), &|_| None, &of(&[uri, ("TIDEGATE__PIPELINES__P__LANES", "3")])).is_ok()
    );
    // What an alias repeats is still asked for where it stands first.
    let file = "pipelines:\n  a: { source: stdin, sinks: { o: { file: { path: &x \"${UNSET}\" } } } }\n  b: { source: { file: { path: *x } }, sinks: { o: stdout } }\n";
    let b = of(&[("TIDEGATE__PIPELINES__B__SOURCE__FILE__PATH", "y")]);
    let shown =
        parse_all(&Sources::of("c.yaml", file), &|_| None, &b).expect_err("the first still wants it").to_string();
    assert!(shown.contains("`UNSET`"), "{shown}");
}
