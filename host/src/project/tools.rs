//! Other people's tools: found, run, and what they say passed on.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::error::{Code, Fault};

/// A tool that is there.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    program: PathBuf,
    /// Before all others: a tool that is a part of another.
    first: Vec<String>,
}

impl Tool {
    /// The first of some ways to call a tool that answers to `--version` or the like.
    pub(super) fn find(ways: &[&[&str]], asked: &str, needed_for: &str, how: &str) -> Result<Self, Fault> {
        for way in ways {
            let Some((program, first)) = way.split_first() else { continue };
            let answers = Command::new(program)
                .args(first)
                .arg(asked)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if answers.is_ok_and(|status| status.success()) {
                let first = first.iter().map(|arg| (*arg).to_owned()).collect();
                return Ok(Self { program: program.into(), first });
            }
        }
        let names: Vec<String> = ways.iter().map(|way| format!("`{}`", way.join(" "))).collect();
        Err(Fault::fatal(
            Code::ToolMissing,
            format!("{needed_for} needs {}, which is not there; {how}", names.join(" or ")),
        ))
    }

    pub(super) fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), first: Vec::new() }
    }

    /// The call, to be given arguments.
    pub(super) fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.first).current_dir(folder).stdin(Stdio::null());
        command
    }
}

/// Runs a tool to its end, and gives back what it wrote to standard output.
///
/// # Errors
/// With all that it said.
pub(super) fn run(command: &mut Command, what: &str) -> Result<Vec<u8>, Fault> {
    let shown = shown(command);
    let output =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().map_err(|cause| missing(&cause, &shown))?;
    if output.status.success() {
        // Warnings are for the person.
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return Ok(output.stdout);
    }
    // What is for people goes to standard error, where a tool tells the two apart.
    let said = if output.stderr.is_empty() { output.stdout } else { output.stderr };
    Err(Fault::fatal(
        Code::BuildFailed,
        format!("{what} failed ({}): `{shown}` said:\n{}", output.status, String::from_utf8_lossy(&said).trim_end()),
    ))
}

fn missing(cause: &io::Error, shown: &str) -> Fault {
    Fault::fatal(Code::ToolMissing, format!("`{shown}` cannot be run: {cause}"))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
