//! How documents go from one version to another: the steps that are declared, and the way over them.

mod constant;
mod convert;
mod operation;
mod path;
mod tree;
mod way;

pub(crate) use way::{Plan, Steps};

use tidegate_plugin::bson::{Document, DocumentBuf, Value};

use self::{operation::Operation, tree::Fields};
use crate::config::{OperationConfig, StepConfig};

/// A step in one direction.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// As errors call it.
    name: String,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    Operations(Vec<Operation>),
    /// Another plugin of the pipeline does it.
    Elsewhere,
}

impl Step {
    /// The step that the configuration declares, and the way back where it has one.
    ///
    /// # Errors
    /// What is wrong with it, with its place in the configuration.
    fn parse(config: &StepConfig, at: &str, versions: &[String]) -> Result<Vec<Self>, String> {
        let version = |key: &str, name: &String| {
            versions.iter().position(|known| known == name).ok_or_else(|| {
                format!("{at}.{key}: there is no schema of version {name}; there are {}", versions.join(", "))
            })
        };
        let (from, to) = (version("from", &config.from)?, version("to", &config.to)?);
        if from == to {
            return Err(format!("{at}: it leads from {} to itself", config.from));
        }
        let named = |from: &str, to: &str| match &config.name {
            Some(name) => format!("{from}->{to} ({name})"),
            None => format!("{from}->{to}"),
        };
        let work = match (&config.r#do, &config.plugin) {
            (Some(operations), None) => Work::Operations(parse_operations(operations, &format!("{at}.do"))?),
            (None, Some(_)) => Work::Elsewhere,
            (Some(_), Some(_)) => return Err(format!("{at}: it has both do and plugin; take one of them")),
            (None, None) => {
                return Err(format!(
                    "{at}: it says neither do nor plugin; where only the version changes, write do: []"
                ));
            }
        };
        let mut steps = vec![Self { from, to, name: named(&config.from, &config.to), work }];
        if let Some(back) = &config.back {
            let work = Work::Operations(parse_operations(back, &format!("{at}.back"))?);
            steps.push(Self { from: to, to: from, name: named(&config.to, &config.from), work });
        }
        Ok(steps)
    }

    /// # Errors
    /// What went wrong, with the name of the step.
    fn run<'a>(&'a self, fields: &mut Fields<'a>) -> Result<(), String> {
        let Work::Operations(operations) = &self.work else { return Ok(()) };
        operations.iter().try_for_each(|operation| {
            operation.run(fields).map_err(|error| format!("step {}: {operation}: {error}", self.name))
        })
    }
}

fn parse_operations(operations: &[OperationConfig], at: &str) -> Result<Vec<Operation>, String> {
    let parsed = operations
        .iter()
        .enumerate()
        .map(|(index, operation)| Operation::parse(operation).map_err(|error| format!("{at}[{index}]: {error}")));
    Ok(parsed.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The version that is written into a document when it has been migrated.
pub(crate) enum Stamp<'a> {
    /// None: versions are told by shape.
    None,
    Text(&'a str, &'a str),
    Number(&'a str, i32),
}

/// Runs steps over a document.
///
/// # Errors
/// The step that failed, and why.
pub(crate) fn migrate<'a>(
    document: Document<'a>,
    steps: impl Iterator<Item = &'a Step>,
    stamp: Stamp<'a>,
) -> Result<DocumentBuf, String> {
    let mut fields = Fields::read(document.elements()).map_err(|error| error.to_string())?;
    for step in steps {
        step.run(&mut fields)?;
    }
    match stamp {
        Stamp::None => {}
        Stamp::Text(field, version) => fields.set(field, tree::Item::Value(Value::String(version))),
        Stamp::Number(field, version) => fields.set(field, tree::Item::Value(Value::Int32(version))),
    }
    Ok(fields.write(document.as_bytes().len() + 64))
}

#[cfg(test)]
mod tests;
