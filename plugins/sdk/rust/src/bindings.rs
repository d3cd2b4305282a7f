//! The generated side of the contract. Nothing outside this crate names a type from here.
//!
//! A plugin exports `plugin` and one role or more, so each interface gets a world of its own here: its export
//! macro can then be used on its own, and the sections that describe them are joined by the linker. Worlds that
//! share an interface would define the same export macro twice.
#![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]

/// What every plugin has: the imports, the shared types and the interface `plugin`.
pub mod base {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package tidegate:sdk-base;
            world base {
                import tidegate:plugin/types@0.1.0;
                import tidegate:plugin/log@0.1.0;
                import tidegate:plugin/metrics@0.1.0;
                export tidegate:plugin/plugin@0.1.0;
            }
        ",
        generate_all,
        generate_unused_types: true,
        pub_export_macro: true,
        export_macro_name: "export_base",
    });
}

/// What an operator may grant. A plugin imports of it what it calls, and nothing else.
pub mod granted {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package tidegate:sdk-granted;
            world granted {
                import tidegate:plugin/clock@0.1.0;
                import tidegate:plugin/random@0.1.0;
                import tidegate:plugin/environment@0.1.0;
                import tidegate:plugin/http@0.1.0;
            }
        ",
        generate_all,
    });
}

pub mod validator {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package tidegate:sdk-validator; world validator { export tidegate:plugin/validator@0.1.0; }",
        with: { "tidegate:plugin/types@0.1.0": crate::bindings::base::tidegate::plugin::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_role",
    });
}

pub mod migrator {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package tidegate:sdk-migrator; world migrator { export tidegate:plugin/migrator@0.1.0; }",
        with: { "tidegate:plugin/types@0.1.0": crate::bindings::base::tidegate::plugin::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_role",
    });
}

pub mod router {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package tidegate:sdk-router; world router { export tidegate:plugin/router@0.1.0; }",
        with: { "tidegate:plugin/types@0.1.0": crate::bindings::base::tidegate::plugin::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_role",
    });
}

pub mod transformer {
    wit_bindgen::generate!({
        path: "wit",
        inline: "package tidegate:sdk-transformer; world transformer { export tidegate:plugin/transformer@0.1.0; }",
        with: { "tidegate:plugin/types@0.1.0": crate::bindings::base::tidegate::plugin::types },
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_role",
    });
}

pub use base::tidegate::plugin::types;

/// The source of the crate getrandom, which a target without a system wants from the program: what its bytes are for is said at the feature.
#[cfg(all(target_arch = "wasm32", feature = "constant-randomness"))]
mod randomness {
    #[unsafe(no_mangle)]
    unsafe extern "Rust" fn __getrandom_v03_custom(dest: *mut u8, len: usize) -> Result<(), getrandom::Error> {
        // SAFETY: by that interface `dest` is `len` bytes that may be written.
        unsafe { std::ptr::write_bytes(dest, 0x5a, len) };
        Ok(())
    }
}
