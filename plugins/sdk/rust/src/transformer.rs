use crate::arena::{self, Arena};
use crate::bindings::transformer::exports::tidegate::plugin::transformer as raw;
use crate::bindings::types;
use crate::bson::DocumentBuf;
use crate::{Batch, Change, Operation, Plugin};

/// Makes any change into zero or more changes.
pub trait Transformer: Plugin {
    /// Called for every change, deletes and others without a document too.
    ///
    /// # Errors
    /// Why it cannot be done: the change goes to the dead letter with this reason.
    fn transform(&mut self, change: &Change<'_>) -> Result<Transformation, String>;

    /// One transformation for each change, in their order. Implement it too where a batch can be worked on faster as a
    /// whole.
    fn transform_batch(&mut self, batch: Batch<'_>) -> Vec<Result<Transformation, String>> {
        batch.changes().map(|change| self.transform(&change)).collect()
    }
}

/// What becomes of one change.
#[derive(Debug, Clone, PartialEq)]
pub enum Transformation {
    /// It passes as it is, at no cost.
    Unchanged,
    /// These take its place; with none at all it ends here, and is counted as filtered.
    Changes(Vec<Output>),
}

impl From<Output> for Transformation {
    fn from(output: Output) -> Self {
        Self::Changes(vec![output])
    }
}

/// A change that takes the place of another. What is not said is taken over from that one, but for the document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// What happened; none: as before.
    pub operation: Option<Operation>,
    /// Database and collection; none: as before.
    pub namespace: Option<(String, String)>,
    /// The document key; none: as before.
    pub key: Option<DocumentBuf>,
    /// The document; none: no document, whatever the other change had.
    pub document: Option<DocumentBuf>,
    /// Headers beside those of the other change. Empty values are left out.
    pub headers: Vec<(String, String)>,
}

impl Output {
    /// With this document.
    pub fn new(document: DocumentBuf) -> Self {
        Self { document: Some(document), ..Self::default() }
    }

    /// Without a document.
    pub fn without_document() -> Self {
        Self::default()
    }

    /// Of another operation.
    #[must_use]
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// In another namespace.
    #[must_use]
    pub fn namespace(mut self, database: impl Into<String>, collection: impl Into<String>) -> Self {
        self.namespace = Some((database.into(), collection.into()));
        self
    }

    /// With another key.
    #[must_use]
    pub fn key(mut self, key: DocumentBuf) -> Self {
        self.key = Some(key);
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

pub(crate) fn run<P: Transformer>(plugin: &mut P, batch: &types::Batch) -> raw::TransformedBatch {
    let view = Batch::new(batch);
    let transformations = plugin.transform_batch(view);
    let mut arena = Arena::default();
    let mut namespaces = Vec::new();
    let mut headers = Vec::new();
    let mut outputs = Vec::new();
    let mut results = Vec::with_capacity(transformations.len());
    // A plugin that returned too few or too many results is found out by the host, which counts them.
    let changes = view.changes().map(Some).chain(std::iter::repeat(None));
    for (transformation, change) in transformations.into_iter().zip(changes) {
        results.push(match transformation {
            Ok(Transformation::Unchanged) => raw::ResultOfChange::Unchanged,
            Err(reason) => raw::ResultOfChange::Failed(reason),
            Ok(Transformation::Changes(changes)) => {
                let first = outputs.len();
                for output in &changes {
                    let before = change.as_ref().map(Change::namespace);
                    let namespace = match (&output.namespace, before) {
                        (Some((database, collection)), _) => (database.as_str(), collection.as_str()),
                        (None, Some(before)) => (before.database, before.collection),
                        (None, None) => ("", ""),
                    };
                    let before = change.as_ref().map_or(Operation::Insert, Change::operation);
                    let first_header = headers.len();
                    arena.push_headers(&output.headers, &mut headers);
                    outputs.push(raw::Output {
                        operation: output.operation.unwrap_or(before).raw(),
                        namespace: index_of(&mut namespaces, namespace),
                        key: output.key.as_ref().map_or(Arena::ABSENT, |key| arena.push(key.as_bytes())),
                        document: output.document.as_ref().map_or(Arena::ABSENT, |it| arena.push(it.as_bytes())),
                        headers: arena::range_from(first_header, &headers),
                    });
                }
                raw::ResultOfChange::Changes(arena::range_from(first, &outputs))
            }
        });
    }
    raw::TransformedBatch { arena: arena.into_bytes(), namespaces, headers, outputs, results }
}

/// Where a namespace stands in the list, after it was added if it was not there. There are few of them.
fn index_of(namespaces: &mut Vec<types::Namespace>, (database, collection): (&str, &str)) -> u32 {
    let found = namespaces.iter().rposition(|it| it.collection == collection && it.database == database);
    arena::count(found.unwrap_or_else(|| {
        namespaces.push(types::Namespace { database: database.to_owned(), collection: collection.to_owned() });
        namespaces.len() - 1
    }))
}
