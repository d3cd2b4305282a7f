//! That the schema and the reader say the same.

mod probe;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use jsonschema::Validator;

use self::probe::{Shape, Step, shape};
use super::{
    super::{decode, mask::Masks, node},
    *,
};

fn validator(partial: bool) -> Validator {
    jsonschema::draft7::new(&schema(partial)).expect("a schema")
}

/// All that a schema says of a value, from wherever it says it.
fn alternatives_of<'s>(root: &'s Value, schema: &'s Value, into: &mut Vec<&'s Map<String, Value>>) {
    let Some(object) = schema.as_object() else { return };
    into.push(object);
    if let Some(of) = object.get("$ref").and_then(Value::as_str) {
        alternatives_of(root, root.pointer(of.trim_start_matches('#')).expect("a definition"), into);
    }
    for word in ["allOf", "anyOf"] {
        object
            .get(word)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .for_each(|one| alternatives_of(root, one, into));
    }
}

struct Walk<'s> {
    root: &'s Value,
    seen: usize,
}

impl<'s> Walk<'s> {
    fn walk(&mut self, schema: &'s Value, path: &[Step]) {
        self.seen += 1;
        let mut all = Vec::new();
        alternatives_of(self.root, schema, &mut all);
        let says = |word: &'static str| all.iter().filter_map(move |one| one.get(word));
        let further = |step: Step| path.iter().cloned().chain([step]).collect::<Vec<_>>();
        let properties = || says("properties").filter_map(Value::as_object).flatten();
        let property = |name: &str| properties().find(|(key, _)| *key == name).map(|(_, schema)| schema);
        let words = || {
            let listed = says("enum").filter_map(Value::as_array).flatten();
            listed.chain(says("const")).filter_map(Value::as_str).collect::<BTreeSet<_>>()
        };
        let is_open = says("additionalProperties").any(|more| more != &Value::Bool(false));
        let is = |kind: &str| says("type").any(|said| kinds(said).iter().any(|said| said == kind));
        match shape::<Config>(path) {
            Shape::Struct(keys) => {
                let known: BTreeSet<&str> = properties().map(|(key, _)| key.as_str()).collect();
                assert_eq!(known, keys.iter().map(String::as_str).collect(), "{path:?}");
                assert!(is("object") && !is_open, "{path:?} takes any key");
                for key in &keys {
                    self.walk(property(key).expect("a property"), &further(Step::Key(key.clone())));
                }
            }
            Shape::Choice(known) => {
                let bare = words();
                let is_switch = known == ["on", "off"];
                for word in &known {
                    match shape::<Config>(&further(Step::Choose(word))) {
                        Shape::Word => assert!(bare.contains(word), "{path:?} does not take `{word}`"),
                        // What can be switched off has its options without a word before them.
                        _ if is_switch => self.walk(schema, &further(Step::Choose(word))),
                        _ => self.walk(property(word).expect("an option"), &further(Step::Choose(word))),
                    }
                }
                assert!(bare.iter().all(|word| known.contains(word)), "{path:?} has more words than {known:?}");
                assert!(
                    is_switch || properties().all(|(key, _)| known.contains(&key.as_str())),
                    "{path:?} has more choices than {known:?}"
                );
            }
            Shape::List => {
                let items = says("items").next().unwrap_or_else(|| panic!("{path:?} is no list in the schema"));
                self.walk(items, &further(Step::Item));
            }
            Shape::Map => {
                let each = says("additionalProperties").find(|more| more.is_object() || *more == &Value::Bool(true));
                let each = each.unwrap_or_else(|| panic!("{path:?} is no map in the schema"));
                self.walk(each, &further(Step::Each));
            }
            Shape::Value(kind) => assert!(is(kind), "{path:?} is no {kind} in the schema"),
            Shape::Any | Shape::Word => {}
        }
    }
}

#[test]
fn every_key_of_the_reader_is_in_the_schema_and_no_other() {
    let schema = schema(false);
    let mut walk = Walk { root: &schema, seen: 0 };
    walk.walk(&schema, &[]);
    assert!(walk.seen > 200, "only {} values were looked at", walk.seen);
}

fn tree(text: &str) -> Value {
    let root = node::parse_literal(text, &mut Masks::default()).expect("YAML").expect("a configuration");
    value(&root)
}

fn value(node: &node::Node) -> Value {
    match &node.value {
        node::Value::List(items) => items.iter().map(value).collect(),
        node::Value::Map(entries) => entries.iter().map(|(key, node)| (key.name.clone(), value(node))).collect(),
        // What comes from a variable may be a number in quotes, too.
        node::Value::Scalar(node::Scalar { text, variables, .. })
            if !variables.is_empty() && text.parse::<i64>().is_ok() =>
        {
            json!(text.parse::<i64>().expect("a number"))
        }
        node::Value::Scalar(_) => decode::decode::<Value>(node, &[]).0.expect("a scalar"),
    }
}

