//! JavaScript and TypeScript: the SDK's build script bundles the plugin and has `componentize-js` put it into a component together with
//! an engine.

use std::path::Path;

use super::{
    super::{
        Project, component,
        tools::{Tool, run},
    },
    absolute, failed, heard, read, sdk, work_folder,
};
use crate::error::Fault;

pub(super) fn build(project: &Project) -> Result<Vec<u8>, Fault> {
    let node = Tool::find(
        &[&["node"]],
        "--version",
        "a plugin in JavaScript or TypeScript",
        "install Node.js 20 or later, which brings npm too",
    )?;
    install(project)?;
    let (sdk, work) = (sdk(project)?, work_folder(project)?);
    let wit = work.join("wit");
    project.world().write(&wit).map_err(|cause| failed(format!("{} cannot be written: {cause}", wit.display())))?;
    let output = work.join(format!("{}.wasm", project.name));
    let roles: Vec<&str> = project.roles.iter().map(|role| role.as_str()).collect();
    let mut command = node.command(&project.folder);
    command.arg(sdk.join("build.mjs")).arg("--entry").arg(&project.entry).args(["--roles", &roles.join(",")]);
    command.arg("--wit").arg(&wit).args(["--world", component::WORLD]).arg("--out").arg(&output);
    run(&mut command, "the build script of the SDK").map_err(|fault| heard(project, fault))?;
    read(&output)
}

/// Installs what `package.json` names, unless it is there: in the folder, in one around it, or where Node.js looks besides.
fn install(project: &Project) -> Result<(), Fault> {
    let folder = absolute(&project.folder)?;
    let has = |modules: &Path| modules.join("@bytecodealliance/componentize-js/package.json").is_file();
    let besides = std::env::var_os("NODE_PATH").unwrap_or_default();
    if folder.ancestors().any(|folder| has(&folder.join("node_modules")))
        || std::env::split_paths(&besides).any(|path| has(&path))
    {
        return Ok(());
    }
    if !folder.join("package.json").is_file() {
        return Err(failed(format!(
            "{} has no package.json, which names esbuild and componentize-js; `tidegate plugin new` makes one",
            project.folder.display()
        )));
    }
    let npm = Tool::find(&[&["npm"]], "--version", "a plugin in JavaScript or TypeScript", "it comes with Node.js")?;
    eprintln!("installing the packages of {} (once)", folder.join("package.json").display());
    run(npm.command(&folder).args(["install", "--no-fund", "--no-audit"]), "npm").map(drop)
}
