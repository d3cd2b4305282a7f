//! Plugins: stages, swaps, limits.

use std::time::Duration;

use super::{
    super::model::{LimitsConfig, StageConfig, SwapConfig, Switch},
    At, Check, DAY, HOUR,
};

impl Check<'_> {
    pub(super) fn stage(&mut self, at: &At<'_>, stage: &StageConfig) {
        let plugin = at.key("plugin");
        if let Some(stem) = stage.plugin.strip_suffix(".wasm") {
            self.value(&plugin, "is a file name", format!("name the plugin without `.wasm`: `{stem}`"));
        } else if stage.plugin.is_empty() || stage.plugin.contains(['/', '\\', '\0']) || stage.plugin.starts_with('.') {
            let help = "a plugin is named by its file in `plugins.dir`, without folder and without `.wasm`";
            self.value(&plugin, "is no name of a plugin", help);
        }
        for (index, namespace) in stage.when.ns.iter().enumerate() {
            let good = namespace.split_once('.').is_some_and(|(database, collection)| {
                let word = |part: &str| !part.is_empty() && !part.contains(['*', '$', '\0', ' ', '/', '\\']);
                word(database) && (collection == "*" || word(collection))
            });
            if !good {
                let help = "write `database.collection`, or `database.*` for all collections of a database";
                self.value(&at.key("when").key("ns").item(index), "is no namespace", help);
            }
        }
        self.limits(&at.key("limits"), &stage.limits);
        if stage.breaker.after == 0 {
            let help = "take 1 or more; a big number keeps the breaker from ever tripping";
            self.value(&at.key("breaker").key("after"), "is 0, which trips before anything failed", help);
        }
    }

    pub(super) fn swap(&mut self, at: &At<'_>, swap: &SwapConfig) {
        if let Some(Switch::On(shadow)) = &swap.shadow {
            let at = at.key("shadow");
            self.span(&at.key("time"), shadow.time, Duration::from_millis(1), DAY);
            if shadow.changes == 0 {
                self.value(&at.key("changes"), "is 0, which compares nothing", "take 1 or more, or `shadow: off`");
            }
            if !(shadow.sample > 0.0 && shadow.sample <= 1.0) {
                self.value(&at.key("sample"), "is no share of the batches", "take more than 0, up to 1.0 for all");
            }
        }
        if let Some(Switch::On(probation)) = &swap.probation {
            let at = at.key("probation");
            self.span(&at.key("time"), probation.time, Duration::from_millis(1), DAY);
            let help = "take 1 or more; 1 takes a plugin back for one bad document";
            for (key, count) in [("failures", probation.failures), ("rejects", probation.rejects)] {
                if count == 0 {
                    self.value(&at.key(key), "is 0, which takes back a plugin that did nothing wrong", help);
                }
            }
            if !(probation.factor >= 1.0 && probation.factor.is_finite()) {
                self.value(&at.key("factor"), "is less than 1", "take 1.0 or more: so many times the rate before");
            }
        }
    }

    pub(super) fn limits(&mut self, at: &At<'_>, limits: &LimitsConfig) {
        if let Some(memory) = limits.memory {
            self.size(&at.key("memory"), memory, 64 << 10, 4 << 30, "64KiB to 4GiB");
        }
        if let Some(time) = limits.time {
            self.span(&at.key("time"), time, Duration::from_millis(1), HOUR);
        }
        if let Some(output) = limits.output {
            self.size(&at.key("output"), output, 1, 4 << 30, "1B to 4GiB");
        }
        if let Some(time) = limits.http_time {
            self.span(&at.key("http_time"), time, Duration::from_millis(1), HOUR);
        }
        if let Some(size) = limits.http_size {
            self.size(&at.key("http_size"), size, 1, 1 << 30, "1B to 1GiB");
        }
    }
}
