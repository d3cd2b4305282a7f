//! Settings from the environment: `TIDEGATE__PIPELINES__SHOP__LANES=4` wins over the file.
//!
//! The parts of a name lead from key to key, without regard to case, with `_` where a key has `-`, and by number into a list. What
//! they set is put into the tree before it is decoded, so it is checked as if it stood in the file. Its place is behind the end of
//! the text: a problem there is told with the name of the variable.

#[cfg(test)]
mod tests;

use std::{collections::HashSet, ffi::OsString, ops::Range};

use super::{
    env_file::Variables,
    mask::Masks,
    node::{self, Key, Node, Origin, Scalar, Value},
    problem::Draft,
};
use crate::error::Code;

/// What the names of these variables begin with.
const PREFIX: &str = "TIDEGATE__";
/// What stands between the keys.
const BETWEEN: &str = "__";

/// Variables that set something, what sets a whole before what sets a part of it.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<Setting>);

#[derive(Clone)]
struct Setting {
    name: String,
    /// None: it is no UTF-8.
    value: Option<String>,
    /// The file and line that set it; none: the process has it.
    from: Option<String>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Setting {
    fn parts(&self) -> Vec<&str> {
        self.name.get(PREFIX.len()..).unwrap_or_default().split(BETWEEN).collect()
    }

    /// What it sets: equal for two names of the same. Items of a list are sorted as numbers.
    fn target(&self) -> Vec<(Option<usize>, String)> {
        self.parts().iter().map(|part| (part.parse().ok(), shouted(part))).collect()
    }
}

impl Settings {
    /// Of these variables, those that set something.
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            name.starts_with(PREFIX).then(|| Setting { name, value: value.into_string().ok(), from: None })
        });
        Self(ours.collect()).in_order()
    }

    /// Those of the process, and of files those that the process does not set.
    pub(super) fn of_process(files: &Variables) -> Self {
        let mut own = Self::of(std::env::vars_os());
        let known: HashSet<_> = own.0.iter().map(Setting::target).collect();
        let more = files.iter().filter(|(name, _)| name.starts_with(PREFIX)).map(|(name, variable)| Setting {
            name: name.clone(),
            value: Some(variable.value.clone()),
            from: Some(format!("{}:{}", variable.file, variable.line)),
        });
        own.0.extend(more.filter(|setting| !known.contains(&setting.target())));
        own.in_order()
    }

    fn in_order(mut self) -> Self {
        self.0.sort_by_cached_key(|setting| (setting.target(), setting.name.clone()));
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The variable that something behind the end of a text of this length comes from.
    pub(super) fn variable(&self, length: usize, place: &Range<usize>) -> Option<String> {
        let setting = self.0.get(place.start.checked_sub(length + 1)?)?;
        Some(match &setting.from {
            Some(from) => format!("{} of {from}", setting.name),
            None => setting.name.clone(),
        })
    }

    /// Sets all of them in the tree of a text of this length.
    pub(super) fn apply(&self, root: &mut Node, length: usize) -> Vec<Draft> {
        let mut problems = Vec::new();
        let mut before: Option<&Setting> = None;
        for (index, setting) in self.0.iter().enumerate() {
            let start = length + 1 + index;
            let walk = Walk { place: start..start + 1 };
            let done = match (before.replace(setting), &setting.value) {
                (Some(other), _) if other.target() == setting.target() => Err(Wrong::new(
                    format!("{} sets the same", other.name),
                    "unset one of them: parts of a name are the same in upper and lower case",
                )),
                (_, None) => Err(Wrong::new("its value is not UTF-8 text", "encode it as UTF-8")),
                (_, Some(value)) => {
                    let leaf = walk.node(Value::Scalar(Scalar {
                        text: value.clone(),
                        plain: true,
                        variables: vec![setting.name.clone()],
                        origin: Origin::Setting,
                    }));
                    walk.set(root, &setting.parts(), leaf)
                }
            };
            if let Err(Wrong { message, help }) = done {
                problems.push(Draft::new(Code::ConfigVariable, message).at(&(start..start + 1)).help(help));
            }
        }
        problems
    }
}

struct Wrong {
    message: String,
    help: String,
}

impl Wrong {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }
}

/// As it stands in the name of a variable.
fn shouted(key: &str) -> String {
    key.to_uppercase().replace('-', "_")
}

/// A list or a map that is the whole value of a variable, as YAML in brackets; none when the value is anything else. It is asked for only
/// where a list or a map is wanted: a password in brackets stays what it is.
pub(super) fn in_brackets(node: &Node) -> Option<Node> {
    let Value::Scalar(Scalar { text, variables, origin: Origin::Setting, .. }) = &node.value else { return None };
    let text = text.trim();
    let brackets =
        [('[', ']'), ('{', '}')].iter().any(|(open, close)| text.starts_with(*open) && text.ends_with(*close));
    let mut parsed = brackets.then(|| node::parse_literal(text, &mut Masks::default()).ok().flatten()).flatten()?;
    relocate(&mut parsed, variables, &node.place);
    Some(parsed)
}

