//! Checks documents by JSON Schema files, and brings them from version to version by declared steps: schemas without code.
//!
//! What the stage's `config` says is in `config.rs`, its documentation in `docs/plugins/schema.md`. Everything is compiled when the
//! plugin is configured; a change then costs one pass over its document and the walk of the validator over that ([`view`]).

mod complaint;
mod config;
mod keywords;
mod registry;
mod steps;
mod view;

use tidegate_plugin::prelude::*;

use self::{
    config::{Config, Unknown},
    registry::Registry,
    view::Shelf,
};

struct Schema {
    registry: Registry,
    shelf: Shelf,
}

impl Plugin for Schema {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .description(env!("CARGO_PKG_DESCRIPTION"))
            .config_schema(config::SCHEMA)
    }

    fn configure(config: Config) -> Result<Self, String> {
        Ok(Self { registry: Registry::new(&config)?, shelf: Shelf::default() })
    }
}

impl Validator for Schema {
    fn validate(&mut self, change: &Change<'_>) -> Verdict {
        let Some(document) = change.document() else { return Verdict::Accept };
        let Self { registry, shelf } = self;
        let kind = match (registry.kind(change), registry.unknown) {
            (Ok(kind), _) => kind,
            (Err(_), Unknown::Pass) => return Verdict::Accept,
            (Err(reason), Unknown::Reject) => return Verdict::reject("", reason),
        };
        let checked = shelf.read(document, |node| {
            let version = kind.version(document, Some(node), &mut Shelf::default())?;
            // What is migrated is checked before, and what is not is checked once.
            let wanted = match kind.plan(version) {
                Some(_) => registry.validate.before(),
                None => registry.validate.before() || registry.validate.after(),
            };
            // By its shape it is known to fit.
            if wanted && !kind.is_by_shape() { Ok(kind.check(version, node)) } else { Ok(Violations::new()) }
        });
        match checked {
            Ok(Ok(violations) | Err(violations)) => violations.into(),
            Err(malformed) => Verdict::reject("", malformed),
        }
    }
}

impl Migrator for Schema {
    fn migrate(&mut self, change: &Change<'_>) -> Result<Migration, String> {
        let document = change.document().ok_or("there is no document")?;
        let Self { registry, shelf } = self;
        let kind = match (registry.kind(change), registry.unknown) {
            (Ok(kind), _) => kind,
            (Err(_), Unknown::Pass) => return Ok(Migration::Unchanged { version: None }),
            (Err(reason), Unknown::Reject) => return Err(reason),
        };
        let version = kind.version(document, None, shelf).map_err(|violations| all(&violations))?;
        let Some(plan) = kind.plan(version) else {
            return Ok(Migration::unchanged(kind.name_of(version).to_owned()));
        };
        let migrated = kind.migrate(document, plan)?;
        let to = registry::Known(plan.to);
        if registry.validate.after() {
            let violations = shelf.read(migrated.as_document(), |node| kind.check(to, node))?;
            if !violations.is_empty() {
                let (from, to) = (kind.name_of(version), kind.name_of(to));
                return Err(format!("migrated from {from}, it does not fit {to}: {}", all(&violations)));
            }
        }
        Ok(Migration::migrated(migrated, plan.from.clone(), kind.name_of(to).to_owned()))
    }
}

fn all(violations: &Violations) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

tidegate_plugin::export_plugin!(Schema: validator Validator, migrator Migrator);

#[cfg(test)]
mod tests;
