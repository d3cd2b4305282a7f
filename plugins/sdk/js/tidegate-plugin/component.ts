// From the functions the component exports to those of a plugin. Named by the file that build.mjs makes, by no plugin.

import { type Change, changesOf, type Document, type Operation, type RawBatch } from "./change.ts";
import { stringify } from "./extended-json.ts";
import * as log from "./log.ts";
import type { PluginDefinition } from "./plugin.ts";
import type { Destination, Migration, Output, Routing, Transformation, Verdict } from "./results.ts";

type Span = { offset: number; length: number };
type Range = { first: number; count: number };
type RawHeader = { name: Span; value: Span };
type Definition = PluginDefinition<any, any>;
type Role = "validate" | "migrate" | "route" | "transform";

const ABSENT: Span = { offset: 0, length: 0 };
const encoder = new TextEncoder();

/** What the component exports, by the names of its interfaces. */
export function componentOf(definition: Definition) {
  let state: unknown;
  let configured = false;

  function run<T>(role: Role, batch: RawBatch, encode: (results: any[], changes: Change[]) => T): T {
    if (!configured) {
      throw new Error("a batch came before the configuration: the host must call `configure` first");
    }
    const changes = changesOf(batch);
    try {
      return encode(results(definition, role, changes, state), changes);
    } catch (error) {
      // All the host sees is a trap: without this the reason is lost.
      log.error(told(error));
      throw error;
    }
  }

  return {
    plugin: {
      manifest() {
        const { name, version, description = "", configSchema } = definition;
        return { name, version, description, configSchema: configSchema && JSON.stringify(configSchema) };
      },
      configure(config: string): void {
        try {
          state = configure(definition, JSON.parse(config));
          configured = true;
        } catch (error) {
          // Thrown text is the error of the contract; a thrown Error would be a trap.
          throw error instanceof Error ? error.message : String(error);
        }
      },
    },
    documents: { encoding: () => "json" },
    validator: { validate: (batch: RawBatch) => run("validate", batch, verdicts) },
    migrator: { migrate: (batch: RawBatch) => run("migrate", batch, outcomes) },
    router: { route: (batch: RawBatch) => run("route", batch, decisions) },
    transformer: { transform: (batch: RawBatch) => run("transform", batch, transformations) },
  };
}

function configure(definition: Definition, config: Document): unknown {
  if (definition.configure) {
    return definition.configure(config);
  }
  const found = Object.keys(config);
  if (found.length > 0 && !definition.configSchema) {
    throw new Error(`takes no configuration, found ${found.join(", ")}`);
  }
  return config;
}

function results(definition: Definition, role: Role, changes: Change[], state: unknown): any[] {
  const whole = definition[`${role}Batch`] as ((changes: Change[], state: unknown) => any[]) | undefined;
  if (whole) {
    return whole.call(definition, changes, state);
  }
  const each = definition[role] as ((change: Change, state: unknown) => any) | undefined;
  if (!each) {
    throw new Error(`the plugin has no function ${role}, and plugin.yaml names a role that needs it`);
  }
  return changes.map((change) => each.call(definition, change, state));
}

function told(error: unknown): string {
  return error instanceof Error ? `${error}\n${error.stack ?? ""}` : String(error);
}

function wrong(role: Role, found: unknown, allowed: string): TypeError {
  return new TypeError(`${role} returned ${JSON.stringify(found) ?? String(found)}, not ${allowed}`);
}

/** Gathers the bytes of a result. */
class Arena {
  #bytes = new Uint8Array(4096);
  #size = 0;

