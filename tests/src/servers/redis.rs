//! A real `redis-server`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

use super::binary;
use super::port::free_port;
use crate::eventually::poll;
use crate::process::{Process, Signal};

const START: Duration = Duration::from_secs(30);
/// Long enough for a machine busy with other tests; the client's own default is half a second.
const ANSWER: Duration = Duration::from_secs(30);

/// How to start a [`Redis`].
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// Keep an append-only file, synced at each write, so that a kill loses nothing. Otherwise all is lost when it stops.
    pub aof: bool,
    /// Redis 7.4 with the JSON module, in the place of the one that all tests share.
    pub stack: bool,
    /// Further arguments, such as `["--maxmemory", "10mb"]`.
    pub args: Vec<String>,
}

/// A running `redis-server` on a port and in a folder of its own.
#[derive(Debug)]
pub struct Redis {
    options: RedisOptions,
    port: u16,
    process: Option<Process>,
    binary: PathBuf,
    folder: TempDir,
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(options: RedisOptions) -> Self {
        Self::try_start(options).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// [`Redis::start`] for programs that report errors.
    ///
    /// # Errors
    /// When it is not installed, or does not answer within 30 seconds.
    pub async fn try_start(options: RedisOptions) -> Result<Self> {
        let binary = if options.stack {
            binary::find_version("Redis Stack 7.4", "TIDEGATE_REDIS_STACK", "redis-stack-7.4.1/redis-server")?
        } else {
            binary::find("redis-server", "TIDEGATE_REDIS_SERVER", "bin/redis-server")?
        };
        let folder =
            tempfile::Builder::new().prefix("tidegate-redis-").tempdir().context("making a folder for redis")?;
        let mut server = Self { options, port: 0, process: None, binary, folder };
        // Another process may take the port between our look and the server's: then another port.
        for _ in 0..3 {
            server.port = free_port();
            match server.launch(&[]).await {
                Ok(()) => return Ok(server),
                Err(error) if format!("{error:#}").contains("in use") => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no free port for redis-server after three tries")
    }

    /// Its address: `redis://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The port it listens on, the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A connection to it.
    pub async fn connection(&self) -> MultiplexedConnection {
        connect(&self.url()).await.unwrap_or_else(|error| panic!("connecting to {}: {error}", self.url()))
    }

    /// Kills it (SIGKILL): connections break, what is not in an append-only file is lost.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it in good order (SIGTERM).
    ///
    /// # Panics
    /// When it does not run, or still does after 30 seconds.
    pub async fn stop(&mut self) {
        let mut process = self.process.take().expect("redis-server does not run");
        process.signal(Signal::TERM);
        process.wait(START).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts it again on the same port and folder, after [`Redis::kill`] or [`Redis::stop`].
    ///
    /// # Panics
    /// When it runs, or cannot be started.
    pub async fn restart(&mut self) {
        self.restart_with(&[]).await;
    }

    /// [`Redis::restart`] with further arguments, for this once.
    ///
    /// # Panics
    /// As [`Redis::restart`].
    pub async fn restart_with(&mut self, args: &[&str]) {
        assert!(self.process.is_none(), "redis-server runs already");
        self.launch(args).await.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Cuts so many bytes off the end of the append-only file of a killed server, wherever that falls, as a machine that lost power
    /// before they were on disk; of a short file, a quarter at most.
    ///
    /// # Panics
    /// When it runs, or has no append-only file.
    pub fn lose_tail(&mut self, bytes: u64) {
        let length = self.appended();
        self.keep(length - bytes.min(length / 4));
    }

    /// Cuts the append-only file of a killed server behind so many bytes.
    ///
    /// # Panics
    /// When it runs, or has no append-only file.
    pub fn keep(&mut self, bytes: u64) {
        assert!(self.process.is_none(), "redis-server runs");
        let file = std::fs::OpenOptions::new().write(true).open(self.append_only_file());
        file.and_then(|file| file.set_len(bytes)).expect("the append-only file can be cut");
    }

    /// How many bytes the append-only file has.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn appended(&self) -> u64 {
        std::fs::metadata(self.append_only_file()).expect("the append-only file has a length").len()
    }

    fn append_only_file(&self) -> PathBuf {
        let folder = self.folder.path().join("appendonlydir");
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        // appendonly.aof.7.incr.aof: the highest number is what is written to.
        let number = |path: &PathBuf| -> Option<u64> {
            path.file_name()?.to_str()?.strip_suffix(".incr.aof")?.rsplit('.').next()?.parse().ok()
        };
        let files = entries.flatten().map(|entry| entry.path());
        files.filter(|path| number(path).is_some()).max_by_key(number).expect("an append-only file")
    }

    /// Sends a signal: [`Signal::STOP`] freezes it with its connections open, [`Signal::CONT`] lets it go on.
    pub fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("redis-server does not run").signal(signal);
    }

    async fn launch(&mut self, args: &[&str]) -> Result<()> {
        let log = self.folder.path().join("redis.log");
        let mut command = Process::command(&self.binary);
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--daemonize", "no"])
            .args(["--appendonly", if self.options.aof { "yes" } else { "no" }, "--appendfsync", "always"])
            .arg("--dir")
            .arg(self.folder.path())
            .arg("--logfile")
            .arg(&log)
            .args(&self.options.args)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process =
            Process::spawn("redis-server", command).with_context(|| format!("starting {}", self.binary.display()))?;
        let url = self.url();
        let answered = poll(START, async || {
            if let Some(status) = process.exit_status() {
                return Ok(Err(anyhow!("it ended with {status}")));
            }
            // A connection of its own each time: PING is answered with an error while data is loaded.
            let mut connection = connect(&url).await?;
            redis::cmd("PING").exec_async(&mut connection).await.map(Ok)
        })
        .await;
        match answered.map_err(|state: String| anyhow!("it did not answer: {state}")).and_then(|ended| ended) {
            Ok(()) => {
                self.process = Some(process);
                Ok(())
            }
            Err(error) => {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                Err(error.context(format!("redis-server on port {} does not start; its log:\n{log}", self.port)))
            }
        }
    }
}

/// A connection that waits long for answers.
pub(crate) async fn connect(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    let config =
        redis::AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER)).set_response_timeout(Some(ANSWER));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

/// One entry of a stream: its id and its fields.
pub type StreamEntry = (String, BTreeMap<String, Vec<u8>>);

/// All entries of a stream, oldest first; none where there is no such key.
///
/// # Panics
/// When Redis answers with an error, such as for a key that is no stream.
pub async fn read_stream(connection: &mut MultiplexedConnection, key: &str) -> Vec<StreamEntry> {
    const PAGE: usize = 10_000;
    let mut entries: Vec<StreamEntry> = Vec::new();
    loop {
        // "(" excludes the id: on from the last one seen.
        let from = entries.last().map_or_else(|| "-".to_owned(), |(id, _)| format!("({id}"));
        let page: Vec<StreamEntry> = redis::cmd("XRANGE")
            .arg(key)
            .arg(from)
            .arg("+")
            .arg("COUNT")
            .arg(PAGE)
            .query_async(connection)
            .await
            .unwrap_or_else(|error| panic!("reading the stream {key}: {error}"));
        let last = page.len() < PAGE;
        entries.extend(page);
        if last {
            return entries;
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::AsyncCommands as _;

    use super::*;
    use crate::TestNames;

    #[tokio::test]
    async fn starts_dies_and_comes_back_on_the_same_port() {
        let mut server = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
        let mut connection = server.connection().await;
        let () = connection.set("k", "v").await.unwrap();
        server.kill();
        assert!(connection.get::<_, String>("k").await.is_err(), "a killed server answers");
        let port = server.port();
        server.restart().await;
        assert_eq!(server.port(), port);
        assert_eq!(
            server.connection().await.get::<_, String>("k").await.unwrap(),
            "v",
            "the append-only file was lost"
        );
        server.stop().await;
    }

    #[tokio::test]
    async fn loses_the_end_of_its_file() {
        let mut server = Redis::start(RedisOptions { aof: true, ..Default::default() }).await;
        let mut connection = server.connection().await;
        for n in 0..10 {
            let () = connection.set(n, "x".repeat(100)).await.unwrap();
        }
        server.kill();
        server.lose_tail(150);
        server.restart().await;
        // 1.1 commands are cut off: two are lost.
        assert_eq!(redis::cmd("DBSIZE").query_async::<i32>(&mut server.connection().await).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn leaves_no_process_and_no_folder() {
        let mut server = Redis::start(RedisOptions::default()).await;
        let id = server.process.as_mut().unwrap().id();
        let folder = server.folder.path().to_owned();
        drop(server);
        let pid = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        assert!(rustix::process::test_kill_process(pid).is_err(), "process {id} still runs");
        assert!(!folder.exists());
    }

    #[tokio::test]
    async fn reads_whole_streams() {
        let shared = super::super::shared().await;
        let mut connection = shared.redis().await;
        let key = TestNames::new().key("s");
        assert_eq!(read_stream(&mut connection, &key).await, []);
        let mut pipe = redis::pipe();
        for n in 0..10_001 {
            pipe.cmd("XADD").arg(&key).arg("*").arg("n").arg(n).arg("bytes").arg(&[0xff_u8, 0][..]).ignore();
        }
        let () = pipe.query_async(&mut connection).await.unwrap();
        let entries = read_stream(&mut connection, &key).await;
        assert_eq!(entries.len(), 10_001);
        assert_eq!(entries[10_000].1["n"], b"10000");
        assert_eq!(entries[0].1["bytes"], [0xff, 0]);
    }
}
