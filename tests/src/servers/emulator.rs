//! Google's emulators of its services, which come with the Google Cloud CLI and run on Java.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tempfile::TempDir;

use super::binary;
use super::front::Front;
use super::port::{free_port, wait_open};
use crate::process::Process;

/// The project that tests and demos use. An emulator takes any.
pub const PROJECT: &str = "demo";

/// Java begins slowly, and slower still on a machine that builds beside it.
const START: Duration = Duration::from_secs(90);
/// Where packages and installers put the Google Cloud CLI, beside where `gcloud` on PATH leads to.
const USUAL: [&str; 4] = [
    "/usr/lib/google-cloud-sdk",
    "/usr/share/google-cloud-sdk",
    "/opt/google-cloud-sdk",
    "/snap/google-cloud-cli/current",
];
/// The folder of the Google Cloud CLI, where `./dev` or a person names it.
const SDK: &str = "TIDEGATE_CLOUD_SDK";

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Pub/Sub. It keeps all in memory: what is killed has lost its topics.
    PubSub,
    /// Firestore in native mode. It keeps all in memory.
    Firestore,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::PubSub, Self::Firestore];

    /// The variable by which Google's client libraries find it: `HOST:PORT`.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::PubSub => "PUBSUB_EMULATOR_HOST",
            Self::Firestore => "FIRESTORE_EMULATOR_HOST",
        }
    }

    /// Its name in the SDK: a component, and the folder that it lies in.
    const fn component(self) -> &'static str {
        match self {
            Self::PubSub => "pubsub-emulator",
            Self::Firestore => "cloud-firestore-emulator",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::PubSub => "google-cloud-cli-pubsub-emulator",
            Self::Firestore => "google-cloud-cli-firestore-emulator",
        }
    }

    /// Whether clients are told apart from those that are gone before they reach it.
    const fn has_front(self) -> bool {
        matches!(self, Self::PubSub)
    }

    fn missing(self) -> String {
        format!(
            "{self} is not installed: `gcloud components install {}` installs it (with Google's apt repository: `apt-get install {}`); a Google \
             Cloud CLI in an unusual place is named in {SDK}",
            self.component(),
            self.package(),
        )
    }

    /// The command that runs it. Not `gcloud`, which takes seconds of its own and starts Java as a grandchild.
    fn command(self, folder: &Path, java: &Path, port: u16) -> Command {
        let mut command = match self {
            Self::PubSub => {
                let mut command = Process::command(folder.join("bin/cloud-pubsub-emulator"));
                command.arg("--host=127.0.0.1").arg(format!("--port={port}"));
                command
            }
            // Its launcher does not become Java as the other does, and so would leave it behind when this process is killed.
            Self::Firestore => {
                let mut command = Process::command(java);
                command
                    .args(["-Duser.language=en", "-cp"])
                    .arg(folder.join("cloud-firestore-emulator.jar"))
                    .args(["com.google.cloud.datastore.emulator.firestore.CloudFirestore", "start", "--host=127.0.0.1"])
                    .arg(format!("--port={port}"));
                command
            }
        };
        // They live for minutes and do little: what makes Java begin sooner and hold less.
        command.env("JDK_JAVA_OPTIONS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xmx1g");
        command
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PubSub => "Pub/Sub emulator",
            Self::Firestore => "Firestore emulator",
        })
    }
}

/// A running emulator, on a port of its own.
#[derive(Debug)]
pub struct Emulator {
    kind: Kind,
    /// Where clients connect.
    port: u16,
    /// Where the program listens: another port where something stands before it.
    own_port: u16,
    front: Option<Front>,
    process: Option<Process>,
    /// The folder of its program.
    program: PathBuf,
    java: PathBuf,
    folder: TempDir,
}

impl Emulator {
    /// Starts it and waits until it listens: two to four seconds.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(kind: Kind) -> Self {
        Self::try_start(kind).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// [`Emulator::start`] for programs that report errors.
    ///
    /// # Errors
    /// When it is not installed, with the command that installs it, or does not listen within 90 seconds.
    pub async fn try_start(kind: Kind) -> Result<Self> {
        let program = program(kind).ok_or_else(|| anyhow!(kind.missing()))?;
        let java = java().with_context(|| {
            format!("{kind} runs on Java, which is not installed: install Java 17 or later, so that `java` is on PATH")
        })?;
        let folder = tempfile::Builder::new()
            .prefix("tidegate-emulator-")
            .tempdir()
            .with_context(|| format!("making a folder for {kind}"))?;
        let mut emulator = Self { kind, port: 0, own_port: 0, front: None, process: None, program, java, folder };
        // Another process may take the port while Java begins: then another port.
        for _ in 0..3 {
            emulator.own_port = free_port();
            emulator.port = if kind.has_front() { free_port() } else { emulator.own_port };
            match emulator.launch().await {
                Ok(()) => return Ok(emulator),
                Err(error) if format!("{error:#}").contains("in use") => {}
                Err(error) => return Err(error),
            }
        }
        bail!("no free port for {kind} after three tries")
    }

    /// `HOST:PORT`, as its variable holds it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port it listens on, the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it (SIGKILL): connections break, and all it held is lost.
    pub fn kill(&mut self) {
        self.process = None;
        self.front = None;
    }

    /// Starts it again on the same port, empty.
    ///
    /// # Panics
    /// When it runs, or cannot be started.
    pub async fn restart(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.kind);
        self.launch().await.unwrap_or_else(|error| panic!("{error:#}"));
    }

    async fn launch(&mut self) -> Result<()> {
        let log = self.folder.path().join("log");
        let output = std::fs::File::create(&log).context("making its log")?;
        let mut command = self.kind.command(&self.program, &self.java, self.own_port);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let name = self.kind.to_string();
        let mut process = Process::spawn(&name, command).with_context(|| format!("starting {name}"))?;
        wait_open(self.own_port, &mut process, START).await.map_err(|state| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            anyhow!("{name}: {state}; it said:\n{}", said.trim_end())
        })?;
        if self.kind.has_front() {
            self.front = Some(Front::start(self.port, self.own_port).context("listening before it")?);
        }
        self.process = Some(process);
        Ok(())
    }
}

/// Java, where its own variable says, then on PATH, as the launchers look for it.
fn java() -> Option<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    home.map(|home| home.join("bin/java")).filter(|java| java.is_file()).or_else(|| binary::on_path("java"))
}

/// The folder of its program.
fn program(kind: Kind) -> Option<PathBuf> {
    let named = std::env::var_os(SDK).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    // `gcloud` on PATH is a link into the SDK.
    let linked = binary::on_path("gcloud")
        .and_then(|gcloud| gcloud.canonicalize().ok())
        .and_then(|gcloud| Some(gcloud.parent()?.parent()?.to_owned()));
    let at_home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join("google-cloud-sdk"));
    named
        .into_iter()
        .chain(linked)
        .chain(at_home)
        .chain(USUAL.map(PathBuf::from))
        .map(|sdk| sdk.join("platform").join(kind.component()))
        .find(|folder| folder.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn leaves_no_process_and_no_folder() {
        for kind in Kind::ALL {
            let mut emulator = Emulator::start(kind).await;
            let id = emulator.process.as_mut().unwrap().id();
            let folder = emulator.folder.path().to_owned();
            drop(emulator);
            // The whole group: a launcher may have started Java as its child.
            let group = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
            assert!(rustix::process::test_kill_process_group(group).is_err(), "{kind}: group {id} still runs");
            assert!(!folder.exists());
        }
    }
}
