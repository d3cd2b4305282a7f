//! Answers that were written down, in the place of the web.

use serde::Deserialize;

use super::http::{Header, HttpFailure, Request, Response};

/// What a request is answered with.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The whole URL of the request.
    pub url: String,
    /// Its method.
    #[serde(default = "get")]
    pub method: String,
    /// What is answered; left out, nobody answers.
    #[serde(default)]
    pub answer: Option<Written>,
}

/// A response.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Its status.
    #[serde(default = "ok")]
    pub status: u16,
    /// Its headers.
    #[serde(default)]
    pub headers: indexmap::IndexMap<String, String>,
    /// Its body; anything but a string is written as JSON.
    #[serde(default)]
    pub body: serde_json::Value,
}

fn get() -> String {
    "GET".to_owned()
}

const fn ok() -> u16 {
    200
}

#[derive(Debug)]
pub(super) struct Answers(Vec<Answer>);

impl Answers {
    pub(super) const fn new(answers: Vec<Answer>) -> Self {
        Self(answers)
    }

    pub(super) fn find(&self, request: &Request) -> Result<Response, HttpFailure> {
        let asked = format!("{} {}", request.method, request.url);
        let fits = |answer: &&Answer| answer.method.eq_ignore_ascii_case(&request.method) && answer.url == request.url;
        let Some(found) = self.0.iter().find(fits) else {
            return Err(HttpFailure::NotGranted(format!("no answer is written down for {asked}")));
        };
        let Some(written) = &found.answer else {
            return Err(HttpFailure::Unreachable(format!("nobody answers {asked}: so it is written")));
        };
        let body = match &written.body {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let header = |(name, value): (&String, &String)| Header { name: name.clone(), value: value.clone() };
        Ok(Response {
            status: written.status,
            headers: written.headers.iter().map(header).collect(),
            body: body.into(),
        })
    }
}
