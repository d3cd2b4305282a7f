//! `tidegate setup`: makes what a configuration needs in Pub/Sub and does not find there.
//!
//! What is there already is compared with what is wanted: what can be changed is, what cannot is told of with the way out. Nothing is ever
//! removed, so that it may be run again and again. A dry run asks the same questions and changes nothing.

mod compare;
mod make;
mod wanted;

use serde::Serialize;

use self::{make::Maker, wanted::Wanted};
use crate::{config::Config, error::Fault};

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is there, as it is wanted.
    There,
    /// It would be made.
    ToMake,
    /// It was made.
    Made,
    /// It would be changed.
    ToChange,
    /// It was changed.
    Changed,
    /// It is not as it is wanted, and could not be made so.
    Failed,
    /// What the user should know.
    Note,
}

/// What a thing was made with, or what of it differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Property {
    /// Its key under `setup`.
    pub name: String,
    /// As it is there; none where the thing was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// As it is wanted.
    pub to: String,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Where: `Pub/Sub at 127.0.0.1:8085`.
    pub place: String,
    /// How it stands.
    pub outcome: Outcome,
    /// What it is about: `topic projects/demo/topics/stock`, or a sentence.
    pub what: String,
    /// What it was made with, or what of it differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Property>,
    /// The parts of the configuration that want it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wanted_by: Vec<String>,
    /// The stable code, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Line {
    fn new(place: &str, outcome: Outcome, what: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            outcome,
            what: what.into(),
            properties: Vec::new(),
            wanted_by: Vec::new(),
            code: None,
            help: None,
        }
    }

    /// The message of a fault has its way out in it.
    fn failed(place: &str, fault: &Fault) -> Self {
        Self { code: Some(fault.code.as_str()), ..Self::new(place, Outcome::Failed, fault.message.clone()) }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    fn of(self, parts: &[String]) -> Self {
        Self { wanted_by: parts.to_vec(), ..self }
    }

    fn with(self, properties: Vec<Property>) -> Self {
        Self { properties, ..self }
    }
}

/// Makes what is missing and changes what differs; with `dry` says what it would do.
pub async fn carry_out(config: &Config, dry: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    for wanted in Wanted::of(config) {
        lines.extend(Maker::new(&wanted.connection, dry).all(wanted).await);
    }
    lines
}
