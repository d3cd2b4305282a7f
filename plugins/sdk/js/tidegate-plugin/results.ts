// What a plugin returns.

import type { Document, Operation } from "./change.ts";

/** One thing that is wrong with a document. */
export interface Violation {
  /** Field names with dots between them; empty for the document itself. */
  path: string;
  /** What was expected and what was found, to be read after the path: `must be a string, is int`. */
  message: string;
}

/** What a validator says: nothing (no value or an empty list) accepts, violations reject. */
export type Verdict = Violation[] | undefined | void;

/** Another document takes the place of the one there was. */
export interface Migrated {
  kind: "migrated";
  document: Document;
  from: string;
  to: string;
}

/** It stays as it is, at no cost. */
export interface Unchanged {
  kind: "unchanged";
  version?: string | undefined;
}

/** The change goes to the dead letter, with this reason. */
export interface Failed {
  kind: "failed";
  reason: string;
}

/** One place a change goes to. What is not said is left to the host: all sinks, and each sink's own target and key. */
export interface Destination {
  kind?: never;
  /** Name of a sink of the pipeline; none: all of them. */
  sink?: string | undefined;
  /** Where in that sink: a stream, a topic, a collection; none: the sink's own default. */
  target?: string | undefined;
  /** What must stay in order at the target, for sinks that order by key; none: the document key. */
  orderingKey?: string | undefined;
  /** Headers of this delivery alone. Empty values are left out. */
  attributes?: Record<string, string> | undefined;
}

/** A change that takes the place of another. What is not said is taken over from that one, but for the document. */
export interface Output {
  kind?: never;
  /** None: no document, whatever the other change had. */
  document?: Document | undefined;
  operation?: Operation | undefined;
  database?: string | undefined;
  collection?: string | undefined;
  key?: Document | undefined;
  /** Beside those of the other change. Empty values are left out. */
  headers?: Record<string, string> | undefined;
}

export type Migration = Migrated | Unchanged | Failed;
/** A destination, several, or none at all (`[]`): then it is delivered nowhere, and counted as filtered. */
export type Routing = Destination | Destination[] | Failed;
/** A change, several, or none at all (`[]`): then it ends here, and is counted as filtered. */
export type Transformation = Output | Output[] | Unchanged | Failed;

/** The change goes on to the next stage. */
export function accept(): Violation[] {
  return [];
}

/** The change goes to the dead letter, with this reason. The path is empty for the document itself. */
export function reject(path: string, message: string): Violation[] {
  return [violation(path, message)];
}

/** One thing that is wrong with a document. */
export function violation(path: string, message: string): Violation {
  return { path, message };
}

/** The document went from one version to another. */
export function migrated(document: Document, from: string, to: string): Migrated {
  return { kind: "migrated", document, from, to };
}

/** The document, or the change, stays as it is; a migrator may say which version it has. */
export function unchanged(version?: string): Unchanged {
  return { kind: "unchanged", version };
}

/** It cannot be done: the change goes to the dead letter with this reason. */
export function failed(reason: string): Failed {
  return { kind: "failed", reason };
}
