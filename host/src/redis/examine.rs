//! What a Redis is, and whether the user may do there what is needed: found out without writing anything.
//!
//! A server checks the rights to a command and its keys when it is queued in a transaction. So each command that will be needed is queued
//! once, with a key that fits the names that are written to, and the transaction is given up.

use redis::{Cmd, Value, aio::ConnectionLike as _, aio::MultiplexedConnection};

use super::{Connector, Trouble, told, trouble_of};
use crate::{
    doctor::Finding,
    error::{Code, Fault},
};

/// What a server says of itself; empty where it does not say.
#[derive(Debug, Default)]
pub(crate) struct Server {
    lines: String,
}

impl Server {
    fn get(&self, name: &str) -> Option<&str> {
        self.lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Replicas that are connected to it.
    pub(crate) fn replicas(&self) -> Option<u64> {
        self.number("connected_slaves")
    }

    /// Whether it keeps an append-only file.
    pub(crate) fn has_aof(&self) -> Option<bool> {
        self.number("aof_enabled").map(|on| on == 1)
    }

    /// What it does when its memory is full.
    pub(crate) fn policy(&self) -> Option<&str> {
        self.get("maxmemory_policy")
    }

    /// Whether its version is at least this; none where it does not say.
    pub(crate) fn is_at_least(&self, major: u32, minor: u32) -> Option<bool> {
        let mut parts = self.get("redis_version")?.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??) >= (major, minor))
    }
}

impl Connector {
    /// Connects, and asks what the server is and what the user may do. `writes` says whether it must take writes.
    pub(crate) async fn examine(&mut self, writes: bool) -> (Vec<Finding>, Server) {
        match self.look(writes).await {
            Ok(found) => found,
            Err(fault) => (vec![Finding::from(&fault)], Server::default()),
        }
    }

    async fn look(&mut self, writes: bool) -> Result<(Vec<Finding>, Server), Fault> {
        let mut connection = self.connection().await?;
        let mut findings = Vec::new();
        let mut server = Server::default();
        match redis::cmd("INFO").query_async::<String>(&mut connection).await {
            Ok(lines) => server.lines = lines,
            Err(error) if error.clone().into_server_errors().is_some() => {}
            Err(error) => return Err(self.lost(&error)),
        }
        let place = self.place();
        let version = server.get("redis_version").map(|version| format!("Redis {version}")).unwrap_or_default();
        match (server.get("redis_version"), server.get("role")) {
            (None, _) => findings.push(
                Finding::unknown(format!("{place} answers, and does not say what it is"))
                    .help("give the user the right +info to have it looked at"),
            ),
            (Some(_), Some("slave")) if writes => findings.push(
                Finding::bad(format!("{version} at {place} is a replica, which takes no writes"))
                    .code(Code::RedisBusy)
                    .help("give the address of its primary"),
            ),
            (Some(_), role) => {
                findings.push(Finding::good(format!("{version} at {place} answers, {}", role.unwrap_or("a server"))));
            }
        }
        if server.number("cluster_enabled") == Some(1) {
            findings.push(
                Finding::bad(format!("{version} at {place} is a node of a cluster"))
                    .code(Code::RedisConfiguration)
                    .help("give it a single server"),
            );
        }
        findings.push(self.look_at_rights(&mut connection).await?);
        Ok((findings, server))
    }

    async fn look_at_rights(&mut self, connection: &mut MultiplexedConnection) -> Result<Finding, Fault> {
        let rights = self.rights.clone();
        let commands = probes(&rights);
        let mut pipe = redis::Pipeline::with_capacity(commands.len() + 2);
        pipe.cmd("MULTI");
        commands.iter().for_each(|(_, command)| _ = pipe.add_command(command.clone()));
        pipe.cmd("DISCARD");
        let answers = match connection.req_packed_commands(&pipe, 0, commands.len() + 2).await {
            Ok(answers) => answers,
            Err(error) => return Err(self.lost(&error)),
        };
        // Whatever the last answer is: a connection that is given up gives its transaction up.
        self.disconnect();
        let mut answers = answers.into_iter();
        if let Some(Value::ServerError(error)) = answers.next() {
            let finding = Finding::unknown(format!("the rights of the user cannot be looked at: {}", told(&error)));
            let help = format!(
                "all that is needed is ACL SETUSER NAME {rights}; with +multi and +discard it can be looked at"
            );
            return Ok(finding.help(help));
        }
        let mut lacking = Vec::new();
        let mut unknown = Vec::new();
        for ((name, _), answer) in commands.iter().zip(answers) {
            let Value::ServerError(error) = answer else { continue };
            match trouble_of(&error) {
                Trouble::Denied => lacking.push((name.clone(), told(&error))),
                Trouble::Unknown => unknown.push(name.clone()),
                _ => {}
            }
        }
        if !unknown.is_empty() {
            let what = format!("the server does not know {}", unknown.join(", "));
            return Ok(Finding::bad(what).code(Code::RedisConfiguration).help("it is too old, or a module is missing"));
        }
        let Some((_, first)) = lacking.first() else {
            return Ok(Finding::good(format!("the user may do what is needed ({} commands)", commands.len())));
        };
        let names: Vec<_> = lacking.iter().map(|(name, _)| name.as_str()).collect();
        let what = format!("the user may not run {}: {first}", names.join(", "));
        let help = format!("all that is needed is ACL SETUSER NAME {rights}");
        Ok(Finding::bad(what).code(Code::RedisDenied).help(help))
    }
}

