//! Python: `componentize-py` puts the interpreter, the SDK and the plugin's modules into one component.

use std::{path::PathBuf, process::Command};

use super::{
    super::{
        Project, component,
        tools::{Tool, run},
    },
    absolute, failed, heard, read, sdk, work_folder,
};
use crate::error::Fault;

/// The release that the SDK was written for.
const PACKAGE: &str = "componentize-py==0.25.1";

pub(super) fn build(project: &Project) -> Result<Vec<u8>, Fault> {
    let tool = tool(project)?;
    let (sdk, work) = (sdk(project)?, work_folder(project)?);
    let wit = work.join("wit");
    project.world().write(&wit).map_err(|cause| failed(format!("{} cannot be written: {cause}", wit.display())))?;
    let entry = project.folder.join(&project.entry);
    let (Some(folder), Some(module)) = (entry.parent(), entry.file_stem()) else {
        return Err(failed(format!("`entry: {}` is no file", project.entry.display())));
    };
    let output = work.join(format!("{}.wasm", project.name));
    let mut command = tool.command(&project.folder);
    command.args(["-q", "-d"]).arg(&wit).args(["-w", component::WORLD, "componentize"]).arg(module);
    command.arg("-p").arg(absolute(folder)?).arg("-p").arg(&sdk).arg("--stub-wasi").arg("-o").arg(&output);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    run(&mut command, "componentize-py").map_err(|fault| heard(project, fault))?;
    read(&output)
}

/// The tool of the project's own environment, that of the person, or one that is installed into the project now.
fn tool(project: &Project) -> Result<Tool, Fault> {
    let environment = absolute(&project.folder)?.join(".venv");
    let own: PathBuf = environment.join("bin").join("componentize-py");
    if own.is_file() {
        return Ok(Tool::at(own));
    }
    let found = Tool::find(&[&["componentize-py"], &["python3", "-m", "componentize_py"]], "--version", "", "");
    if let Ok(found) = found {
        return Ok(found);
    }
    let python = Tool::find(
        &[&["python3"], &["python"]],
        "--version",
        "a plugin in Python",
        "install Python 3.10 or later, with its module `venv`",
    )?;
    eprintln!("installing {PACKAGE} into {} (once)", environment.display());
    run(python.command(&project.folder).args(["-m", "venv"]).arg(&environment), "making a virtual environment")?;
    let mut pip = Command::new(environment.join("bin").join("pip"));
    run(pip.args(["install", "--quiet", "--disable-pip-version-check", PACKAGE]), "pip")?;
    Ok(Tool::at(own))
}
