//! The texts of a configuration, one behind the other, so that a place is a number of bytes whichever file it is in.

use std::ops::Range;

/// What was read, in order: a later file wins.
#[derive(Debug, Default)]
pub(super) struct Sources {
    text: String,
    names: Vec<String>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Sources {
    pub(super) fn of(name: &str, text: &str) -> Self {
        let mut sources = Self::default();
        sources.add(name, text);
        sources
    }

    pub(super) fn add(&mut self, name: &str, text: &str) {
        if !self.names.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(text);
        self.names.push(name.to_owned());
        self.ends.push(self.text.len());
    }

    /// All of it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where each file ends.
    pub(super) fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// Each file's part of the text.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end + 1));
        starts.zip(&self.ends).map(|(start, end)| start..*end)
    }

    /// The names of all files.
    pub(super) fn names(&self) -> String {
        self.names.join(", ")
    }

    /// The name of the file that holds a place, and its part of the text.
    pub(super) fn file(&self, offset: usize) -> (&str, Range<usize>) {
        let at = self.ends.partition_point(|end| *end < offset).min(self.ends.len().saturating_sub(1));
        let name = self.names.get(at).map(String::as_str).unwrap_or_default();
        (name, self.parts().nth(at).unwrap_or(0..self.text.len()))
    }
}
