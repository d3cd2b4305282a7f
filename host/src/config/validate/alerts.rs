//! Alerts: who is told, and how often.

use std::time::Duration;

use super::{
    super::model::{AlertChannelConfig, AlertsConfig},
    At, Check, DAY, HOUR,
};
use crate::alert::Channel;

impl Check<'_> {
    pub(super) fn alerts(&mut self, at: &At<'_>, alerts: &AlertsConfig) {
        let second = Duration::from_secs(1);
        self.span(&at.key("group"), alerts.group, Duration::ZERO, HOUR);
        self.span(&at.key("every"), alerts.every, Duration::ZERO, DAY);
        self.span(&at.key("down_after"), alerts.down_after, Duration::ZERO, DAY);
        self.span(&at.key("dead_letters").key("within"), alerts.dead_letters.within, second, DAY);
        for (name, channel) in &alerts.channels {
            let at = at.key("channels").key(name);
            self.file_name(&at, "channel", name);
            let (place, wanted) = match channel {
                AlertChannelConfig::Telegram(telegram) => {
                    let at = at.key("telegram");
                    let (bot, secret) = telegram.token.reveal().split_once(':').unwrap_or_default();
                    if bot.is_empty() || !bot.bytes().all(|byte| byte.is_ascii_digit()) || secret.is_empty() {
                        let help = "it looks like `110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw`, as BotFather gave it";
                        self.value(&at.key("token"), "is no token of a Telegram bot", help);
                        continue;
                    }
                    if telegram.chat.is_empty() {
                        let help = "take the number of the chat, such as `-1001234567890`, or `@name` of a channel";
                        self.value(&at.key("chat"), "is empty", help);
                    }
                    (at.key("api"), "is no URL of a Bot API")
                }
                AlertChannelConfig::Webhook(webhook) => {
                    let at = at.key("webhook");
                    if webhook.body.as_ref().is_some_and(|body| !body.contains("{text}")) {
                        let help = "write `{text}` where the message is to stand; it brings its own quotes: `{\"content\": {text}}`";
                        self.value(&at.key("body"), "has no place for the message", help);
                    }
                    (at.key("url"), "cannot be sent to")
                }
            };
            if let Err(fault) = Channel::new(name, channel) {
                self.value(&place, wanted, fault.message);
            }
        }
    }
}
