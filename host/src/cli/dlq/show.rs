//! `tidegate dlq list` and `tidegate dlq show`

use std::fmt::Write as _;

use serde_json::Value;

use super::{Place, failed};
use crate::{
    cli::print,
    dead_letter::{Kept, Letters, Select, State},
    error::{Code, Fault},
    format::time::iso8601,
};

/// Letters of a table, unless told otherwise.
const LIMIT: usize = 50;
/// Widest columns; the id is never cut, for it is copied.
const REASON: usize = 60;
const DOCUMENT: usize = 30;

pub(super) async fn list(place: Place, select: Select, limit: Option<usize>, json: bool) -> Result<u8, u8> {
    let limit = match limit {
        Some(0) => usize::MAX,
        Some(limit) => limit,
        None if json => usize::MAX,
        None => LIMIT,
    };
    let mut letters = Letters::new(&place.dead_letter, &place.pipeline, select);
    let (mut count, mut rows) = (0_usize, Vec::new());
    while let Some(kept) = letters.next().await.map_err(|fault| failed(&fault))? {
        count += 1;
        if count > limit {
            continue;
        }
        if json {
            print(&format!("{}\n", whole(&kept)));
        } else {
            rows.push(row(&kept));
        }
    }
    if !json {
        print(&table(&rows));
        print(&match count {
            0 => format!("no dead letters of pipeline {}\n", place.pipeline),
            1 => "1 dead letter\n".to_owned(),
            _ if count > rows.len() => {
                format!("{count} dead letters, the oldest {} shown; --limit shows more\n", rows.len())
            }
            _ => format!("{count} dead letters\n"),
        });
    }
    warn(&letters);
    Ok(0)
}

pub(super) async fn show(place: Place, id: String) -> Result<u8, u8> {
    let select = Select { ids: vec![id.clone()], ..Select::default() };
    let mut letters = Letters::new(&place.dead_letter, &place.pipeline, select);
    let mut found = false;
    while let Some(kept) = letters.next().await.map_err(|fault| failed(&fault))? {
        found = true;
        let letter = whole(&kept);
        print(&format!("{}\n", serde_json::to_string_pretty(&letter).unwrap_or_else(|_| letter.to_string())));
    }
    warn(&letters);
    if found {
        return Ok(0);
    }
    let message =
        format!("pipeline `{}` has no dead letter `{id}`; `tidegate dlq list` shows the ids of all", place.pipeline);
    Err(failed(&Fault::fatal(Code::DeadLetterUnknown, message)))
}

/// Says what could not be read.
pub(super) fn warn(letters: &Letters) {
    for reason in letters.unreadable() {
        eprintln!("warning: {reason}; it is passed over");
    }
}

/// The letter with what became of it.
fn whole(kept: &Kept) -> Value {
    let mut letter: Value = serde_json::from_slice(&kept.letter.to_json()).unwrap_or_default();
    if let Some(members) = letter.as_object_mut() {
        match kept.state {
            State::Open => {}
            State::FailedAgain(at) => drop(members.insert("failed_again_at".to_owned(), iso8601(at).into())),
            State::Replayed(at) => drop(members.insert("replayed_at".to_owned(), iso8601(at).into())),
        }
    }
    letter
}

type Row = [String; 8];

fn row(kept: &Kept) -> Row {
    let letter = &kept.letter;
    let (namespace, document) =
        letter.change().map_or_else(Default::default, |change| (change.namespace.to_string(), change.document_id()));
    let place = match &letter.plugin {
        Some(plugin) => format!("{} {plugin}", letter.stage),
        None => letter.stage.clone(),
    };
    let state = match kept.state {
        State::Open => "open",
        State::FailedAgain(_) => "failed again",
        State::Replayed(_) => "replayed",
    };
    let kind = letter.kind.as_str().to_owned();
    [
        short_time(letter.at),
        letter.id().to_owned(),
        kind,
        place,
        namespace,
        cut(&document, DOCUMENT),
        state.to_owned(),
        cut(&letter.reason, REASON),
    ]
}

/// `2026-01-31 12:00:00`
fn short_time(millis: i64) -> String {
    iso8601(millis).replace('T', " ").chars().take(19).collect()
}

/// At most so wide, on one line.
fn cut(text: &str, width: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.chars().count() > width {
        true => line.chars().take(width - 3).chain("...".chars()).collect(),
        false => line,
    }
}

fn table(rows: &[Row]) -> String {
    const HEAD: [&str; 8] = ["TIME", "ID", "KIND", "STAGE", "NAMESPACE", "DOCUMENT", "STATE", "REASON"];
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let head = HEAD.map(str::to_owned);
    let mut widths = [0; 8];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in [&head].into_iter().chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
