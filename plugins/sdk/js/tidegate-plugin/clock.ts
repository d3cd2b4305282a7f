// The time. The operator must grant `clock`, and plugin.yaml says `uses: [clock]`.
//
// A plugin that reads the clock is not deterministic: after a crash the same change may come out of it otherwise. Often the
// time of the change, `change.wallTime`, is what is wanted.

import * as host from "tidegate:plugin/clock@0.1.0";

/** The time by the host's clock. It may step back when that is set. */
export function now(): Date {
  return new Date(milliseconds());
}

/** Milliseconds since 1970, UTC, by the host's clock. */
export function milliseconds(): number {
  return Number(host.now());
}
