//! What a step does to a document, one thing after the other.

use std::fmt;

use serde_json::{Map, Value as Json};

use super::{
    constant::Constant,
    convert::Target,
    path::Path,
    tree::{Fields, Item},
};
use crate::{
    complaint::quoted,
    config::{OperationConfig, Other},
    view::text,
};

/// One thing that a step does. A field that is not there is left alone: the schema says which ones must be.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Rename { from: Path, to: String },
    Move { from: Path, to: Path },
    Default { path: Path, value: Constant },
    Set { path: Path, value: Constant },
    Remove(Path),
    Convert { path: Path, to: Target },
    Split { field: Path, by: String, into: Vec<Path> },
    Join { fields: Vec<Path>, with: String, into: Path },
    Map { field: Path, values: Vec<(String, Constant)>, other: Other },
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rename { from, .. } => write!(f, "rename {from}"),
            Self::Move { from, to } => write!(f, "move {from} to {to}"),
            Self::Default { path, .. } => write!(f, "default {path}"),
            Self::Set { path, .. } => write!(f, "set {path}"),
            Self::Remove(path) => write!(f, "remove {path}"),
            Self::Convert { path, .. } => write!(f, "convert {path}"),
            Self::Split { field, .. } => write!(f, "split {field}"),
            Self::Join { into, .. } => write!(f, "join into {into}"),
            Self::Map { field, .. } => write!(f, "map {field}"),
        }
    }
}

fn each<'a>(
    map: &'a Map<String, Json>,
    make: impl Fn(&str, &'a Json) -> Result<Operation, String> + 'a,
) -> impl Iterator<Item = Result<Operation, String>> + 'a {
    map.iter().map(move |(path, value)| make(path, value))
}

fn name(value: &Json) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("{value} must be text"))
}

impl Operation {
    /// What a line of the configuration says: a line with several fields makes an operation of each.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(config: &OperationConfig) -> Result<Vec<Self>, String> {
        match config {
            OperationConfig::Rename(map) => each(map, |from, to| {
                let to = name(to)?;
                if to.contains(['.', '[', ']']) {
                    return Err(format!("rename {from}: {to:?} is no name of a field; use move to put it elsewhere"));
                }
                Ok(Self::Rename { from: Path::parse_field(from)?, to: to.to_owned() })
            })
            .collect(),
            OperationConfig::Move(map) => each(map, |from, to| {
                let (from, to) = (Path::parse_single(from)?, Path::parse_single(name(to)?)?);
                if to != from && to.is_within(&from) {
                    return Err(format!("move {from}: {to} lies within it"));
                }
                Ok(Self::Move { from, to })
            })
            .collect(),
            OperationConfig::Default(map) => each(map, |path, value| {
                Ok(Self::Default { path: Path::parse_field(path)?, value: Constant::new(value)? })
            })
            .collect(),
            OperationConfig::Set(map) => {
                each(map, |path, value| Ok(Self::Set { path: Path::parse_field(path)?, value: Constant::new(value)? }))
                    .collect()
            }
            OperationConfig::Remove(paths) => {
                paths.iter().map(|path| Path::parse_field(path).map(Self::Remove)).collect()
            }
            OperationConfig::Convert(map) => {
                each(map, |path, to| Ok(Self::Convert { path: Path::parse(path)?, to: Target::parse(name(to)?)? }))
                    .collect()
            }
            OperationConfig::Split(split) => {
                let into = split.into.iter().map(|path| Path::parse_single(path)).collect::<Result<_, _>>()?;
                Ok(vec![Self::Split { field: Path::parse_single(&split.field)?, by: split.by.clone(), into }])
            }
            OperationConfig::Join(join) => {
                let fields = join.fields.iter().map(|path| Path::parse_single(path)).collect::<Result<_, _>>()?;
                Ok(vec![Self::Join { fields, with: join.with.clone(), into: Path::parse_single(&join.into)? }])
            }
            OperationConfig::Map(map) => {
                let value = |(text, value): (&String, &Json)| Ok((text.clone(), Constant::new(value)?));
                let values = map.values.iter().map(value).collect::<Result<_, String>>()?;
                Ok(vec![Self::Map { field: Path::parse(&map.field)?, values, other: map.other }])
            }
        }
    }

    /// # Errors
    /// Why it cannot be done to this document.
    pub(crate) fn run<'a>(&'a self, fields: &mut Fields<'a>) -> Result<(), String> {
        match self {
            Self::Rename { from, to } => from.each_parent(fields, false, &mut |fields, name| {
                fields.rename(name, to);
                Ok(())
            }),
            Self::Move { from, to } => match from.take(fields)? {
                Some(item) => to.put(fields, item),
                None => Ok(()),
            },
            Self::Default { path, value } => path.each_parent(fields, true, &mut |fields, name| {
                if !fields.has(name) {
                    fields.set(name, value.item());
                }
                Ok(())
            }),
            Self::Set { path, value } => path.each_parent(fields, true, &mut |fields, name| {
                fields.set(name, value.item());
                Ok(())
            }),
            Self::Remove(path) => path.each_parent(fields, false, &mut |fields, name| {
                fields.remove(name);
                Ok(())
            }),
            Self::Convert { path, to } => path.each_value(fields, &mut |item| {
                *item = to.convert(item)?;
                Ok(())
            }),
            Self::Split { field, by, into } => split(fields, field, by, into),
            Self::Join { fields: from, with, into } => join(fields, from, with, into),
            Self::Map { field, values, other } => field.each_value(fields, &mut |item| {
                let key = item.value().and_then(|value| value.to_text().or_else(|| text(value)));
                match key.as_deref().and_then(|key| values.iter().find(|(known, _)| known == key)) {
                    Some((_, value)) => *item = value.item(),
                    None if *other == Other::Keep => {}
                    None => {
                        let known: Vec<&str> = values.iter().map(|(known, _)| known.as_str()).collect();
                        let found = key.as_deref().map_or_else(|| item.type_name().to_owned(), quoted);
                        return Err(format!("is {found}, the values it may have are {}", known.join(", ")));
                    }
                }
                Ok(())
            }),
        }
    }
}

/// The last field gets what is left; where there are fewer parts than fields, the last fields are left out.
fn split<'a>(fields: &mut Fields<'a>, field: &Path, by: &str, into: &[Path]) -> Result<(), String> {
    let Some(item) = field.take(fields)? else { return Ok(()) };
    let Some(text) = item.value().and_then(|value| value.as_str()) else {
        return Err(format!("must be a string, is {}", item.type_name()));
    };
    for (path, part) in into.iter().zip(text.splitn(into.len(), by)) {
        path.put(fields, Item::Text(part.to_owned()))?;
    }
    Ok(())
}

/// Fields that are not there, or null, are left out.
fn join<'a>(fields: &mut Fields<'a>, from: &[Path], with: &str, into: &Path) -> Result<(), String> {
    let mut parts: Vec<String> = Vec::new();
    for path in from {
        let Some(item) = path.take(fields)? else { continue };
        match item.value() {
            Some(value) if value.is_null() => {}
            value => match value.and_then(|value| {
                value
                    .to_text()
                    .map(std::borrow::Cow::into_owned)
                    .or_else(|| text(value).map(std::borrow::Cow::into_owned))
            }) {
                Some(part) => parts.push(part),
                None => return Err(format!("{path} is {}, which has no form as text", item.type_name())),
            },
        }
    }
    if parts.is_empty() { Ok(()) } else { into.put(fields, Item::Text(parts.join(with))) }
}
