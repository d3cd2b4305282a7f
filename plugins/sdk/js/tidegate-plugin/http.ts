// HTTP requests. The operator must grant `http` with the hosts, and plugin.yaml says `uses: [http]`.
//
//     const response = http.get("https://api.example.com/items/7", { headers: { accept: "application/json" } });
//     if (response.status === 200) use(response.json());
//
// A request takes wall time of the call it is made in: ask once for a batch where that can be done (`validateBatch` and its
// like), and keep what was answered.

import * as host from "tidegate:plugin/http@0.1.0";

/** What a request has besides its method and URL. */
export interface RequestOptions {
  /** An object, or a list of names and values where a name occurs twice. */
  headers?: Record<string, string> | readonly (readonly [name: string, value: string])[] | undefined;
  /** Text goes as UTF-8. */
  body?: string | Uint8Array | undefined;
  /** Milliseconds that it may take in all; none: what the operator allows. */
  timeout?: number | undefined;
}

/** Why there is no response: what `HttpError.kind` is. */
export type HttpErrorKind = "not-granted" | "invalid" | "unreachable" | "timed-out" | "too-large";

/** There is no response. A response with a status such as 404 is no error. */
export class HttpError extends Error {
  /**
   * - `not-granted`: the host, or the address it has, is not granted
   * - `invalid`: it is no request
   * - `unreachable`: no connection, or it broke
   * - `timed-out`: it took too long
   * - `too-large`: a body is larger than the operator allows
   */
  readonly kind: HttpErrorKind;

  constructor(kind: HttpErrorKind, message: string) {
    super(message);
    this.name = "HttpError";
    this.kind = kind;
  }
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** A response, whole. */
export class HttpResponse {
  /** Such as 200. */
  readonly status: number;
  /** Names and values, in the order in which they came. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;

  constructor(status: number, headers: readonly (readonly [name: string, value: string])[], body: Uint8Array) {
    this.status = status;
    this.headers = headers;
    this.body = body;
  }

  /** Whether the status is one of 200 to 299. */
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  /** The first header of that name, in whatever case. */
  header(name: string): string | undefined {
    const wanted = name.toLowerCase();
    return this.headers.find(([own]) => own.toLowerCase() === wanted)?.[1];
  }

  /** The body as text, with what is no UTF-8 replaced. */
  text(): string {
    return decoder.decode(this.body);
  }

  /** The body, which is JSON. */
  json(): any {
    return JSON.parse(this.text());
  }
}

/** Sends a `GET`, as `send` does. */
export function get(url: string, options?: RequestOptions): HttpResponse {
  return send("GET", url, options);
}

/** Sends a `POST`, as `send` does. */
export function post(url: string, options?: RequestOptions): HttpResponse {
  return send("POST", url, options);
}

/**
 * Sends a request and waits for the whole response, whatever its status. Redirects are not followed.
 *
 * @throws {HttpError} There is no response.
 */
export function send(method: string, url: string, options: RequestOptions = {}): HttpResponse {
  const { headers = [], body = "", timeout } = options;
  const list: readonly (readonly [string, string])[] = Array.isArray(headers) ? headers : Object.entries(headers);
  let response: host.Response;
  try {
    response = host.send({
      method,
      url,
      headers: list.map(([name, value]) => ({ name, value })),
      body: typeof body === "string" ? encoder.encode(body) : body,
      timeout: timeout === undefined ? undefined : Math.min(Math.max(Math.ceil(timeout), 0), 0xffff_ffff),
    });
  } catch (error) {
    // The engine throws the error of the contract inside of one of its own.
    const failure = (error as { payload?: host.Failure }).payload;
    throw failure === undefined ? error : new HttpError(failure.tag, failure.val);
  }
  return new HttpResponse(response.status, response.headers.map(({ name, value }) => [name, value] as const), response.body);
}
