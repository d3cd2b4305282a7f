//! Free ports that stay free while a server is down.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::eventually::poll;
use crate::process::Process;

/// Below the range from which systems take the ports of outgoing connections (Linux: from 32768), so that none takes the
/// port of a server that a test has stopped and means to start again.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// A port nobody listens on. By chance, not in order: test processes look at the same time.
#[must_use]
pub fn free_port() -> u16 {
    let random = RandomState::new();
    (0u32..)
        .map(|attempt| {
            let offset = random.hash_one(attempt) % u64::from(RANGE.end - RANGE.start);
            RANGE.start + u16::try_from(offset).unwrap_or_default()
        })
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("some port is free")
}

/// Waits until somebody listens on the port of this machine.
///
/// # Errors
/// When nobody does at the deadline, or `process` has ended.
pub async fn wait_open(port: u16, process: &mut Process, deadline: Duration) -> Result<(), String> {
    poll(deadline, async || match process.exit_status() {
        Some(status) => Ok(Err(format!("it ended with {status}"))),
        None => TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map(|_| Ok(())),
    })
    .await?
}
