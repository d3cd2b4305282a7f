//! What is wrong with a configuration, and how it is shown: the sentence, the place, the line, the way out.
//!
//! Nothing here prints the value of a variable, and the source lines are printed only after [`super::mask`] has hidden
//! what may be a password.

use std::{fmt, ops::Range};

use super::{
    environment::Settings,
    mask::{self, Masks},
    sources::Sources,
};
use crate::error::Code;

/// All that is wrong with a configuration; at least one problem.
#[derive(Debug)]
pub struct ConfigErrors {
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// The problems, in the order of the files.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// One problem that has no place in the text.
    pub(super) fn whole_file(file: &str, code: Code, message: String, help: String) -> Self {
        Self { problems: vec![Problem::of_file(file, None, code, message, help)] }
    }

    /// Problems that are told without the text around them.
    pub(super) fn untold(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    pub(super) fn new(sources: &Sources, masks: &Masks, drafts: Vec<Draft>) -> Self {
        Self::with_settings(sources, masks, &Settings::default(), drafts)
    }

    /// Places behind the end of the text are those of settings.
    pub(super) fn with_settings(sources: &Sources, masks: &Masks, settings: &Settings, mut drafts: Vec<Draft>) -> Self {
        drafts.sort_by_key(|draft| draft.place.as_ref().map_or(0, |place| place.start));
        Self { problems: drafts.into_iter().map(|draft| draft.finish(sources, masks, settings)).collect() }
    }

    /// These, and then others.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.problems.extend(others.problems);
        self
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.write(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    message: String,
    file: String,
    /// The variable of the environment that sets it, and where that is from.
    variable: Option<String>,
    location: Option<Location>,
    snippet: Option<Snippet>,
    notes: Vec<String>,
    help: Option<String>,
}

/// A place in a file; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

#[derive(Clone, Debug)]
struct Snippet {
    line: String,
    /// Characters before the caret.
    indent: usize,
    carets: usize,
}

impl Problem {
    /// The stable code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The name of the file, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where in the file; `None` when it is meant as a whole.
    pub fn location(&self) -> Option<Location> {
        self.location
    }

    /// The way out.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// A problem that shows nothing of the file.
    pub(super) fn of_file(file: &str, location: Option<Location>, code: Code, message: String, help: String) -> Self {
        let file = file.to_owned();
        Self { code, message, file, variable: None, location, snippet: None, notes: Vec::new(), help: Some(help) }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        write!(f, "error[{}]: {}", self.code, self.message)?;
        let gutter = match self.location {
            Some(Location { line, column }) => {
                let gutter = line.to_string().len();
                write!(f, "\n{:gutter$}--> {file}:{line}:{column}", "")?;
                if let Some(Snippet { line: text, indent, carets }) = &self.snippet {
                    write!(f, "\n{:gutter$} |\n{line} | {text}\n{:gutter$} | {:indent$}", "", "", "")?;
                    write!(f, "{}", "^".repeat(*carets))?;
                }
                gutter
            }
            None => {
                match &self.variable {
                    Some(variable) => write!(f, "\n --> the environment variable {variable}")?,
                    None => write!(f, "\n --> {file}")?,
                }
                1
            }
        };
        let notes = self.notes.iter().map(|note| ("note", note)).chain(self.help.iter().map(|help| ("help", help)));
        for (label, text) in notes {
            write!(f, "\n{:gutter$} = {label}: {text}", "")?;
        }
        Ok(())
    }
}

/// A problem before its place is looked up in the text.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) code: Code,
    pub(super) message: String,
    /// Bytes of the source text.
    pub(super) place: Option<Range<usize>>,
    pub(super) notes: Vec<String>,
    pub(super) help: Option<String>,
}

impl Draft {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), place: None, notes: Vec::new(), help: None }
    }

    pub(super) fn at(mut self, place: &Range<usize>) -> Self {
        self.place = Some(place.clone());
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn finish(self, sources: &Sources, masks: &Masks, settings: &Settings) -> Problem {
        let variable = self.place.as_ref().and_then(|place| settings.variable(sources.text().len(), place));
        let (file, location, snippet) = match &self.place {
            Some(place) if variable.is_none() => {
                let (file, part) = sources.file(place.start);
                let (location, snippet) = locate(sources.text(), part, place, masks);
                (file.to_owned(), Some(location), Some(snippet))
            }
            _ => (sources.names(), None, None),
        };
        Problem {
            code: self.code,
            message: self.message,
            file,
            variable,
            location,
            snippet,
            notes: self.notes,
            help: self.help,
        }
    }
}

/// The line of an offset, counted from 1.
pub(super) fn line_of(source: &str, offset: usize) -> usize {
    source.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// Lines longer than this are cut around the caret: a configuration in JSON may be one long line.
const WIDEST: usize = 140;

fn locate(source: &str, part: Range<usize>, place: &Range<usize>, masks: &Masks) -> (Location, Snippet) {
    let mut start = place.start.min(part.end);
    while !source.is_char_boundary(start) {
        start -= 1;
    }
    let line_start = source.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let line_end =
        source.get(start..).and_then(|after| after.find('\n')).map_or(source.len(), |newline| start + newline);
    let line = source.get(line_start..line_end).unwrap_or_default();
    let column = source.get(line_start..start).map_or(0, |before| before.chars().count());
    let line_number = line_of(source.get(part.start..).unwrap_or_default(), start - part.start);
    let location = Location { line: line_number, column: column + 1 };

    // Everything below works on the masked line, where columns differ from those of the file.
    let end = place.end.clamp(start, line_end);
    let masked = mask::line(line, line_start, masks);
    let (from, to) = (masked.column(start - line_start), masked.column(end - line_start));
    let text: Vec<char> = masked.text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let from = from.min(text.len());
    let carets = to.saturating_sub(from).max(1);
    if text.len() <= WIDEST {
        return (location, Snippet { line: text.into_iter().collect(), indent: from, carets });
    }
    let cut = from.saturating_sub(WIDEST / 3);
    let kept: String = text.iter().skip(cut).take(WIDEST).collect();
    let (head, tail) = (if cut > 0 { "…" } else { "" }, if cut + WIDEST < text.len() { "…" } else { "" });
    let indent = from - cut + head.chars().count();
    (
        location,
        Snippet {
            line: format!("{head}{kept}{tail}"),
            indent,
            carets: carets.min(WIDEST.saturating_sub(from - cut)).max(1),
        },
    )
}

/// A sentence about the word a person may have meant: `did you mean ...?`, and all that is known.
pub(super) fn did_you_mean(word: &str, kind: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`? {kind}: {all}"),
        None => format!("{kind}: {all}"),
    }
}

/// The known word that looks most like this one, if any does.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    known
        .iter()
        .map(|candidate| {
            (strsim::jaro_winkler(&word, candidate), strsim::damerau_levenshtein(&word, candidate), *candidate)
        })
        .filter(|(similarity, distance, candidate)| *similarity >= 0.7 && *distance <= 1 + candidate.len() / 3)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, _, candidate)| candidate)
}
