use std::path::Path;

use serde_json::{Value, json};

use crate::config::{Config, parse};

/// A folder with these files, and the configuration `pipeline.yaml` of a stage in it.
fn load(files: &[(&str, &[u8])], stage: &str) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let text =
        format!("pipelines:\n  p:\n    source: stdin\n    sinks: {{ out: stdout }}\n    stages:\n      - {stage}\n");
    let name = dir.path().join("pipeline.yaml");
    let folder = format!("{}/", dir.path().display());
    parse(&text, &name.display().to_string(), &|_| None).map_err(|errors| errors.to_string().replace(&folder, ""))
}

fn stage_config(config: &Config) -> Value {
    config.pipelines["p"].stages[0].config.clone().unwrap()
}

#[test]
fn texts_of_files_and_folders_stand_in_the_config() {
    let files: [(&str, &[u8]); 6] = [
        ("rules.txt", b"a\nb\n"),
        ("schemas/b/v2.json", b"{}"),
        ("schemas/a.json", b"[]"),
        ("schemas/.hidden", b"\xff"),
        ("schemas/old.json~", b"\xff"),
        ("schemas/.git/x", b"\xff"),
    ];
    let config =
        load(&files, "{ plugin: x, config: { own: 1 }, config_files: { rules: rules.txt, all: ./schemas } }").unwrap();
    let expected = json!({ "own": 1, "rules": "a\nb\n", "all": { "a.json": "[]", "b/v2.json": "{}" } });
    assert_eq!(stage_config(&config), expected);
    assert_eq!(config.pipelines["p"].stages[0].config_files["rules"], Path::new("rules.txt"));
    // Another text is another configuration: that is how a host that reads it again knows.
    let stage = "{ plugin: x, config_files: { rules: rules.txt } }";
    let of = |text: &'static [u8]| load(&[("rules.txt", text)], stage).unwrap();
    assert_eq!(of(b"a"), of(b"a"));
    assert_ne!(of(b"a"), of(b"b"));
}

#[test]
fn what_cannot_be_read_is_named_with_its_place() {
    let big = vec![b'x'; (4 << 20) + 1];
    let files: [(&str, &[u8]); 4] = [("binary", b"\xff\xfe"), ("empty/.keep", b""), ("good", b"x"), ("big/file", &big)];
    let cases = [
        (
            "config_files: { a: missing }",
            "error[TG0101]: `pipelines.p.stages[0].config_files.a`: missing cannot be read: there is no such file or folder",
        ),
        ("config_files: { a: binary }", "binary cannot be read: it is not UTF-8 text"),
        ("config_files: { a: empty }", "empty cannot be read: the folder has no file"),
        ("config_files: { a: big }", "big/file cannot be read: it is bigger than 4 MiB"),
        (
            "config: 5, config_files: { a: good }",
            "error[TG0106]: `pipelines.p.stages[0].config_files.a`: the stage's `config` is no map",
        ),
        ("config: { a: 1 }, config_files: { a: good }", "the stage's `config` has this key too"),
    ];
    for (stage, message) in cases {
        let error = load(&files, &format!("{{ plugin: x, {stage} }}")).unwrap_err();
        assert!(error.contains(message), "{stage}: {error}");
        // The value that is wrong: behind `a: `.
        let column = format!("      - {{ plugin: x, {stage} }}").rfind("a: ").unwrap() + 4;
        assert!(error.contains(&format!("--> pipeline.yaml:6:{column}\n")), "{stage}: {error}");
        assert!(error.contains("= help: "), "{stage}: {error}");
    }
}

#[test]
fn files_lie_beside_the_configuration_that_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let stage = "stages: [{ plugin: x, config_files: { rules: rules.txt } }]";
    let base =
        write("base/a.yaml", &format!("pipelines: {{ p: {{ source: stdin, sinks: {{ out: stdout }}, {stage} }} }}"));
    let over = write("over/b.yaml", &format!("pipelines: {{ p: {{ {stage} }} }}"));
    write("base/rules.txt", "of base");
    write("over/rules.txt", "of over");
    for (configs, expected) in [(vec![base.clone()], "of base"), (vec![base, over], "of over")] {
        let config = crate::config::load(&crate::config::Files { configs, envs: Vec::new() }).unwrap();
        assert_eq!(stage_config(&config), json!({ "rules": expected }));
    }
}
