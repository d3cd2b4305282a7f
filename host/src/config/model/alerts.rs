//! Who is told when something breaks or recovers.

use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{super::units::Span, Secret};

/// `alerts`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AlertsConfig {
    /// Where messages go, by name.
    pub channels: IndexMap<String, AlertChannelConfig>,
    /// How long a first alert waits for others that belong into the same message.
    pub group: Span,
    /// A channel gets at most one message in this time.
    pub every: Span,
    /// A source or sink that is down for less is nobody's concern.
    pub down_after: Span,
    /// When dead letters are too many.
    pub dead_letters: DeadLetterAlertConfig,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            channels: IndexMap::new(),
            group: Span(Duration::from_secs(10)),
            every: Span(Duration::from_secs(5 * 60)),
            down_after: Span(Duration::from_secs(60)),
            dead_letters: DeadLetterAlertConfig::default(),
        }
    }
}

/// `alerts.dead_letters`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterAlertConfig {
    /// More of them in one pipeline ...
    pub more_than: u64,
    /// ... within this time.
    pub within: Span,
}

impl Default for DeadLetterAlertConfig {
    fn default() -> Self {
        Self { more_than: 10, within: Span(Duration::from_secs(60)) }
    }
}

/// A channel: exactly one of its keys.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertChannelConfig {
    /// A chat of Telegram.
    Telegram(TelegramConfig),
    /// Any HTTP endpoint that takes a POST.
    Webhook(WebhookConfig),
}

/// `telegram`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TelegramConfig {
    /// Of the bot, as BotFather gave it.
    pub token: Secret,
    /// Number of the chat, or `@name` of a channel.
    pub chat: String,
    /// Where the Bot API is.
    #[serde(default = "telegram")]
    pub api: String,
    /// What is told; none: everything.
    #[serde(default)]
    pub on: Vec<AlertKind>,
}

fn telegram() -> String {
    "https://api.telegram.org".to_owned()
}

/// `webhook`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where the POST goes.
    pub url: Secret,
    /// Headers of the request.
    #[serde(default)]
    pub headers: IndexMap<String, Secret>,
    /// The body, in which `{text}` stands for the message as a JSON string; none: a JSON object with everything.
    #[serde(default)]
    pub body: Option<String>,
    /// What is told; none: everything.
    #[serde(default)]
    pub on: Vec<AlertKind>,
}

/// What is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A source or sink is down and tried again.
    Down,
    /// What was told to be down, stopped or paused works again.
    Recovered,
    /// A pipeline stopped: only the operator can help.
    Stopped,
    /// A pipeline pauses by itself.
    Paused,
    /// A plugin was taken back or barred.
    Plugin,
    /// The source's history will soon not reach back to where the pipeline stands.
    History,
    /// The source no longer had the position, and went on elsewhere.
    PositionLost,
    /// Too many dead letters.
    DeadLetters,
}

impl AlertKind {
    /// As it stands in the configuration and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Recovered => "recovered",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Plugin => "plugin",
            Self::History => "history",
            Self::PositionLost => "position_lost",
            Self::DeadLetters => "dead_letters",
        }
    }
}
