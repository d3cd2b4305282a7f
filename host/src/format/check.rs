//! Checks BSON that came from a plugin, to the last element, before anything else reads it.

use bson::raw::{RawArray, RawBsonRef, RawDocument};

/// MongoDB takes documents nested up to 100 levels; a few more are let through, so that the server has the last word.
const DEEPEST: u32 = 200;

/// Checks a whole document.
///
/// # Errors
/// What is wrong with it.
pub fn check_document(bytes: &[u8]) -> Result<(), String> {
    check(RawDocument::from_bytes(bytes).map_err(|cause| cause.to_string())?, 0)
}

fn check(document: &RawDocument, depth: u32) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("it is nested more than {DEEPEST} levels deep"));
    }
    for element in document {
        let (_, value) = element.map_err(|cause| cause.to_string())?;
        check_value(value, depth)?;
    }
    Ok(())
}

fn check_value(value: RawBsonRef<'_>, depth: u32) -> Result<(), String> {
    match value {
        RawBsonRef::Document(document) => check(document, depth + 1),
        RawBsonRef::Array(array) => check_array(array, depth + 1),
        RawBsonRef::JavaScriptCodeWithScope(code) => check(code.scope, depth + 1),
        _ => Ok(()),
    }
}

fn check_array(array: &RawArray, depth: u32) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("it is nested more than {DEEPEST} levels deep"));
    }
    for value in array {
        check_value(value.map_err(|cause| cause.to_string())?, depth)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_document;
    use bson::rawdoc;

    #[test]
    fn good_documents_pass_and_broken_ones_do_not() {
        let good = rawdoc! { "a": 1, "b": { "c": ["x", { "d": true }] }, "e": "text" };
        assert_eq!(check_document(good.as_bytes()), Ok(()));
        // A string inside the nested document loses its terminator.
        let mut bad = good.as_bytes().to_vec();
        let at = bad.windows(2).position(|pair| pair == b"x\0").map(|at| at + 1);
        assert!(at.is_some());
        if let Some(byte) = at.and_then(|at| bad.get_mut(at)) {
            *byte = b'y';
        }
        assert!(check_document(&bad).is_err());
        assert!(check_document(&[]).is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let mut document = rawdoc! {};
        for _ in 0..250 {
            document = rawdoc! { "d": document };
        }
        assert!(check_document(document.as_bytes()).is_err_and(|cause| cause.contains("nested")));
    }
}
