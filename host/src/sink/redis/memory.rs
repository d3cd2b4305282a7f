//! Back-pressure from the server's own figures: the sink waits before the server is full, so that others that write to it
//! find room too. Never an estimate of our own: a server that was given more memory is written to at once.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use crate::{
    error::{Code, Fault},
    redis::Connector,
};

/// Time between two looks while there is room.
const LOOK: Duration = Duration::from_millis(500);

/// What is known of the server's memory.
pub(super) struct Memory {
    /// Wait when so many hundredths of `maxmemory` are in use.
    pause_at: u8,
    looked: Option<Instant>,
}

impl Memory {
    pub(super) fn new(pause_at: u8) -> Self {
        Self { pause_at, looked: None }
    }

    /// Asks the server, twice a second at most.
    ///
    /// # Errors
    /// Transient when there is no room, or when the server does not answer.
    pub(super) async fn wait_for_room(
        &mut self,
        connector: &mut Connector,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), Fault> {
        if self.pause_at >= 100 || self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        let info = match redis::cmd("INFO").arg("memory").query_async::<String>(connection).await {
            Ok(info) => info,
            // Not permitted, or not known: then the server's refusals are all there is.
            Err(error) if error.is_connection_dropped() || error.is_timeout() || error.is_io_error() => {
                return Err(connector.lost(&error));
            }
            Err(_) => return Ok(()),
        };
        self.looked = None;
        let figure = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse::<u64>().ok())
                .unwrap_or(0)
        };
        let (most, all) = (figure("maxmemory"), figure("used_memory"));
        // Buffers for replicas and the append-only file are not what the limit is about.
        let used = all.saturating_sub(figure("mem_not_counted_for_evict"));
        if most > 0 && used.saturating_mul(100) >= most.saturating_mul(u64::from(self.pause_at)) {
            let (place, share) = (connector.place(), self.pause_at);
            return Err(Fault::transient(
                Code::RedisBusy,
                format!(
                    "Redis at {place} uses {used} bytes of memory of {most} (`maxmemory`): from {share} % on the sink waits (`pause_at`); \
                     trim the streams, let their readers catch up, or give it more"
                ),
            ));
        }
        self.looked = Some(Instant::now());
        Ok(())
    }
}
