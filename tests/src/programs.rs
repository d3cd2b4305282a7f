//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// The program `name` of this workspace (`tidegate`), as built for this test run: beside the running test.
///
/// # Panics
/// When it was not built, with the command that builds it.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let folder = profile_folder();
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} is missing: build it with `cargo build --release -p {name}`, or run the tests through `./dev test`",
        program.display()
    );
    program
}

/// The component of a plugin of this workspace, such as `inventory-validator`.
///
/// # Panics
/// When it was not built, with the command that builds it.
#[must_use]
pub fn plugin(name: &str) -> PathBuf {
    let folder = profile_folder();
    let component = folder.parent().unwrap_or(&folder).join("plugins").join(format!("{name}.wasm"));
    assert!(
        component.is_file(),
        "{} is missing: build it with `./dev plugins {name}`, or run the tests through `./dev test`",
        component.display()
    );
    component
}

/// `target/release`: a test's program lies in `deps` below it, other programs right there.
fn profile_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the path of the running program");
    let folder = program.parent().unwrap_or(Path::new("."));
    match folder.file_name() {
        Some(name) if name == "deps" => folder.parent().unwrap_or(folder).to_path_buf(),
        _ => folder.to_path_buf(),
    }
}
