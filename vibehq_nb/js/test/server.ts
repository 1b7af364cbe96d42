/** A tiny room server on a real socket: what it does is each test's. */

import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { Api } from "../src/api.ts";

export interface Visit {
  socket: WebSocket;
  path: string;
  query: URLSearchParams;
}

export class TestServer {
  readonly visits: Visit[] = [];
  private server: WebSocketServer | null = null;
  port = 0;

  constructor(private readonly serve: (visit: Visit, number: number) => void) {}

  async start(): Promise<void> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: this.port });
    this.server = server;
    server.on("connection", (socket, request) => {
      const url = new URL(request.url ?? "", "http://x");
      const visit = { socket, path: url.pathname, query: url.searchParams };
      this.visits.push(visit);
      this.serve(visit, this.visits.length);
    });
    await new Promise((resolve) => server.once("listening", resolve));
    this.port = (server.address() as AddressInfo).port;
  }

  /** Stop at once, as a crash does. */
  async stop(): Promise<void> {
    const { server } = this;
    if (!server) return;
    for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
    this.server = null;
  }

  api(fetcher?: typeof fetch): Api {
    return new Api(new URL(`http://127.0.0.1:${this.port}/user/bob/vibehq/`), fetcher);
  }
}

/** Wait until *condition* holds, at most 8 s. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 8000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function connected(more: object): string {
  return JSON.stringify({
    ...{
      type: "connected",
      protocol: 1,
      version: "0.1.0",
      connection: "c",
      user: "ana",
    },
    ...{ roles: ["viewer", "operator", "approver"], oldest: 0, epoch: "e", offset: 0 },
    ...{ resume: "fresh", reason: "" },
    ...more,
  });
}
