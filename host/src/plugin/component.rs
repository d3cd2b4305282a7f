//! One loaded version of a plugin.

use std::{io::Read as _, path::Path, sync::Arc, time::SystemTime};

use sha2::{Digest as _, Sha256};
use wasmtime::component::{InstancePre, types::ComponentItem};

pub use super::abi::{Encoding, Manifest, Role, Violation};
use super::{
    PluginEngine,
    abi::{self, RoleTypes},
    context::{Context, Identity},
    grants::{Grant, Grants},
    instance::Instance,
    limits::Limits,
    survey::{self, MOST_BYTES},
    tally::Tally,
};
use crate::{
    error::{Code, Fault},
    telemetry::metrics::Metrics,
};

/// One version of a plugin, compiled, checked and ready to be instantiated.
pub struct Generation {
    /// The name of the plugin: the stem of its file.
    pub plugin: Arc<str>,
    /// Counts up with each version that was loaded in this process, from 1.
    pub number: u64,
    /// SHA-256 of the file, in hex.
    pub digest: String,
    /// What the plugin says of itself.
    pub manifest: Manifest,
    /// The roles it has, in the order they are run in.
    pub roles: Vec<Role>,
    /// What it imports: its request for capabilities.
    pub imports: Vec<String>,
    /// Bytes of the file.
    pub size: usize,
    /// When it was loaded.
    pub loaded_at: SystemTime,
    pub(super) pre: InstancePre<Context>,
    pub(super) types: Arc<RoleTypes>,
    /// What it may use.
    pub(super) grants: Arc<Grants>,
    /// How it does.
    pub(super) tally: Tally,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation")
            .field("plugin", &self.plugin)
            .field("number", &self.number)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// SHA-256 in hex.
pub(super) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads a plugin file, unless it is bigger than any plugin: then nothing of it is read.
///
/// # Errors
/// When it cannot be read, or is too big.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let fault = |cause: String| {
        Fault::fatal(Code::PluginUnreadable, format!("plugin file {} cannot be read: {cause}", path.display()))
    };
    let too_big = |bytes: u64| {
        fault(format!(
            "it has {bytes} bytes, more than the {MOST_BYTES} a plugin may have; build it without debug information (`wasm-tools strip`)"
        ))
    };
    // Looked at before it is opened: to open a pipe waits for somebody to write into it.
    let metadata = std::fs::metadata(path).map_err(|cause| fault(cause.to_string()))?;
    if !metadata.is_file() {
        return Err(fault("it is no file".to_owned()));
    }
    if metadata.len() > MOST_BYTES {
        return Err(too_big(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    let file = std::fs::File::open(path).map_err(|cause| fault(cause.to_string()))?;
    // It may have grown since.
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|cause| fault(cause.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(too_big(bytes.len() as u64));
    }
    Ok(bytes)
}

impl Generation {
    /// Compiles a component and checks it against the contract. Takes from milliseconds to seconds of CPU time: never
    /// called on a thread of the runtime.
    ///
    /// # Errors
    /// When the bytes are no component, it imports what it is not granted, or it does not fit the contract.
    pub fn load(
        engine: &PluginEngine,
        plugin: &str,
        number: u64,
        bytes: &[u8],
        grants: &Arc<Grants>,
    ) -> Result<Self, Fault> {
        let digest = digest(bytes);
        if !is_component(bytes) {
            return Err(Fault::fatal(
                Code::PluginUnreadable,
                format!("plugin `{plugin}` cannot be loaded: {}", what_it_is(bytes)),
            ));
        }
        survey::check(bytes).map_err(|cause| {
            Fault::fatal(
                Code::PluginUnreadable,
                format!("plugin `{plugin}` cannot be loaded: {cause}; it would take too long to compile"),
            )
        })?;
        let component = engine.compile(plugin, &digest, bytes).map_err(|cause| {
            Fault::fatal(
                Code::PluginUnreadable,
                format!("plugin `{plugin}` cannot be loaded: its file is broken or uses a WebAssembly feature that is off: {cause:#}"),
            )
        })?;
        let kind = component.component_type();
        let imports: Vec<String> = kind
            .imports(&engine.engine)
            .filter(|(_, item)| {
                matches!(item.ty, ComponentItem::ComponentInstance(_) | ComponentItem::ComponentFunc(_))
            })
            .map(|(name, _)| name.to_owned())
            .collect();
        check_imports(plugin, &imports, grants)?;
        let contract = |cause: String| {
            Fault::fatal(
                Code::PluginContract,
                format!("plugin `{plugin}` does not fit the contract tidegate:plugin@0.1.0: {cause}"),
            )
        };
        let pre = engine.linker.instantiate_pre(&component).map_err(|cause| contract(format!("{cause:#}")))?;
        let types = RoleTypes::of(&pre).map_err(contract)?;
        let mut generation = Self {
            plugin: plugin.into(),
            number,
            digest,
            manifest: Manifest {
                name: String::new(),
                version: String::new(),
                description: String::new(),
                config_schema: None,
                encoding: Encoding::default(),
            },
            roles: types.list(),
            imports,
            size: bytes.len(),
            loaded_at: SystemTime::now(),
            pre,
            types: Arc::new(types),
            grants: Arc::clone(grants),
            tally: Tally::default(),
        };
        generation.manifest = generation.ask_manifest(engine)?;
        check_manifest(&generation.manifest).map_err(contract)?;
        Ok(generation)
    }

    /// What must be granted for what it imports.
    pub fn needs(&self) -> Vec<Grant> {
        let needs = |grant: &Grant| self.imports.iter().any(|import| Grant::of_import(import) == Some(*grant));
        Grant::ALL.into_iter().filter(needs).collect()
    }

    /// The same component as another generation: what goes back into service counts up like everything else, so that whatever is still
    /// said of its first turn is not taken for the second.
    pub(super) fn again(&self, number: u64) -> Self {
        Self {
            plugin: Arc::clone(&self.plugin),
            number,
            digest: self.digest.clone(),
            manifest: self.manifest.clone(),
            roles: self.roles.clone(),
            imports: self.imports.clone(),
            size: self.size,
            loaded_at: SystemTime::now(),
            pre: self.pre.clone(),
            types: Arc::clone(&self.types),
            grants: Arc::clone(&self.grants),
            tally: self.tally.again(),
        }
    }

    /// The same generation in another world: what it is granted is what was written down for a trial.
    pub(super) fn given(&self, grants: &Arc<Grants>) -> Self {
        Self { grants: Arc::clone(grants), ..self.again(self.number) }
    }

    fn ask_manifest(&self, engine: &PluginEngine) -> Result<Manifest, Fault> {
        // A place of its own for what it logs and counts: a file that is only looked at leaves no trace in the metrics.
        let identity = Identity {
            pipeline: "".into(),
            plugin: Arc::clone(&self.plugin),
            generation: self.number,
            metrics: Metrics::new().plugin(&self.plugin),
        };
        let mut instance = Instance::start(engine, self, identity, Limits::default())?;
        instance.manifest()
    }

    /// Checks a stage's configuration against the manifest's schema, without starting the plugin.
    ///
    /// # Errors
    /// Names each place of the configuration that does not fit.
    pub fn check_config(&self, config: &serde_json::Value) -> Result<(), Fault> {
        let fault =
            |cause: String| Fault::fatal(Code::PluginConfiguration, format!("plugin `{}`: {cause}", self.plugin));
        let Some(schema) = &self.manifest.config_schema else {
            return match config.as_object() {
                Some(map) if map.is_empty() => Ok(()),
                _ => Err(fault("it takes no configuration, but the stage has a `config`; remove it".to_owned())),
            };
        };
        let schema: serde_json::Value = serde_json::from_str(schema).map_err(|cause| {
            fault(format!("the schema of its configuration is no JSON: {cause}; that is for its author to mend"))
        })?;
        let validator = jsonschema::validator_for(&schema).map_err(|cause| {
            fault(format!("the schema of its configuration is no JSON Schema: {cause}; that is for its author to mend"))
        })?;
        let problems: Vec<String> = validator
            .iter_errors(config)
            .map(|problem| {
                let place = problem.instance_path().to_string();
                let place =
                    if place.is_empty() { "config".to_owned() } else { format!("config{}", place.replace('/', ".")) };
                format!("{place}: {problem}")
            })
            .collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(fault(format!("its configuration does not fit: {}", problems.join("; "))))
        }
    }
}

/// Every import is one that any plugin may have, or one that is granted.
fn check_imports(plugin: &str, imports: &[String], grants: &Grants) -> Result<(), Fault> {
    let lacks =
        |import: &&String| !is_linked(import) && !Grant::of_import(import).is_some_and(|grant| grants.has(grant));
    let refused: Vec<&String> = imports.iter().filter(lacks).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let grantable: Vec<&str> =
        refused.iter().filter_map(|import| Grant::of_import(import)).map(Grant::example).collect();
    let out = if grantable.len() == refused.len() {
        format!("grant it in `plugins.each.{plugin}.grants` (`{}`), or build it without", grantable.join("`, `"))
    } else if refused.iter().any(|import| import.starts_with("wasi:http/")) {
        "build it without that; HTTP is had through `tidegate:plugin/http`, where it is granted".to_owned()
    } else {
        "build it without that, no plugin gets it: there are the log, metrics, an empty WASI, and what can be granted"
            .to_owned()
    };
    let refused: Vec<&str> = refused.into_iter().map(String::as_str).collect();
    let message = format!("plugin `{plugin}` imports what it is not granted: {}; {out}", refused.join(", "));
    Err(Fault::fatal(Code::PluginImport, message))
}

/// The manifest is kept, shown, and named in every dead letter.
fn check_manifest(manifest: &Manifest) -> Result<(), String> {
    let Manifest { name, version, description, config_schema, .. } = manifest;
    let parts = [
        ("name", name.len(), 256),
        ("version", version.len(), 256),
        ("description", description.len(), 4 << 10),
        ("config-schema", config_schema.as_ref().map_or(0, String::len), 1 << 20),
    ];
    match parts.into_iter().find(|(_, length, most)| length > most) {
        Some((part, length, most)) => {
            Err(format!("`{part}` of its manifest has {length} bytes, more than the {most} it may"))
        }
        None => Ok(()),
    }
}

/// Interfaces that are linked for every component.
fn is_linked(import: &str) -> bool {
    let name = import.split_once('@').map_or(import, |(name, _)| name);
    let Some((package, interface)) = name.split_once('/') else { return false };
    match package {
        "tidegate:plugin" => matches!(interface, "types" | "log" | "metrics"),
        "wasi:cli" | "wasi:io" | "wasi:clocks" | "wasi:random" | "wasi:filesystem" => true,
        _ => false,
    }
}

/// The first eight bytes of a component: the magic number, and version 13 of layer 1.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn is_component(bytes: &[u8]) -> bool {
    bytes.starts_with(COMPONENT)
}

fn what_it_is(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "its file is empty".to_owned()
    } else if bytes.starts_with(CORE_MODULE) {
        "its file is a core WebAssembly module; make it a component (`wasm-tools component new`)".to_owned()
    } else {
        "its file is no WebAssembly component".to_owned()
    }
}

/// What `tidegate plugin inspect` shows: nothing is run but `manifest`, and whatever can be granted may be imported.
///
/// # Errors
/// As [`Generation::load`], and when the file cannot be read.
pub fn inspect(engine: &PluginEngine, path: &Path) -> Result<Generation, Fault> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Generation::load(engine, &name, 0, &read(path)?, &Grants::for_a_look())
}

/// Keeps the adapter's functions in one place for [`Instance`].
pub(super) use abi::{configure as call_configure, manifest as call_manifest};
