//! A network that fails: a TCP proxy in front of a server, whose faults are switched while it runs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::eventually::poll;
use crate::servers::free_port;

/// What the network between a client and its server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// It carries everything at once.
    #[default]
    Normal,
    /// Connections are closed and new ones refused, as when the server's machine is up and the server is not.
    Cut,
    /// Connections stay open and what is sent is swallowed, as when a firewall has forgotten them. One that has lost bytes
    /// stays dead when the network is normal again: TCP never goes on behind a hole.
    HalfOpen {
        /// What the client sends is lost.
        to_server: bool,
        /// What the server sends is lost.
        to_client: bool,
    },
    /// Each chunk, in either direction, arrives so much later.
    Delay(Duration),
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    network: Network,
    /// How often all connections were reset.
    resets: u32,
}

/// A TCP proxy on a port of this machine. Dropped, it closes its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port and forwards to `upstream`, a port of this machine.
    ///
    /// # Panics
    /// When no port can be listened on.
    pub async fn start(upstream: u16) -> Self {
        let (port, listener) = (0..3)
            .find_map(|_| {
                let port = free_port();
                listen(port).ok().map(|listener| (port, listener))
            })
            .expect("a free port for the proxy");
        let (state, watcher) = watch::channel(State::default());
        let task = tokio::spawn(run(port, upstream, listener, watcher));
        Self { port, state, task }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what the network does, for open and for new connections.
    pub fn set(&self, network: Network) {
        self.state.send_modify(|state| state.network = network);
    }

    /// The network is normal again; waits until connections are taken.
    ///
    /// # Panics
    /// When its port cannot be listened on again.
    pub async fn heal(&self) {
        self.set(Network::Normal);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        poll(Duration::from_secs(10), async || TcpStream::connect(address).await.map(drop))
            .await
            .unwrap_or_else(|error| panic!("the proxy takes no connections again: {error}"));
    }

    /// Resets all open connections (RST, not FIN); new ones are taken.
    pub fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// On a port that had connections a moment ago too.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(128)
}

