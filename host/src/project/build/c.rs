//! C: `zig cc` for a machine without an operating system. The SDK brings the little of a library that a plugin needs.

use super::{
    super::{
        Project,
        tools::{Tool, run},
    },
    absolute, componentize, read, sdk, work_folder,
};
use crate::error::Fault;

const FLAGS: [&str; 13] = [
    "cc",
    "--target=wasm32-freestanding",
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",
    "-ffreestanding",
    "-nostdlib",
    "-fno-sanitize=all",
    "-Wl,--no-entry",
    "-Wl,--gc-sections",
    "-s",
];

pub(super) fn build(project: &Project) -> Result<Vec<u8>, Fault> {
    let zig = Tool::find(
        &[&["zig"], &["python3", "-m", "ziglang"], &["python", "-m", "ziglang"]],
        "version",
        "a plugin in C",
        "`pip install ziglang` gets it, or your package manager's `zig`",
    )?;
    let (sdk, work) = (sdk(project)?, work_folder(project)?);
    let module = work.join(format!("{}.core.wasm", project.name));
    // All sources beside the one that is named belong to the plugin.
    let own = absolute(&project.folder)?.join(&project.entry);
    let sources = sources(own.parent().unwrap_or(&project.folder)).into_iter().chain(sources(&sdk));
    let mut command = zig.command(&project.folder);
    command.args(FLAGS).arg("-I").arg(&sdk).args(sources).arg("-o").arg(&module);
    run(&mut command, "the C compiler")?;
    componentize(project, read(&module)?, &[])
}

fn sources(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut sources: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "c")).collect();
    sources.sort();
    sources
}
