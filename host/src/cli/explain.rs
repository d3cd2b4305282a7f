//! `tidegate explain CODE`: the page of an error code, which is compiled in, so that it fits the version that runs.

use crate::error::Code;

/// The page of a code, in Markdown. The case of the code does not matter, and `TG` may be left out.
///
/// # Errors
/// What to print when there is no such code: the codes that look like it, or all of them.
pub(super) fn explain(code: &str) -> Result<&'static str, String> {
    let name = code.trim().to_uppercase();
    let name = if name.starts_with("TG") { name } else { format!("TG{name}") };
    if let Some(code) = Code::from_name(&name) {
        return Ok(code.page());
    }
    // Codes of one hundred belong to one part of tidegate.
    let family: Vec<&str> =
        Code::ALL.iter().map(|code| code.as_str()).filter(|known| known.get(..4) == name.get(..4)).collect();
    let (kind, codes) = if family.is_empty() {
        ("the codes are", Code::ALL.iter().map(|code| code.as_str()).collect())
    } else {
        ("near it are", family)
    };
    Err(format!("there is no error code `{}`; {kind} {}", code.trim(), codes.join(", ")))
}

/// The command: prints the page, or the list of codes, and gives the exit code.
pub(super) fn command(code: Option<&str>) -> u8 {
    let Some(code) = code else {
        let titles: String = Code::ALL
            .iter()
            .filter_map(|code| code.page().lines().next())
            .map(|title| format!("{}\n", title.trim_start_matches("# ")))
            .collect();
        super::print(&titles);
        return 0;
    };
    match explain(code) {
        Ok(page) => {
            super::print(page);
            0
        }
        Err(message) => {
            eprintln!("error: {message}");
            super::exit::CONFIGURATION
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::explain;
    use crate::error::Code;

    #[test]
    fn every_code_has_a_whole_page_and_every_page_a_code() {
        for code in Code::ALL {
            let page = code.page();
            assert!(page.starts_with(&format!("# {code}: ")), "first line of {code}.md");
            for heading in ["\n## What happened\n", "\n## Why\n", "\n## What to do\n"] {
                assert!(page.contains(heading), "{code}.md has no {}", heading.trim());
            }
            let lines = page.lines().count();
            assert!((10..=60).contains(&lines), "{code}.md has {lines} lines");
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
        for file in std::fs::read_dir(folder).expect("docs/errors") {
            let path = file.expect("entry").path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if stem == "README" {
                continue;
            }
            assert!(Code::from_name(stem).is_some(), "{} belongs to no code", path.display());
        }
    }

    #[test]
    fn codes_are_found_in_any_case_and_unknown_ones_name_their_neighbours() {
        assert_eq!(explain("tg0303"), explain(" 0303 "));
        assert!(explain("TG0303").is_ok_and(|page| page.starts_with("# TG0303")));
        let near = explain("TG0299").expect_err("no such code");
        assert!(near.contains("TG0201") && !near.contains("TG0101"), "{near}");
        assert!(explain("nonsense").is_err_and(|all| all.contains("TG0101") && all.contains("TG0702")));
        assert!(explain("€€€€").is_err());
    }
}
