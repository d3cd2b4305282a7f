//! `tidegate plugin new NAME --lang LANGUAGE --role ROLE`

use std::{fmt::Write as _, path::PathBuf};

use super::failed;
use crate::{
    cli::print,
    plugin::component::Role,
    project::{Language, template},
};

pub(super) fn new(name: &str, language: Language, role: Role, dir: Option<PathBuf>) -> Result<u8, u8> {
    let folder = dir.unwrap_or_else(|| name.into());
    let files = template::create(&folder, name, language, role).map_err(|fault| failed(&fault))?;
    let shown = folder.display();
    let mut text = format!("{shown} holds a {} in {}:\n", role.as_str(), language.as_str());
    for file in files.iter().filter(|file| !file.starts_with("sdk")) {
        let _ = writeln!(text, "  {}", file.display());
    }
    let _ = writeln!(text, "  sdk/ (what it is written against)");
    let _ = writeln!(text, "\ntidegate plugin test {shown}     builds it and runs its cases");
    let _ = writeln!(text, "tidegate plugin dev {shown}      does so on each save");
    let _ = writeln!(
        text,
        "tidegate plugin build {shown}    leaves {shown}/build/{name}.wasm: put it into the folder of plugins"
    );
    print(&text);
    Ok(0)
}
