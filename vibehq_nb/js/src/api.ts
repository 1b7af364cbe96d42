/** The server's HTTP interface, asked with the cookies of this page. */

import type { JsonObject } from "./wire.ts";

/** A refusal, with the server's code and sentence. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export interface Me {
  user: string;
  kind?: string;
  roles: string[];
  version?: string;
  mode?: string;
}

export class Api {
  /** How far the server's clock is ahead of this one, in milliseconds. */
  clockAhead = 0;

  constructor(
    readonly base: URL,
    private readonly fetcher: typeof fetch = (...args) => fetch(...args),
  ) {}

  /** Return who this page is to the server. */
  async me(): Promise<Me> {
    const before = Date.now();
    const response = await this.ask("GET", "api/me");
    const date = Date.parse(response.headers.get("Date") ?? "");
    // The header counts whole seconds: half a second is its mean error.
    const ahead = date + 500 - (before + Date.now()) / 2;
    this.clockAhead = Math.abs(ahead) > 2000 ? ahead : 0;
    return { roles: [], user: "", ...((await response.json()) as Partial<Me>) };
  }

  async get(path: string): Promise<JsonObject> {
    return (await (await this.ask("GET", path)).json()) as JsonObject;
  }

  async post(path: string, body: JsonObject): Promise<JsonObject> {
    return (await (await this.ask("POST", path, body)).json()) as JsonObject;
  }

  /** Return the body of what is no JSON, as it comes. */
  async stream(path: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const { body } = await this.ask("GET", path, undefined, signal);
    if (!body) throw new ApiError(0, "no-body", "The server sent nothing.");
    return body;
  }

  /** Return the milliseconds since 1970 as the server counts them. */
  now(): number {
    return Date.now() + (Number.isFinite(this.clockAhead) ? this.clockAhead : 0);
  }

  private async ask(
    method: string,
    path: string,
    body?: JsonObject,
    signal: AbortSignal | null = null,
  ): Promise<Response> {
    const headers: Record<string, string> = { Accept: "application/json" };
    if (body) headers["Content-Type"] = "application/json";
    const token = method === "GET" ? "" : xsrfToken(document.cookie);
    if (token) headers["X-XSRFToken"] = token;
    const response = await this.fetcher(new URL(path, this.base), {
      method,
      headers,
      credentials: "same-origin",
      cache: "no-store",
      redirect: "manual",
      body: body ? JSON.stringify(body) : null,
      signal,
    });
    if (response.ok) return response;
    throw await refusal(response);
  }
}

/** Return the value of Jupyter's cross-site cookie, or "". */
export function xsrfToken(cookies: string): string {
  const found = /(?:^|;\s*)_xsrf=([^;]*)/.exec(cookies);
  return found?.[1] ?? "";
}

async function refusal(response: Response): Promise<ApiError> {
  // A redirect leads to a sign-in page: to a program that is a 401.
  if (response.type === "opaqueredirect")
    return new ApiError(401, "signed-out", "Sign in again.");
  const said = (await response.json().catch(() => ({}))) as {
    code?: string;
    message?: string;
  };
  return new ApiError(
    response.status,
    said.code ?? String(response.status),
    said.message ?? `The server answered ${response.status}.`,
  );
}
