//! Arbitrary text as a configuration: it is taken, or each problem that has a place has one inside of the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::config;

fuzz_target!(|text: &str| {
    let env = |name: &str| match name {
        "A" => Some("a value".to_owned()),
        "URI" => Some("mongodb://user:secret@localhost/".to_owned()),
        "N" => Some("17".to_owned()),
        "E" => Some(String::new()),
        _ => None,
    };
    let Err(errors) = config::parse(text, "fuzz.yaml", &env) else { return };
    assert!(!errors.problems().is_empty());
    let shown = errors.to_string();
    assert!(!shown.contains("user:secret"), "a secret is shown: {shown}");
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in errors.problems() {
        assert!(!problem.message().is_empty());
        let Some(place) = problem.location() else { continue };
        let line = place.line.checked_sub(1).and_then(|at| lines.get(at));
        let line = line.unwrap_or_else(|| panic!("line {} of {}: {shown}", place.line, lines.len()));
        let columns = line.chars().count();
        assert!((1..=columns + 1).contains(&place.column), "column {} of {columns}: {shown}", place.column);
    }
});
