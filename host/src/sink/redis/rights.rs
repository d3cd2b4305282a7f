//! What a user must be given to write here, in the words of `ACL SETUSER`; and what it was that a server refused.

use redis::{Pipeline, RedisError};

use crate::{
    config::{RedisMode, RedisSinkConfig},
    sink::template::{Template, Words},
};

/// Who writes: with the position beside the data, in this record, or without; what is old, or what happens.
#[derive(Clone, Copy, Default)]
pub(super) struct Writer<'a> {
    pub(super) record: Option<&'a str>,
    pub(super) late: bool,
}

/// All that is needed, and no more.
pub(super) fn rights(config: &RedisSinkConfig, writer: Writer<'_>) -> String {
    use RedisMode::{Hash, Json, List, Pubsub, Set, Stream, String, Zset};
    let mode = config.mode;
    let mut words = vec![places(config)];
    words.extend(writer.record.map(|record| format!("~{record}")));
    let mut add = |commands: &[&str]| words.extend(commands.iter().map(|command| format!("+{command}")));
    add(&["ping"]);
    if matches!(mode, Stream | Pubsub) && writer.record.is_none() {
        add(&["multi", "exec"]);
    } else {
        add(&["evalsha", "script|load", "type", "exists"]);
    }
    add(match mode {
        Stream => &["xadd"],
        Pubsub => &["publish"],
        List => &["rpush"],
        String => &["set", "del"],
        Json => &["json.set", "del"],
        Hash => &["hset", "del"],
        Set => &["sadd", "srem"],
        Zset => &["zadd", "zrem"],
    });
    if mode == List && config.maxlen.is_some() {
        add(&["ltrim"]);
    }
    if matches!(mode, Json | Hash) && config.ttl.is_some() {
        add(&["pexpire"]);
    }
    if writer.record.is_some() {
        add(&["time", "hget", "hmget", "hgetall", "hset", "hdel"]);
    }
    if writer.late {
        add(match mode {
            String => &["get"],
            Hash => &["hlen", "hget"],
            Set => &["sismember"],
            Zset => &["zscore"],
            Json | Stream | List | Pubsub => &[],
        });
    }
    if config.wait.local {
        add(&["waitaof"]);
    } else if config.wait.is_on() {
        add(&["wait"]);
    }
    let mut seen = std::collections::HashSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words.join(" ")
}

/// The names that are written to, as a pattern.
fn places(config: &RedisSinkConfig) -> String {
    let begin = if config.mode == RedisMode::Pubsub { '&' } else { '~' };
    let mut pattern = String::from(begin);
    for (at, part) in Template::of(config.target(), Words::Fields).symbols().split(Option::is_none).enumerate() {
        if at > 0 {
            pattern.push('*');
        }
        let text: Vec<u8> = part.iter().flatten().copied().collect();
        for letter in String::from_utf8_lossy(&text).chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
    }
    if config.partitions.is_some_and(|partitions| partitions > 1) {
        pattern.push_str(":*");
    }
    pattern
}

/// The command of a transaction that a server turned down, with its key: the server names one of them at most.
pub(super) fn refused(error: &RedisError, commands: &Pipeline) -> Option<String> {
    let errors = error.clone().into_server_errors()?;
    let (at, _) = errors.first()?;
    let mut words = super::script::words(commands.cmd_iter().nth(*at)?);
    let (name, key) = (words.next()?, words.next()?);
    Some(format!("{} {}", String::from_utf8_lossy(name), String::from_utf8_lossy(key)))
}
