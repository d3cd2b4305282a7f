//! The keys that lead to a value.

use std::fmt;

/// The keys that lead to a value.
pub(super) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl Path<'_> {
    /// ` in pipeline ...`, to be put behind the name of a key.
    pub(super) fn within(&self) -> String {
        match self {
            Path::Root => " at the top level".to_owned(),
            Path::Key(Path::Key(Path::Root, "pipelines"), name) => format!(" in pipeline `{name}`"),
            Path::Key(Path::Key(Path::Key(Path::Key(Path::Root, "pipelines"), pipeline), "sinks"), name) => {
                format!(" in sink `{name}` of pipeline `{pipeline}`")
            }
            path => format!(" in `{path}`"),
        }
    }
}
