//! What stands before the Pub/Sub emulator and tells it which clients are gone.
//!
//! The emulator lets go of a stream that its client ends in order, and of no other: to one that was reset, or whose client died, it gives
//! messages for ever, half of them where one other stream is open, and those of an ordering key all (docs/decisions/0020). The service sees
//! that nobody listens there. So this carries the frames of HTTP/2 as they are, and ends in order every stream that a client leaves otherwise.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What a connection of HTTP/2 begins with. Others carry requests that end by themselves.
const METHOD: &[u8] = b"PRI ";
/// The length of that beginning.
const PREFACE: usize = 24;
/// The length of a frame (3 bytes), its type, its flags, its stream (4 bytes).
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
/// More than the longest frame that either side sends here, which is 16 KiB.
const BUFFER: usize = 64 << 10;
/// For how long the emulator may go on answering a client that is gone.
const FAREWELL: Duration = Duration::from_secs(5);

/// It listens until it is dropped, on a thread of its own: a test may block the one it runs on.
#[derive(Debug)]
pub struct Front {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    requests: Arc<AtomicU64>,
}

impl Front {
    /// On a port of this machine, before another.
    ///
    /// # Errors
    /// When the port is in use.
    pub fn start(port: u16, upstream: u16) -> io::Result<Self> {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let requests = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&requests);
        let thread = std::thread::Builder::new().name("front".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = listen(listener, upstream, counted) => {}
                }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), requests })
    }

    /// How many requests of HTTP/2 clients have begun.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The port is free when it has ended, which it does at once.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen(listener: StdListener, upstream: u16, requests: Arc<AtomicU64>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(serve(client, upstream, Arc::clone(&requests)));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(client: TcpStream, upstream: u16, requests: Arc<AtomicU64>) {
    // A server that is not there looks like one that closes at once.
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let down = async {
        let answered = tokio::io::copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
        // Closed with answers unread, a socket takes back what it said last.
        if answered.is_err() {
            let _ = tokio::io::copy(&mut from_server, &mut tokio::io::sink()).await;
        }
    };
    let mut down = std::pin::pin!(down);
    tokio::select! {
        () = &mut down => {}
        () = up(from_client, to_server, &requests) => {
            let _ = tokio::time::timeout(FAREWELL, down).await;
        }
    }
}

/// Until the client is gone, and has left in order.
async fn up(from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin, requests: &AtomicU64) {
    let (mut from, mut to) = (BufReader::with_capacity(BUFFER, from), BufWriter::with_capacity(BUFFER, to));
    let mut open = BTreeSet::new();
    let _ = carry(&mut from, &mut to, &mut open, requests).await;
    for stream in open {
        let _ = to.write_all(&end(stream)).await;
    }
    let _ = to.shutdown().await;
}

/// Carries what the client says; `open` are the streams on which it may go on.
async fn carry<R, W>(
    from: &mut BufReader<R>,
    to: &mut BufWriter<W>,
    open: &mut BTreeSet<u32>,
    requests: &AtomicU64,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    if !from.fill_buf().await?.starts_with(METHOD) {
        tokio::io::copy_buf(from, to).await?;
        return Ok(());
    }
    let mut preface = [0; PREFACE];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    let (mut head, mut body) = ([0; HEAD], Vec::new());
    loop {
        if from.buffer().len() < HEAD {
            to.flush().await?;
        }
        from.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let (length, stream) = (u32::from_be_bytes([0, a, b, c]), u32::from_be_bytes(stream));
        body.resize(usize::try_from(length).unwrap_or_default(), 0);
        if from.buffer().len() < body.len() {
            to.flush().await?;
        }
        // Whole frames alone: whoever is gone has said no half of one.
        from.read_exact(&mut body).await?;
        if kind == HEADERS {
            requests.fetch_add(1, Ordering::Relaxed);
        }
        match kind {
            HEADERS | DATA if flags & END_STREAM != 0 => {
                open.remove(&stream);
            }
            HEADERS => {
                open.insert(stream);
            }
            RST_STREAM if open.remove(&stream) => to.write_all(&end(stream)).await?,
            _ => {}
        }
        to.write_all(&head).await?;
        to.write_all(&body).await?;
    }
}

/// A frame that ends a stream: no data, and nothing after it.
fn end(stream: u32) -> [u8; HEAD] {
    let [a, b, c, d] = stream.to_be_bytes();
    [0, 0, 0, DATA, END_STREAM, a, b, c, d]
}
