//! What the target's collections are, where that changes how they are written.
//!
//! No transaction may write to a **capped** or a **time-series** collection. A sink that keeps its position beside its data writes them in
//! front of the transaction that moves it. A crash in between writes them again, so what is effectively once elsewhere is at least once
//! here, and a host that was paused past its lease is not kept from it. Whole documents written by their key show no doubles; in a
//! time-series collection nothing is unique, so what it has is looked up before more is added. A journal would show doubles, so
//! `mode: append` refuses both (TG0308).

use std::collections::HashMap;

use bson::{Bson, Document, doc};

use super::{
    MongodbSink,
    statements::{Command, Statements},
};
use crate::{
    config::WriteMode,
    error::{Code, Fault},
    mongodb::MongoConnector,
};

/// Collections that are remembered.
const KNOWN: usize = 10_000;

/// What a collection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// One like most, or none yet.
    #[default]
    Plain,
    /// Its documents keep their order.
    Capped,
    /// It takes new documents alone.
    Series {
        /// The field with the time.
        time: String,
    },
}

impl Shape {
    /// Whether no transaction may write to it.
    pub(super) fn is_outside(&self) -> bool {
        *self != Self::Plain
    }
}

type Name = (String, String);

/// The collections that were met.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: HashMap<Name, Shape>,
}

impl Shapes {
    /// Asks the server for those that are not known.
    pub(super) async fn learn(
        &mut self,
        connector: &mut MongoConnector,
        names: impl Iterator<Item = (&str, &str)>,
    ) -> Result<(), Fault> {
        for (database, collection) in names {
            let name = (database.to_owned(), collection.to_owned());
            if !self.known.contains_key(&name) {
                let shape = ask(connector, database, collection).await?;
                self.note(name, shape);
            }
        }
        Ok(())
    }

    fn note(&mut self, name: Name, shape: Shape) {
        if self.known.len() >= KNOWN {
            self.forget();
        }
        let ns = format!("{}.{}", name.0, name.1);
        match &shape {
            Shape::Plain => {}
            Shape::Capped => tracing::info!(
                event = "sink_capped",
                ns,
                "a capped collection is written in its order, and takes no part in transactions: at least once"
            ),
            Shape::Series { .. } => tracing::info!(
                event = "sink_timeseries",
                ns,
                "a time-series collection takes new documents alone, and no part in transactions"
            ),
        }
        self.known.insert(name, shape);
    }

    pub(super) fn of(&self, database: &str, collection: &str) -> Shape {
        self.known.get(&(database.to_owned(), collection.to_owned())).cloned().unwrap_or_default()
    }

    /// Collections may have been made anew.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }
}

impl MongodbSink {
    /// After an error that no change is to blame for: is one of the targets not what it was taken for?
    pub(super) async fn mistook(&mut self, statements: &Statements, fault: &Fault) -> Result<bool, Fault> {
        let may_be = matches!(fault.code, Code::MongoNoTransactions | Code::MongoError) && !fault.is_transient();
        if !may_be || self.config.mode == WriteMode::Append {
            return Ok(false);
        }
        let mut mistook = false;
        for Command { database, collection, shape, .. } in &statements.commands {
            let found = ask(&mut self.connector, database, collection).await?;
            if found != *shape {
                mistook = true;
                self.shapes.note((database.clone(), collection.clone()), found);
            }
        }
        Ok(mistook)
    }
}

async fn ask(connector: &mut MongoConnector, database: &str, collection: &str) -> Result<Shape, Fault> {
    let client = connector.client().await?;
    let list = doc! { "listCollections": 1, "filter": { "name": collection } };
    let answer = match connector.answer(client.database(database).run_command(list).into_future()).await {
        Ok(answer) => answer,
        // Who may write need not be allowed to look.
        Err(fault) if fault.code == Code::MongoDenied => return Ok(Shape::Plain),
        Err(fault) => return Err(fault),
    };
    let listed = answer.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch")).ok();
    let found = listed.and_then(|listed| listed.first()).and_then(Bson::as_document);
    let options = found.and_then(|found: &Document| found.get_document("options").ok());
    Ok(options.map(shape).unwrap_or_default())
}

fn shape(options: &Document) -> Shape {
    if options.get_bool("capped").unwrap_or_default() {
        return Shape::Capped;
    }
    let time = options.get_document("timeseries").and_then(|series| series.get_str("timeField"));
    time.map_or(Shape::Plain, |time| Shape::Series { time: time.to_owned() })
}
