// Lines in the host's log, with the plugin's name and generation. Lines beyond the plugin's limit per second are dropped
// and counted.

import { log } from "tidegate:plugin/log@0.1.0";

/** Every step. */
export function trace(message: string): void {
  log("trace", message);
}

/** What helps to find an error. */
export function debug(message: string): void {
  log("debug", message);
}

/** What an operator likes to know. */
export function info(message: string): void {
  log("info", message);
}

/** What an operator should look at. */
export function warn(message: string): void {
  log("warn", message);
}

/** What went wrong. */
export function error(message: string): void {
  log("error", message);
}
