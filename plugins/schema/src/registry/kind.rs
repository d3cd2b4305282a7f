//! A type of documents.

use std::borrow::Cow;

use jsonschema::Validator;
use serde_json::{Map, Value as Json};
use tidegate_plugin::{
    Change, Violations,
    bson::{Document, DocumentBuf},
};

use super::{files::Files, version::Rule};
use crate::{
    complaint,
    config::{Config, TypeConfig},
    steps::{self, Plan, Stamp, Steps},
    view::{Bson, Node, Shelf},
};

/// The word for the highest version.
const LATEST: &str = "latest";
/// The word for no migration.
const OFF: &str = "off";

pub(crate) struct Kind {
    pub(crate) name: String,
    collections: Vec<Collection>,
    fields: Vec<(String, Vec<String>)>,
    rule: Rule,
    versions: Vec<String>,
    schemas: Vec<Validator<Bson>>,
    steps: Steps,
    /// By version; none: documents of that version stay as they are.
    plans: Vec<Option<Plan>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Collection {
    database: Option<String>,
    name: String,
}

/// What is known of a document: the index of its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known(pub(crate) usize);

impl Kind {
    pub(crate) fn new(name: &str, own: &TypeConfig, all: &Config, files: &Files) -> Result<Self, String> {
        let at = format!("types.{name}");
        let versions = files.versions(name);
        let Some(highest) = versions.last() else {
            return Err(format!("{at}: it has no schema; put one into {name}/VERSION.json, {}", files.names()));
        };
        let version = |key: &str, name: &str| {
            versions.iter().position(|known| known == name).ok_or_else(|| {
                format!("{at}.{key}: there is no schema of version {name}; there are {}", versions.join(", "))
            })
        };
        let latest = version("latest", own.latest.as_deref().unwrap_or(highest))?;
        let steps = Steps::parse(&own.steps, &at, &versions)?;
        let target = match own.migrate.as_deref().or(all.migrate.as_deref()) {
            Some(OFF) => None,
            None if steps.is_empty() => None,
            None | Some(LATEST) => Some(latest),
            Some(name) => Some(version("migrate", name)?),
        };
        let plan = |from: usize| match target {
            Some(to) if to != from => steps.plan(from, to, &versions).map_err(|error| format!("{at}.steps: {error}")),
            _ => Ok(None),
        };
        let plans = (0..versions.len()).map(plan).collect::<Result<_, _>>()?;
        let rule = Rule::new(own.version.as_ref().or(all.version.as_ref()), &at, &versions)?;
        let schemas = versions.iter().map(|version| files.compile(name, version)).collect::<Result<_, _>>()?;
        let own_name = [name.to_owned()];
        let collections = match own.collections.as_slice() {
            [] if own.r#where.is_empty() => own_name.as_slice(),
            list => list,
        };
        Ok(Self {
            name: name.to_owned(),
            collections: collections.iter().map(|text| Collection::parse(text)).collect(),
            fields: wanted(&own.r#where),
            rule,
            versions,
            schemas,
            steps,
            plans,
        })
    }

    /// A collection whose documents would be of both types.
    pub(crate) fn overlaps(&self, other: &Self) -> Option<String> {
        if !self.fields.is_empty() || !other.fields.is_empty() {
            return None;
        }
        let same = |one: &Collection, two: &Collection| {
            one.name == two.name && (one.database.is_none() || two.database.is_none() || one.database == two.database)
        };
        let shared = self.collections.iter().find(|own| other.collections.iter().any(|it| same(own, it)));
        shared.map(|collection| collection.name.clone())
    }

    pub(crate) fn matches(&self, change: &Change<'_>) -> bool {
        let namespace = change.namespace();
        let of_collection = self.collections.is_empty()
            || self.collections.iter().any(|it| {
                it.name == namespace.collection && it.database.as_deref().is_none_or(|own| own == namespace.database)
            });
        of_collection
            && (self.fields.is_empty() || change.document().is_some_and(|document| self.has_fields(&document)))
    }

    fn has_fields(&self, document: &Document<'_>) -> bool {
        self.fields.iter().all(|(path, values)| {
            let text = document.get_path(path).and_then(|value| value.to_text());
            text.is_some_and(|text| values.iter().any(|value| *value == text))
        })
    }

    /// The version of a document.
    ///
    /// # Errors
    /// Why it has none.
    pub(crate) fn version(
        &self,
        document: Document<'_>,
        node: Option<Node<'_>>,
        shelf: &mut Shelf,
    ) -> Result<Known, Violations> {
        let Rule::Shape { order, .. } = &self.rule else { return self.rule.of(&document, &self.versions).map(Known) };
        let look = |node: Node<'_>| self.by_shape(order, node);
        match node {
            Some(node) => look(node),
            None => shelf.read(document, look).unwrap_or_else(|error| Err(single("", error))),
        }
    }

    fn by_shape(&self, order: &[usize], node: Node<'_>) -> Result<Known, Violations> {
        let schemas = || order.iter().filter_map(|index| Some((*index, self.schemas.get(*index)?)));
        if let Some((index, _)) = schemas().find(|(_, schema)| schema.is_valid(node)) {
            return Ok(Known(index));
        }
        // The version that it nearly has says most.
        let each = schemas().map(|(index, schema)| (index, complaint::violations(schema, node)));
        let nearest = each.min_by_key(|(_, violations)| violations.iter().len());
        let names: Vec<&str> = order.iter().filter_map(|index| self.versions.get(*index)).map(String::as_str).collect();
        let mut all = Violations::new();
        if let Some((index, violations)) = nearest {
            let name = self.versions.get(index).map_or("", String::as_str);
            all.add(
                "",
                format!("has the shape of no version of {} ({}); of {name} it lacks this", self.name, names.join(", ")),
            );
            for violation in violations {
                all.add(violation.path, violation.message);
            }
        }
        Err(all)
    }

    pub(crate) fn name_of(&self, version: Known) -> &str {
        self.versions.get(version.0).map_or("", String::as_str)
    }

    /// What is wrong with a document of a version.
    pub(crate) fn check(&self, version: Known, node: Node<'_>) -> Violations {
        match self.schemas.get(version.0) {
            Some(schema) if !schema.is_valid(node) => complaint::violations(schema, node),
            _ => Violations::new(),
        }
    }

    /// Whether versions are told by shape: a document that has one is known to fit it.
    pub(crate) fn is_by_shape(&self) -> bool {
        matches!(self.rule, Rule::Shape { .. })
    }

    /// What is to be done to documents of a version.
    pub(crate) fn plan(&self, version: Known) -> Option<&Plan> {
        self.plans.get(version.0)?.as_ref()
    }

    /// # Errors
    /// The step that failed, and why.
    pub(crate) fn migrate(&self, document: Document<'_>, plan: &Plan) -> Result<DocumentBuf, String> {
        let steps = plan.steps.iter().filter_map(|index| self.steps.get(*index));
        let stamp: Stamp<'_> = self.rule.stamp(&document, plan.to, &self.versions);
        steps::migrate(document, steps, stamp)
    }
}

impl Collection {
    fn parse(text: &str) -> Self {
        match text.split_once('.') {
            Some((database, name)) => Self { database: Some(database.to_owned()), name: name.to_owned() },
            None => Self { database: None, name: text.to_owned() },
        }
    }
}

/// Fields and the texts of the values that they may have.
fn wanted(fields: &Map<String, Json>) -> Vec<(String, Vec<String>)> {
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let values = |value: &Json| match value {
        Json::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    };
    fields.iter().map(|(path, value)| (path.clone(), values(value))).collect()
}

pub(crate) fn single<'a>(path: impl Into<Cow<'a, str>>, message: String) -> Violations {
    let mut violations = Violations::new();
    violations.add(path.into().into_owned(), message);
    violations
}
