//! What a plugin file is made of, counted before it is compiled.
//!
//! Compiling cannot be stopped half-way, and what it costs is no matter of the file's size: a million empty functions fit into
//! 4 MB and take minutes and 4 GB, one function of 6 MB with many small blocks takes longer still (time and memory of one function
//! grow with the square of its size). So the things that cost are counted first, which is quick, and a file with more of one
//! than a compiler of any language makes is refused with the count. The largest components that were seen, interpreters of
//! Python and JavaScript, reach a quarter of the bounds (a third of that of code).

use wasmparser::{Parser, Payload};

/// Bytes of a file. It is refused before it is read.
pub(super) const MOST_BYTES: u64 = 64 << 20;

/// Functions: about 6 KB and 50 us of compiling each, be they empty.
const MOST_FUNCTIONS: u64 = 1 << 16;
/// Bytes of code in all functions.
const MOST_CODE: u64 = 32 << 20;
/// The sum of the squares of the sizes of all functions: one function of 1 MiB, or four of half that.
const MOST_SQUARES: u64 = 1 << 40;
/// Local variables of all functions: five bytes declare fifty thousand of them.
const MOST_LOCALS: u64 = 1 << 20;
/// Global variables: each instance of a module has them all.
const MOST_GLOBALS: u64 = 1 << 14;
/// Types of modules and of components.
const MOST_TYPES: u64 = 1 << 16;
/// Modules and components inside of the component.
const MOST_PARTS: u64 = 1 << 10;

/// One thing that is counted.
struct Count {
    what: &'static str,
    most: u64,
    so_far: u64,
}

impl Count {
    const fn of(what: &'static str, most: u64) -> Self {
        Self { what, most, so_far: 0 }
    }

    fn add(&mut self, more: u64) -> Result<(), String> {
        self.so_far = self.so_far.saturating_add(more);
        if self.so_far <= self.most {
            return Ok(());
        }
        // The count so far, since the rest of the file is not looked at.
        Err(format!("it has {} or more {}, {} is the most", self.so_far, self.what, self.most))
    }
}

/// Counts, and stops at the first bound that is passed. What is malformed is left to the compiler, which tells it better.
///
/// # Errors
/// In words: what there is too much of.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let mut functions = Count::of("functions", MOST_FUNCTIONS);
    let mut code = Count::of("bytes of code", MOST_CODE);
    let mut squares = Count::of("as the sum of the squares of its functions' sizes in bytes", MOST_SQUARES);
    let mut locals = Count::of("local variables", MOST_LOCALS);
    let mut globals = Count::of("global variables", MOST_GLOBALS);
    let mut types = Count::of("types", MOST_TYPES);
    let mut parts = Count::of("modules and components", MOST_PARTS);
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { return Ok(()) };
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => parts.add(1)?,
            Payload::TypeSection(section) => types.add(section.count().into())?,
            Payload::CoreTypeSection(section) => types.add(section.count().into())?,
            Payload::ComponentTypeSection(section) => types.add(section.count().into())?,
            Payload::FunctionSection(section) => functions.add(section.count().into())?,
            Payload::GlobalSection(section) => globals.add(section.count().into())?,
            Payload::CodeSectionEntry(body) => {
                let size = body.range().len() as u64;
                code.add(size)?;
                squares.add(size.saturating_mul(size))?;
                for group in body.get_locals_reader().into_iter().flatten() {
                    let Ok((count, _)) = group else { return Ok(()) };
                    locals.add(count.into())?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::check;

    fn checked(text: &str) -> Result<(), String> {
        check(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn a_plain_component_passes_and_what_is_malformed_is_for_the_compiler_to_tell() {
        assert_eq!(checked("(component (core module (func (local i32 i64))))"), Ok(()));
        assert_eq!(check(b"\0asm\x0d\0\x01\0 and rubbish"), Ok(()));
    }

    #[test]
    fn each_bound_is_told_with_its_count() {
        let many = |count: usize, part: &str| format!("(component (core module {}))", part.repeat(count));
        let functions = checked(&many((1 << 16) + 1, "(func)"));
        assert_eq!(functions.unwrap_err(), "it has 65537 or more functions, 65536 is the most");
        let globals = checked(&many((1 << 14) + 1, "(global i32 (i32.const 0))"));
        assert_eq!(globals.unwrap_err(), "it has 16385 or more global variables, 16384 is the most");
        let locals = format!("(func (local {}))", "i32 ".repeat(40_000));
        assert!(checked(&many(27, &locals)).unwrap_err().contains("local variables"));
        let big = format!("(func {})", "nop ".repeat((1 << 20) + 10));
        assert!(checked(&many(1, &big)).unwrap_err().contains("the sum of the squares"));
        // Two modules count together.
        let mut text = String::from("(component ");
        for _ in 0..1025 {
            let _ = write!(text, "(core module)");
        }
        assert!(checked(&format!("{text})")).unwrap_err().contains("modules and components"));
    }
}