async fn run(port: u16, upstream: u16, listener: TcpListener, mut state: watch::Receiver<State>) {
    let mut listener = Some(listener);
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        let cut = state.borrow_and_update().network == Network::Cut;
        if cut {
            // Without a listener the system refuses for us.
            listener = None;
        } else if listener.is_none() {
            listener = listen(port).ok();
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            Some(accepted) = accept(listener.as_ref()) => if let Ok((client, _)) = accepted {
                connections.spawn(serve(client, upstream, state.clone()));
            },
            Some(_) = connections.join_next() => {}
            // Another process may hold the port for a moment.
            () = tokio::time::sleep(Duration::from_millis(20)), if !cut && listener.is_none() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    Some(listener?.accept().await)
}

async fn serve(mut client: TcpStream, upstream: u16, mut state: watch::Receiver<State>) {
    let born = state.borrow().resets;
    // A server that is not there looks like one that closes at once.
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (up, down) = (state.clone(), state.clone());
    let is_reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let ended = state.wait_for(|state| state.resets != born || state.network == Network::Cut);
        let both = async {
            tokio::try_join!(
                pump(from_client, to_server, up, |network| matches!(
                    network,
                    Network::HalfOpen { to_server: true, .. }
                )),
                pump(from_server, to_client, down, |network| matches!(
                    network,
                    Network::HalfOpen { to_client: true, .. }
                )),
            )
        };
        tokio::select! {
            state = ended => state.is_ok_and(|state| state.resets != born),
            _ = both => false,
        }
    };
    if is_reset {
        // Closed with a linger of zero, a socket sends RST.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// Carries one direction until its end; an error ends the connection.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    is_lost: impl Fn(Network) -> bool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut has_hole = false;
    loop {
        let length = from.read(&mut buffer).await?;
        let network = state.borrow().network;
        has_hole |= is_lost(network);
        if has_hole {
            if length == 0 {
                // The other end must not hear of it while the fault lasts.
                let _ = state.wait_for(|state| !is_lost(state.network)).await;
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            continue;
        }
        if let Network::Delay(delay) = network {
            tokio::time::sleep(delay).await;
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A server that sends back what it is sent, and a proxy in front of it.
    async fn echo() -> (Proxy, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        (Proxy::start(port).await, server)
    }

    async fn connect(proxy: &Proxy) -> io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await
    }

    async fn say(stream: &mut TcpStream, word: &[u8; 4]) -> io::Result<[u8; 4]> {
        stream.write_all(word).await?;
        let mut answer = [0; 4];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
        Ok(answer)
    }

    /// How the connection ends: 0 bytes for FIN, an error for RST.
    async fn end(stream: &mut TcpStream) -> io::Result<usize> {
        tokio::time::timeout(PATIENCE, stream.read(&mut [0; 8])).await?
    }

    #[tokio::test]
    async fn carries_bytes_and_ends() {
        let (proxy, _server) = echo().await;
        let mut stream = connect(&proxy).await.unwrap();
        assert_eq!(&say(&mut stream, b"ping").await.unwrap(), b"ping");
        stream.shutdown().await.unwrap();
        assert_eq!(end(&mut stream).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn cuts_and_refuses_until_it_heals() {
        let (proxy, _server) = echo().await;
        let mut stream = connect(&proxy).await.unwrap();
        say(&mut stream, b"ping").await.unwrap();
        proxy.set(Network::Cut);
        assert_eq!(end(&mut stream).await.unwrap(), 0, "closed by FIN");
        poll(PATIENCE, async || connect(&proxy).await.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused))
            .await
            .expect("new connections are refused");
        proxy.heal().await;
        assert_eq!(&say(&mut connect(&proxy).await.unwrap(), b"back").await.unwrap(), b"back");
    }

    #[tokio::test]
    async fn resets_what_is_open_alone() {
        let (proxy, _server) = echo().await;
        let mut stream = connect(&proxy).await.unwrap();
        say(&mut stream, b"ping").await.unwrap();
        proxy.reset();
        assert_eq!(end(&mut stream).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(&say(&mut connect(&proxy).await.unwrap(), b"next").await.unwrap(), b"next");
    }

    #[tokio::test]
    async fn a_half_open_connection_stays_dead() {
        for (to_server, to_client) in [(true, false), (false, true), (true, true)] {
            let (proxy, _server) = echo().await;
            let mut stream = connect(&proxy).await.unwrap();
            say(&mut stream, b"ping").await.unwrap();
            proxy.set(Network::HalfOpen { to_server, to_client });
            stream.write_all(b"lost").await.unwrap();
            let silence = Duration::from_millis(200);
            assert!(tokio::time::timeout(silence, stream.read(&mut [0; 8])).await.is_err(), "an answer or an end");
            proxy.heal().await;
            stream.write_all(b"late").await.unwrap();
            assert!(tokio::time::timeout(silence, stream.read(&mut [0; 8])).await.is_err(), "bytes behind a hole");
            assert_eq!(&say(&mut connect(&proxy).await.unwrap(), b"next").await.unwrap(), b"next");
        }
    }

    #[tokio::test]
    async fn delays_each_way() {
        let (proxy, _server) = echo().await;
        let mut stream = connect(&proxy).await.unwrap();
        let delay = Duration::from_millis(60);
        proxy.set(Network::Delay(delay));
        let started = Instant::now();
        assert_eq!(&say(&mut stream, b"slow").await.unwrap(), b"slow");
        assert!(started.elapsed() >= 2 * delay, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_server_that_is_down_closes_at_once() {
        let proxy = Proxy::start(free_port()).await;
        let mut stream = connect(&proxy).await.unwrap();
        assert!(matches!(end(&mut stream).await, Ok(0) | Err(_)));
    }
}
