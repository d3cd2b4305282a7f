//! Copies of the components that ran: what a host goes back to when the plugin directory holds nothing good any more.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::component::digest;
use crate::files::sync_folder;

/// A folder with one `DIGEST.wasm` for each component that runs, ran before, or is tried.
#[derive(Debug, Default)]
pub(super) struct Kept {
    folder: Option<PathBuf>,
    writes: bool,
}

impl Kept {
    /// In the state directory; with `writes` false nothing is ever written.
    pub(super) fn new(state: Option<&Path>, writes: bool) -> Self {
        Self { folder: state.map(|state| state.join("plugins")), writes }
    }

    fn file(&self, digest: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{digest}.wasm")))
    }

    /// The bytes of that digest, as they were.
    pub(super) fn get(&self, wanted: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.file(wanted)?).ok()?;
        (digest(&bytes) == wanted).then_some(bytes)
    }

    /// Keeps a copy. One that cannot be kept is told of: it costs a way back, not the stream.
    pub(super) fn put(&self, plugin: &str, digest: &str, bytes: &[u8]) {
        let Some(file) = self.file(digest).filter(|_| self.writes) else { return };
        if file.exists() {
            return;
        }
        let write = || -> io::Result<()> {
            if let Some(folder) = &self.folder {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let beside = file.with_extension("new");
            let mut target = fs::File::create(&beside)?;
            io::Write::write_all(&mut target, bytes)?;
            target.sync_all()?;
            fs::rename(&beside, &file)?;
            sync_folder(&file)
        };
        if let Err(cause) = write() {
            tracing::error!(
                event = "plugin_history_failed",
                plugin,
                file = %file.display(),
                "the component of plugin {plugin} cannot be kept, a start will not find it to go back to: {cause}"
            );
        }
    }

    /// Removes all copies but these.
    pub(super) fn prune(&self, wanted: &BTreeSet<String>) {
        let Some(entries) = self.folder.as_ref().filter(|_| self.writes).and_then(|folder| fs::read_dir(folder).ok())
        else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_suffix(".wasm").is_some_and(|digest| !wanted.contains(digest)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, digest};

    #[test]
    fn what_is_kept_comes_back_as_it_was_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(Some(folder.path()), true);
        let name = digest(b"bytes");
        kept.put("p", &name, b"bytes");
        kept.put("p", &digest(b"other"), b"other");
        assert_eq!(kept.get(&name).as_deref(), Some(&b"bytes"[..]));
        kept.prune(&[name.clone()].into());
        assert_eq!(kept.get(&digest(b"other")), None);
        let file = folder.path().join("plugins").join(format!("{name}.wasm"));
        std::fs::write(&file, b"bytez").unwrap();
        assert_eq!(kept.get(&name), None, "what was changed is not run");
        let looking = Kept::new(Some(folder.path()), false);
        looking.put("p", &digest(b"new"), b"new");
        looking.prune(&[].into());
        assert!(file.exists() && looking.get(&digest(b"new")).is_none());
    }
}
