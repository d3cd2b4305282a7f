// What the host gives: see host.wit. The log and the metrics to every plugin, the rest where the operator grants it.

declare module "tidegate:plugin/log@0.1.0" {
  export type Level = "trace" | "debug" | "info" | "warn" | "error";
  export function log(level: Level, message: string): void;
}

declare module "tidegate:plugin/metrics@0.1.0" {
  export function count(name: string, add: bigint): void;
  export function gauge(name: string, value: number): void;
}

declare module "tidegate:plugin/clock@0.1.0" {
  export function now(): bigint;
}

declare module "tidegate:plugin/random@0.1.0" {
  export function bytes(count: number): Uint8Array;
}

declare module "tidegate:plugin/environment@0.1.0" {
  export function get(name: string): string | undefined;
}

declare module "tidegate:plugin/http@0.1.0" {
  export interface Header {
    name: string;
    value: string;
  }
  export interface Request {
    method: string;
    url: string;
    headers: Header[];
    body: Uint8Array;
    timeout: number | undefined;
  }
  export interface Response {
    status: number;
    headers: Header[];
    body: Uint8Array;
  }
  export interface Failure {
    tag: "not-granted" | "invalid" | "unreachable" | "timed-out" | "too-large";
    val: string;
  }
  /** @throws An object whose `payload` is a `Failure`. */
  export function send(request: Request): Response;
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
