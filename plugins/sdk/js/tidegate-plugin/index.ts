/**
 * Write plugins for tidegate in JavaScript or TypeScript: the main file's default export says what the plugin is.
 *
 *     import { accept, asInteger, definePlugin, reject } from "tidegate-plugin";
 *
 *     export default definePlugin({
 *       name: "stock-rules",
 *       version: "1.0.0",
 *       validate(change) {
 *         const quantity = asInteger(change.document.quantity);
 *         return quantity === undefined ? reject("quantity", "must be a whole number") : accept();
 *       },
 *     });
 *
 * An error that is thrown ends the instance; the host finds the change that caused it and puts that one into the dead
 * letter.
 */
// Of these four the bundle has what the plugin calls, and nothing else: see build.mjs.
export * as clock from "./clock.ts";
export * as environment from "./environment.ts";
export * as http from "./http.ts";
export * as random from "./random.ts";
export type { Change, Document, DocumentChange, Operation, Value } from "./change.ts";
export * from "./extended-json.ts";
export { parseIso8601 } from "./iso8601.ts";
export * as log from "./log.ts";
export * as metrics from "./metrics.ts";
export { definePlugin, type PluginDefinition } from "./plugin.ts";
export * from "./results.ts";
export * from "./rules.ts";
