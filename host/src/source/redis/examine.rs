//! Whether a server is what the source needs.

use redis::Value;

use super::{connector, keys};
use crate::{
    config::{Notifications, RedisSourceConfig},
    doctor::Finding,
    error::Code,
};

/// Looks at the server, at what the user may do, and for keys at whether it tells of them.
pub async fn examine(config: &RedisSourceConfig) -> Vec<Finding> {
    let Some(wanted) = &config.keys else { return connector(config).examine(false).await.0 };
    let mut connector = connector(config).rights(keys::rights(wanted));
    let mut findings = connector.examine(false).await.0;
    if wanted.notifications == Notifications::Off {
        return findings;
    }
    let Ok(mut connection) = connector.connection().await else { return findings };
    let flags =
        redis::cmd("CONFIG").arg("GET").arg("notify-keyspace-events").query_async::<Value>(&mut connection).await;
    let flags = flags.ok().and_then(|pair| redis::from_redis_value::<Vec<String>>(pair).ok());
    findings.push(match flags.map(|pair| pair.into_iter().nth(1).unwrap_or_default()) {
        None => Finding::unknown("whether the server tells of changes of keys is not known"),
        Some(flags) => match keys::lacking(&flags) {
            None => Finding::good("the server tells of changes of keys at once"),
            Some(turn_on) => Finding::warning(format!(
                "the server does not tell of changes of keys: they are found by a scan every {}",
                wanted.interval
            ))
            .code(Code::NoNotifications)
            .help(format!("CONFIG SET notify-keyspace-events {turn_on}")),
        },
    });
    findings
}
