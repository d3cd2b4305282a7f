//! Starts real servers for working by hand, or for one command.
#![allow(clippy::print_stdout)] // what it prints is what it is for

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process};
use tidegate_tests::Process;
use tidegate_tests::servers::{MONGODB_URI, Mongo, MongoOptions, REDIS_URL, Redis, RedisOptions};
use tokio::signal::unix::{SignalKind, signal};

/// Starts a MongoDB replica set, a Redis and Google's emulators on free ports, and stops them at the end.
#[derive(Debug, Parser)]
#[command(name = "tidegate-services")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts MongoDB and Redis, runs a command with MONGODB_URI and REDIS_URL set, stops them, and exits with the command's code
    Exec(Exec),
}

#[derive(Debug, Args)]
struct Exec {
    /// A bigger cache and an oplog of 8 GB, for benchmarks
    #[arg(long)]
    bench: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Some(Command::Exec(exec)) => run(exec).await,
        None => serve().await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("tidegate-services: {error:#}");
        ExitCode::FAILURE
    })
}

/// Starts both servers at once.
async fn start(mongo: MongoOptions) -> Result<(Mongo, Redis)> {
    tokio::try_join!(Mongo::try_start(mongo), Redis::try_start(RedisOptions::default()))
}

async fn run(exec: Exec) -> Result<ExitCode> {
    // Listened to from the start: an interrupt while the servers start must stop them too.
    let mut signals = Signals::new()?;
    let options = if exec.bench { MongoOptions::bench() } else { MongoOptions::default() };
    let (mongo, redis) = tokio::select! {
        started = start(options) => started?,
        signal = signals.next() => return Ok(code_of_signal(signal)),
    };
    let (program, arguments) = exec.command.split_first().context("no command")?;
    // In this process group, so that it has the terminal and gets Ctrl-C itself.
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env("MONGODB_URI", mongo.uri())
        .env("REDIS_URL", redis.url())
        .env(MONGODB_URI, mongo.uri())
        .env(REDIS_URL, redis.url())
        .spawn()
        .with_context(|| format!("starting {}", program.to_string_lossy()))?;
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status.context("waiting for the command")?;
                let signal = std::os::unix::process::ExitStatusExt::signal(&status);
                return Ok(match status.code() {
                    Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
                    None => code_of_signal(signal.unwrap_or(0)),
                });
            }
            signal = signals.next() => {
                // A terminal sends Ctrl-C to the command as well; any other sender means to end it through us.
                if signal == Signal::TERM.as_raw()
                    && let Some(pid) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
                {
                    let _ = kill_process(pid, Signal::TERM);
                }
            }
        }
    }
}

/// What a shell makes of a command that a signal ended.
fn code_of_signal(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}

async fn serve() -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let sdk = cloud_sdk().await;
    let emulators = [
        Emulator {
            name: "pubsub",
            title: "Pub/Sub emulator",
            folder: "pubsub-emulator",
            variable: "PUBSUB_EMULATOR_HOST",
        },
        Emulator {
            name: "firestore",
            title: "Firestore emulator",
            folder: "cloud-firestore-emulator",
            variable: "FIRESTORE_EMULATOR_HOST",
        },
    ];
    eprintln!("starting ...");
    let (mongo, redis) = tokio::select! {
        started = start(MongoOptions::default()) => started?,
        _ = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let mut rows = vec![("MongoDB", "MONGODB_URI", mongo.uri().to_owned()), ("Redis", "REDIS_URL", redis.url())];
    let mut running = vec![];
    for emulator in &emulators {
        match emulator.start(sdk.as_deref()).await {
            Ok(started) => {
                rows.push((emulator.title, emulator.variable, started.address.clone()));
                running.push(started);
            }
            Err(error) => eprintln!("{}: {error:#}", emulator.title),
        }
    }
    println!();
    for (title, _, address) in &rows {
        println!("  {title:<20} {address}");
    }
    println!();
    for (_, variable, address) in &rows {
        println!("export {variable}='{address}'");
    }
    println!("\nCtrl-C stops them all.");
    signals.next().await;
    eprintln!("stopping ...");
    drop((mongo, redis, running));
    Ok(ExitCode::SUCCESS)
}

/// An emulator of Google's that gcloud runs.
struct Emulator {
    name: &'static str,
    title: &'static str,
    /// Where it lies in the SDK.
    folder: &'static str,
    /// The variable that Google's client libraries read.
    variable: &'static str,
}

struct RunningEmulator {
    address: String,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Emulator {
    async fn start(&self, sdk: Option<&Path>) -> Result<RunningEmulator> {
        let sdk = sdk.context("not installed, left out: it comes with the Google Cloud CLI (gcloud)")?;
        anyhow::ensure!(
            sdk.join("platform").join(self.folder).is_dir(),
            "not installed, left out: `gcloud components install {}` (or your system's package of it) installs it",
            self.folder
        );
        let folder = tempfile::Builder::new().prefix("tidegate-emulator-").tempdir()?;
        let port = tidegate_tests::servers::free_port();
        let address = format!("127.0.0.1:{port}");
        let log = folder.path().join("log");
        let output = std::fs::File::create(&log).context("making its log")?;
        let mut command = std::process::Command::new("gcloud");
        command
            .args(["beta", "emulators", self.name, "start", "--project=demo", "--quiet"])
            .arg(format!("--host-port={address}"))
            .env("CLOUDSDK_EMULATOR_DATA", folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        if self.name == "pubsub" {
            command.arg(format!("--data-dir={}", folder.path().display()));
        }
        let mut process = Process::spawn(self.title, command)?;
        tidegate_tests::servers::wait_open(port, &mut process, Duration::from_secs(60))
            .await
            .map_err(|state| anyhow::anyhow!("{state}: {}", std::fs::read_to_string(&log).unwrap_or_default()))?;
        Ok(RunningEmulator { address, _process: process, _folder: folder })
    }
}

/// The folder of the Google Cloud SDK, where there is one.
async fn cloud_sdk() -> Option<PathBuf> {
    let output = tokio::process::Command::new("gcloud")
        .args(["info", "--format=value(installation.sdk_root)"])
        .stdin(Stdio::null())
        .output()
        .await
        .ok()?;
    let root = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(root.trim()))
}

/// What asks this program to end.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT.as_raw(),
            _ = self.terminate.recv() => Signal::TERM.as_raw(),
        }
    }
}
