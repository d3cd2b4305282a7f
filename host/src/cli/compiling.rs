//! Says on standard error that a big component is being compiled: with a spinner on a terminal, else in a line.

use std::{sync::Mutex, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::plugin::compile::CompileObserver;

#[derive(Default)]
pub(super) struct OnStderr(Mutex<Option<ProgressBar>>);

impl CompileObserver for OnStderr {
    fn begins(&self, plugin: &str, bytes: usize) {
        let size = indicatif::DecimalBytes(u64::try_from(bytes).unwrap_or(u64::MAX));
        let text = format!("compiling {plugin} ({size})");
        // Nothing is drawn where standard error is no terminal.
        let bar = ProgressBar::new_spinner().with_message(text.clone());
        if bar.is_hidden() {
            eprintln!("{text}");
        }
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}, {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        if let Ok(mut shown) = self.0.lock() {
            *shown = Some(bar);
        }
    }

    fn goes_on(&self, _: &str, _: Duration) {}

    fn ended(&self, _: &str, _: Duration) {
        if let Some(bar) = self.0.lock().ok().and_then(|mut shown| shown.take()) {
            bar.finish_and_clear();
        }
    }
}
