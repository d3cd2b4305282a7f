//! The real `tidegate` binary, run as its users run it.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::metrics::Metrics;
use crate::process::{Process, Signal};
use crate::{eventually, program};

/// How long a host may take for what takes it a second on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// One answer of the admin server.
const ANSWER: Duration = Duration::from_secs(10);

/// What a [`Host`] is run with besides its configuration.
#[derive(Debug, Clone, Default)]
pub struct HostOptions {
    /// The folder it runs in, where a relative `state.dir` lies: give the same to two hosts in turn to test a restart. None: a
    /// folder of its own, gone with the host.
    pub dir: Option<PathBuf>,
    /// Arguments after `tidegate run CONFIG`.
    pub args: Vec<String>,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
    /// What it reads from its standard input, which then ends.
    pub stdin: Vec<u8>,
    /// Its standard input does not end: [`Host::feed`] gives it more, [`Host::end_input`] ends it.
    pub keep_input: bool,
    /// A write over [`Host::limit_files`] fails, as on a full disk, instead of ending the process (SIGXFSZ).
    pub file_limit_is_error: bool,
}

/// A running `tidegate run CONFIG`. Dropped, it is killed; dropped by a panic, it prints the end of its log.
#[derive(Debug)]
pub struct Host {
    process: Process,
    dir: PathBuf,
    stdout: Drain,
    stderr: Drain,
    input: Option<Sender<Vec<u8>>>,
    _own_dir: Option<TempDir>,
}

impl Host {
    /// Runs tidegate in a folder of its own.
    ///
    /// The configuration should say `admin: { listen: 127.0.0.1:0 }`, so that hosts run side by side; the port is found in
    /// the log, which must be in JSON.
    ///
    /// # Panics
    /// When the binary is missing, with the command that builds it.
    #[must_use]
    pub fn start(config: &str) -> Self {
        Self::start_with(config, HostOptions::default())
    }

    /// [`Host::start`] in a folder that outlives it, for a test that starts it again there.
    ///
    /// # Panics
    /// As [`Host::start`].
    #[must_use]
    pub fn start_in(dir: &Path, config: &str) -> Self {
        Self::start_with(config, HostOptions { dir: Some(dir.to_owned()), ..HostOptions::default() })
    }

    /// [`Host::start`] with everything said.
    ///
    /// # Panics
    /// As [`Host::start`].
    #[must_use]
    pub fn start_with(config: &str, options: HostOptions) -> Self {
        let (dir, own_dir) = match options.dir {
            Some(dir) => (dir, None),
            None => {
                let own = tempfile::Builder::new().prefix("tidegate-host-").tempdir().expect("a folder for the host");
                (own.path().to_owned(), Some(own))
            }
        };
        let file = dir.join("tidegate.yaml");
        std::fs::write(&file, config).unwrap_or_else(|error| panic!("writing {}: {error}", file.display()));
        let tidegate = program("tidegate");
        let mut command = if options.file_limit_is_error {
            // What a shell ignores stays ignored in what it becomes.
            let mut shell = Process::command("/bin/sh");
            shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(tidegate);
            shell
        } else {
            Process::command(tidegate)
        };
        command
            .arg("run")
            .arg(&file)
            .args(options.args)
            .envs(options.env)
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process =
            Process::spawn("tidegate", command).unwrap_or_else(|error| panic!("starting tidegate: {error}"));
        let child = process.child_mut();
        let mut stdin = child.stdin.take().expect("the input was piped");
        let stdout = Drain::start(child.stdout.take().expect("the output was piped"));
        let stderr = Drain::start(child.stderr.take().expect("the log was piped"));
        // On a thread: a host that does not read would block the test. One that has ended already breaks the pipe: its exit says why.
        let (input, inbox) = channel::<Vec<u8>>();
        let _ = input.send(options.stdin);
        std::thread::spawn(move || inbox.into_iter().try_for_each(|bytes| stdin.write_all(&bytes)));
        let input = options.keep_input.then_some(input);
        Self { process, dir, stdout, stderr, input, _own_dir: own_dir }
    }

    /// Gives it more to read from its standard input; does not wait until it is read.
    ///
    /// # Panics
    /// When its standard input has ended.
    pub fn feed(&self, bytes: impl Into<Vec<u8>>) {
        let input = self.input.as_ref().expect("the input is open: `keep_input` was set, and it was not ended");
        // A host that has ended breaks the pipe: its exit says why.
        let _ = input.send(bytes.into());
    }

