//! Changes as write commands.

use std::collections::{HashMap, HashSet};

use bson::{
    cstr,
    raw::{RawArrayBuf, RawBsonRef, RawDocument, RawDocumentBuf},
};

use super::{
    describe::{Description, Form},
    shapes::{Shape, Shapes},
    target::Targets,
};
use crate::{
    batch::Delivery,
    change::{Change, Operation},
    config::WriteMode,
    format::elements::{Elements, kind},
};

/// The commands for a part of a batch, to be run one after the other.
#[derive(Default)]
pub(super) struct Statements {
    pub(super) commands: Vec<Command>,
    /// Deliveries that a later one of the same document made needless, each with that one.
    pub(super) superseded: Vec<(usize, usize)>,
    /// Deliveries that the mode leaves out.
    pub(super) passed: usize,
}

/// One command on one collection.
pub(super) struct Command {
    pub(super) database: String,
    pub(super) collection: String,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    items: RawArrayBuf,
    /// Which delivery each item is of.
    pub(super) deliveries: Vec<usize>,
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Adds documents, which must not be there.
    Insert,
    /// Adds documents to a time-series collection that does not have them.
    Measure,
    /// Writes whole documents by key.
    Whole,
    /// Applies descriptions of updates.
    Describe,
    /// Deletes by key.
    Delete,
    /// Reads a document, applies one description and writes it whole.
    Rewrite,
}

/// Why a delivery can never be written.
pub(super) struct Unfit {
    pub(super) delivery: usize,
    pub(super) reason: String,
}

/// What is written how.
pub(super) struct Rules<'a> {
    pub(super) mode: WriteMode,
    pub(super) shapes: &'a Shapes,
    /// What comes is older than what the target may have: it replaces and deletes nothing.
    pub(super) late: bool,
    /// Updates may come as descriptions alone.
    pub(super) described: bool,
    /// The target has each document as it was at the source right before the change.
    pub(super) exact: bool,
    /// What is new at the source is likely to be new at the target.
    pub(super) fresh: bool,
}

/// How a part is tried.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) order: Order,
    /// A path did not lead where it should: nothing is taken for granted about dots.
    pub(super) careful: bool,
    /// Deliveries whose document is at the target under another key, such as another shard key.
    pub(super) moved: HashSet<usize>,
    /// The target has some of the documents that are new at the source.
    pub(super) present: bool,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// A command for each kind and collection, with the last state of each document alone: the quickest. It is right unless
    /// a unique index of the target stands between two documents.
    #[default]
    Grouped,
    /// As at the source, each change.
    Source,
    /// As grouped, in a transaction, and what is to be written is deleted before anything is written.
    Cleared,
}

impl Command {
    /// The command itself.
    pub(super) fn document(&self, ordered: bool, concern: Option<&RawDocument>) -> RawDocumentBuf {
        let (name, items) = match self.kind {
            Kind::Insert | Kind::Measure => (cstr!("insert"), cstr!("documents")),
            Kind::Whole | Kind::Describe | Kind::Rewrite => (cstr!("update"), cstr!("updates")),
            Kind::Delete => (cstr!("delete"), cstr!("deletes")),
        };
        let mut command = RawDocumentBuf::new();
        command.append(name, self.collection.as_str());
        command.append(cstr!("ordered"), ordered);
        command.append(items, RawBsonRef::Array(&self.items));
        if let Some(concern) = concern {
            command.append(cstr!("writeConcern"), RawBsonRef::Document(concern));
        }
        command
    }

    /// Whether the key of an item has more than `_id`: a shard key.
    pub(super) fn is_compound(&self, index: Option<usize>) -> bool {
        let item = index.and_then(|index| self.items.get(index).ok().flatten());
        let key = item.and_then(|item| item.as_document()?.get_document("q").ok());
        key.is_some_and(|key| key.iter_elements().nth(1).is_some())
    }

    /// A command that writes one whole document in the place of another.
    pub(super) fn replacing(&self, delivery: usize, key: &RawDocument, document: &RawDocument) -> Self {
        let mut command = Self {
            database: self.database.clone(),
            collection: self.collection.clone(),
            kind: Kind::Whole,
            shape: self.shape.clone(),
            items: RawArrayBuf::new(),
            deliveries: Vec::new(),
        };
        command.push(delivery, whole(key, document));
        command
    }

    /// The documents that it adds.
    pub(super) fn documents(&self) -> impl Iterator<Item = &RawDocument> {
        (&*self.items).into_iter().filter_map(|item| item.ok()?.as_document())
    }