/// One command for each right, with a key that fits: what is not known here, or may not be queued, is left out.
fn probes(rights: &str) -> Vec<(String, Cmd)> {
    let words: Vec<&str> = rights.split_whitespace().collect();
    let names = |sign: char| {
        let names: Vec<String> = words.iter().filter_map(|word| word.strip_prefix(sign)).map(fitting).collect();
        names
    };
    let (keys, channels) = (names('~'), names('&'));
    let mut probes = Vec::new();
    for right in words.iter().filter_map(|word| word.strip_prefix('+')) {
        let Some((before, after)) = arguments(right) else { continue };
        let mut parts = right.split('|');
        let mut command = Cmd::new();
        command.arg(parts.next().unwrap_or_default().to_uppercase());
        parts.for_each(|part| {
            command.arg(part.to_uppercase());
        });
        let Some(before) = before else {
            after.iter().for_each(|argument| _ = command.arg(*argument));
            probes.push((right.to_uppercase(), command));
            continue;
        };
        for name in if right == "publish" { &channels } else { &keys } {
            let mut command = command.clone();
            before.iter().for_each(|argument| _ = command.arg(*argument));
            command.arg(name);
            after.iter().for_each(|argument| _ = command.arg(*argument));
            probes.push((format!("{} {name}", right.to_uppercase()), command));
        }
    }
    probes
}

/// A name that a pattern fits.
fn fitting(pattern: &str) -> String {
    let mut name = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => name.push_str("tidegate-doctor"),
            '?' => name.push('x'),
            '\\' => name.extend(letters.next()),
            '[' => {
                let class: String = letters.by_ref().take_while(|letter| *letter != ']').collect();
                name.extend(class.chars().find(|letter| *letter != '^'));
            }
            letter => name.push(letter),
        }
    }
    name
}

/// What stands before and behind the key of a command; nothing before where there is no key.
type Arguments = (Option<&'static [&'static str]>, &'static [&'static str]);

fn arguments(right: &str) -> Option<Arguments> {
    const KEY: Option<&[&str]> = Some(&[]);
    Some(match right {
        "ping" | "time" => (None, &[]),
        "script|load" => (None, &["return 1"]),
        "scan" => (None, &["0"]),
        "config|get" => (None, &["notify-keyspace-events"]),
        "wait" => (None, &["0", "0"]),
        "evalsha" => (Some(&["0000000000000000000000000000000000000000", "1"]), &[]),
        "type" | "exists" | "del" | "hgetall" | "get" | "hlen" | "smembers" | "pttl" | "pexpiretime" => (KEY, &[]),
        "xadd" => (KEY, &["*", "f", "v"]),
        "publish" | "rpush" | "set" | "sadd" | "srem" | "zrem" | "hget" | "hmget" | "hdel" | "sismember" | "zscore"
        | "xdel" => (KEY, &["v"]),
        "hset" => (KEY, &["f", "v"]),
        "json.set" => (KEY, &["$", "{}"]),
        "zadd" => (KEY, &["1", "m"]),
        "ltrim" | "lrange" | "zrange" => (KEY, &["0", "0"]),
        "pexpire" => (KEY, &["1"]),
        "memory|usage" => (KEY, &[]),
        "xread" => (Some(&["COUNT", "1", "STREAMS"]), &["0"]),
        "xreadgroup" => (Some(&["GROUP", "g", "c", "COUNT", "1", "STREAMS"]), &[">"]),
        "xack" => (KEY, &["g", "0-1"]),
        "xautoclaim" => (KEY, &["g", "c", "1", "0"]),
        "xinfo" => (Some(&["STREAM"]), &[]),
        "xgroup" => (Some(&["CREATE"]), &["g", "0"]),
        "xrange" => (KEY, &["-", "+"]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{fitting, probes};
    use crate::{doctor::Verdict, redis::Connector, testing::Server};

    #[test]
    fn a_name_fits_its_pattern() {
        for pattern in ["app:*:*", "k", "a?b[xy]c", r"s\*ar", "*"] {
            assert!(crate::redis::glob::matches(pattern.as_bytes(), fitting(pattern).as_bytes()), "{pattern}");
        }
    }

    #[test]
    fn a_right_is_tried_on_each_name() {
        let names: Vec<String> =
            probes("~a ~b:* &c +set +publish +ping +multi").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["SET a", "SET b:tidegate-doctor", "PUBLISH c", "PING"]);
    }

    #[tokio::test]
    async fn rights_are_looked_at_and_nothing_is_written() {
        let server = Server::redis(&[]);
        let mut admin =
            redis::Client::open(server.redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let rights = "~app:* +ping +multi +exec +xadd +hset +del +time +evalsha +script|load";
        for (given, verdict) in [
            (format!("{rights} +discard +info"), Verdict::Good),
            (format!("{rights} +discard -hset"), Verdict::Bad),
            (format!("{rights} +discard").replace("~app:*", "~other:*"), Verdict::Bad),
            (rights.replace("+multi", ""), Verdict::Unknown),
        ] {
            let mut user = redis::cmd("ACL");
            user.arg("SETUSER").arg("bob").arg("reset").arg("on").arg(">pw").arg(given.split(' ').collect::<Vec<_>>());
            let () = user.query_async(&mut admin).await.unwrap();
            let url = server.redis_url().replace("redis://", "redis://bob:pw@");
            let mut connector = Connector::new(url.into(), Duration::from_secs(10)).rights(rights);
            let (findings, _) = connector.examine(true).await;
            let last = findings.last().unwrap();
            assert_eq!(last.verdict, verdict, "{given}: {findings:#?}");
            if verdict == Verdict::Bad {
                assert!(last.help.as_deref().unwrap().contains(rights), "{last:?}");
            }
        }
        assert_eq!(redis::cmd("DBSIZE").query_async::<u64>(&mut admin).await.unwrap(), 0);
    }
}
