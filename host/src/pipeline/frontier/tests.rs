//! That the frontier is right in every order of events: all of them for a few batches, and at random for many, with crashes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Order, Sent};
use crate::position::Position;

/// A batch; `changes` carries the place where it ends in the source.
fn sent(batch: u64, ends_at: u64) -> Sent {
    Sent {
        batch,
        partition: "all".into(),
        position: None,
        changes: ends_at,
        newest: None,
        permit: None,
        earlier: Default::default(),
        receipts: crate::receipt::Receipts::new(),
    }
}

fn numbers(ready: Vec<Sent>) -> Vec<u64> {
    ready.into_iter().map(|sent| sent.batch).collect()
}

#[test]
fn a_later_success_never_passes_an_earlier_hole() {
    let mut order = Order::default();
    for batch in 1..=3 {
        order.sent(sent(batch, 0), 2);
    }
    // Sink 0 has everything, sink 1 only the last two.
    for batch in 1..=3 {
        assert_eq!(numbers(order.safe(batch, 0)), Vec::<u64>::new());
    }
    assert_eq!(numbers(order.safe(3, 1)), Vec::<u64>::new());
    assert_eq!(numbers(order.safe(2, 1)), Vec::<u64>::new());
    assert_eq!(numbers(order.safe(1, 1)), vec![1, 2, 3]);
}

#[test]
fn each_batch_needs_every_sink() {
    let mut order = Order::default();
    order.sent(sent(1, 0), 2);
    assert_eq!(numbers(order.safe(1, 0)), Vec::<u64>::new());
    assert_eq!(numbers(order.safe(1, 0)), Vec::<u64>::new(), "a sink that confirms twice does not speak for the other");
    assert_eq!(numbers(order.safe(1, 1)), vec![1]);
    order.sent(sent(2, 0), 1);
    assert_eq!(numbers(order.safe(2, 0)), vec![2]);
    assert_eq!(numbers(order.safe(2, 0)), Vec::<u64>::new(), "a batch that is gone is not counted again");
}

#[test]
fn a_batch_for_no_sink_waits_only_for_those_before_it() {
    let mut order = Order::default();
    order.sent(sent(1, 0), 1);
    order.sent(sent(2, 0), 0);
    assert_eq!(numbers(order.ready()), Vec::<u64>::new());
    assert_eq!(numbers(order.safe(1, 0)), vec![1, 2]);
    order.sent(sent(3, 0), 0);
    assert_eq!(numbers(order.ready()), vec![3]);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Sent,
    Safe { batch: u64, sink: usize },
}

/// What anybody would write who does not care for speed: sets, and counting from the start each time.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Model {
    sent: u64,
    safe: BTreeSet<(u64, usize)>,
}

impl Model {
    fn take(&mut self, event: Event) {
        match event {
            Event::Sent => self.sent += 1,
            // What is not on its way cannot be safe.
            Event::Safe { batch, sink } if (1..=self.sent).contains(&batch) => drop(self.safe.insert((batch, sink))),
            Event::Safe { .. } => {}
        }
    }

    fn frontier(&self, sinks: usize) -> u64 {
        let all = |batch: &u64| (0..sinks).all(|sink| self.safe.contains(&(*batch, sink)));
        (1..=self.sent).take_while(all).last().unwrap_or(0)
    }
}

/// An order under test, beside the model.
#[derive(Default)]
struct Both {
    order: Order,
    model: Model,
    frontier: u64,
}

impl Both {
    fn take(&mut self, event: Event, sinks: usize) {
        self.model.take(event);
        let ready = match event {
            Event::Sent => {
                self.order.sent(sent(self.model.sent, 0), sinks);
                self.order.ready()
            }
            Event::Safe { batch, sink } => self.order.safe(batch, sink),
        };
        let expected: Vec<u64> = (self.frontier + 1..=self.model.frontier(sinks)).collect();
        assert_eq!(numbers(ready), expected, "after {event:?} in {:?}", self.model);
        self.frontier = self.model.frontier(sinks);
    }

