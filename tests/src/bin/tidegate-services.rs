//! Starts real servers for working by hand, or for one command.
#![allow(clippy::print_stdout)] // what it prints is what it is for

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process};
use tidegate_tests::servers::{
    EMULATORS, Emulator, Emulators, Kind, MONGODB_URI, Mongo, MongoOptions, REDIS_URL, Redis, RedisOptions,
};
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
    /// Starts Google's emulators too and sets PUBSUB_EMULATOR_HOST and FIRESTORE_EMULATOR_HOST; tests start them when they need them
    #[arg(long)]
    emulators: bool,
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
    let emulators = Emulators::open()?;
    let addresses = async {
        match exec.emulators {
            true => tokio::try_join!(emulators.address(Kind::PubSub), emulators.address(Kind::Firestore)).map(Some),
            false => Ok(None),
        }
    };
    let ((mongo, redis), addresses) = tokio::select! {
        started = async { tokio::try_join!(start(options), addresses) } => started?,
        signal = signals.next() => return Ok(code_of_signal(signal)),
    };
    let (program, arguments) = exec.command.split_first().context("no command")?;
    // In this process group, so that it has the terminal and gets Ctrl-C itself.
    let mut command = tokio::process::Command::new(program);
    if let Some((pubsub, firestore)) = addresses {
        command.env(Kind::PubSub.variable(), pubsub).env(Kind::Firestore.variable(), firestore);
    }
    let mut child = command
        .args(arguments)
        .env("MONGODB_URI", mongo.uri())
        .env("REDIS_URL", redis.url())
        .env(MONGODB_URI, mongo.uri())
        .env(REDIS_URL, redis.url())
        .env(EMULATORS, emulators.socket())
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
    eprintln!("starting ...");
    let all = async { tokio::join!(start(MongoOptions::default()), emulators()) };
    let (servers, emulators) = tokio::select! {
        started = all => started,
        _ = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let (mongo, redis) = servers?;
    let mut rows = vec![
        ("MongoDB".to_owned(), "MONGODB_URI", mongo.uri().to_owned()),
        ("Redis".to_owned(), "REDIS_URL", redis.url()),
    ];
    let mut running = vec![];
    for (kind, emulator) in emulators {
        match emulator {
            Ok(emulator) => {
                rows.push((kind.to_string(), kind.variable(), emulator.address()));
                running.push(emulator);
            }
            Err(error) => eprintln!("left out: {error:#}"),
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

/// Both emulators, each or why not: work by hand needs them seldom, and goes on without.
async fn emulators() -> [(Kind, Result<Emulator>); 2] {
    let (pubsub, firestore) = tokio::join!(Emulator::try_start(Kind::PubSub), Emulator::try_start(Kind::Firestore));
    [(Kind::PubSub, pubsub), (Kind::Firestore, firestore)]
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
