//! Pre- and post-images, which the server keeps for the collections that ask for it.

use bson::{Document, doc};
use futures::TryStreamExt as _;
use mongodb::{Client, error::Result};

use crate::{
    config::{BeforeImage, FullDocument, MongodbSourceConfig},
    error::{Code, Fault},
    source::mongodb::{Selection, faults::Place, select::Scope},
};

/// Collections that are named in an error at most.
const NAMED: usize = 5;

/// Which images a stream asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source::mongodb) struct Images {
    full_document: FullDocument,
    before: BeforeImage,
}

impl Images {
    /// None.
    pub(in crate::source::mongodb) const OFF: Self =
        Self { full_document: FullDocument::Off, before: BeforeImage::Off };

    pub(in crate::source::mongodb) fn new(config: &MongodbSourceConfig) -> Self {
        Self { full_document: config.full_document, before: config.before }
    }

    /// Whether any are.
    pub(in crate::source::mongodb) fn any(self) -> bool {
        self.before != BeforeImage::Off
            || matches!(self.full_document, FullDocument::WhenAvailable | FullDocument::Required)
    }

    fn required(self) -> bool {
        self.before == BeforeImage::Required || self.full_document == FullDocument::Required
    }

    /// The options of the `$changeStream`.
    pub(in crate::source::mongodb) fn ask(self, change_stream: &mut Document) {
        match self.full_document {
            FullDocument::Lookup | FullDocument::Off => {}
            FullDocument::WhenAvailable => _ = change_stream.insert("fullDocument", "whenAvailable"),
            FullDocument::Required => _ = change_stream.insert("fullDocument", "required"),
        }
        match self.before {
            BeforeImage::Off => {}
            BeforeImage::WhenAvailable => _ = change_stream.insert("fullDocumentBeforeChange", "whenAvailable"),
            BeforeImage::Required => _ = change_stream.insert("fullDocumentBeforeChange", "required"),
        }
    }

    /// Looks whether the collections that are there keep images, where they are required: else the first change would tell.
    pub(in crate::source::mongodb) async fn check(
        self,
        client: &Client,
        selection: &Selection,
        scope: &Scope,
        place: &Place,
    ) -> std::result::Result<(), Fault> {
        if !self.required() {
            return Ok(());
        }
        // A user who may not list collections learns it from the first change without an image.
        let without = without_images(client, selection, scope).await.unwrap_or_default();
        let Some(first) = without.first() else { return Ok(()) };
        let (database, collection) = first;
        let mut names: Vec<_> = without.iter().take(NAMED).map(|(d, c)| format!("{d}.{c}")).collect();
        if without.len() > NAMED {
            names.push(format!("{} more", without.len() - NAMED));
        }
        Err(Fault::fatal(
            Code::MongoImageMissing,
            format!(
                "the source requires pre- or post-images, and these collections at {} keep none: {}; turn them on, for each, with \
                 `db.getSiblingDB(\"{database}\").runCommand({{collMod: \"{collection}\", changeStreamPreAndPostImages: {{enabled: true}}}})`, or \
                 set `when_available`",
                place.hosts,
                names.join(", ")
            ),
        ))
    }
}

async fn without_images(client: &Client, selection: &Selection, scope: &Scope) -> Result<Vec<(String, String)>> {
    let databases = match scope {
        Scope::Collection(database, _) | Scope::Database(database) => vec![database.clone()],
        Scope::Deployment => client.list_database_names().await?,
    };
    let mut without = Vec::new();
    for database in databases.into_iter().filter(|database| selection.matches_database(database)) {
        // As plain documents: the driver's type knows fewer options.
        let filter = doc! { "type": "collection", "options.changeStreamPreAndPostImages.enabled": { "$ne": true } };
        let mut found = client.database(&database).list_collections().filter(filter).await?;
        while let Some(collection) = found.try_next().await? {
            if selection.matches(&database, &collection.name) {
                without.push((database.clone(), collection.name));
            }
        }
    }
    without.sort();
    Ok(without)
}
