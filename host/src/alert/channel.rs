//! Telegram's Bot API and webhooks. What may hold a secret (URLs, tokens, headers) never stands in an error.

use std::time::Duration;

use reqwest::{
    Client, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};

use super::outbox::Message;
use crate::{
    config::{AlertChannelConfig, TelegramConfig, WebhookConfig},
    error::{Code, Fault, chain},
    state,
};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Telegram takes 4096 characters.
const LONGEST: usize = 3900;
/// How much of an answer is read and told.
const ANSWER: usize = 200;

/// Where messages go.
#[derive(Debug)]
pub struct Channel {
    name: String,
    client: Client,
    url: Url,
    headers: HeaderMap,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Telegram { chat: String },
    Webhook { body: Option<String> },
}

/// A message that was not sent.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    /// Whether trying again may help, and when at the earliest.
    pub(super) again: bool,
    pub(super) after: Option<Duration>,
}

impl Channel {
    /// Of the configuration; nothing is sent yet.
    ///
    /// # Errors
    /// [`Code::ConfigValue`] for a URL or header that is none.
    pub fn new(name: &str, config: &AlertChannelConfig) -> Result<Self, Fault> {
        let wrong = |what: &str| Fault::fatal(Code::ConfigValue, format!("the alert channel `{name}` {what}"));
        let (url, headers, kind) = match config {
            AlertChannelConfig::Telegram(TelegramConfig { token, chat, api, .. }) => {
                let url = format!("{}/bot{}/sendMessage", api.trim_end_matches('/'), token.reveal());
                (url, HeaderMap::new(), Kind::Telegram { chat: chat.clone() })
            }
            AlertChannelConfig::Webhook(WebhookConfig { url, headers, body, .. }) => {
                let mut map = HeaderMap::new();
                for (header, value) in headers {
                    let (Ok(header), Ok(mut value)) =
                        (HeaderName::try_from(header.as_str()), HeaderValue::try_from(value.reveal()))
                    else {
                        return Err(wrong(&format!("has a header `{header}` that HTTP does not allow")));
                    };
                    value.set_sensitive(true);
                    map.insert(header, value);
                }
                (url.reveal().to_owned(), map, Kind::Webhook { body: body.clone() })
            }
        };
        let url = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| wrong("has no URL that begins with `https://` or `http://`"))?;
        let client = Client::builder().timeout(TIMEOUT).user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
        let client = client.build().map_err(|cause| wrong(&format!("cannot be used: {}", cause.without_url())))?;
        Ok(Self { name: name.to_owned(), client, url, headers, kind })
    }

    /// As the configuration calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends a message that says it is only a test.
    ///
    /// # Errors
    /// Why it did not arrive.
    pub async fn test(&self) -> Result<(), String> {
        let text = format!("tidegate on {}: a test, all is well", state::host_name());
        self.post(text, Vec::new()).await.map_err(|failure| failure.message)
    }

    /// Sends a message once.
    pub(super) async fn send(&self, message: &Message) -> Result<(), Failure> {
        let alerts = message.alerts.iter().map(|(alert, times)| {
            json!({
                "kind": alert.kind, "subject": alert.subject, "part": alert.part, "code": alert.code,
                "message": alert.message, "times": times,
            })
        });
        self.post(text(message), alerts.collect()).await
    }

    async fn post(&self, text: String, alerts: Vec<Value>) -> Result<(), Failure> {
        let body = match &self.kind {
            Kind::Telegram { chat } => {
                json!({ "chat_id": chat, "text": text, "link_preview_options": { "is_disabled": true } }).to_string()
            }
            Kind::Webhook { body: Some(body) } => body.replace("{text}", &Value::from(text).to_string()),
            Kind::Webhook { body: None } => {
                json!({ "text": text, "host": state::host_name(), "alerts": alerts }).to_string()
            }
        };
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let answer = request.headers(self.headers.clone()).body(body).send().await.map_err(|cause| Failure {
            message: chain(&cause.without_url()),
            again: true,
            after: None,
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let told = answer.bytes().await.unwrap_or_default();
        let told = String::from_utf8_lossy(told.get(..ANSWER).unwrap_or(&told)).replace(char::is_control, " ");
        let help = match (&self.kind, status) {
            (Kind::Telegram { .. }, StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => {
                "; the token of the bot is wrong"
            }
            (Kind::Telegram { .. }, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) => {
                "; see that `chat` is right, and that the bot was added to it or written to"
            }
            _ => "",
        };
        Err(Failure {
            message: format!("{status} {}{help}", told.trim()),
            again: status.is_server_error()
                || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT),
            after: after.map(Duration::from_secs),
        })
    }
}

/// The message for people.
fn text(message: &Message) -> String {
    let mut text = format!("tidegate on {}", state::host_name());
    for (alert, times) in &message.alerts {
        let part = alert.part.as_ref().map(|part| format!(" {part}")).unwrap_or_default();
        let code = alert.code.map(|code| format!(" {code}")).unwrap_or_default();
        let often = if *times > 1 { format!(" ({times} times)") } else { String::new() };
        let kind = alert.kind.as_str().to_uppercase().replace('_', " ");
        text.push_str(&format!("\n{kind} {}{part}{often}:{code} {}", alert.subject, alert.message));
    }
    if message.more > 0 {
        text.push_str(&format!("\nand {} more", message.more));
    }
    if text.chars().count() > LONGEST {
        text = text.chars().take(LONGEST).chain("...".chars()).collect();
    }
    text
}
