//! Figures that plugins count by themselves, bounded so that a plugin cannot fill the host's memory with names.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{Counter, FloatGauge, families::Families, families::PluginOwn};

/// Names a plugin may use, counters and gauges together.
pub const MAX_NAMES: usize = 100;
/// Longest name, in bytes.
pub const MAX_NAME_LENGTH: usize = 100;

/// The own figures of one plugin.
#[derive(Debug, Default)]
pub(super) struct Own(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    counters: HashMap<String, Counter>,
    gauges: HashMap<String, FloatGauge>,
}

impl Known {
    fn admits(&self, name: &str) -> bool {
        self.counters.len() + self.gauges.len() < MAX_NAMES && is_name(name)
    }
}

/// Whether a plugin may give a figure this name: 1 to 100 of the characters `a-z A-Z 0-9 _ : . -`.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_LENGTH).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.' | b'-'))
}

impl Own {
    /// Adds to a counter; false when the name is refused.
    pub(super) fn count(&self, families: &Families, plugin: &str, name: &str, add: u64) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = known.counters.get(name) {
            counter.inc_by(add);
            return true;
        }
        if !known.admits(name) {
            return false;
        }
        let labels = PluginOwn { plugin: plugin.to_owned(), name: name.to_owned() };
        let counter = families.plugin_counter.get_or_create_owned(&labels);
        counter.inc_by(add);
        known.counters.insert(name.to_owned(), counter);
        true
    }

    /// Sets a gauge; false when the name is refused.
    pub(super) fn gauge(&self, families: &Families, plugin: &str, name: &str, value: f64) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gauge) = known.gauges.get(name) {
            gauge.set(value);
            return true;
        }
        if !known.admits(name) {
            return false;
        }
        let labels = PluginOwn { plugin: plugin.to_owned(), name: name.to_owned() };
        let gauge = families.plugin_gauge.get_or_create_owned(&labels);
        gauge.set(value);
        known.gauges.insert(name.to_owned(), gauge);
        true
    }
}
