//! Documents in a Firestore emulator.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::emulator::PROJECT;

/// A client of a Firestore, of its database `(default)`. Values are written as its API writes them: `{"integerValue": "3"}`.
#[derive(Debug, Clone)]
pub struct Firestore {
    address: String,
    client: Client,
}

impl Firestore {
    /// Of the emulator at an address (`HOST:PORT`).
    ///
    /// # Panics
    /// When a client cannot be made.
    #[must_use]
    pub fn at(address: &str) -> Self {
        let client =
            Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client of Firestore");
        Self { address: address.to_owned(), client }
    }

    /// Of the emulator all tests share.
    ///
    /// # Panics
    /// When it cannot be started, with the command that installs it where it is missing.
    pub async fn shared() -> Self {
        Self::at(&super::emulator(super::Kind::Firestore).await)
    }

    /// `http://HOST:PORT`, as `endpoint` of a configuration.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port it listens on.
    ///
    /// # Panics
    /// When its address has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {}", self.address))
    }

    /// The fields of a document, by its collection and name; none when there is none.
    ///
    /// # Panics
    /// When the emulator does not answer.
    pub async fn fields(&self, path: &str) -> Option<Map<String, Value>> {
        let (status, answer) = self.ask(Method::GET, path, None).await;
        if status == StatusCode::NOT_FOUND {
            return None;
        }
        assert!(status.is_success(), "reading {path}: {status} {answer}");
        Some(answer["fields"].as_object().cloned().unwrap_or_default())
    }

    /// Sets fields of a document, which is made when it is not there; the others stay.
    ///
    /// # Panics
    /// When it is not taken.
    pub async fn set(&self, path: &str, fields: Value) {
        let names = fields.as_object().expect("fields").keys();
        let mask: Vec<String> = names.map(|name| format!("updateMask.fieldPaths={name}")).collect();
        let place = format!("{path}?{}", mask.join("&"));
        let (status, answer) = self.ask(Method::PATCH, &place, Some(json!({ "fields": fields }))).await;
        assert!(status.is_success(), "writing {path}: {status} {answer}");
    }

    /// Removes a document.
    ///
    /// # Panics
    /// When that is refused.
    pub async fn remove(&self, path: &str) {
        let (status, answer) = self.ask(Method::DELETE, path, None).await;
        assert!(status.is_success(), "removing {path}: {status} {answer}");
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let url = format!("http://{}/v1/projects/{PROJECT}/databases/(default)/documents/{path}", self.address);
        let request = self.client.request(method, url).header("content-type", "application/json");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let answer = request.body(body).send().await.unwrap_or_else(|error| panic!("asking Firestore: {error}"));
        let status = answer.status();
        let text = answer.text().await.unwrap_or_else(|error| panic!("reading what Firestore answers: {error}"));
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}
