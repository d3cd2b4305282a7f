// Asks the host for what a document names, and writes what it got into the field `answer`: see asker/src/lib.rs.

import {
  asInteger,
  clock,
  definePlugin,
  environment,
  failed,
  http,
  long,
  migrated,
  random,
  unchanged,
} from "tidegate-plugin";

const textOf = (value) => (typeof value === "string" ? value : "");
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
/** What Rust takes for a `u32`. */
const countOf = (value) => {
  const count = asInteger(value) ?? -1;
  return count >= 0 && count < 2 ** 32 ? Number(count) : undefined;
};

const ASK = new Map([
  ["clock", () => long(clock.milliseconds())],
  ["random", ({ count }) => hexOf(random.bytes(countOf(count) ?? 0))],
  ["environment", ({ name }) => environment.get(textOf(name)) ?? null],
  ["http", asked],
]);

export default definePlugin({
  name: "conformance-asker",
  version: "0.1.0",
  description: "Asks the host for what a document names, and writes the answer into the document",

  migrate(change) {
    if (change.document === undefined) {
      return unchanged("answered");
    }
    const ask = ASK.get(textOf(change.document.ask));
    if (ask === undefined) {
      return failed(`\`ask: ${textOf(change.document.ask)}\` is nothing that can be asked for`);
    }
    return migrated({ ...change.document, answer: ask(change.document) }, "asked", "answered");
  },
});

function asked(document) {
  const headers = Object.entries(document.headers ?? {}).map(([name, value]) => /** @type {const} */ ([name, textOf(value)]));
  try {
    const response = http.send(textOf(document.method), textOf(document.url), {
      headers,
      body: textOf(document.body),
      timeout: countOf(document.timeout),
    });
    return { status: response.status, headers: Object.fromEntries(response.headers), body: response.text() };
  } catch (error) {
    if (error instanceof http.HttpError) {
      return { error: error.kind, why: error.message };
    }
    throw error;
  }
}