    /// Ends its standard input, once all it was given is read.
    pub fn end_input(&mut self) {
        self.input = None;
    }

    /// The folder it runs in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has written to its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to its standard error so far: the log.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// The lines of the log so far; what is no JSON is left out.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        self.stderr.lines().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first line of the log that `matches`; [`field`] helps to look.
    ///
    /// # Panics
    /// When there is none at the deadline, or the host has ended without one.
    pub async fn wait_log(&mut self, deadline: Duration, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        eventually(deadline, what, async || {
            // In this order: the last lines of a host that has just ended count too.
            let ended = self.process.exit_status();
            if ended.is_some() {
                self.stderr.join();
            }
            match (self.log().into_iter().find(&matches), ended) {
                (Some(line), _) => Ok(Some(line)),
                (None, Some(_)) => Ok(None),
                (None, None) => Err(format!("no such line among {}", self.stderr.lines().len())),
            }
        })
        .await
        .unwrap_or_else(|| panic!("{what}: tidegate ended without such a line"))
    }

    /// The first line of the log with that `event`.
    ///
    /// # Panics
    /// When there is none within a minute, or the host has ended without one.
    pub async fn wait_event(&mut self, event: &str) -> Value {
        let what = format!("a log line with event={event}");
        self.wait_log(PATIENCE, &what, |line| field(line, "event").and_then(Value::as_str) == Some(event)).await
    }

    /// Where its admin server listens.
    ///
    /// # Panics
    /// When it does not say so within a minute.
    pub async fn admin_address(&mut self) -> SocketAddr {
        let line = self.wait_event("admin_listening").await;
        let address = field(&line, "address").and_then(Value::as_str).unwrap_or_default();
        address.parse().unwrap_or_else(|error| panic!("the log names no address of the admin server: {error}: {line}"))
    }

    /// Waits until `/readiness` says 200.
    ///
    /// # Panics
    /// When it does not within a minute, with its last answer.
    pub async fn wait_ready(&mut self) {
        let address = self.admin_address().await;
        eventually(PATIENCE, "readiness", async || match get(address, "/readiness").await {
            Ok((200, _)) => Ok(Ok(())),
            other => match self.process.exit_status() {
                Some(status) => Ok(Err(status)),
                None => Err(other),
            },
        })
        .await
        .unwrap_or_else(|status| panic!("tidegate ended with {status} before it was ready"));
    }

    /// What the admin server answers to `GET path`: the status and the body.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&mut self, path: &str) -> (u16, String) {
        let address = self.admin_address().await;
        get(address, path).await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// What `/metrics` says now.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn metrics(&mut self) -> Metrics {
        let (status, body) = self.get("/metrics").await;
        assert_eq!(status, 200, "GET /metrics: {body}");
        Metrics::parse(&body)
    }

    /// One figure of `/metrics`: the sum of the samples with these labels; `None` where there is none.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn metric(&mut self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.metrics().await.get(name, labels)
    }

    /// What `/api/v1/status` says now.
    ///
    /// # Panics
    /// When there is no answer, or it is no JSON.
    pub async fn status(&mut self) -> Value {
        let (_, body) = self.get("/api/v1/status").await;
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("GET /api/v1/status: {error}: {body}"))
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.process.exit_status().is_none()
    }

    /// Waits for it to end by itself. The code is `None` where a signal ended it. All its output is read then.
    ///
    /// # Panics
    /// When it still runs at the deadline.
    pub async fn wait_exit(&mut self, deadline: Duration) -> Option<i32> {
        let status: ExitStatus = self.process.wait(deadline).await.unwrap_or_else(|error| panic!("{error}"));
        self.stdout.join();
        self.stderr.join();
        status.code()
    }

    /// SIGTERM, then [`Host::wait_exit`].
    ///
    /// # Panics
    /// When it has ended already, or does not within a minute.
    pub async fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait_exit(PATIENCE).await
    }

    /// Lets its files grow no further than so many bytes, or as they like; see [`HostOptions::file_limit_is_error`].
    ///
    /// # Panics
    /// When it has ended already, or on systems that cannot do it (all but Linux).
    pub fn limit_files(&mut self, bytes: Option<u64>) {
        self.process.limit_files(bytes);
    }

    /// Kills it (SIGKILL), as a machine that loses power would.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            const TAIL: usize = 60;
            let lines = self.stderr.lines();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!(
                "--- the last {} of {} lines of tidegate's log:\n{}\n---",
                tail.len(),
                lines.len(),
                tail.join("\n")
            );
        }
    }
}

