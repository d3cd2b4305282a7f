//! The shortest way from one version to another.

use std::collections::VecDeque;

use super::{Step, Work};
use crate::config::StepConfig;

/// All steps of a type, in both directions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps(Vec<Step>);

/// What is done to documents of a version: indices into [`Steps`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<usize>,
    /// Version that documents have afterwards.
    pub(crate) to: usize,
    /// What the host is told of where they came from: the versions on the way but the last, `v1>v2`.
    pub(crate) from: String,
}

impl Steps {
    /// # Errors
    /// What is wrong with a step, with its place in the configuration.
    pub(crate) fn parse(configs: &[StepConfig], at: &str, versions: &[String]) -> Result<Self, String> {
        let mut steps: Vec<Step> = Vec::new();
        for (index, config) in configs.iter().enumerate() {
            let at = format!("{at}.steps[{index}]");
            for step in Step::parse(config, &at, versions)? {
                if steps.iter().any(|other| (other.from, other.to) == (step.from, step.to)) {
                    return Err(format!("{at}: there is a step {} already", step.name));
                }
                steps.push(step);
            }
        }
        Ok(Self(steps))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Step> {
        self.0.get(index)
    }

    /// What is to be done to documents of version `from` so that they have version `to`: the shortest way. It ends before a step that
    /// another plugin does. None: nothing.
    ///
    /// # Errors
    /// When there is no way, or there are several of the same length.
    pub(crate) fn plan(&self, from: usize, to: usize, versions: &[String]) -> Result<Option<Plan>, String> {
        let name = |version: usize| versions.get(version).map_or("", String::as_str);
        let mut ways = self.shortest(from, to, versions.len()).into_iter();
        let way = ways.next().ok_or_else(|| {
            format!(
                "no steps lead from version {} to {}: declare one, or set migrate to another version",
                name(from),
                name(to)
            )
        })?;
        let text = |way: &[usize]| {
            let ends = way.iter().filter_map(|index| self.get(*index)).map(|step| name(step.to));
            std::iter::once(name(from)).chain(ends).collect::<Vec<_>>().join(" > ")
        };
        if let Some(other) = ways.next() {
            return Err(format!(
                "two ways of {} steps lead from version {} to {}: {}, and {}; take a step away, or declare one that is shorter",
                way.len(),
                name(from),
                name(to),
                text(&way),
                text(&other)
            ));
        }
        let own: Vec<usize> = way
            .into_iter()
            .take_while(|index| self.get(*index).is_some_and(|step| matches!(step.work, Work::Operations(_))))
            .collect();
        let Some(last) = own.last().and_then(|index| self.get(*index)) else { return Ok(None) };
        let names: Vec<&str> = own.iter().filter_map(|index| self.get(*index)).map(|step| name(step.from)).collect();
        Ok(Some(Plan { to: last.to, from: names.join(">"), steps: own }))
    }

    /// The shortest ways, two at most.
    fn shortest(&self, from: usize, to: usize, versions: usize) -> Vec<Vec<usize>> {
        let mut distance = vec![usize::MAX; versions];
        let mut queue = VecDeque::from([(from, Vec::new())]);
        let mut found: Vec<Vec<usize>> = Vec::new();
        // How many ways to a version are followed: two are enough to see that there is no single one.
        let mut ways = vec![0_u8; versions];
        while let Some((version, way)) = queue.pop_front() {
            if found.first().is_some_and(|best| best.len() < way.len()) {
                break;
            }
            if version == to {
                found.push(way);
                if found.len() == 2 {
                    break;
                }
                continue;
            }
            for (index, step) in self.0.iter().enumerate().filter(|(_, step)| step.from == version) {
                let (Some(best), Some(count)) = (distance.get_mut(step.to), ways.get_mut(step.to)) else { continue };
                let length = way.len() + 1;
                if length > *best || (length == *best && *count >= 2) {
                    continue;
                }
                *best = length;
                *count += 1;
                let mut next = way.clone();
                next.push(index);
                queue.push_back((step.to, next));
            }
        }
        found
    }
}
