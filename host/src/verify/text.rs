//! A report for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::report::{CollectionReport, Difference, FieldDifference, Kind, Report};

/// The report as text.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let width = report.collections.iter().map(|c| name(c).chars().count()).max().unwrap_or(0);
    for collection in &report.collections {
        let _ = writeln!(text, "{:width$}  {}", name(collection), outcome(collection));
        for difference in &collection.differences {
            of_document(&mut text, difference);
        }
        let more = collection.differing().saturating_sub(u64::try_from(collection.differences.len()).unwrap_or(0));
        if more > 0 {
            let _ = writeln!(text, "  and {} more", count(more));
        }
        for difference in &collection.schema {
            let _ = writeln!(text, "  schema       {difference}");
        }
    }
    let _ = write!(
        text,
        "{}: {} of {} in {:.1} s",
        if report.equal { "equal" } else { "not equal" },
        counted(report.documents, "document"),
        counted(u64::try_from(report.collections.len()).unwrap_or(0), "collection"),
        report.seconds,
    );
    if report.differences > 0 {
        let _ = write!(text, ", {} differ", count(report.differences));
    }
    let schema: usize = report.collections.iter().map(|collection| collection.schema.len()).sum();
    if schema > 0 {
        let _ = write!(text, ", {} in schemas", counted(u64::try_from(schema).unwrap_or(0), "difference"));
    }
    if report.settled > 0 {
        let _ = write!(text, ", {} settled when read again", count(report.settled));
    }
    text.push('\n');
    text
}

fn name(collection: &CollectionReport) -> String {
    let (source, target) = (one_line(&collection.source), one_line(&collection.target));
    if source == target { source } else { format!("{source} = {target}") }
}

fn outcome(collection: &CollectionReport) -> String {
    let (source, target) = (collection.documents.source, collection.documents.target);
    let documents = match source == target {
        true => counted(source, "document"),
        false => format!("{} in the source, {} in the target", counted(source, "document"), count(target)),
    };
    let whole = collection.as_a_whole.map_or_else(String::new, |why| format!(" (compared as a whole: {why})"));
    if collection.whole_differs {
        return format!("{documents}, different{whole}");
    }
    if collection.differing() == 0 {
        let equal = if collection.schema.is_empty() { "equal" } else { "equal but for the schema" };
        return format!("{documents}, {equal}{whole}");
    }
    let counts = collection.counts.each();
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(_, number)| *number > 0)
        .map(|(kind, number)| format!("{} {}", count(number), kind.as_str()))
        .collect();
    format!("{documents}: {}", counts.join(", "))
}

fn of_document(text: &mut String, difference: &Difference) {
    let _ = write!(text, "  {:<11}  _id {}", difference.kind.as_str(), value(&difference.id));
    let mut fields: Vec<String> = difference.fields.iter().map(of_field).collect();
    if difference.more_fields > 0 {
        fields.push(format!("and {} more", count(u64::try_from(difference.more_fields).unwrap_or(0))));
    }
    if !fields.is_empty() {
        let _ = write!(text, "  {}", fields.join("; "));
    }
    text.push('\n');
}

fn of_field(field: &FieldDifference) -> String {
    let path = if field.path.is_empty() { "the document".to_owned() } else { one_line(&field.path) };
    match field.kind {
        Kind::Missing => format!("{path}: {} only in the source", value(&field.source)),
        Kind::Extra => format!("{path}: {} only in the target", value(&field.target)),
        Kind::FieldOrder => format!("{path}: order {} -> {}", value(&field.source), value(&field.target)),
        _ if field.source.is_null() && field.target.is_null() => format!("{path}: other bytes"),
        _ => format!("{path}: {} -> {}", value(&field.source), value(&field.target)),
    }
}

fn value(value: &Value) -> String {
    const WIDTH: usize = 100;
    let text = one_line(&value.to_string());
    match text.chars().count() > WIDTH {
        true => text.chars().take(WIDTH - 3).chain("...".chars()).collect(),
        false => text,
    }
}

/// Names come from servers and may hold anything; a terminal must not obey them.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `1,234,567`
pub fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}
