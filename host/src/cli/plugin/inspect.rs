//! `tidegate plugin inspect FILE`

use std::{fmt::Write as _, path::Path};

use crate::cli::{complain, exit, print};
use crate::plugin::{component, grants::Grant};

pub(super) fn inspect(file: &Path) -> u8 {
    let engine = match super::engine() {
        Ok(engine) => engine,
        Err(code) => return code,
    };
    let inspected = component::inspect(&engine, file);
    match inspected {
        Ok(generation) => {
            let manifest = &generation.manifest;
            let roles: Vec<&str> = generation.roles.iter().map(|role| role.as_str()).collect();
            let mut text = String::new();
            let _ = writeln!(text, "{} {}", manifest.name, manifest.version);
            if !manifest.description.is_empty() {
                let _ = writeln!(text, "  {}", manifest.description);
            }
            let _ = writeln!(text, "\ncontract  tidegate:plugin@0.1.0");
            let _ = writeln!(text, "roles     {}", roles.join(", "));
            let _ = writeln!(text, "documents {}", manifest.encoding.as_str());
            let _ = writeln!(text, "size      {} bytes", generation.size);
            let _ = writeln!(text, "sha256    {}", generation.digest);
            let imports =
                if generation.imports.is_empty() { "none".to_owned() } else { generation.imports.join("\n          ") };
            let _ = writeln!(text, "imports   {imports}");
            let needs: Vec<&str> = generation.needs().into_iter().map(Grant::example).collect();
            let _ = writeln!(text, "grants    {}", if needs.is_empty() { "none".to_owned() } else { needs.join(", ") });
            match &manifest.config_schema {
                None => text.push_str("config    none\n"),
                Some(schema) => {
                    let pretty = serde_json::from_str::<serde_json::Value>(schema)
                        .and_then(|schema| serde_json::to_string_pretty(&schema))
                        .unwrap_or_else(|_| schema.clone());
                    let _ = writeln!(text, "config    {}", pretty.replace('\n', "\n          "));
                }
            }
            print(&text);
            0
        }
        Err(fault) => {
            complain(&fault);
            exit::CONFIGURATION
        }
    }
}
