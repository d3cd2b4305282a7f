// A change, as a plugin sees it: a view into the batch it came with. Nothing is decoded that is not asked for.

/** A value as MongoDB's Relaxed Extended JSON v2 writes it: see `extended-json.ts`. */
export type Value = string | number | boolean | null | Value[] | Document;

/** A document. What is not plain JSON is an object with a `$`, such as `{ $oid: "..." }`. */
export interface Document {
  [field: string]: Value | undefined;
}

/** What happened to the document; `read`: it was there before the stream began, and a copy read it. */
export type Operation = "insert" | "update" | "replace" | "delete" | "read";

/** A batch as it comes: the table in types.wit. */
export interface RawBatch {
  arena: Uint8Array;
  namespaces: { database: string; collection: string }[];
  headers: Uint32Array;
  stride: number;
  changes: Uint32Array;
  /** The arena as text, where each byte is a character: kept here by the SDK. */
  ascii?: string | undefined;
}

const OPERATIONS: readonly Operation[] = ["insert", "update", "replace", "delete", "read"];

// Where the numbers of a change stand.
const ID = 0;
const OPERATION = 2;
const NAMESPACE = 3;
const KEY = 4;
const DOCUMENT = 6;
const BEFORE = 8;
const UPDATE = 10;
const CLUSTER_TIME = 12;
const WALL_TIME = 14;
const HEADERS = 16;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** One change. Its documents are parsed when they are first asked for, and are yours to alter. */
export class Change {
  readonly #batch: RawBatch;
  readonly #at: number;
  #key: Document | undefined;
  #document: Document | undefined;
  #before: Document | undefined;
  #update: Document | undefined;
  #headers: Record<string, string> | undefined;

  /** For the SDK itself. */
  constructor(batch: RawBatch, at: number) {
    this.#batch = batch;
    this.#at = at;
  }

  #number(place: number): number {
    return this.#batch.changes[this.#at + place]!;
  }

  #slice(offset: number, length: number): string {
    const ascii = this.#batch.ascii;
    if (ascii !== undefined) {
      return ascii.substring(offset, offset + length);
    }
    return decoder.decode(this.#batch.arena.subarray(offset, offset + length));
  }

  #text(place: number): string | undefined {
    const length = this.#number(place + 1);
    return length === 0 ? undefined : this.#slice(this.#number(place), length);
  }

  #parse(place: number): Document | undefined {
    const text = this.#text(place);
    return text === undefined ? undefined : JSON.parse(text);
  }

  #wide(place: number): bigint {
    return BigInt(this.#number(place)) | (BigInt(this.#number(place + 1)) << 32n);
  }

  /** The same after a restart, and the correlation id of all log lines. */
  get id(): string {
    return this.#text(ID) ?? "";
  }

  /** What happened. */
  get operation(): Operation {
    // A later version of the contract may have more; they count as updates.
    return OPERATIONS[this.#number(OPERATION)] ?? "update";
  }

  /** Name of the database. */
  get database(): string {
    return this.#batch.namespaces[this.#number(NAMESPACE)]!.database;
  }

  /** Name of the collection, which may have dots in it. */
  get collection(): string {
    return this.#batch.namespaces[this.#number(NAMESPACE)]!.collection;
  }

  /** `database.collection`. */
  get namespace(): string {
    return `${this.database}.${this.collection}`;
  }

  /** The whole document key: `_id`, and the fields of the shard key where there is one. */
  get key(): Document {
    return (this.#key ??= this.#parse(KEY) ?? {});
  }

  /** The document after the change. A delete has none, nor has an update whose document was gone when it was looked up. */
  get document(): Document | undefined {
    return (this.#document ??= this.#parse(DOCUMENT));
  }

  /** The document as the JSON text it came as: numbers are not rounded there. */
  get documentText(): string | undefined {
    return this.#text(DOCUMENT);
  }

  /** The document before the change, where the source was asked for it. */
  get before(): Document | undefined {
    return (this.#before ??= this.#parse(BEFORE));
  }

  /** The source's description of an update (MongoDB's `updateDescription`). */
  get update(): Document | undefined {
    return (this.#update ??= this.#parse(UPDATE));
  }

  /** The source's logical time: seconds since 1970 in the upper 32 bits, a counter in the lower. */
  get clusterTime(): bigint | undefined {
    return this.#wide(CLUSTER_TIME) || undefined;
  }

  /** When it happened by the server's clock. */
  get wallTime(): Date | undefined {
    const milliseconds = BigInt.asIntN(64, this.#wide(WALL_TIME));
    return milliseconds ? new Date(Number(milliseconds)) : undefined;
  }

  /** What the source or earlier stages noted, such as `schema_version`. */
  get headers(): Record<string, string> {
    if (this.#headers === undefined) {
      const headers: Record<string, string> = Object.create(null);
      const numbers = this.#batch.headers;
      const first = this.#number(HEADERS) * 4;
      for (let at = first; at < first + this.#number(HEADERS + 1) * 4; at += 4) {
        // Of two with one name the first counts.
        headers[this.#slice(numbers[at]!, numbers[at + 1]!)] ??= this.#slice(numbers[at + 2]!, numbers[at + 3]!);
      }
      this.#headers = headers;
    }
    return this.#headers;
  }
}

/** A change that has a document: validators and migrators are asked about no other. */
export type DocumentChange = Change & { readonly document: Document; readonly documentText: string };

/** The changes of a batch as it came. */
export function changesOf(batch: RawBatch): Change[] {
  // Mostly all of it is ASCII: then one call decodes the batch, instead of one for each text.
  const text = decoder.decode(batch.arena);
  batch.ascii = text.length === batch.arena.length ? text : undefined;
  const changes: Change[] = [];
  for (let at = 0; at < batch.changes.length; at += batch.stride) {
    changes.push(new Change(batch, at));
  }
  return changes;
}
