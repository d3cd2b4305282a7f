//! Who is measured, and how each is started.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;

use crate::{documents::WAREHOUSES, servers::COLLECTION};

/// Beginning of the name of every stream the benchmark writes, so that it can remove them.
const STREAMS: &str = "tidegate-bench";

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Contender {
    /// The bare loop.
    Bare,
    /// tidegate without stages.
    Tidegate,
    /// tidegate with validator, migrator and router.
    TidegatePlugins,
    /// The bare loop again: what differs from the first is noise.
    BareAgain,
}

impl Contender {
    pub(crate) const ALL: [Self; 4] = [Self::Bare, Self::Tidegate, Self::TidegatePlugins, Self::BareAgain];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Bare => "(a) bare loop",
            Self::Tidegate => "(b) tidegate, no plugin",
            Self::TidegatePlugins => "(c) tidegate, 3 plugins",
            Self::BareAgain => "(a) again, as control",
        }
    }

    /// The streams it writes to.
    pub(crate) fn streams(self) -> Vec<String> {
        match self {
            Self::TidegatePlugins => WAREHOUSES.iter().map(|warehouse| format!("{STREAMS}:{warehouse}")).collect(),
            Self::Bare | Self::BareAgain | Self::Tidegate => vec![stream()],
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::TidegatePlugins => "with-plugins",
            Self::Bare | Self::BareAgain | Self::Tidegate => "without-plugins",
        }
    }
}

fn stream() -> String {
    format!("{STREAMS}:{COLLECTION}")
}

/// Every stream any contender writes to.
pub(crate) fn all_streams() -> Vec<String> {
    Contender::ALL.into_iter().flat_map(Contender::streams).collect()
}

/// What all runs share.
#[derive(Debug)]
pub(crate) struct Plan {
    /// This program.
    pub(crate) program: PathBuf,
    /// The tidegate to measure.
    pub(crate) tidegate: PathBuf,
    /// The folder with the plugins.
    pub(crate) plugins: PathBuf,
    /// Of this benchmark alone.
    pub(crate) database: String,
    /// In each run.
    pub(crate) events: u64,
    /// For state and logs.
    pub(crate) work: PathBuf,
    /// `_data` of the resume token before the first insert.
    pub(crate) token: String,
}

impl Plan {
    /// Lets tidegate make its own checkpoints, before there is anything to read: `start: now` stores the opening position.
    /// Every run begins with a copy of that state, so that all read the same section of the oplog. Plugins are compiled
    /// on this occasion too.
    ///
    /// # Errors
    /// When tidegate does not run cleanly with the configurations of the benchmark.
    pub(crate) fn prepare(&self) -> Result<()> {
        for contender in [Contender::Tidegate, Contender::TidegatePlugins] {
            let state = self.prepared(contender);
            let log = self.work.join("prepare.log");
            let mut command = self.tidegate(contender, &state)?;
            let status = command.stderr(File::create(&log)?).status().context("tidegate does not start")?;
            ensure!(
                status.success(),
                "{}: tidegate ended with {status} before it had anything to do:\n{}",
                contender.title(),
                tail(&log)
            );
        }
        Ok(())
    }

    /// The command of a run; its standard error goes to `log`.
    ///
    /// # Errors
    /// When files cannot be written.
    pub(crate) fn command(&self, contender: Contender, log: &Path) -> Result<Command> {
        let mut command = match contender {
            Contender::Bare | Contender::BareAgain => {
                let mut command = Command::new(&self.program);
                command.arg("bare").args(["--database", &self.database, "--token", &self.token, "--stream", &stream()]);
                command.args(["--events", &self.events.to_string()]);
                command
            }
            Contender::Tidegate | Contender::TidegatePlugins => {
                let state = self.work.join("state");
                if state.exists() {
                    fs::remove_dir_all(&state)?;
                }
                copy(&self.prepared(contender), &state)?;
                self.tidegate(contender, &state)?
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log)?);
        Ok(command)
    }

    fn prepared(&self, contender: Contender) -> PathBuf {
        self.work.join(contender.folder())
    }

    fn tidegate(&self, contender: Contender, state: &Path) -> Result<Command> {
        let stages = match contender {
            Contender::TidegatePlugins => json!([
                { "plugin": "inventory-validator" },
                { "plugin": "inventory-migrator", "config": { "currency": "USD" } },
                { "plugin": "inventory-router", "config": { "target": format!("{STREAMS}:{{warehouse_id}}") } },
            ]),
            Contender::Bare | Contender::BareAgain | Contender::Tidegate => json!([]),
        };
        // JSON is YAML. What is not said here is left at its default, as most people would leave it.
        let config = json!({
            "state": { "dir": state },
            "admin": { "listen": "127.0.0.1:0" },
            "log": { "level": "warn", "format": "json" },
            "plugins": { "dir": self.plugins },
            "pipelines": { "bench": {
                "source": { "mongodb": { "uri": "${MONGODB_URI}", "database": self.database, "collections": [COLLECTION] } },
                "stages": stages,
                "sinks": { "redis": { "redis": { "url": "${REDIS_URL}", "stream": stream() } } },
            } },
        });
        let path = self.work.join(format!("{}.yaml", contender.folder()));
        fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        let mut command = Command::new(&self.tidegate);
        command.arg("run").arg(path).args(["--exit-when-idle", "1s"]).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }
}

/// The last lines of a log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{}: cannot read", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
