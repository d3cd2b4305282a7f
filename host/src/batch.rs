//! A batch is the unit of everything: read, processed, written, acknowledged and checkpointed as one.

use std::sync::Arc;

use bytestring::ByteString;
use smallvec::SmallVec;

use crate::{
    change::{Change, Headers},
    position::{Position, WHOLE},
    receipt::Receipts,
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
    /// Tell the source what becomes of the batch; none for a source that need not know.
    pub receipts: Receipts,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            changes: Vec::new(),
            partition: ByteString::from_static(WHOLE),
            position: None,
            unreadable: Vec::new(),
            receipts: Receipts::new(),
        }
    }
}

impl Batch {
    /// Whether it must not be joined with others: it holds a change of a collection or database, which all before it are for another
    /// state of the target than all behind it.
    pub fn is_barrier(&self) -> bool {
        self.changes.iter().any(|change| change.operation.is_ddl())
    }

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

impl Routed {
    /// What the sink at `index` has to write of it.
    pub fn for_sink(&self, index: usize) -> impl Iterator<Item = Delivery<'_>> {
        let (everywhere, destinations) = match &self.route {
            Route::Everywhere => (Some(Delivery { change: &self.change, destination: None }), &[][..]),
            Route::To(destinations) => (None, destinations.as_slice()),
        };
        let here = move |destination: &&Destination| destination.sink.is_none_or(|sink| sink == index);
        let routed = destinations.iter().filter(here);
        everywhere.into_iter().chain(routed.map(|to| Delivery { change: &self.change, destination: Some(to) }))
    }
}

impl Outbound {
    /// As in [`Batch`].
    pub fn is_barrier(&self) -> bool {
        self.changes.iter().any(|routed| routed.change.operation.is_ddl())
    }

    /// What the sink at `index` has to write, in source order.
    pub fn for_sink(&self, index: usize) -> Vec<Delivery<'_>> {
        let mut deliveries = Vec::with_capacity(self.changes.len());
        deliveries.extend(self.changes.iter().flat_map(|routed| routed.for_sink(index)));
        deliveries
    }
}

/// What travels between tasks.
pub type SharedOutbound = Arc<Outbound>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Destination, Outbound, Route, Routed};
    use crate::format::lines::read_change;

    fn routes(sinks: usize) -> impl Strategy<Value = Vec<Route>> {
        let destination =
            (prop::option::weighted(0.8, 0..sinks), prop::option::of("[a-c]")).prop_map(|(sink, target)| Destination {
                sink,
                target: target.map(Into::into),
                ordering_key: None,
                attributes: Default::default(),
            });
        let route = prop_oneof![
            1 => Just(Route::Everywhere),
            3 => prop::collection::vec(destination, 0..4).prop_map(|destinations| Route::To(destinations.into())),
        ];
        prop::collection::vec(route, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Each sink gets what routers sent it and what is for all, in source order; nobody gets anything else.
        #[test]
        fn each_sink_gets_exactly_its_deliveries((sinks, routes) in (1..5_usize).prop_flat_map(|sinks| (Just(sinks), routes(sinks)))) {
            let mut expected: Vec<Vec<(String, Option<String>)>> = vec![Vec::new(); sinks];
            let mut changes = Vec::new();
            for (number, route) in routes.into_iter().enumerate() {
                let line = format!(r#"{{"id":"c-{number}","op":"insert","ns":"d.c","doc":{{"_id":{number}}}}}"#);
                let change = read_change(line.as_bytes(), "in:1").unwrap();
                let targets: Vec<(Option<usize>, Option<String>)> = match &route {
                    Route::Everywhere => vec![(None, None)],
                    Route::To(to) => to.iter().map(|to| (to.sink, to.target.as_deref().map(str::to_owned))).collect(),
                };
                for (sink, target) in targets {
                    let to = sink.map_or(0..sinks, |sink| sink..sink + 1);
                    to.for_each(|sink| expected[sink].push((change.id.to_string(), target.clone())));
                }
                changes.push(Routed { change, route, original: None });
            }
            let outbound = Outbound { number: 1, changes, partition: "all".into(), position: None };
            for (sink, expected) in expected.into_iter().enumerate() {
                let got: Vec<_> = outbound
                    .for_sink(sink)
                    .iter()
                    .map(|delivery| (delivery.change.id.to_string(), delivery.target().map(str::to_owned)))
                    .collect();
                prop_assert_eq!(got, expected);
            }
        }
    }
}
