// MongoDB's Relaxed Extended JSON v2, the form documents come in and go back.
//
// Text, numbers, booleans, null, arrays and objects are what they look like; every other type is an object with a `$`:
//
// - ObjectId `{ $oid: "..." }`, date `{ $date: "2024-01-31T09:30:00Z" }`, Decimal128 `{ $numberDecimal: "1.50" }`
// - Int64 beyond 2^53 `{ $numberLong: "..." }`, doubles that are no number `{ $numberDouble: "NaN" }`
// - and `$binary`, `$timestamp`, `$regularExpression`, `$code`, `$symbol`, `$minKey`, `$maxKey`, `$undefined`, `$dbPointer`
//
// What is handed back unaltered keeps its BSON type. In a returned document a `Date`, a `bigint`, and a number that is
// none are written as Extended JSON too.

import type { Document, Value } from "./change.ts";

const NAMES: Record<string, string> = {
  __proto__: null as never,
  $oid: "objectId",
  $date: "date",
  $numberDecimal: "decimal",
  $numberLong: "long",
  $numberInt: "int",
  $numberDouble: "double",
  $binary: "binData",
  $uuid: "binData",
  $timestamp: "timestamp",
  $regularExpression: "regex",
  $code: "javascript",
  $symbol: "symbol",
  $minKey: "minKey",
  $maxKey: "maxKey",
  $undefined: "undefined",
  $dbPointer: "dbPointer",
};

/** Whether it is an object, neither null nor an array. */
function isObject(value: unknown): value is Document {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * What MongoDB calls the value's type: `string`, `int`, `objectId` and so on. JSON has one kind of number: whole ones are
 * `int` or, beyond 32 bits, `long`, and others `double`.
 */
export function typeName(value: Value | undefined): string {
  switch (typeof value) {
    case "string":
      return "string";
    case "boolean":
      return "bool";
    case "number":
      return asInteger(value) === undefined ? "double" : value >= -2147483648 && value <= 2147483647 ? "int" : "long";
    case "undefined":
      return "undefined";
  }
  if (value === null) {
    return "null";
  }
  if (Array.isArray(value)) {
    return "array";
  }
  const [name, ...others] = Object.keys(value);
  if (name !== undefined && others.length === 0) {
    return NAMES[name] ?? "object";
  }
  return others.length === 1 && "$code" in value && "$scope" in value ? "javascriptWithScope" : "object";
}

function wrapped(value: unknown, name: string): Value | undefined {
  return isObject(value) && Object.hasOwn(value, name) && Object.keys(value).length === 1 ? value[name] : undefined;
}

function wrappedText(value: unknown, name: string): string | undefined {
  const found = wrapped(value, name);
  return typeof found === "string" ? found : undefined;
}

/** Whether it is an ObjectId. */
export function isObjectId(value: Value | undefined): value is { $oid: string } {
  return wrapped(value, "$oid") !== undefined;
}

/** Whether it is a BSON date. */
export function isDate(value: Value | undefined): value is { $date: string | { $numberLong: string } } {
  return wrapped(value, "$date") !== undefined;
}

/** Whether it is a Decimal128. */
export function isDecimal(value: Value | undefined): value is { $numberDecimal: string } {
  return wrapped(value, "$numberDecimal") !== undefined;
}

/** Whether it is an Int64 beyond 2^53; smaller ones are plain numbers. */
export function isLong(value: Value | undefined): value is { $numberLong: string } {
  return wrapped(value, "$numberLong") !== undefined;
}

/** Whether it is an Int32, Int64, Double or Decimal128. */
export function isNumber(value: Value | undefined): boolean {
  return typeof value === "number" || ["int", "long", "double", "decimal"].includes(typeName(value));
}

/** Whether it is a nested document. */
export function isDocument(value: Value | undefined): value is Document {
  return typeName(value) === "object";
}

/**
 * A whole number: a double without a fraction within 2^53, where doubles are exact, or an Int64 beyond as a `bigint`. The
 * two compare with each other: `asInteger(value) >= 1`.
 */
export function asInteger(value: Value | undefined): number | bigint | undefined {
  if (typeof value === "number") {
    return Number.isInteger(value) && Math.abs(value) <= 2 ** 53 ? value : undefined;
  }
  const text = wrappedText(value, "$numberLong") ?? wrappedText(value, "$numberInt");
  return text === undefined ? undefined : BigInt(text);
}

/** An Int32, an Int64 (rounded where a double cannot hold it) or a Double, NaN and infinities too. */
export function asNumber(value: Value | undefined): number | undefined {
  if (typeof value === "number") {
    return value;
  }
  const text = wrappedText(value, "$numberDouble") ?? wrappedText(value, "$numberLong") ?? wrappedText(value, "$numberInt");
  return text === undefined ? undefined : Number(text);
}

/** The text of a Decimal128, every digit of it. */
export function asDecimal(value: Value | undefined): string | undefined {
  return wrappedText(value, "$numberDecimal");
}

/** The 24 hexadecimal digits of an ObjectId. */
export function asObjectId(value: Value | undefined): string | undefined {
  return wrappedText(value, "$oid");
}

/** A BSON date. */
export function asDate(value: Value | undefined): Date | undefined {
  const found = wrapped(value, "$date");
  const date = typeof found === "string" ? new Date(found) : new Date(asNumber(found) ?? NaN);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

/** An ObjectId of 24 hexadecimal digits. */
export function objectId(digits: string): { $oid: string } {
  return { $oid: digits };
}

/** An Int64, also where the number is small. */
export function long(number: bigint | number): { $numberLong: string } {
  return { $numberLong: BigInt(number).toString() };
}

/** A Decimal128. */
export function decimal(digits: string): { $numberDecimal: string } {
  return { $numberDecimal: digits };
}

/** A BSON date, of a `Date` or of milliseconds since 1970. */
export function date(at: Date | number): { $date: { $numberLong: string } } {
  return { $date: long(Number(at)) };
}

/** A document as Extended JSON. */
export function stringify(document: object): string {
  return isPlain(document, 0) ? JSON.stringify(document) : JSON.stringify(document, replaced);
}

/** Whether JSON has a form for all of it. Looking is cheaper than a function that JSON.stringify asks about every value. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value);
    case "string":
      return value.isWellFormed();
    case "object":
      break;
    default:
      return typeof value !== "bigint";
  }
  if (value === null) {
    return true;
  }
  if (value instanceof Date) {
    return false;
  }
  if (depth > 200) {
    // Deeper than MongoDB stores; an object that holds itself ends here too.
    throw new RangeError("a document is nested too deep");
  }
  for (const name in value) {
    if (!isPlain((value as Record<string, unknown>)[name], depth + 1)) {
      return false;
    }
  }
  return true;
}

function replaced(this: any, field: string, value: unknown): unknown {
  // JSON.stringify has made a text of a Date before it asks.
  const original: unknown = this[field];
  if (original instanceof Date) {
    return date(original);
  }
  switch (typeof value) {
    case "number":
      return Number.isFinite(value) ? value : { $numberDouble: String(value) };
    case "bigint":
      return long(value);
    case "string":
      // A lone surrogate is no text for the host.
      return value.toWellFormed();
    default:
      return value;
  }
}
