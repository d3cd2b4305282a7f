// Figures of the plugin's own, shown at the host's `/metrics`.

import * as host from "tidegate:plugin/metrics@0.1.0";

/** Adds to the counter `tidegate_plugin_counter_total{plugin, name}`. */
export function count(name: string, add: number | bigint = 1): void {
  host.count(name, BigInt(add));
}

/** Sets the gauge `tidegate_plugin_gauge{plugin, name}`. */
export function gauge(name: string, value: number): void {
  host.gauge(name, value);
}
