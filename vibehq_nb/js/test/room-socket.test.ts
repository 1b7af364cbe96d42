import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { type Link, RoomSocket, type RoomSocketOptions } from "../src/room-socket.ts";
import { connected, TestServer, until, type Visit } from "./server.ts";

const ends: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function serverThat(serve: (visit: Visit, n: number) => void) {
  const server = new TestServer(serve);
  await server.start();
  ends.push(() => server.stop());
  return server;
}

function join(
  server: TestServer,
  more: Partial<RoomSocketOptions<"ops">> = {},
): { socket: RoomSocket<"ops">; links: Link[]; types: string[] } {
  const links: Link[] = [];
  const types: string[] = [];
  const socket = new RoomSocket({
    ...{ api: server.api(), party: "ops" as const, room: "main" },
    position: () => null,
    events: {
      onLink: (link) => links.push(link),
      onMessage: (message) => types.push(message.type),
    },
    WebSocket,
    ...more,
  });
  ends.push(() => socket.close());
  return { socket, links, types };
}

describe("RoomSocket", () => {
  it("asks for its room below the server's prefix, with an id that stays", async () => {
    const server = await serverThat(({ socket }) => socket.send(connected({})));
    const { socket, types } = join(server);
    await until(() => types.length === 1);
    socket.reconnect();
    await until(() => types.length === 2);
    const [first, second] = server.visits;
    expect(first?.path).toBe("/user/bob/vibehq/parties/ops/main");
    expect(first?.query.get("_pk")).toBe(socket.id);
    expect(second?.query.get("_pk")).toBe(socket.id);
    expect(first?.query.has("epoch")).toBe(false);
  });

  it("comes back after a crash and says where it is", async () => {
    const server = await serverThat(({ socket }) => socket.send(connected({})));
    let offset = 7;
    const { types, links } = join(server, { position: () => ({ epoch: "e", offset }) });
    await until(() => types.length === 1);
    offset = 9;
    await server.stop();
    await until(() => links.at(-1)?.state === "connecting");
    await server.start();
    await until(() => types.length === 2);
    expect(server.visits.map((visit) => visit.query.get("offset"))).toEqual(["7", "9"]);
    expect(links.at(-1)).toEqual({ state: "open" });
  });

  it.each([1012, 4408, 4409, 4429])("comes back after close %i", async (code) => {
    const server = await serverThat(({ socket }, n) => {
      if (n === 1) socket.close(code);
      else socket.send(connected({}));
    });
    const { types } = join(server);
    await until(() => types.length === 1);
  });

  it.each([
    [4501, "signed-out"],
    [4503, "forbidden"],
    [4504, "no-such-room"],
    [4509, "replaced"],
    [4510, "ended"],
    [4511, "protocol"],
    [4999, "ended"],
  ])("stays away after close %i", async (code, reason) => {
    const server = await serverThat(({ socket }) => socket.close(code));
    const { links } = join(server);
    await until(() => links.at(-1)?.state === "stopped");
    expect(links.at(-1)).toEqual({ state: "stopped", reason });
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(server.visits).toHaveLength(1);
  });

  it("asks who it is after two failed opens, and stops where it is nobody", async () => {
    const server = await serverThat(() => {});
    const asked: string[] = [];
    const fetcher = (async (url: URL) => {
      asked.push(url.pathname);
      return new Response("{}", { status: 401 });
    }) as unknown as typeof fetch;
    const api = server.api(fetcher);
    await server.stop();
    const { links } = join(server, { api });
    await until(() => links.at(-1)?.state === "stopped");
    expect(links.filter((link) => link.state === "connecting")).toHaveLength(2);
    expect(links.at(-1)).toEqual({ state: "stopped", reason: "signed-out" });
    expect(asked).toEqual(["/user/bob/vibehq/api/me"]);
  });

  it("goes on trying while the server is merely away", async () => {
    const server = await serverThat(({ socket }) => socket.send(connected({})));
    const fetcher = (async () => {
      throw new TypeError("no network");
    }) as unknown as typeof fetch;
    const api = server.api(fetcher);
    await server.stop();
    const { links, types } = join(server, { api });
    await until(() => links.length === 3);
    await server.start();
    await until(() => types.length === 1);
  });

  it("reconnects when no frame came for too long", async () => {
    const server = await serverThat(({ socket }) => socket.send(connected({})));
    const { types } = join(server, { silenceMs: 200 });
    await until(() => types.length >= 2);
  });

  it("keeps no message for a link that is away", async () => {
    const got: string[] = [];
    const server = await serverThat(({ socket }) => {
      socket.on("message", (data) => got.push(String(data)));
      socket.send(connected({}));
    });
    const { socket, types } = join(server);
    expect(socket.send({ type: "early" })).toBe(false);
    await until(() => types.length === 1);
    expect(socket.send({ type: "now" })).toBe(true);
    await until(() => got.length === 1);
    expect(got).toEqual(['{"type":"now"}']);
  });

  it("leaves nothing running once closed", async () => {
    const server = await serverThat(({ socket }) => socket.send(connected({})));
    const { socket, types, links } = join(server);
    await until(() => types.length === 1);
    const clear = vi.spyOn(globalThis, "clearInterval");
    socket.close();
    expect(clear).toHaveBeenCalled();
    clear.mockRestore();
    const before = links.length;
    await server.stop();
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(links).toHaveLength(before);
  });
});
