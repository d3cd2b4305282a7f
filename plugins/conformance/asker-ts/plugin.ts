// Asks the host for what a document names, and writes what it got into the field `answer`: see asker/src/lib.rs.

import {
  asInteger,
  clock,
  definePlugin,
  type Document,
  environment,
  failed,
  http,
  isDocument,
  long,
  migrated,
  random,
  unchanged,
  type Value,
} from "tidegate-plugin";

function textOf(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}

/** What Rust takes for a `u32`. */
function countOf(value: Value | undefined): number | undefined {
  const count = asInteger(value) ?? -1;
  return count >= 0 && count < 2 ** 32 ? Number(count) : undefined;
}

export default definePlugin({
  name: "conformance-asker",
  version: "0.1.0",
  description: "Asks the host for what a document names, and writes the answer into the document",

  migrate(change) {
    const document: Document | undefined = change.document;
    if (document === undefined) {
      return unchanged("answered");
    }
    const answer = answerTo(document);
    if (answer === undefined) {
      return failed(`\`ask: ${textOf(document.ask)}\` is nothing that can be asked for`);
    }
    return migrated({ ...document, answer }, "asked", "answered");
  },
});

function answerTo(document: Document): Value | undefined {
  switch (document.ask) {
    case "clock":
      return long(clock.milliseconds());
    case "random":
      return Array.from(random.bytes(countOf(document.count) ?? 0), (byte) => byte.toString(16).padStart(2, "0")).join("");
    case "environment":
      return environment.get(textOf(document.name)) ?? null;
    case "http":
      return asked(document);
    default:
      return undefined;
  }
}

function asked(document: Document): Document {
  const headers = isDocument(document.headers) ? document.headers : {};
  try {
    const response = http.send(textOf(document.method), textOf(document.url), {
      headers: Object.entries(headers).map(([name, value]) => [name, textOf(value)] as const),
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
