//! JSON Lines of changes into files and to standard output.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    config::FileSinkConfig,
    error::{Code, Fault},
    files::AppendFile,
    format::lines::write_delivery,
    sink::{Sink, Writes, Wrote},
};

/// Adds lines to a file; a router's target is another file in the same folder. What is confirmed is on disk.
pub struct FileSink {
    path: PathBuf,
    /// By target; the configured file has none.
    files: HashMap<Option<String>, AppendFile>,
}

/// The lines of one batch for one file.
#[derive(Default)]
struct Part {
    lines: Vec<u8>,
    indexes: Vec<usize>,
}

impl FileSink {
    /// Nothing is opened before [`Sink::open`].
    pub fn new(config: &FileSinkConfig) -> Self {
        Self { path: config.path.clone(), files: HashMap::new() }
    }

    fn file(&mut self, target: Option<&str>) -> Result<&mut AppendFile, Fault> {
        let target = target.map(str::to_owned);
        let path = match &target {
            None => self.path.clone(),
            Some(name) => self.path.with_file_name(name),
        };
        Ok(self.files.entry(target).or_insert_with(|| AppendFile::new(path, Code::FileWrite)))
    }
}

/// Why a router's target is no file name in the folder of the sink; none when it is one.
fn not_a_name(target: &str) -> Option<String> {
    let is_name = Path::new(target).file_name().is_some_and(|name| name == target)
        && !target.contains(['/', '\\', '\0'])
        && target.len() <= 255;
    (!is_name)
        .then(|| format!("the target `{target}` is no file name: a file sink writes to files of its own folder alone"))
}

impl Sink for FileSink {
    async fn open(&mut self) -> Result<(), Fault> {
        self.file(None)?.open().await
    }

    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        let mut parts: Vec<(Option<&str>, Part)> = Vec::new();
        let mut places: HashMap<Option<&str>, usize> = HashMap::new();
        let mut refused = Vec::new();
        for (index, delivery) in writes.pending() {
            // A change without a destination shares the lifetime of the batch, so its target can be kept over the writes.
            let target = delivery.destination.and_then(|destination| destination.target.as_deref());
            if let Some(reason) = target.and_then(not_a_name) {
                refused.push((index, reason));
                continue;
            }
            let place = *places.entry(target).or_insert_with(|| {
                parts.push((target, Part::default()));
                parts.len() - 1
            });
            if let Some((_, part)) = parts.get_mut(place) {
                write_delivery(&mut part.lines, &delivery);
                part.indexes.push(index);
            }
        }
        for (index, reason) in refused {
            writes.refuse(index, reason);
        }
        for (target, part) in parts {
            self.file(target)?.append(part.lines).await?;
            for index in part.indexes {
                writes.confirm(index);
            }
        }
        Ok(Wrote::All)
    }
}

async fn print(lines: Vec<u8>) -> Result<(), Fault> {
    let written = tokio::task::spawn_blocking(move || {
        let mut out = io::stdout().lock();
        out.write_all(&lines).and_then(|()| out.flush())
    })
    .await
    .map_err(io::Error::other)
    .flatten();
    written.map_err(|cause| match cause.kind() {
        io::ErrorKind::BrokenPipe => Fault::fatal(
            Code::FileWrite,
            "standard output was closed by the program that read it; nothing more can be written",
        ),
        _ => Fault::fatal(Code::FileWrite, format!("standard output cannot be written: {cause}")),
    })
}

/// Writes lines to standard output.
#[derive(Default)]
pub struct StdoutSink;

impl Sink for StdoutSink {
    async fn open(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        let mut part = Part::default();
        for (index, delivery) in writes.pending() {
            write_delivery(&mut part.lines, &delivery);
            part.indexes.push(index);
        }
        let Part { lines, indexes } = part;
        print(lines).await?;
        for index in indexes {
            writes.confirm(index);
        }
        Ok(Wrote::All)
    }
}

/// Prints what a sink would get, for a dry run: the line of a file sink, with the sink's name in front.
pub struct DrySink {
    name: String,
}

impl DrySink {
    /// For the sink of that name.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

impl Sink for DrySink {
    async fn open(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    async fn write(&mut self, writes: &mut Writes<'_>) -> Result<Wrote, Fault> {
        let mut lines = Vec::new();
        for (_, delivery) in writes.pending() {
            lines.extend_from_slice(b"{\"sink\":");
            crate::format::json::write_str(&mut lines, &self.name);
            let start = lines.len();
            write_delivery(&mut lines, &delivery);
            // The line begins a member later than one of a file.
            if let Some(brace) = lines.get_mut(start) {
                *brace = b',';
            }
        }
        print(lines).await?;
        for index in 0..writes.len() {
            writes.confirm(index);
        }
        Ok(Wrote::All)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bson::{RawDocumentBuf, rawdoc};

    use super::*;
    use crate::{
        batch::{Delivery, Destination},
        change::{Change, Doc, Headers, Namespace, Operation},
        format::lines::read_change,
    };

    fn change(n: i32) -> Change {
        let document: RawDocumentBuf = rawdoc! { "_id": n };
        Change {
            id: format!("id-{n}").into(),
            operation: Operation::Insert,
            namespace: Arc::new(Namespace::new("d", "c")),
            key: Some(Doc::from(document.clone())),
            document: Some(Doc::from(document)),
            before: None,
            update: None,
            cluster_time: None,
            wall_time: None,
            headers: Headers::default(),
            position: None,
        }
    }

    fn to(target: &str) -> Destination {
        Destination { sink: None, target: Some(target.into()), ordering_key: None, attributes: Headers::default() }
    }

    fn ids(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| read_change(line.as_bytes(), "x:1").unwrap().id.to_string()).collect()
    }

    #[tokio::test]
    async fn lines_go_to_the_files_that_routers_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let mut sink = FileSink::new(&FileSinkConfig { path: path.clone() });
        sink.open().await.unwrap();
        let changes: Vec<_> = (0..5).map(change).collect();
        let (other, outside, up) = (to("other.jsonl"), to("../x"), to(".."));
        let routes = [None, Some(&other), None, Some(&outside), Some(&up)];
        let deliveries =
            changes.iter().zip(routes).map(|(change, destination)| Delivery { change, destination }).collect();
        let mut writes = Writes::new(deliveries);
        sink.write(&mut writes).await.unwrap();
        assert!(writes.is_complete());
        assert_eq!(writes.refused().iter().map(|refused| refused.index).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(ids(&path), ["id-0", "id-2"]);
        assert_eq!(ids(&folder.path().join("other.jsonl")), ["id-1"]);
        assert!(!folder.path().parent().unwrap().join("x").exists());
    }
}
