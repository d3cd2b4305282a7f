// What the host gives to every plugin: see host.wit.

declare module "tidegate:plugin/log@0.1.0" {
  export type Level = "trace" | "debug" | "info" | "warn" | "error";
  export function log(level: Level, message: string): void;
}

declare module "tidegate:plugin/metrics@0.1.0" {
  export function count(name: string, add: bigint): void;
  export function gauge(name: string, value: number): void;
}

// Without WASI features the engine still has these two; TypeScript's own library for them comes with a whole browser.
declare class TextDecoder {
  constructor(encoding: "utf-8", options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes: Uint8Array): string;
}
declare class TextEncoder {
  encode(text: string): Uint8Array;
}

/** Ranges of characters that are not seen, put in by build.mjs. */
declare const UNSEEN_CHARACTERS: string;
