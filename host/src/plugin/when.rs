//! Which changes a stage sees: the `when` of the configuration, made ready.

use crate::{
    change::{Change, Operation},
    config::WhenConfig,
};

/// Which changes a stage sees.
#[derive(Clone, Debug, Default)]
pub struct When {
    namespaces: Vec<Pattern>,
    operations: Vec<Operation>,
}

#[derive(Clone, Debug)]
enum Pattern {
    Collection(Box<str>),
    Database(Box<str>),
}

impl When {
    /// From the configuration.
    pub fn new(when: &WhenConfig) -> Self {
        let namespaces = when
            .ns
            .iter()
            .map(|pattern| match pattern.strip_suffix(".*") {
                Some(database) => Pattern::Database(database.into()),
                None => Pattern::Collection(pattern.as_str().into()),
            })
            .collect();
        Self { namespaces, operations: when.op.iter().map(|operation| Operation::from(*operation)).collect() }
    }

    /// Whether the stage sees this change. None sees a change of a collection or database: the contract is about documents.
    pub fn matches(&self, change: &Change) -> bool {
        !change.operation.is_ddl()
            && (self.operations.is_empty() || self.operations.contains(&change.operation))
            && (self.namespaces.is_empty()
                || self.namespaces.iter().any(|pattern| match pattern {
                    Pattern::Collection(full) => **full == *change.namespace.as_str(),
                    Pattern::Database(database) => **database == *change.namespace.database(),
                }))
    }
}

#[cfg(test)]
mod tests {
    use super::When;
    use crate::{change::Operation, config::WhenConfig, format::lines::read_change};

    #[test]
    fn no_stage_sees_a_change_of_a_collection() {
        for operation in Operation::ALL {
            let ns = if operation == Operation::DropDatabase { "shop" } else { "shop.items" };
            let line = format!(r#"{{"op":"{operation}","ns":"{ns}","doc":{{"_id":1}}}}"#);
            let change = read_change(line.as_bytes(), "in:1").unwrap();
            for ns in [vec![], vec!["shop.*".to_owned()]] {
                let when = When::new(&WhenConfig { ns, op: Vec::new() });
                assert_eq!(when.matches(&change), !operation.is_ddl(), "{operation}");
            }
        }
    }
}
