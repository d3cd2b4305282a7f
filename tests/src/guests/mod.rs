//! Plugins made inside the tests: tiny ones that stamp what passes through them, and hostile ones that do one bad thing when
//! they see a marked change.
//!
//! Each is a core module in WebAssembly text, laid out by hand as the canonical ABI wants it, and made a component with the
//! types of `wit/`. No toolchain is run, so a test makes as many versions of a plugin as it likes, and a guest can break
//! rules that an SDK would keep.
//!
//! What a role returns has its arena at address 0 of the guest's memory, up to the end of what is in use: every address then
//! is a span, and nothing is copied.

mod deed;
mod role;

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub use self::deed::{At, Deed, REALLOC_FROM};
pub use self::role::Role;

/// The text that marks a change: a guest does its [`Deed`] when the document of a change contains it.
pub const MARKER: &str = "evil";

/// The line that guests write into the log.
pub const LOG_LINE: &str = "a line of a guest";

/// Text in the guest's memory; displayed as the two operands that name it.
#[derive(Debug, Clone, Copy)]
struct Text {
    at: usize,
    length: usize,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(i32.const {}) (i32.const {})", self.at, self.length)
    }
}

/// The constants of a guest. They begin behind address 0, which is left to mean nothing.
#[derive(Debug, Default)]
struct Data {
    bytes: Vec<u8>,
}

impl Data {
    const START: usize = 64;

    fn put(&mut self, bytes: impl AsRef<[u8]>) -> Text {
        let at = Self::START + self.bytes.len();
        self.bytes.extend_from_slice(bytes.as_ref());
        Text { at, length: bytes.as_ref().len() }
    }

    fn end(&self) -> usize {
        (Self::START + self.bytes.len()).next_multiple_of(16)
    }

    fn wat(&self) -> String {
        let bytes = self.bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "\\{byte:02x}");
            text
        });
        format!("(data (i32.const {}) \"{bytes}\")", Self::START)
    }
}

/// A plugin to be made.
#[derive(Debug, Clone)]
pub struct Guest {
    roles: Vec<Role>,
    version: String,
    config_schema: Option<String>,
    deed: Option<Deed>,
    after_calls: u32,
    json: bool,
    in_start: Option<Deed>,
    in_manifest: Option<Deed>,
    in_configure: Option<Deed>,
    in_encoding: Option<Deed>,
    in_realloc: Option<Deed>,
    in_post_return: Option<Deed>,
    fields: String,
    manifest_name: String,
    refuses: Option<String>,
    foreign: Option<String>,
}

