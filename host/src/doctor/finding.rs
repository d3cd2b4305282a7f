//! What was found out about one thing that a configuration needs.

use serde::Serialize;

use crate::error::{Code, Fault};

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, but not as well as it could, or not for long.
    Warning,
    /// With this the pipeline does not run.
    Bad,
    /// It could not be found out without writing something.
    Unknown,
}

/// One line of the checklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it stands.
    pub verdict: Verdict,
    /// What it is about, in words.
    pub what: String,
    /// The stable code, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Finding {
    fn new(verdict: Verdict, what: impl Into<String>) -> Self {
        Self { verdict, what: what.into(), code: None, help: None }
    }

    pub(crate) fn good(what: impl Into<String>) -> Self {
        Self::new(Verdict::Good, what)
    }

    pub(crate) fn warning(what: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, what)
    }

    pub(crate) fn bad(what: impl Into<String>) -> Self {
        Self::new(Verdict::Bad, what)
    }

    pub(crate) fn unknown(what: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, what)
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(crate) fn code(self, code: Code) -> Self {
        Self { code: Some(code.as_str()), ..self }
    }
}

impl From<&Fault> for Finding {
    /// The message of a fault has its way out in it.
    fn from(fault: &Fault) -> Self {
        Self::bad(fault.message.clone()).code(fault.code)
    }
}
