//! Notices that plugin files changed.
//!
//! The files are looked at, five times a second, instead of asking the system for events: a look costs one `stat` for each
//! plugin and sees every way of replacing a file alike (moved over, copied over, deleted and made again, a symbolic link
//! or a ConfigMap's `..data` switched), on network file systems too (decision 0004).

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

use super::{
    component::{digest, read},
    registry::{Inner, Reload},
};
use crate::error::{Code, Fault};

/// Time between two looks. A file is read when two looks in a row saw the same.
const LOOK: Duration = Duration::from_millis(200);

/// A file that cannot be used and is younger than this may still be on its way: it is looked at again before it is
/// reported.
const MAYBE_UNFINISHED: Duration = Duration::from_secs(1);

/// The watching thread; it ends when this is dropped.
pub(super) struct Watcher {
    _stop: mpsc::Sender<()>,
}

impl Watcher {
    pub(super) fn start(host: Arc<Inner>) -> Result<Self, Fault> {
        let (stop, stopped) = mpsc::channel::<()>();
        let mut files: BTreeMap<Arc<str>, Watched> = BTreeMap::new();
        std::thread::Builder::new()
            .name("plugin-watch".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(LOOK) == Err(mpsc::RecvTimeoutError::Timeout) {
                    for plugin in host.names() {
                        files.entry(Arc::clone(&plugin)).or_default().look(&host, &plugin);
                    }
                    host.decide();
                }
            })
            .map_err(|cause| {
                Fault::fatal(Code::PluginStart, format!("the watching thread cannot be started: {cause}"))
            })?;
        Ok(Self { _stop: stop })
    }
}

/// What tells a file from the one that was there before. All of it follows symbolic links.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Print {
    device: u64,
    inode: u64,
    size: u64,
    modified: Option<SystemTime>,
    changed: (i64, i64),
}

fn print_of(file: &Path) -> io::Result<Print> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = fs::metadata(file)?;
    Ok(Print {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        modified: metadata.modified().ok(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// One plugin's file.
#[derive(Default)]
struct Watched {
    /// As the last look saw it.
    seen: Option<Print>,
    /// As it was when it was last dealt with.
    settled: Option<Print>,
    gone: bool,
}

impl Watched {
    fn look(&mut self, host: &Arc<Inner>, plugin: &str) {
        let file = host.file(plugin);
        let now = match print_of(&file) {
            Ok(now) => now,
            Err(cause) => {
                if !self.gone && self.seen.take().is_none() {
                    // Missing in two looks in a row: it is not just being replaced.
                    self.gone = true;
                    self.settled = None;
                    host.miss(plugin, &cause);
                }
                return;
            }
        };
        if std::mem::take(&mut self.gone) {
            tracing::info!(event = "plugin_file_back", plugin, "the file of plugin {plugin} is back");
        }
        let steady = self.seen.as_ref() == Some(&now);
        self.seen = Some(now.clone());
        if !steady || self.settled.as_ref() == Some(&now) {
            return;
        }
        let bytes = read(&file);
        let digest = bytes.as_ref().map(|bytes| digest(bytes)).unwrap_or_default();
        match bytes.and_then(|bytes| host.reload(plugin, &bytes)) {
            Ok(outcome) => {
                if matches!(outcome, Reload::Same) {
                    host.settle(plugin);
                }
                self.settled = Some(now);
            }
            Err(fault) => {
                let young = now.modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < MAYBE_UNFINISHED);
                if !young {
                    host.refuse(plugin, &digest, &fault);
                    self.settled = Some(now);
                }
            }
        }
    }
}
