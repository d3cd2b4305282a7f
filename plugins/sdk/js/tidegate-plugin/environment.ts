// Variables of the host's environment. The operator must grant `env` with the names, and plugin.yaml says `uses: [env]`.

import * as host from "tidegate:plugin/environment@0.1.0";

/** The value; undefined for a variable that is not granted. */
export function get(name: string): string | undefined {
  return host.get(name);
}
