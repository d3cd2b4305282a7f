//! What is struck, where and in which order.

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::fault::Fault;
use super::report::Report;
use super::run::Run;

/// Where changes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Target {
    /// A Redis stream.
    Redis,
    /// A MongoDB collection with a document for each change, and a copy of the source beside it.
    Mongodb,
}

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Mode {
    /// Effectively once: the position is stored in the sink, together with the data.
    Once,
    /// At least once: the position is stored in a file.
    AtLeastOnce,
}

/// The MongoDB servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Servers {
    /// A replica set of one member, behind proxies.
    One,
    /// A replica set of three members.
    Three,
}

impl Target {
    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Mongodb => "mongodb",
        }
    }
}

impl Mode {
    /// The name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::AtLeastOnce => "at-least-once",
        }
    }
}

/// A run: one pipeline on real servers, a writer, and faults one after the other.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Where changes go.
    pub target: Target,
    /// What is promised.
    pub mode: Mode,
    /// The MongoDB servers.
    pub servers: Servers,
    /// One round each, in this order.
    pub faults: Vec<Fault>,
    /// Draws everything that is left to chance.
    pub seed: u64,
    /// Changes a second.
    pub rate: u32,
    /// Some rounds begin before what was struck last has recovered, and some faults have a kill in their middle.
    pub impatient: bool,
}

impl Scenario {
    /// These faults, each after the one before it was overcome, with one MongoDB server.
    #[must_use]
    pub fn of(target: Target, mode: Mode, faults: &[Fault]) -> Self {
        let servers = if faults.contains(&Fault::MongodbStepDown) { Servers::Three } else { Servers::One };
        let seed = rand::rng().random();
        Self { target, mode, servers, faults: faults.to_vec(), seed, rate: 1000, impatient: false }
    }

    /// So many kills of tidegate, and so many other faults, of every kind as often as of any other. The first scenario has one
    /// MongoDB server and all that a proxy can do, the second three servers and their elections.
    #[must_use]
    pub fn draw(target: Target, mode: Mode, kills: usize, faults: usize, seed: u64) -> Vec<Self> {
        let mut random = StdRng::seed_from_u64(seed);
        let one = Fault::all(target, mode, Servers::One);
        let three = [Fault::MongodbStepDown, Fault::MongodbKill];
        // Elections take seconds each, so they have a tenth of the faults.
        let elections = if faults < 5 { 0 } else { faults.div_ceil(10) };
        let mut plan = vec![Fault::Kill; kills];
        plan.extend(deal(&one, faults - elections, &mut random));
        plan.shuffle(&mut random);
        let scenario = |servers, faults| Self { target, mode, servers, faults, seed, rate: 1000, impatient: true };
        let mut scenarios = vec![scenario(Servers::One, plan)];
        if elections > 0 {
            scenarios.push(scenario(Servers::Three, deal(&three, elections, &mut random)));
        }
        scenarios
    }

    /// Runs it, and says what came of it. `on_round` is called before each round with its number, from 0, and its fault.
    ///
    /// # Panics
    /// When a server cannot be started or asked.
    pub async fn run(&self, on_round: impl FnMut(usize, Fault)) -> Report {
        Run::start(self).await.finish(on_round).await
    }
}

/// So many faults of these kinds, each as often as the others; of slow ones one at most.
fn deal(kinds: &[Fault], count: usize, random: &mut StdRng) -> Vec<Fault> {
    let mut dealt = Vec::new();
    let mut kinds = kinds.to_vec();
    while dealt.len() < count && !kinds.is_empty() {
        kinds.shuffle(random);
        dealt.extend(kinds.iter().copied().take(count - dealt.len()));
        kinds.retain(|kind| !kind.is_slow());
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again() {
        let draw = |seed| {
            let scenarios = Scenario::draw(Target::Redis, Mode::Once, 200, 100, seed);
            scenarios.into_iter().map(|scenario| scenario.faults).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        let all: Vec<Fault> = draw(7).concat();
        assert_eq!(all.iter().filter(|fault| **fault == Fault::Kill).count(), 200);
        assert_eq!(all.len(), 300);
        for kind in Fault::all(Target::Redis, Mode::Once, Servers::One) {
            let times = all.iter().filter(|fault| **fault == kind).count();
            assert!(if kind.is_slow() { times == 1 } else { times >= 4 }, "{kind:?}: {times}");
        }
    }

    #[test]
    fn few_faults_are_of_different_kinds() {
        let mut faults = Scenario::draw(Target::Mongodb, Mode::AtLeastOnce, 0, 4, 1).remove(0).faults;
        faults.sort();
        faults.dedup();
        assert_eq!(faults.len(), 4);
    }
}
