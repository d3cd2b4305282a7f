// Random numbers. The operator must grant `random`, and plugin.yaml says `uses: [random]`.

import * as host from "tidegate:plugin/random@0.1.0";

/** So many bytes from the host's secure source, 1 MiB at most; more is an error of the plugin, which ends the call. */
export function bytes(count: number): Uint8Array {
  return host.bytes(count);
}

/** A number from 0 to below 1, any one as likely as any other. */
export function number(): number {
  const view = new DataView(bytes(8).slice().buffer);
  // As many bits as a double has.
  return Number(view.getBigUint64(0) >> 11n) / 2 ** 53;
}
