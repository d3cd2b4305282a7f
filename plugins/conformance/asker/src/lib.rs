//! Asks the host for what a document names, and writes what it got into the field `answer`: with it the tests look at each grant from
//! inside of a plugin. Each language has one.
//!
//! | `ask`         | fields                                              | `answer` |
//! |---------------|-----------------------------------------------------|----------|
//! | `clock`       |                                                     | milliseconds since 1970 |
//! | `random`      | `count`                                             | the bytes in hex |
//! | `environment` | `name`                                              | the value, or null |
//! | `http`        | `method`, `url`, `headers`, `body`, `timeout` in ms | `{status, headers, body}`, or `{error, why}` |

use std::fmt::Write as _;
use std::time::Duration;

use tidegate_plugin::prelude::*;

struct Asker;

impl Plugin for Asker {
    type Config = NoConfig;

    fn manifest() -> Manifest {
        Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).description(env!("CARGO_PKG_DESCRIPTION"))
    }

    fn configure(_: NoConfig) -> Result<Self, String> {
        Ok(Self)
    }
}

impl Migrator for Asker {
    fn migrate(&mut self, change: &Change<'_>) -> Result<Migration, String> {
        let Some(document) = change.document() else { return Ok(Migration::unchanged("answered")) };
        let text = |name: &str| document.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        let number = |name: &str| document.get(name).and_then(|value| value.as_integer());
        let mut answered = DocumentEditor::new(document);
        match text("ask") {
            "clock" => answered.set("answer", clock::now().0),
            "random" => {
                let count = number("count").and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
                let mut hex = String::new();
                for byte in random::bytes(count) {
                    let _ = write!(hex, "{byte:02x}");
                }
                answered.set("answer", hex.as_str())
            }
            "environment" => match environment::get(text("name")) {
                Some(value) => answered.set("answer", value.as_str()),
                None => answered.set("answer", Value::Null),
            },
            "http" => {
                let mut request = http::Request::new(text("method"), text("url"));
                request.body = text("body").into();
                request.timeout =
                    number("timeout").and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
                let headers = document.get("headers").and_then(|value| value.as_document());
                for header in headers.iter().flat_map(Document::elements) {
                    let (name, value) = header.map_err(|error| error.to_string())?;
                    request = request.header(name, value.as_str().unwrap_or_default());
                }
                answered.set("answer", told(request.send()))
            }
            other => return Err(format!("`ask: {other}` is nothing that can be asked for")),
        };
        let answered = answered.finish().map_err(|error| error.to_string())?;
        Ok(Migration::migrated(answered, "asked", "answered"))
    }
}

fn told(result: Result<http::Response, http::Error>) -> DocumentBuf {
    match result {
        Ok(response) => {
            let mut headers = DocumentBuf::new();
            for (name, value) in &response.headers {
                headers.append(name, value.as_str());
            }
            DocumentBuf::new()
                .with("status", i32::from(response.status))
                .with("headers", headers)
                .with("body", response.text().as_str())
        }
        Err(error) => {
            let kind = match error {
                http::Error::NotGranted(_) => "not-granted",
                http::Error::Invalid(_) => "invalid",
                http::Error::Unreachable(_) => "unreachable",
                http::Error::TimedOut(_) => "timed-out",
                http::Error::TooLarge(_) => "too-large",
            };
            DocumentBuf::new().with("error", kind).with("why", error.to_string().as_str())
        }
    }
}

tidegate_plugin::export_migrator!(Asker);
