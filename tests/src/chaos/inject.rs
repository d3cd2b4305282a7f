//! How each fault is done.

use std::time::Duration;

use rand::RngExt as _;

use super::fault::Fault;
use super::run::Run;
use super::scenario::Mode;
use super::world::{PLUGIN, STREAM};
use crate::guests::{Deed, Guest, Role};
use crate::{Network, Proxy, Signal, eventually};

impl Run<'_> {
    /// Does it, and lifts it again.
    pub(super) async fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Kill => {
                self.kill().await;
                // A crash while it starts, before it has done anything.
                if self.scenario.impatient && self.random.random_ratio(1, 6) {
                    self.pause(0..400).await;
                    self.count(Fault::Kill);
                    self.kill().await;
                }
            }
            Fault::Freeze => {
                self.host.signal(Signal::STOP);
                self.pause(300..1500).await;
                self.host.signal(Signal::CONT);
            }
            Fault::Takeover => self.take_over().await,
            Fault::DiskFull => {
                let before = self.events("checkpoint_failed");
                self.host.limit_files(Some(0));
                // Nothing else is written to the disk that stores the position in the sink.
                if self.scenario.mode == Mode::AtLeastOnce {
                    self.wait_events("checkpoint_failed", before + 1).await;
                }
                self.hold().await;
                self.host.limit_files(None);
            }
            Fault::PluginSwap => self.swap_plugin(None).await,
            Fault::PluginCrash => self.crash_plugin().await,
            Fault::RedisKill => {
                self.world.redis().kill();
                self.hold().await;
                self.world.redis().restart().await;
            }
            Fault::RedisTailLost => {
                match self.scenario.mode {
                    Mode::AtLeastOnce => self.lose_confirmed().await,
                    _ => {
                        let lost = self.random.random_range(1..20_000);
                        self.world.redis().kill();
                        self.world.redis().lose_tail(lost);
                    }
                }
                self.hold().await;
                self.world.redis().restart().await;
                self.rewrite_file().await;
            }
            Fault::RedisPause => {
                let pause = self.random.random_range(300..2000_u32);
                self.ask_redis(&["CLIENT", "PAUSE", &pause.to_string(), "ALL"]).await;
                self.hold().await;
            }
            Fault::RedisFull => {
                self.ask_redis(&["CONFIG", "SET", "maxmemory", "1"]).await;
                self.hold().await;
                self.ask_redis(&["CONFIG", "SET", "maxmemory", "0"]).await;
            }
            Fault::RedisReadOnly => {
                // Of a master that nobody is: it keeps its data, since it never gets another's.
                self.ask_redis(&["REPLICAOF", "127.0.0.1", "1"]).await;
                self.hold().await;
                self.ask_redis(&["REPLICAOF", "NO", "ONE"]).await;
            }
            Fault::RedisLoading => self.load_slowly().await,
            Fault::MongodbStepDown => {
                self.world.mongo().step_down().await;
                self.world.mongo().primary().await;
            }
            Fault::MongodbKill => {
                let primary = self.world.mongo().primary().await;
                self.world.mongo().kill(primary);
                self.hold().await;
                self.world.mongo().restart(primary).await;
            }
            Fault::SinkCut => self.network(false, Network::Cut).await,
            Fault::SourceCut => self.network(true, Network::Cut).await,
            Fault::SinkDelay | Fault::SourceDelay => {
                let delay = Duration::from_millis(self.random.random_range(20..200));
                self.network(fault == Fault::SourceDelay, Network::Delay(delay)).await;
            }
            Fault::SinkHalfOpen | Fault::SourceHalfOpen => {
                let (to_server, to_client) =
                    [(true, false), (false, true), (true, true)][self.random.random_range(0..3)];
                self.network(fault == Fault::SourceHalfOpen, Network::HalfOpen { to_server, to_client }).await;
            }
            Fault::SinkReset => self.proxy(false).reset(),
            Fault::SourceReset => self.proxy(true).reset(),
        }
    }

    /// Lets a fault last; sometimes tidegate is killed meanwhile.
    async fn hold(&mut self) {
        self.pause(200..800).await;
        if self.scenario.impatient && self.random.random_ratio(1, 4) {
            self.count(Fault::Kill);
            self.kill().await;
        }
        self.pause(100..700).await;
    }

    /// Redis loses what the stored position is behind: all since some time, of which several positions were stored.
    async fn lose_confirmed(&mut self) {
        const SOME: u64 = 4_000;
        let mut then = None;
        eventually(Duration::from_secs(60), "data whose position is stored", async || {
            let writes = self.host.metric("tidegate_checkpoint_writes_total", &[]).await.unwrap_or_default();
            match then {
                _ if self.world.redis().appended() < SOME => Err(writes),
                None => {
                    then = Some((self.world.redis().appended(), writes));
                    Err(writes)
                }
                // The first of them may have been on its way before that.
                Some((_, before)) if writes < before + 3.0 => Err(writes),
                Some(_) => Ok(()),
            }
        })
        .await;
        let (length, _) = then.expect("seen above");
        self.world.redis().kill();
        self.world.redis().keep(length - SOME / 2);
    }

    fn proxy(&self, of_source: bool) -> &Proxy {
        let proxy = if of_source { &self.world.source_proxy } else { &self.world.sink_proxy };
        proxy.as_ref().expect("a proxy where this fault applies")
    }

    async fn network(&mut self, of_source: bool, network: Network) {
        self.proxy(of_source).set(network);
        self.hold().await;
        self.proxy(of_source).heal().await;
    }

    async fn ask_redis(&mut self, command: &[&str]) {
        let mut connection = self.world.redis().connection().await;
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        let answer: redis::RedisResult<redis::Value> = asked.query_async(&mut connection).await;
        answer.unwrap_or_else(|error| panic!("{}: {error}", command.join(" ")));
    }

    /// Redis drops a torn transaction from its memory and leaves it in its append-only file, where the next restart takes it for the
    /// beginning of the transaction behind it and brings it back (seen with 7.0.15). That is not ours to prove: a new file has none.
    async fn rewrite_file(&mut self) {
        self.ask_redis(&["BGREWRITEAOF"]).await;
        let mut connection = self.world.redis().connection().await;
        eventually(Duration::from_secs(30), "a new append-only file", async || {
            let info: String = redis::cmd("INFO").arg("persistence").query_async(&mut connection).await?;
            let is_done = |field: &str| info.lines().any(|line| line.trim_end() == format!("{field}:0"));
            if is_done("aof_rewrite_in_progress") && is_done("aof_rewrite_scheduled") {
                Ok(())
            } else {
                Err(redis::RedisError::from((redis::ErrorKind::Client, "still being written")))
            }
        })
        .await;
    }

    /// A restart of Redis that takes about a second and a half, in which it answers LOADING.
    async fn load_slowly(&mut self) {
        let mut connection = self.world.redis().connection().await;
        let entries: i64 = redis::cmd("XLEN").arg(STREAM).query_async(&mut connection).await.unwrap_or_default();
        // Microseconds for each command of the append-only file. A sleep of one takes 60 in truth; less than that a negative
        // number says: one such sleep in so many commands.
        let delay = if entries > 20_000 { -(entries / 20_000) } else { 1_200_000 / entries.max(100) };
        self.world.redis().kill();
        self.world.redis().restart_with(&["--key-load-delay", &delay.to_string()]).await;
        self.ask_redis(&["CONFIG", "SET", "key-load-delay", "0"]).await;
    }

    /// Installs the next version of the plugin, and waits until it is in use.
    async fn swap_plugin(&mut self, deed: Option<Deed>) {
        self.version += 1;
        let before = self.events("plugin_swapped");
        let guest = Guest::new(Role::Validator).version(format!("v{}", self.version));
        let guest = deed.map_or(guest.clone(), |deed| guest.when_marked(deed));
        guest.install(&self.world.plugins(), PLUGIN);
        self.wait_events("plugin_swapped", before + 1).await;
    }

    async fn crash_plugin(&mut self) {
        self.swap_plugin(Some(Deed::Trap)).await;
        self.writer.mark(2);
        eventually(Duration::from_secs(60), "marked changes", async || self.writer.has_marked()).await;
        self.recover(Some(Fault::PluginCrash)).await;
        // tidegate goes back to the version before by itself, or goes on with this one: the next must do in any case.
        self.swap_plugin(None).await;
    }

    /// A host that stands still is given up for dead and replaced by another one, elsewhere; then it goes on where it stood.
    async fn take_over(&mut self) {
        self.host.signal(Signal::STOP);
        self.number += 1;
        let next = self.world.standby(self.number);
        let stale = std::mem::replace(&mut self.host, next);
        self.recover(Some(Fault::Takeover)).await;
        let next = std::mem::replace(&mut self.host, stale);
        self.host.signal(Signal::CONT);
        self.pause(500..2000).await;
        self.replace_host(next).await;
    }
}
