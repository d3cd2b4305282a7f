//! What is shown of plugins: at `/api/v1/plugins`, on the status page and by `tidegate plugin list`. Names here are an interface:
//! they stay.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::{
    Generation, PluginControl,
    compare::Example,
    history::Entry,
    registry::{Inner, Live},
    swap::unknown,
};
use crate::{config::PromoteBy, error::Fault};

/// A plugin at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct PluginLive {
    /// Its name.
    pub plugin: String,
    /// `running`, `probation` or `shadow`.
    pub state: &'static str,
    /// The generation that runs.
    pub running: GenerationView,
    /// While it has to prove itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probation: Option<ProbationView>,
    /// What is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateView>,
    /// Where a step back leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<GenerationView>,
    /// Files that are not loaded any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<BarredView>,
}

/// A generation.
#[derive(Clone, Debug, Serialize)]
pub struct GenerationView {
    /// Its number in this run of the host.
    pub generation: u64,
    /// As its manifest says.
    pub version: String,
    /// SHA-256 of its file.
    pub digest: String,
    /// Since when it is what it is.
    #[serde(serialize_with = "time")]
    pub since: SystemTime,
}

/// A probation.
#[derive(Clone, Debug, Serialize)]
pub struct ProbationView {
    /// When it began.
    #[serde(serialize_with = "time")]
    pub since: SystemTime,
    /// How long it takes, in seconds.
    pub seconds: f64,
    /// The newest changes of the generation.
    pub now: RatesView,
    /// Those of the generation before, at its end.
    pub before: RatesView,
}

/// Counts over the newest changes of a generation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RatesView {
    /// Changes.
    pub changes: u64,
    /// Rejected.
    pub rejects: u64,
    /// Failed on.
    pub failures: u64,
}

/// A candidate and how it does.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateView {
    /// What it is.
    #[serde(flatten)]
    pub generation: GenerationView,
    /// Who decides: `auto` or `manual`.
    pub promote: &'static str,
    /// So much was compared as is asked for.
    pub complete: bool,
    /// Changes compared.
    pub compared: u64,
    /// Of which it made the same.
    pub equal: u64,
    /// Of which it made something else.
    pub different: u64,
    /// Which it rejects and the running generation does not.
    pub new_rejects: u64,
    /// Which the running generation rejects and it does not.
    pub gone_rejects: u64,
    /// Which it failed on.
    pub failures: u64,
    /// Not compared, since it was behind.
    pub dropped: u64,
    /// Mean time for a change of the running generation, in microseconds.
    pub running_micros: f64,
    /// Of the candidate.
    pub candidate_micros: f64,
    /// Some of the changes of which it made something else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

/// A file that is not loaded any more.
#[derive(Clone, Debug, Serialize)]
pub struct BarredView {
    /// When it was barred, RFC 3339.
    pub at: String,
    /// As its manifest says.
    pub version: String,
    /// SHA-256 of the file.
    pub digest: String,
    /// Why.
    pub reason: String,
}

fn time<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*at))
}

impl PluginControl {
    /// All plugins that run. What stands in documents is shown only with `documents`.
    pub fn list(&self, documents: bool) -> Vec<PluginLive> {
        let state = self.0.lock();
        state.plugins.iter().map(|(name, live)| view(&self.0, name, live, documents)).collect()
    }

    /// What happened to a plugin, oldest first.
    ///
    /// # Errors
    /// When there is no such plugin.
    pub fn history(&self, plugin: &str) -> Result<Vec<Entry>, Fault> {
        let entries = self.0.history.of(plugin);
        let state = self.0.lock();
        if entries.is_empty() && !state.plugins.contains_key(plugin) {
            return Err(unknown(plugin, &state));
        }
        Ok(entries)
    }
}

fn view(inner: &Inner, name: &str, live: &Live, documents: bool) -> PluginLive {
    let of = |generation: &Generation, since| GenerationView {
        generation: generation.number,
        version: generation.manifest.version.clone(),
        digest: generation.digest.clone(),
        since,
    };
    let rates = |counts: super::tally::Counts| RatesView {
        changes: counts.changes,
        rejects: counts.rejects,
        failures: counts.failures,
    };
    let candidate = live.candidate.as_ref().map(|candidate| {
        let shadow = &candidate.shadow;
        let mut figures = shadow.figures();
        if !documents {
            for example in &mut figures.examples {
                (example.before, example.after) = (None, None);
            }
        }
        let (running, own) = figures.per_change();
        CandidateView {
            generation: of(&candidate.generation, shadow.since),
            promote: match shadow.config.promote {
                PromoteBy::Auto => "auto",
                PromoteBy::Manual => "manual",
            },
            complete: shadow.is_complete(),
            compared: figures.compared(),
            equal: figures.equal,
            different: figures.different,
            new_rejects: figures.new_rejects,
            gone_rejects: figures.gone_rejects,
            failures: figures.failures,
            dropped: figures.dropped,
            running_micros: running * 1e6,
            candidate_micros: own * 1e6,
            examples: figures.examples,
        }
    });
    let barred = inner.history.barred(name).into_iter().map(|entry| BarredView {
        at: entry.at,
        version: entry.version,
        digest: entry.digest,
        reason: entry.reason.unwrap_or_default(),
    });
    PluginLive {
        plugin: name.to_owned(),
        state: match (&live.candidate, &live.probation) {
            (Some(_), _) => "shadow",
            (None, Some(_)) => "probation",
            (None, None) => "running",
        },
        running: of(&live.running, live.since),
        probation: live.probation.as_ref().map(|probation| ProbationView {
            since: probation.since,
            seconds: probation.config.time.0.as_secs_f64(),
            now: rates(live.running.tally.newest()),
            before: rates(probation.baseline),
        }),
        candidate,
        previous: live.previous.as_ref().map(|previous| of(previous, previous.loaded_at)),
        barred: barred.collect(),
    }
}
