//! Where a change goes.

use std::borrow::Cow;

use crate::{
    batch::Delivery,
    config::MongodbSinkConfig,
    sink::template::{Template, Words},
};

/// Where a sink's changes go.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    database: Template,
    collection: Template,
}

impl Targets {
    /// The configuration was validated: what is no template is a name as it stands.
    pub(crate) fn new(config: &MongodbSinkConfig) -> Self {
        let template = |text: &Option<String>, own: Template| match text {
            None => own,
            Some(text) => Template::of(text, Words::Namespace),
        };
        Self {
            database: template(&config.database, Template::database()),
            collection: template(&config.collection, Template::collection()),
        }
    }

    /// The database, where it is the same for every change.
    pub(super) fn one_database(&self) -> Option<&str> {
        self.database.fixed()
    }

    /// Database and collection for changes of a collection that no router sends elsewhere.
    pub(crate) fn names(&self, database: &str, collection: &str) -> (String, String) {
        let fill = |template: &Template| template.fill(database, collection).into_owned();
        (fill(&self.database), fill(&self.collection))
    }

    /// Database and collection of a delivery; the target of a router is a collection of that database.
    pub(super) fn of<'a>(&'a self, delivery: &Delivery<'a>) -> (Cow<'a, str>, Cow<'a, str>) {
        let namespace = &delivery.change.namespace;
        let (database, collection) = (namespace.database(), namespace.collection());
        let chosen = delivery.target().map(Cow::Borrowed);
        (self.database.fill(database, collection), chosen.unwrap_or_else(|| self.collection.fill(database, collection)))
    }
}