impl Guest {
    /// A guest of one role that lets everything pass.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self::with_roles(&[role])
    }

    /// A guest of several roles; of none it fits no stage.
    #[must_use]
    pub fn with_roles(roles: &[Role]) -> Self {
        Self {
            roles: roles.to_vec(),
            version: "1.0.0".into(),
            config_schema: None,
            deed: None,
            after_calls: 0,
            json: false,
            in_start: None,
            in_manifest: None,
            in_configure: None,
            in_encoding: None,
            in_realloc: None,
            in_post_return: None,
            fields: String::new(),
            manifest_name: "guest".into(),
            refuses: None,
            foreign: None,
        }
    }

    /// Its version, which it stamps on what passes through it; see [`Role`].
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// The JSON Schema of its configuration.
    #[must_use]
    pub fn config_schema(mut self, schema: impl Into<String>) -> Self {
        self.config_schema = Some(schema.into());
        self
    }

    /// What it does when it sees a change marked with [`MARKER`].
    #[must_use]
    pub fn when_marked(mut self, deed: Deed) -> Self {
        self.deed = Some(deed);
        self
    }

    /// An instance does no deed of [`Guest::when_marked`] in its first calls, so many of them.
    #[must_use]
    pub fn after_calls(mut self, calls: u32) -> Self {
        self.after_calls = calls;
        self
    }

    /// It wants documents as JSON.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.json = true;
        self
    }

    /// What it does in its start function, before anything is called.
    #[must_use]
    pub fn in_start(mut self, deed: Deed) -> Self {
        self.in_start = Some(deed);
        self
    }

    /// What it does when it is asked for its manifest.
    #[must_use]
    pub fn in_manifest(mut self, deed: Deed) -> Self {
        self.in_manifest = Some(deed);
        self
    }

    /// What it does when it is configured.
    #[must_use]
    pub fn in_configure(mut self, deed: Deed) -> Self {
        self.in_configure = Some(deed);
        self
    }

    /// What it does when it is asked how it wants documents.
    #[must_use]
    pub fn in_encoding(mut self, deed: Deed) -> Self {
        self.in_encoding = Some(deed);
        self
    }

    /// What it does when the host asks it for memory: for [`REALLOC_FROM`] bytes or more, which a big document is.
    #[must_use]
    pub fn in_realloc(mut self, deed: Deed) -> Self {
        self.in_realloc = Some(deed);
        self
    }

    /// What it does when the host has read the results of a call with a marked change.
    #[must_use]
    pub fn in_post_return(mut self, deed: Deed) -> Self {
        self.in_post_return = Some(deed);
        self
    }

    /// More fields of its module, in WebAssembly text.
    #[must_use]
    pub fn with(mut self, fields: impl Into<String>) -> Self {
        self.fields = fields.into();
        self
    }

    /// Its name in the manifest.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.manifest_name = name.into();
        self
    }

    /// It refuses every configuration, with this reason.
    #[must_use]
    pub fn refuses(mut self, reason: impl Into<String>) -> Self {
        self.refuses = Some(reason.into());
        self
    }

    /// It imports this interface too, such as `wasi:sockets/tcp@0.2.0`.
    #[must_use]
    pub fn imports(mut self, interface: impl Into<String>) -> Self {
        self.foreign = Some(interface.into());
        self
    }

    /// Writes the component to `DIR/NAME.wasm`, in one step as a careful person would (written beside it, then moved).
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn install(&self, dir: &Path, name: &str) -> PathBuf {
        let file = dir.join(format!("{name}.wasm"));
        let beside = dir.join(format!(".{name}.new"));
        std::fs::write(&beside, self.component())
            .and_then(|()| std::fs::rename(&beside, &file))
            .unwrap_or_else(|error| panic!("writing {}: {error}", file.display()));
        file
    }

    /// The component.
    ///
    /// # Panics
    /// When the text of this file is wrong.
    #[must_use]
    pub fn component(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        resolve.push_dir(&wit).unwrap_or_else(|error| panic!("reading {}: {error:#}", wit.display()));
        let package = resolve.push_str("guest.wit", &self.wit()).unwrap_or_else(|error| panic!("the world: {error:#}"));
        let world = resolve.select_world(&[package], Some("guest")).expect("the world is there");
        let mut module = self.module();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world can be encoded");
        let mut encoder = ComponentEncoder::default();
        encoder.validate(true).module(&module).unwrap_or_else(|error| panic!("the guest's module: {error:#}"));
        encoder.encode().unwrap_or_else(|error| panic!("the guest's component: {error:#}"))
    }

    /// The core module alone, which is no plugin.
    ///
    /// # Panics
    /// As [`Guest::component`].
    #[must_use]
    pub fn module(&self) -> Vec<u8> {
        let text = self.wat();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("the guest's text: {error}\n{text}"))
    }

    fn wit(&self) -> String {
        let mut text = String::from("package tests:guest;\nworld guest {\n");
        for role in &self.roles {
            let _ = writeln!(text, "  include tidegate:plugin/{}-plugin@0.1.0;", role.name());
        }
        if self.roles.is_empty() {
            text.push_str("  import tidegate:plugin/log@0.1.0;\n  export tidegate:plugin/plugin@0.1.0;\n");
        }
        if let Some(interface) = &self.foreign {
            let _ = writeln!(text, "  import {interface};");
        }
        for import in self.imports_of_deeds() {
            let _ = writeln!(text, "  import {};", import.interface);
        }
        if self.has_encoding() {
            text.push_str("  export tidegate:plugin/documents@0.1.0;\n");
        }
        text.push_str("}\n");
        text.push_str(include_str!("wasi.wit"));
        if let Some(interface) = &self.foreign {
            let (name, version) = interface.split_once('@').expect("an interface with a version");
            let (package, interface) = name.split_once('/').expect("an interface of a package");
            assert!(!text.contains(&format!("package {package}@")), "wasi.wit has the package of {interface} already");
            let _ = writeln!(text, "package {package}@{version} {{ interface {interface} {{ ask: func(); }} }}");
        }
        text
    }

    /// What the deeds ask of the host, each once.
    fn imports_of_deeds(&self) -> Vec<deed::Import> {
        let deeds = [
            self.deed,
            self.in_start,
            self.in_manifest,
            self.in_configure,
            self.in_encoding,
            self.in_realloc,
            self.in_post_return,
        ];
        let mut imports: Vec<deed::Import> = Vec::new();
        for import in deeds.into_iter().flatten().flat_map(Deed::imports) {
            if !imports.contains(import) {
                imports.push(*import);
            }
        }
        imports
    }

    fn has_encoding(&self) -> bool {
        self.json || self.in_encoding.is_some()
    }

    fn wat(&self) -> String {
        let mut data = Data::default();
        let version = data.put(&self.version);
        let line = data.put(LOG_LINE);
        let lifecycle = self.lifecycle(&mut data, version);
        let role_deeds =
            role::Deeds { marked: self.deed, after_calls: self.after_calls, post_return: self.in_post_return };
        let roles: String = self.roles.iter().map(|role| role.wat(&mut data, version, role_deeds)).collect();
        let mut foreign = self
            .foreign
            .as_ref()
            .map(|interface| format!("(import \"{interface}\" \"ask\" (func $ask))"))
            .unwrap_or_default();
        for import in self.imports_of_deeds() {
            foreign.push_str(import.text);
        }
        let prelude = include_str!("prelude.wat")
            .replace("{realloc_from}", &REALLOC_FROM.to_string())
            .replace("{realloc_deed}", &self.in_realloc.map(Deed::anywhere).unwrap_or_default())
            .replace("{pages}", &(data.end() / 0x1_0000 + 1).to_string())
            .replace("{base}", &data.end().to_string())
            .replace("{version_at}", &version.at.to_string())
            .replace("{version_length}", &version.length.to_string())
            .replace("{stamp_length}", &(version.length + STAMP_SUFFIX).to_string())
            .replace("{slash_end}", &(version.length + 1).to_string())
            .replace("{line_at}", &line.at.to_string())
            .replace("{line_length}", &line.length.to_string());
        format!(
            "(module\n  (import \"tidegate:plugin/log@0.1.0\" \"log\" (func $log (param i32 i32 i32)))\n  {foreign}\n\
             {prelude}\n{}\n{lifecycle}\n{roles}\n  {}\n)",
            self.fields,
            data.wat()
        )
    }

    /// `manifest`, `configure` and the start function.
    fn lifecycle(&self, data: &mut Data, version: Text) -> String {
        let deed = |deed: Option<Deed>| deed.map(|deed| deed.anywhere()).unwrap_or_default();
        let name = data.put(&self.manifest_name);
        let description = data.put("made by a test");
        let mut fields = String::new();
        for (offset, text) in [(0, name), (8, version), (16, description)] {
            let _ = writeln!(fields, "    (call $store_span (i32.add (local.get $area) (i32.const {offset})) {text})");
        }
        if let Some(schema) = &self.config_schema {
            let schema = data.put(schema);
            let _ = writeln!(fields, "    (i32.store8 offset=24 (local.get $area) (i32.const 1))");
            let _ = writeln!(fields, "    (call $store_span (i32.add (local.get $area) (i32.const 28)) {schema})");
        }
        let refusal = match &self.refuses {
            Some(reason) => {
                let reason = data.put(reason);
                format!(
                    "(i32.store8 (local.get $area) (i32.const 1)) \
                     (call $store_span (i32.add (local.get $area) (i32.const 4)) {reason})"
                )
            }
            None => String::new(),
        };
        let encoding = match self.has_encoding() {
            true => format!(
                "(func (export \"tidegate:plugin/documents@0.1.0#encoding\") (result i32) {} (i32.const {}))",
                deed(self.in_encoding),
                u8::from(self.json)
            ),
            false => String::new(),
        };
        let start = match self.in_start {
            Some(_) => format!("(func $start {})\n  (start $start)", deed(self.in_start)),
            None => String::new(),
        };
        format!(
            r#"  {start}
  {encoding}
  (func (export "tidegate:plugin/plugin@0.1.0#manifest") (result i32)
    (local $area i32)
    {}
    (local.set $area (call $zeroed (i32.const 36)))
{fields}    (local.get $area))
  (func (export "cabi_post_tidegate:plugin/plugin@0.1.0#manifest") (param i32) (call $free_all))
  (func (export "tidegate:plugin/plugin@0.1.0#configure") (param $config i32) (param $config_length i32) (result i32)
    (local $area i32)
    {}
    (local.set $area (call $zeroed (i32.const 12)))
    {refusal}
    (local.get $area))
  (func (export "cabi_post_tidegate:plugin/plugin@0.1.0#configure") (param i32) (call $free_all))"#,
            deed(self.in_manifest),
            deed(self.in_configure),
        )
    }
}