  text(text: string | undefined): Span {
    if (!text) {
      return ABSENT;
    }
    const part = encoder.encode(text);
    const span = { offset: this.#size, length: part.length };
    this.#size += part.length;
    if (this.#size > this.#bytes.length) {
      const larger = new Uint8Array(this.#size * 2);
      larger.set(this.#bytes.subarray(0, span.offset));
      this.#bytes = larger;
    }
    this.#bytes.set(part, span.offset);
    return span;
  }

  document(document: Document | undefined): Span {
    if (document === undefined) {
      return ABSENT;
    }
    if (document === null || typeof document !== "object" || Array.isArray(document)) {
      throw new TypeError(`a document is an object, not ${JSON.stringify(document) ?? String(document)}`);
    }
    return this.text(stringify(document));
  }

  headers(headers: Record<string, string> | undefined, into: RawHeader[]): Range {
    const first = into.length;
    for (const [name, value] of Object.entries(headers ?? {})) {
      if (name && value) {
        into.push({ name: this.text(name), value: this.text(value) });
      }
    }
    return { first, count: into.length - first };
  }

  joined(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }
}

function verdicts(verdicts: Verdict[]) {
  return verdicts.map((verdict) => {
    if (verdict === undefined) {
      return { tag: "accept" };
    }
    if (!Array.isArray(verdict)) {
      throw wrong("validate", verdict, "a list of violations or nothing");
    }
    return verdict.length === 0 ? { tag: "accept" } : { tag: "reject", val: verdict };
  });
}

function outcomes(migrations: Migration[]) {
  const arena = new Arena();
  const outcomes = migrations.map((it) => {
    switch (it?.kind) {
      case "unchanged":
        return { tag: "unchanged", val: arena.text(it.version) };
      case "migrated": {
        const document = arena.document(it.document);
        return { tag: "migrated", val: { document, fromVersion: arena.text(it.from), toVersion: arena.text(it.to) } };
      }
      case "failed":
        return { tag: "failed", val: it.reason };
      default:
        throw wrong("migrate", it, "migrated(...), unchanged(...) or failed(...)");
    }
  });
  return { arena: arena.joined(), outcomes };
}

function decisions(routings: Routing[]) {
  const arena = new Arena();
  const attributes: RawHeader[] = [];
  const destinations: object[] = [];
  const decisions = routings.map((routing) => {
    if (!Array.isArray(routing) && routing?.kind === "failed") {
      return { tag: "failed", val: routing.reason };
    }
    const routes: Destination[] = Array.isArray(routing) ? routing : [routing];
    const first = destinations.length;
    for (const to of routes) {
      if (typeof to !== "object" || to === null || to.kind !== undefined) {
        throw wrong("route", to, "a destination, a list of them or failed(...)");
      }
      destinations.push({
        sink: arena.text(to.sink),
        target: arena.text(to.target),
        orderingKey: arena.text(to.orderingKey),
        attributes: arena.headers(to.attributes, attributes),
      });
    }
    return { tag: "deliver", val: { first, count: routes.length } };
  });
  return { arena: arena.joined(), attributes, destinations, decisions };
}

function transformations(transformations: Transformation[], changes: Change[]) {
  const arena = new Arena();
  const namespaces: { database: string; collection: string }[] = [];
  const headers: RawHeader[] = [];
  const outputs: object[] = [];
  // Too few or too many results are found out by the host, which counts them.
  const results = transformations.map((transformation, index) => {
    if (!Array.isArray(transformation) && transformation?.kind === "unchanged") {
      return { tag: "unchanged" };
    }
    if (!Array.isArray(transformation) && transformation?.kind === "failed") {
      return { tag: "failed", val: transformation.reason };
    }
    const others: Output[] = Array.isArray(transformation) ? transformation : [transformation as Output];
    const first = outputs.length;
    for (const it of others) {
      if (typeof it !== "object" || it === null || it.kind !== undefined) {
        throw wrong("transform", it, "an output, a list of them, unchanged() or failed(...)");
      }
      const change = changes[index];
      const operation: Operation = it.operation ?? change?.operation ?? "insert";
      outputs.push({
        operation,
        namespace: place(namespaces, it.database || change?.database || "", it.collection || change?.collection || ""),
        key: arena.document(it.key),
        document: arena.document(it.document),
        headers: arena.headers(it.headers, headers),
      });
    }
    return { tag: "changes", val: { first, count: others.length } };
  });
  return { arena: arena.joined(), namespaces, headers, outputs, results };
}

/** Where a namespace stands in the list, after it was added if it was not there. There are few of them. */
function place(namespaces: { database: string; collection: string }[], database: string, collection: string): number {
  const found = namespaces.findIndex((it) => it.collection === collection && it.database === database);
  return found >= 0 ? found : namespaces.push({ database, collection }) - 1;
}
