//! A relay between a contender and the emulator, by which all are timed alike: from when requests flow to the last answer.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// What goes up before the clock starts: looking at the topic, and the first of a request.
const BEGINNING: u64 = 64 << 10;

/// It listens until it is dropped.
pub(super) struct Relay {
    address: SocketAddr,
    clock: Arc<Mutex<Clock>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Clock {
    /// Bytes towards the emulator.
    up: u64,
    /// When so many had gone up that the contender was publishing.
    first: Option<(Instant, u64)>,
    /// When the last answer came.
    last: Option<Instant>,
}

impl Clock {
    fn sent(&mut self, bytes: usize) {
        self.up += bytes as u64;
        if self.up >= BEGINNING && self.first.is_none() {
            self.first = Some((Instant::now(), self.up));
        }
    }
}

impl Relay {
    /// In front of the server at an address (`HOST:PORT`).
    pub(super) async fn before(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no port for a relay")?;
        let address = listener.local_addr()?;
        let (clock, server) = (Arc::<Mutex<Clock>>::default(), server.to_owned());
        let task = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, server.clone(), Arc::clone(&clock)));
                }
            }
        });
        Ok(Self { address, clock, task })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How long ago the last answer came.
    pub(super) fn idle(&self) -> Option<Duration> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).last.map(|last| last.elapsed())
    }

    /// Seconds from when requests flowed to the last answer, and which part of all bytes went up in them.
    pub(super) fn measured(&self) -> Result<(f64, f64)> {
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, before) = clock.first.context("nothing was published")?;
        let seconds = clock.last.context("nothing was answered")?.saturating_duration_since(first).as_secs_f64();
        ensure!(seconds > 0.0, "all went in one request: take more events");
        Ok((seconds, (clock.up - before) as f64 / clock.up as f64))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(client: TcpStream, server: String, clock: Arc<Mutex<Clock>>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let up = copy(from_client, to_server, |bytes| clock.lock().unwrap_or_else(PoisonError::into_inner).sent(bytes));
    let down = copy(from_server, to_client, |_| {
        clock.lock().unwrap_or_else(PoisonError::into_inner).last = Some(Instant::now());
    });
    tokio::join!(up, down);
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, note: impl Fn(usize)) {
    let mut buffer = vec![0; 256 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        note(read);
        if to.write_all(buffer.get(..read).unwrap_or_default()).await.is_err() {
            break;
        }
    }
}
