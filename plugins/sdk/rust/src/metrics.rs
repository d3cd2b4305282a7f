//! Figures of the plugin's own, shown at the host's `/metrics`. Natively they go to the standard error.

/// Adds to the counter `tidegate_plugin_counter_total{plugin, name}`.
pub fn count(name: &str, add: u64) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::base::tidegate::plugin::metrics::count(name, add);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("count {name} +{add}");
}

/// Sets the gauge `tidegate_plugin_gauge{plugin, name}`.
pub fn gauge(name: &str, value: f64) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::base::tidegate::plugin::metrics::gauge(name, value);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("gauge {name} = {value}");
}
