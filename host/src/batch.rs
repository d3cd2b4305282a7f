//! A batch is the unit of everything: read, processed, written, acknowledged and checkpointed as one.

use std::sync::Arc;

use bytestring::ByteString;
use smallvec::SmallVec;

use crate::{
    change::{Change, Headers},
    position::{Position, WHOLE},
};

/// Changes as a source read them, in source order, and the position after the last of them.
///
/// A batch without changes moves the position alone: that is how an idle stream stays fresh.
#[derive(Debug)]
pub struct Batch {
    /// In source order.
    pub changes: Vec<Change>,
    /// The partition of the source that all of them are of.
    pub partition: ByteString,
    /// Where the source goes on after this batch; none for a source that cannot be opened in the middle (stdin).
    pub position: Option<Position>,
    /// Lines or events the source could not read as a change: they go to the dead letter as they are.
    pub unreadable: Vec<Unreadable>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { changes: Vec::new(), partition: ByteString::from_static(WHOLE), position: None, unreadable: Vec::new() }
    }
}

impl Batch {
    /// Bytes of the changes, for bounds.
    pub fn size(&self) -> usize {
        self.changes.iter().map(Change::size).sum::<usize>()
            + self.unreadable.iter().map(|line| line.raw.len() + 128).sum::<usize>()
    }
}

/// Something a source read that is no change.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Derived from where it stood, as the id of a change is.
    pub id: ByteString,
    /// What was read, as text.
    pub raw: String,
    /// Where it stood and why it is no change: `changes.jsonl:3:17: ...`.
    pub reason: String,
}

/// One delivery of a change, as a router decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Index of the sink in the pipeline; none: all sinks.
    pub sink: Option<usize>,
    /// A stream, a topic, a collection; none: the sink's own default.
    pub target: Option<ByteString>,
    /// What must stay in order at the target; none: the document key.
    pub ordering_key: Option<ByteString>,
    /// Headers of this delivery alone; they win over those of the change.
    pub attributes: Headers,
}

/// Where a change goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// No router spoke: to every sink, at its default target.
    #[default]
    Everywhere,
    /// Where routers said.
    To(SmallVec<[Destination; 1]>),
}

/// A change that passed all stages.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The change, as the stages left it.
    pub change: Change,
    /// Where it goes.
    pub route: Route,
    /// As the source read it, where a stage made another of it.
    pub original: Option<Arc<Change>>,
}

/// A batch after the stages, in source order: what sinks get.
#[derive(Debug)]
pub struct Outbound {
    /// Number of the batch in this run of the pipeline, from 1, without holes: what the frontier counts.
    pub number: u64,
    /// In source order.
    pub changes: Vec<Routed>,
    /// As in [`Batch`].
    pub partition: ByteString,
    /// As in [`Batch`].
    pub position: Option<Position>,
}

/// One change at one target of one sink.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// What is delivered.
    pub change: &'a Change,
    /// What the router said of it; none where no router spoke.
    pub destination: Option<&'a Destination>,
}

impl<'a> Delivery<'a> {
    /// The target the router chose.
    pub fn target(&self) -> Option<&'a str> {
        self.destination.and_then(|destination| destination.target.as_deref())
    }

    /// The headers of the change with those of this delivery over them.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let own = self.destination.map(|destination| &destination.attributes);
        let (change, over) = (&self.change.headers, own);
        change
            .iter()
            .filter(move |header| over.is_none_or(|over| over.get(&header.name).is_none()))
            .chain(own.into_iter().flat_map(Headers::iter))
            .map(|header| (&*header.name, &*header.value))
    }
}

impl Outbound {
    /// What the sink at `index` has to write, in source order.
    pub fn for_sink(&self, index: usize) -> Vec<Delivery<'_>> {
        let mut deliveries = Vec::with_capacity(self.changes.len());
        for Routed { change, route, .. } in &self.changes {
            match route {
                Route::Everywhere => deliveries.push(Delivery { change, destination: None }),
                Route::To(destinations) => deliveries.extend(
                    destinations
                        .iter()
                        .filter(|destination| destination.sink.is_none_or(|sink| sink == index))
                        .map(|destination| Delivery { change, destination: Some(destination) }),
                ),
            }
        }
        deliveries
    }
}

/// What travels between tasks.
pub type SharedOutbound = Arc<Outbound>;