    fn replay(path: &[Event], sinks: usize) -> Self {
        let mut both = Self::default();
        path.iter().for_each(|event| both.take(*event, sinks));
        both
    }

    /// All that the order remembers.
    fn memory(&self) -> Vec<(u64, Vec<usize>)> {
        self.order.waiting.iter().map(|waiting| (waiting.sent.batch, waiting.lacking.to_vec())).collect()
    }
}

/// What can happen next. A sink confirms what it was sent; with `noise` it also repeats itself and speaks of batches that nobody
/// sent.
fn next(model: &Model, batches: u64, sinks: usize, in_order: bool, noise: bool) -> Vec<Event> {
    let mut events = Vec::new();
    if model.sent < batches {
        events.push(Event::Sent);
    }
    for sink in 0..sinks {
        for batch in 0..=batches + 1 {
            let on_its_way = (1..=model.sent).contains(&batch);
            let known = model.safe.contains(&(batch, sink));
            let turn = !in_order || (1..batch).all(|earlier| model.safe.contains(&(earlier, sink)));
            if (on_its_way && !known && turn) || (noise && (known || !on_its_way)) {
                events.push(Event::Safe { batch, sink });
            }
        }
    }
    events
}

/// Visits every state that any order of events leads to, by every last step into it. What the order remembers must depend on the
/// state alone, and so what it does next does: then every path is as good as the one that was replayed.
fn all_states(batches: u64, sinks: usize, in_order: bool, noise: bool) -> usize {
    let mut memories: BTreeMap<Model, Vec<(u64, Vec<usize>)>> = BTreeMap::new();
    let mut open: Vec<Vec<Event>> = vec![Vec::new()];
    let mut finished = 0;
    while let Some(path) = open.pop() {
        let model = Both::replay(&path, sinks).model;
        let events = next(&model, batches, sinks, in_order, noise);
        let mut moved = false;
        for event in events {
            let mut both = Both::replay(&path, sinks);
            both.take(event, sinks);
            moved |= both.model != model;
            match memories.get(&both.model) {
                Some(memory) => assert_eq!(*memory, both.memory(), "two ways into {:?} differ", both.model),
                None => {
                    memories.insert(both.model.clone(), both.memory());
                    open.push(path.iter().copied().chain([event]).collect());
                }
            }
        }
        if !moved {
            assert_eq!(model.frontier(sinks), batches, "in the end the frontier reaches the last batch");
            finished += 1;
        }
    }
    assert_eq!(finished, 1);
    memories.len()
}

#[test]
fn every_order_of_events_moves_the_frontier_as_the_model_does() {
    for sinks in 0..=3 {
        for batches in 1..=4 {
            let plain = all_states(batches, sinks, false, false);
            assert!(all_states(batches, sinks, true, false) <= plain);
            assert!(all_states(batches, sinks, false, true) >= plain, "what is said twice leads nowhere new");
        }
    }
    // Each batch that was sent is confirmed by any subset of three sinks: the sum of 8^sent, and the start is not counted.
    assert_eq!(all_states(4, 3, false, false), 8 + 64 + 512 + 4096);
}

/// The same without leaning on what the order remembers: each order of events from the start to the end, one by one.
#[test]
fn every_single_path_of_small_pipelines() {
    fn walk(path: &mut Vec<Event>, batches: u64, sinks: usize, in_order: bool) -> u64 {
        let both = Both::replay(path, sinks);
        let events = next(&both.model, batches, sinks, in_order, false);
        if events.is_empty() {
            assert_eq!(both.frontier, batches);
            return 1;
        }
        let mut paths = 0;
        for event in events {
            path.push(event);
            paths += walk(path, batches, sinks, in_order);
            path.pop();
        }
        paths
    }
    for (batches, sinks, in_order) in [(2, 3, false), (3, 2, false), (3, 3, true), (4, 2, true)] {
        assert!(walk(&mut Vec::new(), batches, sinks, in_order) > 500);
    }
}

