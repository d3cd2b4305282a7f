// What is asked of the fields of a document, and the violations in words that are the same in every language.
//
//     const order = rules(required("id", STRING), optional("amount", integerFrom(0)));
//     order.check({ amount: -3 })   // id is missing; amount must be an integer of at least 0, is -3

import type { Document, Value } from "./change.ts";
import { asInteger, asNumber, isDate, isDocument, isNumber, isObjectId, typeName } from "./extended-json.ts";
import { parseIso8601 } from "./iso8601.ts";
import type { Violation } from "./results.ts";

/** What a field's value may be. */
export interface Type {
  /** To be read after the field's name: `must be a string`. */
  what: string;
  fits(value: Value): boolean;
  /** Which values a message shows, rather than their type alone. */
  shows?: "text" | "number";
}

const isText = (value: Value): value is string => typeof value === "string";
const isIso8601 = (value: Value) => isText(value) && parseIso8601(value) !== undefined;

export const STRING: Type = { what: "must be a string", fits: isText };
/** An Int32, an Int64, or a double without a fraction. */
export const INTEGER: Type = { what: "must be an integer", fits: (value) => asInteger(value) !== undefined, shows: "number" };
export const NUMBER: Type = { what: "must be a number", fits: isNumber };
export const BOOLEAN: Type = { what: "must be a boolean", fits: (value) => typeof value === "boolean" };
/** A BSON date. */
export const DATE: Type = { what: "must be a date", fits: isDate };
export const ISO8601: Type = { what: "must be a date and time in ISO 8601 text", fits: isIso8601, shows: "text" };
export const DATE_OR_ISO8601: Type = {
  what: "must be a date or a date and time in ISO 8601 text",
  fits: (value) => isDate(value) || isIso8601(value),
  shows: "text",
};
export const OBJECT_ID: Type = { what: "must be an ObjectId", fits: isObjectId };
export const DOCUMENT: Type = { what: "must be a document", fits: isDocument };
export const ARRAY: Type = { what: "must be an array", fits: (value) => Array.isArray(value) };

/** A whole number, this one at least. */
export function integerFrom(least: number | bigint): Type {
  const fits = (value: Value) => {
    const whole = asInteger(value);
    return whole !== undefined && whole >= least;
  };
  return { what: `must be an integer of at least ${least}`, fits, shows: "number" };
}

/** Text, one of these. */
export function oneOf(...words: string[]): Type {
  return { what: `must be one of ${words.join(", ")}`, fits: (value) => isText(value) && words.includes(value), shows: "text" };
}

/** A field of a document and what is asked of it. */
export interface Field {
  /** Its name, or names with dots between them. */
  path: string;
  type: Type;
  required: boolean;
}

/** A field that must be there. */
export function required(path: string, type: Type): Field {
  return { path, type, required: true };
}

/** A field that may be absent. Null is not absent. */
export function optional(path: string, type: Type): Field {
  return { path, type, required: false };
}

/** What every object has without having been given it, such as `constructor`. */
const inherited = Object.prototype as unknown as Document;

/** What is asked of a kind of document. Fields that are not named pass. */
export class Rules {
  readonly fields: readonly Field[];

  constructor(fields: readonly Field[]) {
    this.fields = fields;
  }

  /** These rules and more fields. */
  and(...fields: Field[]): Rules {
    return new Rules([...this.fields, ...fields]);
  }

  /** These rules with another field in the place of one, as a newer version of a schema has it. */
  with(path: string, field: Field): Rules {
    if (!this.fields.some((it) => it.path === path)) {
      throw new Error(`there is no field ${path} to be replaced`);
    }
    return new Rules(this.fields.map((it) => (it.path === path ? field : it)));
  }

  /** Everything that is wrong with the document, in the order of the rules. */
  check(document: Document): Violation[] {
    const violations: Violation[] = [];
    // Plain steps: the engine inside the component interprets, and this runs for each field of each document.
    const fields = this.fields;
    for (let at = 0; at < fields.length; at++) {
      const field = fields[at]!;
      const path = field.path;
      let value = document[path];
      if (value === undefined || value === inherited[path]) {
        value = Object.hasOwn(document, path) ? value : atPath(document, path);
      }
      if (value === undefined) {
        if (field.required) {
          violations.push({ path, message: "is missing" });
        }
      } else if (!field.type.fits(value)) {
        violations.push({ path, message: `${field.type.what}, is ${shown(field.type, value)}` });
      }
    }
    return violations;
  }
}

/** Rules of these fields. */
export function rules(...fields: Field[]): Rules {
  return new Rules(fields);
}

/** The value at names with dots between them; a number is a place in an array. */
export function atPath(document: Document, path: string): Value | undefined {
  let value: Value | undefined = document;
  for (const name of path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) {
      return undefined;
    }
    value = (value as Document)[name];
  }
  return value;
}

function shown(type: Type, value: Value): string {
  if (type.shows === "text" && isText(value)) {
    return quoted(value);
  }
  if (type.shows === "number") {
    const number = asInteger(value) ?? asNumber(value);
    if (number !== undefined) {
      return plain(number);
    }
  }
  return typeName(value);
}

const ESCAPES: Record<string, string> = {
  '"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0",
};
const UNSEEN = new RegExp(`["\\\\${UNSEEN_CHARACTERS}]`, "gu");

/**
 * Text in quotes, with escapes for what is not seen; cut where it is long, since messages end up in logs, unless the whole
 * text is asked for.
 */
export function quoted(text: string, whole = false): string {
  const characters = Array.from(text);
  const short = whole || characters.length <= 40 ? text : characters.slice(0, 40).join("");
  const escaped = short.replace(UNSEEN, (it) => ESCAPES[it] ?? `\\u{${it.codePointAt(0)?.toString(16)}}`);
  return `"${escaped}"${short.length < text.length ? "..." : ""}`;
}

/** A number without an exponent, in as few digits as tell it from all others. */
function plain(number: number | bigint): string {
  if (number === Infinity || number === -Infinity) {
    return number > 0 ? "inf" : "-inf";
  }
  const [digits = "", exponent] = String(number).split("e");
  if (exponent === undefined) {
    return digits;
  }
  const sign = digits.startsWith("-") ? "-" : "";
  const [before = "", after = ""] = digits.replace("-", "").split(".");
  const point = before.length + Number(exponent);
  const all = before + after;
  return point > 0 ? sign + all.padEnd(point, "0") : `${sign}0.${"0".repeat(-point)}${all}`;
}
