//! Rust: `cargo` for `wasm32-unknown-unknown`. The SDK's bindings leave the type of the world in the module.

use std::path::PathBuf;

use serde_json::Value;

use super::{
    super::{
        Project, component,
        tools::{Tool, run},
    },
    failed, read,
};
use crate::error::{Code, Fault};

const TARGET: &str = "wasm32-unknown-unknown";

pub(super) fn build(project: &Project) -> Result<Vec<u8>, Fault> {
    let cargo = Tool::find(
        &[&["cargo"]],
        "--version",
        "a Rust plugin",
        "install Rust with rustup, then `rustup target add wasm32-unknown-unknown`",
    )?;
    let mut command = cargo.command(&project.folder);
    command.args(["build", "--quiet", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let said = run(&mut command, "cargo").map_err(|fault| {
        // rustc's E0463: there is no standard library for the target.
        let lacks_target = fault.message.contains("target may not be installed");
        if lacks_target {
            let how =
                format!("this Rust cannot build for WebAssembly: `rustup target add {TARGET}` installs what it lacks");
            return Fault::fatal(Code::ToolMissing, how);
        }
        fault
    })?;
    let module = modules(&said).pop().ok_or_else(|| {
        failed("cargo built no WebAssembly module; `Cargo.toml` needs `[lib]` with `crate-type = [\"cdylib\"]`")
    })?;
    let bytes = read(&module)?;
    if bytes.starts_with(b"\0asm\x0d") {
        // The linker of some installations makes the component itself.
        return Ok(bytes);
    }
    component::encode(&bytes, &[]).map_err(|cause| {
        failed(format!("what was built does not fit the contract tidegate:plugin@0.1.0: {cause}; export a role with a macro of `tidegate_plugin`"))
    })
}

/// The modules that cargo tells of, the project's own last.
fn modules(said: &[u8]) -> Vec<PathBuf> {
    let lines = said.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let artifacts = lines.filter(|line| line["reason"] == "compiler-artifact");
    artifacts
        .flat_map(|line| line["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().filter(|file| file.ends_with(".wasm")).map(PathBuf::from))
        .collect()
}