/// `/` and six digits.
const STAMP_SUFFIX: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_is_a_sound_component() {
        // Encoding validates: what is malformed panics here, and not in a test of the host.
        for role in Role::ALL {
            let plain = Guest::new(role).component();
            assert!(plain.starts_with(b"\0asm\x0d\0\x01\0"), "{role:?} is no component");
            let deeds = [Deed::LoopForever, Deed::GrowMemory, Deed::Trap, Deed::Recurse, Deed::LogLines(3)];
            for deed in deeds.into_iter().chain([Deed::DropResult, Deed::AddResult]) {
                assert_ne!(Guest::new(role).when_marked(deed).component(), plain, "{role:?} does nothing for {deed:?}");
            }
        }
        let anywhere = [
            Deed::Leak(1),
            Deed::GrowTable,
            Deed::DivideByZero,
            Deed::DivideOverflow,
            Deed::ConvertNan,
            Deed::ReadOutside,
            Deed::FillOutside,
            Deed::CopyOutside,
            Deed::TableOutside,
            Deed::CallOutside,
            Deed::CallNull,
            Deed::CallWrongType,
            Deed::LogLong(9),
            Deed::LogOutside,
            Deed::CountNames(9),
            Deed::GaugeLong(9),
            Deed::Print(9),
            Deed::KeepStreams(9),
            Deed::KeepPollables(9),
            Deed::Sleep,
            Deed::Random(9),
            Deed::Exit,
        ];
        for deed in anywhere {
            let _ = Guest::new(Role::Validator).when_marked(deed).in_realloc(deed).in_post_return(deed).component();
        }
        let _ = Guest::new(Role::Stamper).when_marked(Deed::Outputs(9)).json().in_encoding(Deed::Trap).component();
        let _ = Guest::new(Role::Stamper).when_marked(Deed::Headers(9)).with("(memory 1)").component();
        for role in [Role::Router, Role::Stamper] {
            let _ = Guest::new(role).when_marked(Deed::Store(At::Output, 4, 9)).component();
        }
        for deed in [Deed::SpanOutside, Deed::InvalidText, Deed::InvalidDocument, Deed::CorruptDocument, Deed::Fail] {
            let _ = Guest::new(Role::Migrator).when_marked(deed).component();
        }
        let _ = Guest::new(Role::Validator).when_marked(Deed::Reject(10)).refuses("no").config_schema("{}").component();
        let _ = Guest::new(Role::Router).when_marked(Deed::UnknownSink).in_start(Deed::Trap).component();
        let _ = Guest::with_roles(&[Role::Migrator, Role::Router])
            .in_manifest(Deed::Trap)
            .in_configure(Deed::Trap)
            .component();
        let foreign = Guest::new(Role::Validator).imports("wasi:sockets/tcp@0.2.0").component();
        let name = b"wasi:sockets/tcp@0.2.0";
        assert!(foreign.windows(name.len()).any(|window| window == name), "the import was left out");
    }

    #[test]
    fn versions_differ_in_their_bytes() {
        let [one, two] = ["v1", "v2"].map(|version| Guest::new(Role::Router).version(version).component());
        assert_ne!(one, two);
    }
}