/// A field of a log line, which the JSON formatter may put beside the level or under `fields`.
#[must_use]
pub fn field<'a>(line: &'a Value, name: &str) -> Option<&'a Value> {
    line.get(name).or_else(|| line.get("fields")?.get(name))
}

/// One run of `tidegate` from start to end.
#[derive(Debug, Clone, Copy)]
pub struct Cli;

impl Cli {
    /// Runs `tidegate ARGS` with that input, and waits for its end.
    ///
    /// # Panics
    /// When the binary is missing, with the command that builds it; when it still runs after a minute.
    pub async fn run(args: &[&str], stdin: &[u8]) -> Output {
        Self::run_in(&std::env::temp_dir(), args, stdin).await
    }

    /// [`Cli::run`] in that folder.
    ///
    /// # Panics
    /// As [`Cli::run`].
    pub async fn run_in(dir: &Path, args: &[&str], stdin: &[u8]) -> Output {
        Self::run_with(dir, args, stdin, &[], PATIENCE).await
    }

    /// [`Cli::run_in`] with these variables, and with as much patience: a command that builds something takes a while.
    ///
    /// # Panics
    /// As [`Cli::run`], with that patience.
    pub async fn run_with(
        dir: &Path,
        args: &[&str],
        stdin: &[u8],
        env: &[(String, String)],
        patience: Duration,
    ) -> Output {
        let mut command = Process::command(program("tidegate"));
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.args(args).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process =
            Process::spawn("tidegate", command).unwrap_or_else(|error| panic!("starting tidegate: {error}"));
        let child = process.child_mut();
        let mut pipe = child.stdin.take().expect("the input was piped");
        let mut stdout = Drain::start(child.stdout.take().expect("the output was piped"));
        let mut stderr = Drain::start(child.stderr.take().expect("the errors were piped"));
        let stdin = stdin.to_vec();
        std::thread::spawn(move || pipe.write_all(&stdin));
        let status = process
            .wait(patience)
            .await
            .unwrap_or_else(|error| panic!("tidegate {}: {error}: {}", args.join(" "), stderr.text()));
        stdout.join();
        stderr.join();
        Output { status, stdout: stdout.text().into_bytes(), stderr: stderr.text().into_bytes() }
    }
}

/// Reads a pipe on a thread, so that the process at its other end never blocks, and keeps the lines.
#[derive(Debug)]
struct Drain {
    text: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Drain {
    fn start(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                let end = line.len() - usize::from(line.ends_with(b"\n"));
                lock(&sink).push(String::from_utf8_lossy(&line[..end]).into_owned());
                line.clear();
            }
        });
        Self { text, reader: Some(reader) }
    }

    fn lines(&self) -> Vec<String> {
        lock(&self.text).clone()
    }

    fn text(&self) -> String {
        let lines = lock(&self.text);
        if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
    }

    /// Waits for the end of the pipe: only once the process has ended.
    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// HTTP 1.0, so that the answer ends with the connection and no client library is needed to read it.
async fn get(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map_err(|error| error.to_string())?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no HTTP: {answer}"))?;
        let status =
            head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| format!("no HTTP: {head}"))?;
        Ok((status, body.to_owned()))
    };
    tokio::time::timeout(ANSWER, exchange).await.map_err(|_| format!("no answer within {ANSWER:?}"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gets_status_and_body() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.0 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nno\n").await.unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        assert_eq!(get(address, "/readiness").await, Ok((503, "no\n".into())));
        assert!(server.await.unwrap().starts_with("GET /readiness HTTP/1.0\r\n"));
    }

    #[test]
    fn finds_fields_flat_or_nested() {
        let flat = serde_json::json!({ "event": "a" });
        let nested = serde_json::json!({ "fields": { "event": "a" } });
        assert_eq!(field(&flat, "event"), field(&nested, "event"));
        assert_eq!(field(&flat, "other"), None);
    }

    #[test]
    fn drains_the_last_line_without_its_end() {
        let mut drain = Drain::start(&b"one\ntwo"[..]);
        drain.join();
        assert_eq!(drain.lines(), ["one", "two"]);
    }
}
