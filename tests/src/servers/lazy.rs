//! Servers that all test processes share and few need: started when the first asks for one.
//!
//! `tidegate-services exec` opens a socket and names it in a variable. Who connects and writes the name of a server reads its address
//! when it listens. So a run that needs no emulator starts no Java, and one that does starts it once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OnceCell};
use tokio::task::{JoinHandle, spawn_blocking};

use super::emulator::{Emulator, Kind};

/// The variable that names the socket.
pub const EMULATORS: &str = "TIDEGATE_TEST_EMULATORS";

/// Starts emulators for whoever asks, until it is dropped.
#[derive(Debug)]
pub struct Emulators {
    socket: PathBuf,
    started: Arc<Started>,
    task: JoinHandle<()>,
    _folder: TempDir,
}

#[derive(Debug, Default)]
struct Started {
    pubsub: Mutex<Option<Emulator>>,
    firestore: Mutex<Option<Emulator>>,
}

impl Started {
    async fn address(&self, kind: Kind) -> Result<String> {
        // Held while it starts: the others who ask wait for it.
        let mut started = match kind {
            Kind::PubSub => self.pubsub.lock().await,
            Kind::Firestore => self.firestore.lock().await,
        };
        let emulator = match started.take() {
            Some(emulator) => emulator,
            // On a thread of its own: what waits for conditions is no future that may move between threads.
            None => {
                let runtime = Handle::current();
                spawn_blocking(move || runtime.block_on(Emulator::try_start(kind))).await??
            }
        };
        Ok(started.insert(emulator).address())
    }
}

impl Emulators {
    /// Opens the socket; nothing is started yet.
    ///
    /// # Errors
    /// When there is no place for a socket.
    pub fn open() -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("tidegate-emulators-").tempdir().context("making a folder for a socket")?;
        let socket = folder.path().join("socket");
        let listener =
            UnixListener::bind(&socket).with_context(|| format!("making the socket {}", socket.display()))?;
        let started = Arc::new(Started::default());
        let task = tokio::spawn(serve(listener, Arc::clone(&started)));
        Ok(Self { socket, started, task, _folder: folder })
    }

    /// Where it listens, for [`EMULATORS`].
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The address of an emulator, which is started when it is the first that asks for it.
    ///
    /// # Errors
    /// As [`Emulator::try_start`].
    pub async fn address(&self, kind: Kind) -> Result<String> {
        self.started.address(kind).await
    }
}

impl Drop for Emulators {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: UnixListener, started: Arc<Started>) {
    while let Ok((stream, _)) = listener.accept().await {
        let started = Arc::clone(&started);
        tokio::spawn(async move {
            // Whoever does not wait for the answer does not need it.
            let _ = answer(stream, &started).await;
        });
    }
}

async fn answer(stream: UnixStream, started: &Started) -> Result<()> {
    let (read, mut write) = stream.into_split();
    let mut wanted = String::new();
    BufReader::new(read).read_line(&mut wanted).await?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.variable() == wanted.trim()).context("no such server")?;
    let answer = match started.address(kind).await {
        Ok(address) => format!("ok {address}"),
        Err(error) => format!("no {error:#}"),
    };
    write.write_all(answer.as_bytes()).await?;
    Ok(())
}

/// Asks the socket for an address.
async fn ask(socket: &Path, kind: Kind) -> Result<String> {
    let mut stream =
        UnixStream::connect(socket).await.with_context(|| format!("connecting to {}", socket.display()))?;
    stream.write_all(format!("{}\n", kind.variable()).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    match answer.split_once(' ') {
        Some(("ok", address)) => Ok(address.to_owned()),
        Some(("no", error)) => bail!("{error}"),
        _ => bail!("`tidegate-services` ended while it started the {kind}"),
    }
}

/// The address (`HOST:PORT`) of the emulator all tests share, which keep apart by [`TestNames`](crate::TestNames): the one of
/// `tidegate-services exec`, otherwise one of this process. A test that harms an emulator starts its own.
///
/// # Panics
/// When it cannot be started, with the command that installs it where it is missing.
pub async fn emulator(kind: Kind) -> String {
    static OWN: OnceCell<Started> = OnceCell::const_new();
    let address = match std::env::var_os(EMULATORS) {
        Some(socket) => ask(Path::new(&socket), kind).await,
        None => OWN.get_or_init(async || Started::default()).await.address(kind).await,
    };
    address.unwrap_or_else(|error| panic!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn starts_one_for_all_who_ask() {
        let emulators = Emulators::open().unwrap();
        let ask = || ask(emulators.socket(), Kind::PubSub);
        let (one, two) = tokio::join!(ask(), ask());
        let one = one.unwrap();
        assert_eq!(one, two.unwrap());
        assert!(tokio::net::TcpStream::connect(&one).await.is_ok());
        assert!(emulators.started.firestore.lock().await.is_none());
        drop(emulators);
    }
}