/// What can happen to a pipeline while it runs.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next batch is read and sent.
    Read,
    /// A sink takes one of the batches that wait for it: the first, or (not in the host, but it must not matter) any other.
    Write { sink: usize, skip: usize },
    /// A sink says once more what it said before.
    Repeat { sink: usize, back: u64 },
    /// The position is stored.
    Store,
    /// The process is gone, with all that is in flight.
    Crash,
}

fn steps(sinks: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Read),
        16 => (0..sinks, prop_oneof![4 => Just(0_usize), 1 => 0..5_usize]).prop_map(|(sink, skip)| Step::Write { sink, skip }),
        2 => (0..sinks, 0..4_u64).prop_map(|(sink, back)| Step::Repeat { sink, back }),
        4 => Just(Step::Store),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..200)
}

/// A pipeline of which only the order is real.
struct Pipeline {
    /// Sinks that get something of each batch of the source.
    fan_out: Vec<BTreeSet<usize>>,
    /// What each sink has for good.
    durable: Vec<BTreeSet<u64>>,
    checkpoint: u64,
    order: Order,
    /// Where this run began, how many batches it has read, and how far its frontier has come.
    began: u64,
    read: u64,
    frontier: u64,
    waiting: Vec<Vec<u64>>,
}

impl Pipeline {
    fn new(fan_out: Vec<BTreeSet<usize>>, sinks: usize) -> Self {
        let (durable, waiting) = (vec![BTreeSet::new(); sinks], vec![Vec::new(); sinks]);
        let order = Order::default();
        Self { fan_out, durable, checkpoint: 0, order, began: 0, read: 0, frontier: 0, waiting }
    }

