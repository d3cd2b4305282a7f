use std::fmt;

/// Bytes that are no BSON: what is wrong, and where in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    what: &'static str,
    at: usize,
}

impl Error {
    pub(crate) const fn new(what: &'static str, at: usize) -> Self {
        Self { what, at }
    }

    /// Offset in bytes from the beginning of the document that was read.
    pub fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed BSON at byte {}: {}", self.at, self.what)
    }
}

impl std::error::Error for Error {}