    /// The same for some of the documents that it adds.
    pub(super) fn keeping(&self, is_kept: impl Fn(&RawDocument) -> bool) -> Self {
        let (database, collection) = (self.database.clone(), self.collection.clone());
        let (items, deliveries) = (RawArrayBuf::new(), Vec::new());
        let mut command = Self { database, collection, kind: self.kind, shape: self.shape.clone(), items, deliveries };
        for (document, delivery) in self.documents().zip(&self.deliveries) {
            if is_kept(document) {
                command.push(*delivery, document.to_owned());
            }
        }
        command
    }

    fn push(&mut self, delivery: usize, item: RawDocumentBuf) {
        self.items.push(item);
        self.deliveries.push(delivery);
    }
}

/// What a change means for its document.
enum Action<'a> {
    Insert(RawDocumentBuf),
    Measure(&'a RawDocument),
    Whole(&'a RawDocument),
    Delete,
    Describe(Form),
    /// Nothing: the delete follows.
    Nothing,
    /// Nothing, since the mode leaves it out.
    Passed,
}

/// One document at the target.
type Place<'a> = (usize, &'a [u8]);

impl Statements {
    /// The commands for these deliveries, of which these are the places.
    pub(super) fn new<'a>(
        rules: &Rules<'_>,
        plan: &Plan,
        part: &[(usize, Delivery<'a>)],
        places: Places<'a>,
    ) -> Result<Self, Vec<Unfit>> {
        let mut unfit = Vec::new();
        let Places { names, of } = places;
        let shapes: Vec<Shape> = names.all().map(|(database, name)| rules.shapes.of(database, name)).collect();
        let mut actions = Vec::with_capacity(part.len());
        for ((index, delivery), target) in part.iter().zip(of) {
            let found = target.ok_or_else(|| "it names no database and collection to write to".to_owned());
            match found.and_then(|target| {
                let place = (target, delivery.change.key.as_ref().map_or(&[][..], |key| key.as_bytes()));
                let shape = shapes.get(target).unwrap_or(&Shape::Plain);
                action(rules, plan, delivery, shape).map(|action| (*index, place, delivery.change, action))
            }) {
                Ok(found) => actions.push(found),
                Err(reason) => unfit.push(Unfit { delivery: *index, reason }),
            }
        }
        if !unfit.is_empty() {
            return Err(unfit);
        }
        let inserts = rules.fresh && !plan.present && plan.order == Order::Grouped;
        let mut statements =
            Builder { names, shapes, plan, inserts, statements: Self::default(), rewritten: HashSet::new() };
        // What a later whole document, or the delete, makes needless.
        let mut last: HashMap<Place<'_>, usize> = HashMap::new();
        if plan.order != Order::Source && rules.mode != WriteMode::Append {
            last.reserve(actions.len());
            for (at, (_, place, _, action)) in actions.iter().enumerate() {
                if matches!(action, Action::Whole(_) | Action::Delete | Action::Insert(_)) {
                    last.insert(*place, at);
                }
            }
        }
        let by: Vec<usize> = actions.iter().map(|(index, ..)| *index).collect();
        for (at, (index, place, change, action)) in actions.into_iter().enumerate() {
            let later = last.get(&place).filter(|last| **last > at);
            match later.and_then(|last| by.get(*last)) {
                Some(by) => statements.statements.superseded.push((index, *by)),
                None => statements.add(index, place, change, action),
            }
        }
        let mut statements = statements.statements;
        if plan.order != Order::Source {
            // What is deleted first frees its values in unique indexes. Descriptions come behind the documents they are made on.
            statements.commands.sort_by_key(|command| match command.kind {
                Kind::Delete => 0,
                Kind::Insert | Kind::Measure | Kind::Whole => 1,
                Kind::Describe => 2,
                Kind::Rewrite => 3,
            });
        }
        Ok(statements)
    }
}

struct Builder<'a, 'p> {
    names: Names<'a>,
    shapes: Vec<Shape>,
    plan: &'p Plan,
    /// Documents that are new are inserted, which costs the server far less than to look for each of them first.
    inserts: bool,
    statements: Statements,
    /// Documents that are rewritten: what follows for them is so too, to keep the order.
    rewritten: HashSet<Place<'a>>,
}

impl<'a> Builder<'a, '_> {
    fn add(&mut self, index: usize, place: Place<'a>, change: &Change, action: Action<'a>) {
        let empty = RawDocumentBuf::new();
        let key = change.key.as_ref().map_or(empty.as_ref(), |key| key.as_raw());
        match action {
            Action::Insert(item) => self.command(place.0, Kind::Insert).push(index, item),
            Action::Measure(document) => self.command(place.0, Kind::Measure).push(index, document.to_owned()),
            Action::Whole(document)
                if self.inserts && self.shape(place.0) == Shape::Plain && is_new(change, document) =>
            {
                self.command(place.0, Kind::Insert).push(index, document.to_owned());
            }
            Action::Whole(document) => {
                if self.plan.moved.contains(&index) {
                    self.command(place.0, Kind::Delete).push(index, deletion(id_of(key).as_ref()));
                } else if self.plan.order == Order::Cleared && self.shape(place.0) == Shape::Plain {
                    self.command(place.0, Kind::Delete).push(index, deletion(key));
                }
                self.command(place.0, Kind::Whole).push(index, whole(key, document));
            }
            Action::Delete => self.command(place.0, Kind::Delete).push(index, deletion(key)),
            Action::Describe(Form::Statements(statements)) if !self.rewritten.contains(&place) => {
                for statement in statements {
                    let mut query = key.to_owned();
                    for element in &statement.guard {
                        // What was just built can be read.
                        let Ok((name, value)) = element else { continue };
                        if !matches!(key.get(name), Ok(Some(_))) {
                            query.append(name, value);
                        }
                    }
                    let mut item = RawDocumentBuf::new();
                    item.append(cstr!("q"), query);
                    item.append(cstr!("u"), statement.update);
                    self.command(place.0, Kind::Describe).push(index, item);
                }
            }
            Action::Describe(_) => {
                self.rewritten.insert(place);
                self.command(place.0, Kind::Rewrite).deliveries.push(index);
            }
            Action::Nothing => {}
            Action::Passed => self.statements.passed += 1,
        }
    }

