// What a plugin is.

import type { Change, DocumentChange } from "./change.ts";
import type { Migration, Routing, Transformation, Verdict } from "./results.ts";

/** What a plugin says of itself, and the functions of its roles. `State` is what `configure` returns. */
export interface PluginDefinition<Config = any, State = Config> {
  name: string;
  /** The plugin's own, as you count. */
  version: string;
  /** What the plugin does, in a sentence. */
  description?: string;
  /** JSON Schema (draft 2020-12) of what `configure` takes; none: the plugin takes no configuration. */
  configSchema?: object;

  /**
   * Called once, before the first change, with the stage's `config`. What it returns is handed to all the other functions;
   * without it they get the configuration itself. Throw where the configuration is wrong: the operator reads the message.
   */
  configure?(config: Config): State;

  /** A validator says of each change whether it may pass. */
  validate?(change: DocumentChange, state: State): Verdict;
  /** A migrator brings documents to another schema version. */
  migrate?(change: DocumentChange, state: State): Migration;
  /** A router says where each change goes; it is asked about deletes and others without a document too. */
  route?(change: Change, state: State): Routing;
  /** A transformer makes any change into zero or more changes; it is given deletes and others without a document too. */
  transform?(change: Change, state: State): Transformation;

  // One result for each change, in their order: where a batch can be looked at faster as a whole.
  validateBatch?(changes: DocumentChange[], state: State): Verdict[];
  migrateBatch?(changes: DocumentChange[], state: State): Migration[];
  routeBatch?(changes: Change[], state: State): Routing[];
  transformBatch?(changes: Change[], state: State): Transformation[];
}

/** The default export of a plugin's main file. */
export function definePlugin<Config = any, State = Config>(
  definition: PluginDefinition<Config, State>,
): PluginDefinition<Config, State> {
  return definition;
}
