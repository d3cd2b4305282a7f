use crate::arena::{self, Arena};
use crate::bindings::router::exports::tidegate::plugin::router as raw;
use crate::bindings::types;
use crate::{Batch, Change, Plugin};

/// Says where each change goes.
pub trait Router: Plugin {
    /// Called for every change, deletes and others without a document too.
    ///
    /// # Errors
    /// Why there is no way for it: the change goes to the dead letter with this reason.
    fn route(&mut self, change: &Change<'_>) -> Result<Routing, String>;

    /// One routing for each change, in their order. Implement it too where a batch can be routed faster as a whole.
    fn route_batch(&mut self, batch: Batch<'_>) -> Vec<Result<Routing, String>> {
        batch.changes().map(|change| self.route(&change)).collect()
    }
}

/// Where one change goes: to any number of destinations.
///
/// ```
/// use tidegate_plugin::{Destination, Routing};
///
/// let one = Routing::to(Destination::target("inventory:WH-1"));
/// let two = one.clone().and(Destination::sink("archive"));
/// assert_eq!((one.destinations().count(), two.destinations().count()), (1, 2));
/// ```
// The first destination stands apart because it is mostly the only one, and then costs no list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    first: Option<Destination>,
    others: Vec<Destination>,
}

impl Routing {
    /// Delivered nowhere, and counted as filtered.
    pub fn nowhere() -> Self {
        Self::default()
    }

    /// To one destination.
    pub fn to(destination: Destination) -> Self {
        Self { first: Some(destination), others: Vec::new() }
    }

    /// To one more destination.
    #[must_use]
    pub fn and(mut self, destination: Destination) -> Self {
        if self.first.is_none() {
            self.first = Some(destination);
        } else {
            self.others.push(destination);
        }
        self
    }

    /// The destinations, in the order they were added.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.first.iter().chain(&self.others)
    }
}

impl From<Destination> for Routing {
    fn from(destination: Destination) -> Self {
        Self::to(destination)
    }
}

impl FromIterator<Destination> for Routing {
    fn from_iter<I: IntoIterator<Item = Destination>>(destinations: I) -> Self {
        destinations.into_iter().fold(Self::nowhere(), Self::and)
    }
}

/// One place a change goes to. What is not said is left to the host: all sinks, and each sink's own target and key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    /// Name of a sink of the pipeline; none: all of them.
    pub sink: Option<String>,
    /// Where in that sink: a stream, a topic, a collection; none: the sink's own default.
    pub target: Option<String>,
    /// What must stay in order at the target, for sinks that order by key; none: the document key.
    pub ordering_key: Option<String>,
    /// Headers of this delivery alone. Empty values are left out.
    pub attributes: Vec<(String, String)>,
}

impl Destination {
    /// All sinks, each with its own target.
    pub fn everywhere() -> Self {
        Self::default()
    }

    /// A target in all sinks.
    pub fn target(target: impl Into<String>) -> Self {
        Self { target: Some(target.into()), ..Self::default() }
    }

    /// One sink, with its own target.
    pub fn sink(sink: impl Into<String>) -> Self {
        Self { sink: Some(sink.into()), ..Self::default() }
    }

    /// Only this sink.
    #[must_use]
    pub fn in_sink(mut self, sink: impl Into<String>) -> Self {
        self.sink = Some(sink.into());
        self
    }

    /// Ordered by this key.
    #[must_use]
    pub fn ordered_by(mut self, key: impl Into<String>) -> Self {
        self.ordering_key = Some(key.into());
        self
    }

    /// With a header of this delivery alone.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }
}

pub(crate) fn run<P: Router>(plugin: &mut P, batch: &types::Batch) -> raw::RoutedBatch {
    let routings = plugin.route_batch(Batch::new(batch));
    let mut arena = Arena::default();
    let mut attributes = Vec::new();
    let mut destinations = Vec::with_capacity(routings.len());
    let mut decisions = Vec::with_capacity(routings.len());
    for routing in routings {
        decisions.push(match routing {
            Ok(routing) => {
                let first = destinations.len();
                for destination in routing.destinations() {
                    let first_attribute = attributes.len();
                    arena.push_headers(&destination.attributes, &mut attributes);
                    destinations.push(raw::Destination {
                        sink: arena.push_text(destination.sink.as_deref()),
                        target: arena.push_text(destination.target.as_deref()),
                        ordering_key: arena.push_text(destination.ordering_key.as_deref()),
                        attributes: arena::range_from(first_attribute, &attributes),
                    });
                }
                raw::Decision::Deliver(arena::range_from(first, &destinations))
            }
            Err(reason) => raw::Decision::Failed(reason),
        });
    }
    raw::RoutedBatch { arena: arena.into_bytes(), attributes, destinations, decisions }
}
