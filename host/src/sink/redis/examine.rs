//! Whether a server is what the sink needs.

use super::{
    RedisSink,
    rights::{Writer, rights},
};
use crate::{doctor::Finding, error::Code};

impl RedisSink {
    /// Looks at the server, at what the user may do, and at settings that decide over what is lost.
    pub(crate) async fn examine(&mut self, keeps: bool) -> Vec<Finding> {
        let record = keeps.then_some(self.record.key.as_str());
        self.connector.needs(rights(&self.config, Writer { record, late: false }));
        let (mut findings, server) = self.connector.examine(true).await;
        if let Some(policy) = server.policy() {
            findings.push(match policy.starts_with("allkeys-") {
                false => Finding::good(format!("maxmemory-policy is {policy}: nothing that is written is thrown away")),
                true => {
                    let what = format!("maxmemory-policy is {policy}: when memory is full, any key is thrown away");
                    // With positions beside the data it is not written to at all.
                    let finding = if keeps { Finding::bad(what) } else { Finding::warning(what) };
                    finding.code(Code::RedisConfiguration).help("CONFIG SET maxmemory-policy noeviction")
                }
            });
        }
        let wait = self.config.wait;
        if let Some(there) = server.replicas().filter(|_| wait.replicas > 0) {
            let what = format!("{there} replicas are connected, `wait` asks for {}", wait.replicas);
            findings.push(if there >= u64::from(wait.replicas) {
                Finding::good(what)
            } else {
                Finding::bad(what)
                    .code(Code::RedisReplicas)
                    .help("see INFO replication, or ask for fewer in `wait.replicas`")
            });
        }
        if wait.local {
            if server.is_at_least(7, 2) == Some(false) {
                let what = "`wait: { local: true }` needs Redis 7.2";
                findings.push(Finding::bad(what).code(Code::RedisConfiguration).help("take `wait: { replicas: N }`"));
            } else if server.has_aof() == Some(false) {
                let what = "`wait: { local: true }` needs an append-only file, which is off";
                findings.push(Finding::bad(what).code(Code::RedisConfiguration).help("CONFIG SET appendonly yes"));
            }
        } else if server.has_aof() == Some(false) {
            let what =
                "appendonly is off: what a crash of the server takes with it was confirmed, and is not sent again";
            let what = if keeps {
                "appendonly is off: a crash of the server takes data and position back together, and the rest is sent again"
            } else {
                what
            };
            let finding = if keeps { Finding::good(what) } else { Finding::warning(what) };
            findings.push(if keeps {
                finding
            } else {
                finding.help("CONFIG SET appendonly yes, or `checkpoint: sink`")
            });
        }
        findings
    }
}
