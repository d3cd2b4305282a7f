//! From a core module to a component.
//!
//! A language's compiler gives a core module whose imports and exports are named as the contract's are lowered. What makes it a
//! component is the type of its world, which is composed here of the roles that a project names, and an envelope around both.

use std::{fmt::Write as _, io, path::Path};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use crate::plugin::{
    component::{Encoding, Role},
    grants::Grant,
};

/// The files of the contract.
const CONTRACT: [(&str, &str); 3] = [
    ("types.wit", include_str!("../../../wit/types.wit")),
    ("host.wit", include_str!("../../../wit/host.wit")),
    ("roles.wit", include_str!("../../../wit/roles.wit")),
];
const PACKAGE: &str = "package tidegate:plugin@0.1.0;\n";
/// Name of the composed world.
pub const WORLD: &str = "built";

/// The world of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// What it exports.
    pub roles: &'a [Role],
    /// How it wants documents.
    pub encoding: Encoding,
    /// What it imports besides the log and the metrics.
    pub uses: &'a [Grant],
}

impl World<'_> {
    /// As the contract's language says it.
    pub fn text(&self) -> String {
        let mut text = format!("world {WORLD} {{\n    import log;\n    import metrics;\n");
        for grant in self.uses {
            let _ = writeln!(text, "    import {};", grant.interface());
        }
        text.push_str("    export plugin;\n");
        if self.encoding == Encoding::Json {
            text.push_str("    export documents;\n");
        }
        for role in self.roles {
            let _ = writeln!(text, "    export {};", role.as_str());
        }
        text.push_str("}\n");
        text
    }

    /// Writes the contract and the world into a folder, for tools that read it themselves.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for (name, text) in CONTRACT {
            std::fs::write(folder.join(name), text)?;
        }
        std::fs::write(folder.join("built.wit"), format!("{PACKAGE}\n{}", self.text()))
    }

    /// Puts the type into a core module.
    ///
    /// # Errors
    /// When the module is none.
    pub fn embed(&self, module: &mut Vec<u8>) -> Result<(), String> {
        let (resolve, world) = resolve(&self.text(), WORLD)?;
        embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).map_err(|cause| format!("{cause:#}"))
    }
}

fn resolve(world: &str, name: &str) -> Result<(Resolve, WorldId), String> {
    let mut text = PACKAGE.to_owned();
    for (_, part) in CONTRACT {
        // One package, in one text: its name stands once.
        text.push_str(&part.replacen(PACKAGE, "", 1));
    }
    text.push_str(world);
    let mut resolve = Resolve::default();
    let package = resolve.push_str("tidegate.wit", &text).map_err(|cause| format!("{cause:#}"))?;
    let world = resolve.select_world(&[package], Some(name)).map_err(|cause| format!("{cause:#}"))?;
    Ok((resolve, world))
}

/// An adapter for a foreign interface, as a core module that may log.
///
/// # Errors
/// When the text is no module; that is a defect of tidegate.
pub fn adapter(wat: &str) -> Result<Vec<u8>, String> {
    let mut module = wat::parse_str(wat).map_err(|cause| cause.to_string())?;
    let (resolve, world) = resolve("world adapter {\n    import log;\n}\n", "adapter")?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .map_err(|cause| format!("{cause:#}"))?;
    Ok(module)
}

/// Makes a component of a core module that has the type of its world in it.
///
/// # Errors
/// When imports or exports of the module are not those of its world.
pub fn encode(module: &[u8], adapters: &[(&str, &[u8])]) -> Result<Vec<u8>, String> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    encoder.module(module).map_err(|cause| format!("{cause:#}"))?;
    for (name, bytes) in adapters {
        encoder.adapter(name, bytes).map_err(|cause| format!("{cause:#}"))?;
    }
    encoder.encode().map_err(|cause| format!("{cause:#}"))
}
