//! Folders, files and the port that a host needs.

use std::{net::TcpListener, path::Path};

use super::{finding::Finding, in_time};
use crate::{
    config::{Config, DeadLetterConfig, PipelineConfig},
    dead_letter::DeadLetterWriter,
    error::Code,
};

/// The state directory, the log file and the port of the admin server.
pub(super) fn of_host(config: &Config) -> Vec<Finding> {
    let mut findings = vec![folder("the state directory", &config.state.dir)];
    if let Some(file) = &config.log.file {
        let parent = file.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        findings.push(folder("the folder of the log", parent));
    }
    let listen = config.admin.listen;
    findings.push(match TcpListener::bind(listen) {
        Ok(_) => Finding::good(format!("the admin server can listen at {listen}")),
        Err(cause) if cause.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::warning(format!("{listen} is in use: a tidegate runs already, or another program has the port"))
                .help("stop it, or set `admin.listen` to another port")
        }
        Err(cause) => Finding::bad(format!("the admin server cannot listen at {listen}: {cause}"))
            .code(Code::AdminListen)
            .help("set `admin.listen` to an address of this machine and a port above 1023"),
    });
    findings
}

/// A folder that may have to be made: then the nearest one above it must take it.
fn folder(what: &str, folder: &Path) -> Finding {
    let exists = folder.is_dir();
    let there = folder.ancestors().find(|above| above.as_os_str().is_empty() || above.exists()).unwrap_or(folder);
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let shown = folder.display();
    let bad = |cause: &str| {
        Finding::bad(format!("{what} {shown} cannot be written to: {cause}")).code(Code::FileWrite).help(format!(
            "give the user of tidegate the right to write to {}, or name another folder",
            there.display()
        ))
    };
    if !there.is_dir() {
        return bad("it is no folder");
    }
    // The only sure way: rights, quotas, full disks and read-only mounts all show here.
    match tempfile_in(there) {
        Err(cause) => bad(&cause.to_string()),
        Ok(()) if exists => Finding::good(format!("{what} {shown} can be written to")),
        Ok(()) => Finding::good(format!("{what} {shown} can be made")),
    }
}

/// A file that has no name, or loses it at once.
fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    use std::io::Write as _;
    let path = folder.join(format!(".tidegate-doctor-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
    let written = file.write_all(b"x");
    std::fs::remove_file(&path)?;
    written
}

/// Where the dead letters of a pipeline go.
pub(super) async fn dead_letters(config: &Config, name: &str, pipeline: &PipelineConfig) -> (String, Vec<Finding>) {
    let wanted = config.dead_letter(name).or_else(|| pipeline.dead_letter.clone());
    match wanted {
        Some(DeadLetterConfig::File(file)) => {
            let parent = file.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            (format!("file {}", file.path.display()), vec![folder("their folder", parent)])
        }
        Some(wanted) => {
            let about = match &wanted {
                DeadLetterConfig::Redis(redis) => format!("redis {}", redis.stream),
                DeadLetterConfig::Mongodb(mongodb) => format!("mongodb {}.{}", mongodb.database, mongodb.collection),
                DeadLetterConfig::File(_) => String::new(),
            };
            (about, in_time(async { DeadLetterWriter::new(&wanted).examine().await }).await)
        }
        None => ("nowhere".to_owned(), Vec::new()),
    }
}