fn examples() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.extension().and_then(|ending| ending.to_str()) {
                _ if entry.is_dir() => folders.push(entry),
                Some("yaml" | "yml") if std::fs::read_to_string(&entry).expect("text").contains("\npipelines:") => {
                    found.push(entry)
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn every_example_is_good_by_the_schema() {
    let (whole, partial) = (validator(false), validator(true));
    let files = examples();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let tree = tree(&std::fs::read_to_string(&file).expect("text"));
        let wrong: Vec<String> =
            whole.iter_errors(&tree).map(|error| format!("{error} at {}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", file.display());
        assert!(partial.is_valid(&tree), "{}", file.display());
    }
    assert!(partial.is_valid(&json!({ "pipelines": { "p": { "lanes": 4 } } })));
    assert!(!whole.is_valid(&json!({ "pipelines": { "p": { "lanes": 4 } } })));
    assert!(!partial.is_valid(&json!({ "pipelines": { "p": { "lane": 4 } } })));
}

/// Each value of a tree, by its pointer.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    match value {
        Value::Array(items) => {
            (0..items.len()).for_each(|index| pointers(&items[index], &format!("{at}/{index}"), into))
        }
        Value::Object(entries) => {
            entries.iter().for_each(|(key, value)| {
                pointers(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), into)
            });
        }
        _ => {}
    }
}

/// A configuration that the reader takes is never wrong for an editor; and of a missing or unknown key, or a wrong kind of value, both say the same.
#[test]
fn the_schema_and_the_reader_agree_on_what_is_changed() {
    let validator = validator(false);
    let reads = |tree: &Value| {
        let text = tree.to_string();
        let root = node::parse(&text, 0..text.len(), &|_| None, &mut Masks::default()).expect("YAML").0;
        root.is_some_and(|root| decode::decode::<Config>(&root, &[]).0.is_ok())
    };
    let everything = include_str!("../../tests/full.yaml");
    let texts =
        examples().into_iter().map(|file| std::fs::read_to_string(file).expect("text")).chain([everything.to_owned()]);
    let mut tried = 0;
    for text in texts {
        // Variables with their defaults, else empty, which a host may not be.
        let host = |name: &str| name.ends_with("_HOST").then(|| "h".to_owned());
        let root = node::parse(&text, 0..text.len(), &host, &mut Masks::default()).expect("YAML").0;
        let tree = value(&root.expect("a configuration"));
        assert!(reads(&tree) && validator.is_valid(&tree), "{tree}");
        let mut places = Vec::new();
        pointers(&tree, "", &mut places);
        for place in &places {
            let mut mutants: Vec<(Value, bool)> = Vec::new();
            let mut put = |new: Value, is_strict: bool| {
                let mut mutant = tree.clone();
                *mutant.pointer_mut(place).expect("a place") = new;
                mutants.push((mutant, is_strict));
            };
            let old = tree.pointer(place).expect("a place");
            put(json!({ "x": 1 }), true);
            put(json!({}), true);
            put(json!([["x"]]), true);
            put(Value::Null, true);
            for loose in [
                json!(true),
                json!(7),
                json!(-1),
                json!(70000),
                json!(1.5),
                json!("x"),
                json!("7"),
                json!("true"),
                json!("5s"),
                json!("1MiB"),
                json!(""),
            ] {
                put(loose, false);
            }
            if let Value::Object(entries) = old {
                let mut more = entries.clone();
                more.insert("unknown_key".to_owned(), json!(1));
                put(Value::Object(more), true);
                for key in entries.keys() {
                    let mut less = entries.clone();
                    less.shift_remove(key);
                    put(Value::Object(less), true);
                }
            }
            for (mutant, is_strict) in mutants {
                tried += 1;
                let (good, read) = (validator.is_valid(&mutant), reads(&mutant));
                let shown = mutant.pointer(place);
                assert!(good || !read, "the schema refuses what is read at {place}: {shown:?}");
                assert!(!is_strict || good == read, "the schema takes what is not read at {place}: {shown:?}");
            }
        }
    }
    assert!(tried > 1000, "only {tried} were tried");
}

#[test]
fn variables_stand_wherever_they_may() {
    let text = r#"
admin: { listen: "${LISTEN:-127.0.0.1:1}" }
log: { level: "${LEVEL:-info}", file: { path: "${file:/run/path}" } }
pipelines:
  p:
    source: { redis: { url: "${URL}", streams: ["${A}"], keys: { patterns: [a], expires: "${E:-true}" } } }
    lanes: ${LANES:-4}
    batch: { max_bytes: "${BYTES:-2MiB}", linger: "${LINGER:-1s}" }
    checkpoint: ${CHECKPOINT:-file}
    sinks: { out: { stdout: }, other: { mongodb: { host: h, write_concern: { w: "${W:-1}" } } } }
shutdown_timeout:
"#;
    let validator = validator(false);
    let wrong: Vec<String> = validator.iter_errors(&tree(text)).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
