//! The folder of a new plugin: a template, and the SDK beside it, so that nothing has to be downloaded for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Language, check_name};
use crate::{
    error::{Code, Fault},
    plugin::component::Role,
};

/// A file of the SDKs: its path below `plugins/sdk`, and its bytes.
type Embedded = (&'static str, &'static [u8]);

include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// Makes the folder of a new plugin; gives back the files in it.
///
/// # Errors
/// When the name is none, the folder is there already, or it cannot be written.
pub fn create(folder: &Path, name: &str, language: Language, role: Role) -> Result<Vec<PathBuf>, Fault> {
    check_name(name).map_err(|reason| Fault::fatal(Code::ProjectFile, format!("`{name}` {reason}")))?;
    if folder.exists() {
        return Err(Fault::fatal(
            Code::ProjectExists,
            format!("{} is there already; take another name, or another place with --dir", folder.display()),
        ));
    }
    let failed = |cause: io::Error| {
        Fault::fatal(Code::FileWrite, format!("the folder {} cannot be written: {cause}", folder.display()))
    };
    let mut written = Vec::new();
    for (path, bytes) in files(language, role) {
        let path = path.replace("{{name}}", name);
        let file = folder.join(&path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::write(&file, fill(bytes, name)).map_err(failed)?;
        written.push(PathBuf::from(path));
    }
    written.sort();
    Ok(written)
}

/// Where the files of a language are, and its templates there.
const fn places(language: Language) -> (&'static str, &'static str) {
    match language {
        Language::Rust => ("rust/", "template/"),
        Language::Js => ("js/", "template/"),
        Language::Ts => ("js/", "template-ts/"),
        Language::Python => ("python/", "template/"),
        Language::Go => ("go/", "template/"),
        Language::C => ("c/", "template/"),
    }
}

/// The files of a new plugin, by their path in its folder.
fn files(language: Language, role: Role) -> Vec<(String, &'static [u8])> {
    let (sdk, template) = places(language);
    let role = format!("{template}{}/", role.as_str());
    let common = format!("{template}common/");
    let mut files = Vec::new();
    for (path, bytes) in EMBEDDED {
        let Some(path) = path.strip_prefix(sdk) else { continue };
        let place = path.strip_prefix(&common).or_else(|| path.strip_prefix(&role));
        let is_of_sdk = !path.starts_with("template") && path != "BUILD.md";
        if let Some(place) = place {
            files.push((file_name(place), *bytes));
        } else if is_of_sdk {
            files.push((format!("sdk/{path}"), *bytes));
        }
    }
    files
}

/// A file below `plugins/sdk`.
pub(super) fn embedded(path: &str) -> Option<&'static [u8]> {
    EMBEDDED.iter().find(|(known, _)| *known == path).map(|(_, bytes)| *bytes)
}

/// Writes the SDK of a language into a folder.
pub(super) fn write_sdk(language: Language, folder: &Path) -> io::Result<()> {
    for (path, bytes) in files(language, Role::Validator) {
        let Some(path) = path.strip_prefix("sdk/") else { continue };
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, bytes)?;
    }
    Ok(())
}

/// A name that begins with a dot, or that a tool of this repository would take for its own, is another one in the template.
fn file_name(place: &str) -> String {
    let place = place.strip_suffix(".in").unwrap_or(place);
    let (folder, name) = place.rsplit_once('/').map_or(("", place), |(folder, name)| (folder, name));
    let name = name.strip_prefix("dot-").map_or_else(|| name.to_owned(), |name| format!(".{name}"));
    if folder.is_empty() { name } else { format!("{folder}/{name}") }
}

/// Puts the name in; what is no text stays as it is.
fn fill(bytes: &[u8], name: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let capital =
                |word: &str| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default();
            let camel: String = name.split('-').map(capital).collect();
            let text = text.replace("{{name}}", name).replace("{{Name}}", &camel);
            text.replace("{{ident}}", &name.replace('-', "_")).into_bytes()
        }
        Err(_) => bytes.to_vec(),
    }
}
