//! What is wrong with a configuration, and how it is shown: the sentence, the place, the line, the way out.
//!
//! Nothing here prints the value of a variable, and the source lines are printed only after [`super::mask`] has hidden
//! what may be a password.

use std::{fmt, ops::Range};

use super::{
    environment::Settings,
    mask::{self, Masks},
};
use crate::error::Code;

/// All that is wrong with a configuration file; at least one problem.
#[derive(Debug)]
pub struct ConfigErrors {
    file: String,
    problems: Vec<Problem>,
}

impl ConfigErrors {
    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The name of the file, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// One problem that has no place in the text.
    pub(super) fn whole_file(file: &str, code: Code, message: String, help: String) -> Self {
        let problem = Problem {
            code,
            message,
            variable: None,
            location: None,
            snippet: None,
            notes: Vec::new(),
            help: Some(help),
        };
        Self { file: file.to_owned(), problems: vec![problem] }
    }

    pub(super) fn new(file: &str, source: &str, masks: &Masks, drafts: Vec<Draft>) -> Self {
        Self::with_settings(file, source, masks, &Settings::default(), drafts)
    }

    /// Places behind the end of the text are those of settings.
    pub(super) fn with_settings(
        file: &str,
        source: &str,
        masks: &Masks,
        settings: &Settings,
        mut drafts: Vec<Draft>,
    ) -> Self {
        drafts.sort_by_key(|draft| draft.place.as_ref().map_or(0, |place| place.start));
        let problems = drafts.into_iter().map(|draft| draft.finish(source, masks, settings)).collect();
        Self { file: file.to_owned(), problems }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.write(f, &self.file)?;
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
    /// The variable of the environment that sets it.
    variable: Option<String>,
    location: Option<Location>,
    snippet: Option<Snippet>,
    notes: Vec<String>,
    help: Option<String>,
}

/// A place in the configuration file; both count from 1, columns in characters.
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

    /// Where; `None` when the file as a whole is meant.
    pub fn location(&self) -> Option<Location> {
        self.location
    }

    /// The way out.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, file: &str) -> fmt::Result {
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

    fn finish(self, source: &str, masks: &Masks, settings: &Settings) -> Problem {
        let variable = self.place.as_ref().and_then(|place| settings.variable(source.len(), place)).map(str::to_owned);
        let (location, snippet) = match &self.place {
            Some(place) if variable.is_none() => {
                let (location, snippet) = locate(source, place, masks);
                (Some(location), Some(snippet))
            }
            _ => (None, None),
        };
        Problem {
            code: self.code,
            message: self.message,
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

fn locate(source: &str, place: &Range<usize>, masks: &Masks) -> (Location, Snippet) {
    let mut start = place.start.min(source.len());
    while !source.is_char_boundary(start) {
        start -= 1;
    }
    let line_start = source.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let line_end =
        source.get(start..).and_then(|after| after.find('\n')).map_or(source.len(), |newline| start + newline);
    let line = source.get(line_start..line_end).unwrap_or_default();
    let column = source.get(line_start..start).map_or(0, |before| before.chars().count());
    let location = Location { line: line_of(source, start), column: column + 1 };

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