    fn shape(&self, target: usize) -> Shape {
        self.shapes.get(target).cloned().unwrap_or_default()
    }

    fn command(&mut self, target: usize, kind: Kind) -> &mut Command {
        let shape = self.shape(target);
        let (database, collection) = self.names.get(target);
        let commands = &mut self.statements.commands;
        let fits = |command: &Command| {
            command.kind == kind && command.collection == collection && command.database == database
        };
        let found = match (kind, self.plan.order) {
            (Kind::Rewrite, _) => None,
            (_, Order::Source) => commands.len().checked_sub(1).filter(|last| commands.get(*last).is_some_and(fits)),
            (_, Order::Grouped | Order::Cleared) => commands.iter().rposition(fits),
        };
        let at = found.unwrap_or_else(|| {
            commands.push(Command {
                database: database.to_owned(),
                collection: collection.to_owned(),
                kind,
                shape,
                items: RawArrayBuf::new(),
                deliveries: Vec::new(),
            });
            commands.len() - 1
        });
        // It was just found or added.
        commands.get_mut(at).unwrap_or_else(|| unreachable!())
    }
}

/// Where each delivery of a part goes.
pub(super) struct Places<'a> {
    names: Names<'a>,
    /// None for one that goes nowhere.
    of: Vec<Option<usize>>,
}

impl<'a> Places<'a> {
    pub(super) fn of(targets: &'a Targets, part: &[(usize, Delivery<'a>)]) -> Self {
        let mut names = Names::default();
        let of = part.iter().map(|(_, delivery)| names.of(targets, delivery)).collect();
        Self { names, of }
    }

    /// All databases and collections.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.all()
    }
}

/// The targets of a part, each with a number.
#[derive(Default)]
struct Names<'a> {
    all: Vec<(std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
    known: HashMap<(&'a str, Option<&'a str>), usize>,
}

impl<'a> Names<'a> {
    fn of(&mut self, targets: &'a Targets, delivery: &Delivery<'a>) -> Option<usize> {
        let from = (delivery.change.namespace.as_str(), delivery.target());
        if let Some(known) = self.known.get(&from) {
            return Some(*known);
        }
        let (database, collection) = targets.of(delivery);
        if database.is_empty() || collection.is_empty() {
            return None;
        }
        let same = |other: &(_, _)| (&database, &collection) == (&other.0, &other.1);
        let number = self.all.iter().position(same).unwrap_or_else(|| {
            self.all.push((database.clone(), collection.clone()));
            self.all.len() - 1
        });
        self.known.insert(from, number);
        Some(number)
    }

    fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().map(|(database, collection)| (&**database, &**collection))
    }

    fn get(&self, number: usize) -> (&str, &str) {
        self.all.get(number).map_or(("", ""), |(database, collection)| (database, collection))
    }
}

/// What a change means in this mode.
fn action<'a>(rules: &Rules<'_>, plan: &Plan, delivery: &Delivery<'a>, shape: &Shape) -> Result<Action<'a>, String> {
    let change = delivery.change;
    if rules.mode == WriteMode::Append {
        return super::journal::entry(delivery).map(Action::Insert);
    }
    if matches!(shape, Shape::Series { .. }) {
        return match (&change.document, change.operation) {
            (Some(document), Operation::Insert | Operation::Read) => Ok(Action::Measure(document.as_raw())),
            (_, Operation::Delete) if rules.mode == WriteMode::Upsert => Ok(Action::Passed),
            (_, operation) => Err(format!(
                "it is a change ({operation}) to a time-series collection, which takes new documents alone"
            )),
        };
    }
    if change.key.is_none() {
        return Err(
            "it has no key, and a document is written by its key; use `mode: append` for such changes".to_owned()
        );
    }
    Ok(match (&change.document, change.operation) {
        (None, Operation::Delete | Operation::Update) if rules.mode == WriteMode::Upsert => Action::Passed,
        (_, Operation::Delete) if rules.mode == WriteMode::Upsert => Action::Passed,
        (_, Operation::Delete) if rules.late => {
            return Err(
                "it is a delete of long ago, and the document may be there again; --overwrite deletes it".to_owned()
            );
        }
        (_, Operation::Delete) => Action::Delete,
        (Some(document), _) if rules.late => Action::Insert(document.as_raw().to_owned()),
        (Some(document), _) => Action::Whole(document.as_raw()),
        (None, Operation::Update) => match &change.update {
            Some(update) if rules.described && rules.exact => {
                Action::Describe(Description::read(update.as_raw())?.form(plan.careful)?)
            }
            Some(_) if rules.described => {
                return Err(
                    "it is an update without its document, and only the stream can say what it was made on".to_owned()
                );
            }
            _ => Action::Nothing,
        },
        (None, operation) => return Err(format!("it is a {operation} without a document")),
    })
}

fn deletion(key: &RawDocument) -> RawDocumentBuf {
    let mut item = RawDocumentBuf::new();
    item.append(cstr!("q"), RawBsonRef::Document(key));
    item.append(cstr!("limit"), 1_i32);
    item
}

/// The key without what belongs to a shard key.
pub(super) fn id_of(key: &RawDocument) -> RawDocumentBuf {
    let mut id = RawDocumentBuf::new();
    if let Ok(Some(value)) = key.get("_id") {
        id.append(cstr!("_id"), value);
    }
    id
}

/// What makes the target's document the same as this one.
fn whole(key: &RawDocument, document: &RawDocument) -> RawDocumentBuf {
    let mut item = RawDocumentBuf::new();
    item.append(cstr!("q"), RawBsonRef::Document(key));
    if would_be_changed(document) {
        let mut literal = RawDocumentBuf::new();
        literal.append(cstr!("$literal"), RawBsonRef::Document(document));
        let mut stage = RawDocumentBuf::new();
        stage.append(cstr!("$replaceWith"), literal);
        let mut stages = RawArrayBuf::new();
        stages.push(stage);
        item.append(cstr!("u"), stages);
    } else {
        item.append(cstr!("u"), RawBsonRef::Document(document));
    }
    item.append(cstr!("upsert"), true);
    item
}

/// Whether a change brings a document that was not there, and that the server takes as it is under its key.
fn is_new(change: &Change, document: &RawDocument) -> bool {
    let id = |document: &RawDocument| id_of(document).into_bytes();
    matches!(change.operation, Operation::Insert | Operation::Read)
        && change.key.as_ref().is_some_and(|key| id(key.as_raw()) == id(document))
        && matches!(document.get("_id"), Ok(Some(_)))
        && !would_be_changed(document)
}

/// Whether the server would not take the document as it is in a replacement: it refuses names that begin with `$`, and puts its
/// own time in the place of an empty timestamp.
fn would_be_changed(document: &RawDocument) -> bool {
    let Ok(mut elements) = Elements::of(document.as_bytes()) else { return false };
    elements.any(|element| {
        element.is_ok_and(|element| {
            element.name.first() == Some(&b'$')
                || (element.kind == kind::TIMESTAMP && element.value.iter().all(|byte| *byte == 0))
        })
    })
}