    fn check(&mut self, ready: Vec<Sent>) {
        for Sent { batch, changes: at, .. } in ready {
            assert_eq!(at, self.began + batch);
            assert_eq!(at, self.frontier + 1, "the frontier moves by one batch at a time, and never back");
            self.frontier = at;
            for sink in &self.fan_out[usize::try_from(at - 1).unwrap()] {
                assert!(self.durable[*sink].contains(&at), "the frontier passed batch {at}, which sink {sink} lacks");
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Read if self.began + self.read < self.fan_out.len() as u64 => {
                self.read += 1;
                self.order.sent(sent(self.read, self.began + self.read), self.waiting.len());
                let ready = self.order.ready();
                self.check(ready);
                self.waiting.iter_mut().for_each(|waiting| waiting.push(self.read));
            }
            Step::Read => {}
            Step::Write { sink, skip } => {
                if self.waiting[sink].is_empty() {
                    return;
                }
                let skip = skip % self.waiting[sink].len();
                let batch = self.waiting[sink].remove(skip);
                let at = self.began + batch;
                // A batch that holds nothing for a sink is confirmed at once, as the sink's task does.
                if self.fan_out[usize::try_from(at - 1).unwrap()].contains(&sink) {
                    self.durable[sink].insert(at);
                }
                let ready = self.order.safe(batch, sink);
                self.check(ready);
            }
            Step::Repeat { sink, back } => {
                let mut said = (1..=self.read).rev().filter(|batch| !self.waiting[sink].contains(batch));
                if let Some(batch) = said.nth(usize::try_from(back).unwrap()) {
                    let ready = self.order.safe(batch, sink);
                    self.check(ready);
                }
            }
            Step::Store => {
                assert!(self.checkpoint <= self.frontier, "the checkpoint never moves back");
                self.checkpoint = self.frontier;
            }
            Step::Crash => {
                self.order = Order::default();
                (self.began, self.read, self.frontier) = (self.checkpoint, 0, self.checkpoint);
                self.waiting.iter_mut().for_each(Vec::clear);
            }
        }
    }

    /// No more failures: everything is read and written.
    fn finish(&mut self) {
        let last = self.fan_out.len() as u64;
        while self.began + self.read < last {
            self.take(Step::Read);
        }
        for sink in 0..self.waiting.len() {
            while !self.waiting[sink].is_empty() {
                self.take(Step::Write { sink, skip: 0 });
            }
        }
        self.take(Step::Store);
        assert_eq!(self.checkpoint, last, "in the end the frontier reaches the last batch");
        for (at, sinks) in (1..).zip(&self.fan_out) {
            for sink in sinks {
                assert!(self.durable[*sink].contains(&at), "sink {sink} never got batch {at}");
            }
        }
    }
}

fn pipelines() -> impl Strategy<Value = (Vec<BTreeSet<usize>>, usize, Vec<Step>)> {
    (1..=4_usize).prop_flat_map(|sinks| {
        let fan_out = prop::collection::vec(prop::collection::btree_set(0..sinks, 0..=sinks), 1..30);
        (fan_out, Just(sinks), steps(sinks))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_fan_out_and_no_crash_loses_a_batch((fan_out, sinks, steps) in pipelines()) {
        let mut pipeline = Pipeline::new(fan_out, sinks);
        steps.into_iter().for_each(|step| pipeline.take(step));
        pipeline.finish();
    }
}

#[test]
fn what_is_held_waits_in_one_piece_and_gives_its_bytes_back() {
    let bytes = std::sync::Arc::new(tokio::sync::Semaphore::new(10));
    let mut order = Order::default();
    let position = |at: u64| Some(Position::new(at.to_be_bytes().to_vec()));
    for batch in 1..=5 {
        let permit = std::sync::Arc::clone(&bytes).try_acquire_owned().ok();
        let partition = if batch == 3 { "other" } else { "all" }.into();
        order.sent(Sent { permit, partition, position: position(batch), ..sent(batch, batch) }, 2);
    }
    // Sink 0 holds them, sink 1 is slower and holds nothing.
    (1..=5).for_each(|batch| order.held(batch, 0));
    assert_eq!((order.waiting.len(), order.held_changes(), bytes.available_permits()), (5, 0, 5));
    for batch in 1..=4 {
        assert_eq!(numbers(order.safe(batch, 1)), Vec::<u64>::new());
    }
    order.held(9, 0);
    assert_eq!((order.waiting.len(), order.batches(), order.held_changes()), (2, 5, 1 + 2 + 3 + 4));
    assert_eq!(bytes.available_permits(), 9, "what is held elsewhere is not in flight");
    let ready = order.flushed(4, 0);
    assert_eq!(numbers(order.ready()), Vec::<u64>::new());
    let [all] = ready.as_slice() else { panic!("{} of them", ready.len()) };
    assert_eq!((all.batch, all.changes, &all.position), (4, 10, &position(4)));
    assert_eq!(all.earlier.get("other"), position(3).as_ref());
    assert_eq!(numbers(order.safe(5, 1)), Vec::<u64>::new());
    assert_eq!(numbers(order.flushed(5, 0)), vec![5]);
    assert_eq!(order.batches(), 0);
}

#[test]
fn a_hold_does_not_speak_for_another() {
    let mut order = Order::default();
    for batch in 1..=4 {
        order.sent(sent(batch, 1), 2);
        order.held(batch, 0);
        order.held(batch, 1);
    }
    assert_eq!(order.waiting.len(), 1);
    assert_eq!(numbers(order.flushed(4, 0)), Vec::<u64>::new());
    order.sent(sent(5, 1), 2);
    order.held(5, 0);
    assert_eq!(numbers(order.flushed(4, 1)), vec![4]);
    assert_eq!(order.held_changes(), 0, "sink 1 has not said that it holds the last");
    assert_eq!(numbers(order.flushed(5, 0)), Vec::<u64>::new());
    assert_eq!(numbers(order.safe(5, 1)), vec![5]);
}

/// What anybody would write of holds who does not care for speed: for each batch on its way the sinks that lack it and those that hold it.
#[derive(Default)]
struct Holds(BTreeMap<u64, (BTreeSet<usize>, BTreeSet<usize>)>);

impl Holds {
    fn held(&self) -> Vec<u64> {
        let held = self.0.iter().filter(|(_, (lacking, holding))| !holding.is_empty() && lacking.is_subset(holding));
        held.map(|(batch, _)| *batch).collect()
    }

    /// Takes out what is safe, and returns the last of it.
    fn ready(&mut self) -> Option<u64> {
        let mut last = None;
        while let Some((batch, _)) = self.0.first_key_value().filter(|(_, (lacking, _))| lacking.is_empty()) {
            last = Some(*batch);
            self.0.pop_first();
        }
        last
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each sink takes the batches in their order: it holds them, writes all that it held, or writes what it has not taken yet.
    #[test]
    fn holds_move_the_frontier_as_the_model_does(steps in prop::collection::vec((0..4_u8, 0..3_usize), 0..300)) {
        const BATCHES: usize = 1000;
        let bytes = std::sync::Arc::new(tokio::sync::Semaphore::new(BATCHES));
        let (mut order, mut model) = (Order::default(), Holds::default());
        let (mut sent_last, mut taken, mut holds) = (0, [0; 3], [false; 3]);
        for (step, sink) in steps {
            let ready = match step {
                0 => {
                    sent_last += 1;
                    let permit = std::sync::Arc::clone(&bytes).try_acquire_owned().ok();
                    order.sent(Sent { permit, ..sent(sent_last, sent_last) }, 3);
                    model.0.insert(sent_last, ((0..3).collect(), BTreeSet::new()));
                    order.ready()
                }
                1 if taken[sink] < sent_last => {
                    taken[sink] += 1;
                    holds[sink] = true;
                    order.held(taken[sink], sink);
                    model.0.get_mut(&taken[sink]).unwrap().1.insert(sink);
                    Vec::new()
                }
                2 if taken[sink] < sent_last && !holds[sink] => {
                    taken[sink] += 1;
                    model.0.get_mut(&taken[sink]).unwrap().0.remove(&sink);
                    order.safe(taken[sink], sink)
                }
                3 if holds[sink] => {
                    holds[sink] = false;
                    model.0.range_mut(..=taken[sink]).for_each(|(_, (lacking, _))| lacking.retain(|other| *other != sink));
                    order.flushed(taken[sink], sink)
                }
                _ => Vec::new(),
            };
            prop_assert_eq!(ready.last().map(|sent| sent.batch), model.ready());
            drop(ready);
            let held = model.held();
            prop_assert_eq!(order.held_changes(), held.iter().sum::<u64>());
            prop_assert_eq!(order.batches(), model.0.len() as u64);
            prop_assert_eq!(BATCHES - bytes.available_permits(), model.0.len() - held.len());
        }
    }
}

/// The cost of a hold must not grow with what is on its way: with a walk over all of it for each this would take hours.
#[test]
fn many_batches_are_held_behind_one_that_is_slow() {
    const MANY: u64 = 300_000;
    let mut order = Order::default();
    (1..=MANY).for_each(|batch| order.sent(sent(batch, 1), 2));
    (1..=MANY).for_each(|batch| order.held(batch, 0));
    assert_eq!((order.waiting.len() as u64, order.held_changes()), (MANY, 0));
    for batch in 1..=MANY {
        assert!(order.safe(batch, 1).is_empty());
        assert_eq!(order.held_changes(), batch);
    }
    assert_eq!((order.waiting.len(), order.batches()), (1, MANY));
    assert_eq!(numbers(order.flushed(MANY, 0)), vec![MANY]);
    assert_eq!((order.batches(), order.held_changes()), (0, 0));
}