/// Nothing of a text that is not the file's may be looked for in the file.
fn relocate(node: &mut Node, names: &[String], place: &Range<usize>) {
    node.place = place.clone();
    let is_null = node.is_null();
    match &mut node.value {
        // What is nothing in YAML is nothing here: `{stdout: }`.
        Value::Scalar(_) if is_null => {}
        Value::Scalar(scalar) => {
            scalar.variables = names.to_vec();
            scalar.origin = Origin::Brackets;
        }
        Value::List(items) => items.iter_mut().for_each(|item| relocate(item, names, place)),
        Value::Map(entries) => entries.iter_mut().for_each(|(key, node)| {
            key.place = place.clone();
            relocate(node, names, place);
        }),
    }
}

/// One setting on its way into the tree.
struct Walk {
    place: Range<usize>,
}

impl Walk {
    fn node(&self, value: Value) -> Node {
        Node { place: self.place.clone(), value }
    }

    /// What the rest of a name is set in, where nothing is yet.
    fn empty(&self, rest: &[&str]) -> Node {
        let is_item = rest.first().is_some_and(|part| part.parse::<usize>().is_ok());
        self.node(if is_item { Value::List(Vec::new()) } else { Value::Map(Vec::new()) })
    }

    fn set(&self, node: &mut Node, parts: &[&str], leaf: Node) -> Result<(), Wrong> {
        let Some((part, rest)) = parts.split_first() else {
            *node = leaf;
            return Ok(());
        };
        if part.is_empty() {
            return Err(Wrong::new(
                "a part of its name is empty",
                "write two underscores between the keys, such as TIDEGATE__LOG__LEVEL",
            ));
        }
        if let Some(parsed) = in_brackets(node) {
            *node = parsed;
        }
        if let Value::Scalar(scalar) = &node.value {
            // A bare word that chooses is kept when the rest is about its options: `checkpoint: file`.
            let chosen = (shouted(&scalar.text) == shouted(part)).then(|| scalar.text.clone());
            let mut map = self.empty(parts);
            if let (Some(name), Value::Map(entries)) = (chosen, &mut map.value) {
                entries.push((Key { name, place: node.place.clone() }, self.empty(rest)));
            }
            *node = map;
        }
        match &mut node.value {
            Value::List(items) => {
                let item = self.item(items, part, rest)?;
                self.set(item, rest, leaf)
            }
            Value::Map(entries) => {
                let (key, value) = self.entry(entries, part, rest)?;
                // The whole value, or a word that gives way to a list or a map.
                if rest.is_empty() || matches!(value.value, Value::Scalar(_)) {
                    key.place = self.place.clone();
                }
                self.set(value, rest, leaf)
            }
            Value::Scalar(_) => Ok(()),
        }
    }

    fn item<'n>(&self, items: &'n mut Vec<Node>, part: &str, rest: &[&str]) -> Result<&'n mut Node, Wrong> {
        let length = items.len();
        let wrong = || {
            let next =
                if length == 0 { "begin with 0".to_owned() } else { format!("take a number from 0 to {length}") };
            Wrong::new(
                format!("`{part}` is no place in a list of {length}"),
                format!("{next}, or set the whole list: `[a, b]`"),
            )
        };
        let index = part.parse::<usize>().ok().filter(|index| *index <= length).ok_or_else(wrong)?;
        if index == length {
            items.push(self.empty(rest));
        }
        items.get_mut(index).ok_or_else(wrong)
    }

    fn entry<'n>(
        &self,
        entries: &'n mut Vec<(Key, Node)>,
        part: &str,
        rest: &[&str],
    ) -> Result<(&'n mut Key, &'n mut Node), Wrong> {
        let wanted = shouted(part);
        let mut found = entries.iter().enumerate().filter(|(_, (key, _))| shouted(&key.name) == wanted);
        let at = match (found.next(), found.next()) {
            (Some((at, _)), None) => at,
            (None, _) => {
                // Most names of variables are in upper case, and no key is; one that is not was meant as it stands.
                let all_upper = !part.contains(|c: char| c.is_lowercase());
                let name = if all_upper { part.to_lowercase() } else { (*part).to_owned() };
                entries.push((Key { name, place: self.place.clone() }, self.empty(rest)));
                entries.len() - 1
            }
            (Some((_, (one, _))), Some((_, (other, _)))) => {
                return Err(Wrong::new(
                    format!("`{part}` may be `{}` and `{}`", one.name, other.name),
                    "rename one of them in the file, or write its value there as `${NAME}`",
                ));
            }
        };
        let none = || Wrong::new("it cannot be set", "write its value into the file");
        entries.get_mut(at).map(|(key, value)| (key, value)).ok_or_else(none)
    }
}
