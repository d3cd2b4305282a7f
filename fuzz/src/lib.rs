//! A guest that returns whatever it is told to, byte by byte.

use std::{fmt::Write as _, path::Path};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const ROLES: [(&str, &str); 4] =
    [("validator", "validate"), ("migrator", "migrate"), ("transformer", "transform"), ("router", "route")];

/// A component of all four roles, which returns the bytes that [`carried`] put into the id of the first change: they are its memory
/// from address 0, and the canonical ABI reads the result of the function from there.
pub fn guest(json: bool) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).expect("the contract is there");
    let mut wit = String::from("package fuzz:guest;\nworld guest {\n  include tidegate:plugin/json-documents@0.1.0;\n");
    let mut roles = String::new();
    for (role, function) in ROLES {
        let _ = writeln!(wit, "  include tidegate:plugin/{role}-plugin@0.1.0;");
        let name = format!("tidegate:plugin/{role}@0.1.0#{function}");
        // Arena, namespaces, headers, stride, changes: a change begins with the span of its id.
        let _ = writeln!(
            roles,
            "(func (export \"{name}\") (param $arena i32) (param i32 i32 i32 i32 i32 i32) (param $changes i32) (param i32)
               (result i32)
               (call $unpack
                 (i32.add (local.get $arena) (i32.load (local.get $changes)))
                 (i32.load offset=4 (local.get $changes))))
             (func (export \"cabi_post_{name}\") (param i32) (call $free_all (i32.const 0)))"
        );
    }
    wit.push_str("}\n");
    let package = resolve.push_str("guest.wit", &wit).expect("the world is sound");
    let world = resolve.select_world(&[package], Some("guest")).expect("the world is there");
    let text = include_str!("guest.wat").replace("{encoding}", if json { "1" } else { "0" }).replace("{roles}", &roles);
    let mut module = wat::parse_str(text).expect("the guest's text is sound");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("the world can be encoded");
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(&module).expect("the guest's module fits its world");
    encoder.encode().expect("the guest can be encoded")
}

/// Bytes as the guest takes them, as text.
pub fn carried(image: &[u8]) -> String {
    image.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(b'a' + nibble)).collect()
}
