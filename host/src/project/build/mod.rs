//! From the sources of a plugin to a component: one file for each language's tools.

mod c;
mod go;
mod js;
mod python;
mod rust;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{Language, Project, component, template};
use crate::{
    error::{Code, Fault},
    plugin::{
        Generation, PluginEngine,
        grants::{Grant, Grants},
    },
};

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The file.
    pub file: PathBuf,
    /// It as the host sees it.
    pub generation: Generation,
    /// How long it took.
    pub took: Duration,
}

/// Builds a project, looks whether the host can use what came of it, and puts it in place.
///
/// # Errors
/// When a tool is missing or fails, or what it gives does not fit the contract.
pub fn build(engine: &PluginEngine, project: &Project, output: &Path) -> Result<Built, Fault> {
    let started = Instant::now();
    let bytes = match project.language {
        Language::Rust => rust::build(project)?,
        Language::Js | Language::Ts => js::build(project)?,
        Language::Python => python::build(project)?,
        Language::Go => go::build(project)?,
        Language::C => c::build(project)?,
    };
    let generation = Generation::load(engine, &project.name, 0, &bytes, &Grants::for_a_look())?;
    for role in &project.roles {
        if !generation.roles.contains(role) {
            let (name, role) = (&project.name, role.as_str());
            return Err(failed(format!(
                "`plugin.yaml` says that {name} is a {role}, but what was built exports none; export it, or take it out of `roles`"
            )));
        }
    }
    if let Some(fault) = unsaid(project, |grant| generation.needs().contains(&grant)) {
        return Err(fault);
    }
    place(output, &bytes)?;
    Ok(Built { file: output.to_owned(), generation, took: started.elapsed() })
}

/// The file appears whole, and is touched only when it is another: a host may be watching.
fn place(output: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let unwritable = |cause: io::Error| {
        Fault::fatal(Code::FileWrite, format!("the component cannot be written to {}: {cause}", output.display()))
    };
    if fs::read(output).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(unwritable)?;
    let mut beside = tempfile::Builder::new().prefix(".built-").tempfile_in(folder).map_err(unwritable)?;
    io::Write::write_all(&mut beside, bytes).map_err(unwritable)?;
    let mut rights = beside.as_file().metadata().map_err(unwritable)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o644);
    beside.as_file().set_permissions(rights).map_err(unwritable)?;
    beside.persist(output).map_err(|cause| unwritable(cause.error))?;
    Ok(())
}

fn failed(message: impl Into<String>) -> Fault {
    Fault::fatal(Code::BuildFailed, message)
}

/// The fault of a project that imports what its `plugin.yaml` does not say, if it does.
fn unsaid(project: &Project, imports: impl Fn(Grant) -> bool) -> Option<Fault> {
    let lacks: Vec<Grant> =
        Grant::ALL.into_iter().filter(|grant| !project.uses.contains(grant) && imports(*grant)).collect();
    if lacks.is_empty() {
        return None;
    }
    let interfaces: Vec<String> = lacks.iter().map(|grant| format!("`{}`", interface(*grant))).collect();
    // All that it is to say, as a line that can be copied.
    let uses: Vec<&str> = Grant::ALL
        .into_iter()
        .filter(|grant| project.uses.contains(grant) || lacks.contains(grant))
        .map(Grant::as_str)
        .collect();
    Some(failed(format!(
        "what was built imports {}, but `plugin.yaml` does not say so; write `uses: [{}]`, so that who runs it knows what to grant",
        interfaces.join(" and "),
        uses.join(", ")
    )))
}

fn interface(grant: Grant) -> String {
    format!("tidegate:plugin/{}", grant.interface())
}

/// Where the SDK of a language finds out that `plugin.yaml` does not say what is imported, its tools say much around it.
fn heard(project: &Project, fault: Fault) -> Fault {
    if !fault.message.contains("but `plugin.yaml` does not say so") {
        return fault;
    }
    unsaid(project, |grant| fault.message.contains(&format!("`{}`", interface(grant)))).unwrap_or(fault)
}

/// Makes a component of a core module that knows nothing of its world.
fn componentize(project: &Project, mut module: Vec<u8>, adapters: &[(&str, &[u8])]) -> Result<Vec<u8>, Fault> {
    let wrong = |cause: String| {
        unsaid(project, |grant| cause.contains(&interface(grant))).unwrap_or_else(|| {
            failed(format!("what was built does not fit the contract tidegate:plugin@0.1.0: {cause}"))
        })
    };
    project.world().embed(&mut module).map_err(wrong)?;
    component::encode(&module, adapters).map_err(wrong)
}

/// The SDK of a project: its own copy where it has one, else that which this program carries.
fn sdk(project: &Project) -> Result<PathBuf, Fault> {
    let own = absolute(&project.folder)?.join("sdk");
    if own.is_dir() {
        return Ok(own);
    }
    let folder = work_folder(project)?.join("sdk");
    template::write_sdk(project.language, &folder)
        .map_err(|cause| failed(format!("{} cannot be written: {cause}", folder.display())))?;
    Ok(folder)
}

/// Tools are run in the folder of the project: what they are given must not depend on where this program runs.
fn absolute(path: &Path) -> Result<PathBuf, Fault> {
    std::path::absolute(path).map_err(|cause| failed(format!("{} is no path: {cause}", path.display())))
}

/// A folder for what lies between sources and component.
fn work_folder(project: &Project) -> Result<PathBuf, Fault> {
    let folder = absolute(&project.folder)?.join("build").join("parts");
    fs::create_dir_all(&folder)
        .map_err(|cause| Fault::fatal(Code::FileWrite, format!("{} cannot be made: {cause}", folder.display())))?;
    Ok(folder)
}

fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    fs::read(file).map_err(|cause| failed(format!("the tool gave no {}: {cause}", file.display())))
}
