import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { type Screen, type Status, TerminalSession } from "../src/terminal-session.ts";
import { random } from "./random.ts";
import { connected, TestServer, until, type Visit } from "./server.ts";

const ends: (() => unknown)[] = [];

beforeAll(() => {
  globalThis.WebSocket = WebSocket as unknown as typeof globalThis.WebSocket;
});
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A terminal with a ring, as the room serves it. */
class FakeTerminal {
  output = "";
  typed = "";
  /** Where keys begin, as the client says, and the keys themselves. */
  input: (number | string)[] = [];
  /** What is typed is on its way and not taken. */
  takesKeys = true;
  acks: number[] = [];
  readonly server = new TestServer((visit) => this.serve(visit));
  private live: Visit[] = [];

  write(text: string): void {
    this.output += text;
    for (const { socket } of this.live) socket.send(Buffer.from(text));
  }

  drop(): void {
    for (const { socket } of this.live.splice(0)) socket.terminate();
  }

  tell(message: object): void {
    for (const { socket } of this.live) socket.send(JSON.stringify(message));
  }

  private serve(visit: Visit): void {
    const { socket, query } = visit;
    const held = query.get("offset");
    const head = { epoch: "e", offset: this.output.length };
    const more = { ...head, input: this.typed.length, writer: null, state: "running" };
    if (held === null) {
      const size = { cols: 80, rows: 24, bytes: this.output.length };
      socket.send(connected({ ...more, resume: "fresh" }));
      socket.send(JSON.stringify({ type: "snapshot", ...head, ...size }));
      socket.send(Buffer.from(this.output));
    } else {
      socket.send(connected({ ...more, resume: "resumed" }));
      socket.send(Buffer.from(this.output.slice(Number(held))));
    }
    this.live.push(visit);
    socket.on("message", (data, isBinary) =>
      this.received(visit, String(data), isBinary),
    );
  }

  private received({ socket }: Visit, data: string, isBinary: boolean): void {
    if (isBinary) this.input.push(data);
    if (isBinary) {
      if (!this.takesKeys) return;
      this.typed += data;
      socket.send(JSON.stringify({ type: "input-ack", offset: this.typed.length }));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "input-at") this.input.push(message.offset);
    if (message.type === "ack") this.acks.push(message.offset);
  }
}

class TextScreen implements Screen {
  text = "";
  resets = 0;
  reset(): void {
    this.resets += 1;
    this.text = "";
  }
  resize(): void {}
  write(bytes: Uint8Array, _isReplay: boolean, painted: () => void): void {
    this.text += new TextDecoder().decode(bytes);
    setTimeout(painted, 1);
  }
}

async function open() {
  const terminal = new FakeTerminal();
  await terminal.server.start();
  const screen = new TextScreen();
  const notes: string[] = [];
  const states: string[] = [];
  const session = new TerminalSession(terminal.server.api(), "web-1", screen, {
    onStatus: (status: Status) => states.push(status.state),
    onNote: (text) => notes.push(text),
    onConnected: () => {},
    onSizePolicy: () => {},
  });
  ends.push(
    () => terminal.server.stop(),
    () => session.close(),
  );
  await until(() => session.status.state === "connected");
  return { terminal, screen, session, notes, states };
}

const keys = (text: string) => new TextEncoder().encode(text);

describe("TerminalSession over a real socket", () => {
  it("resumes exactly, without a reset", async () => {
    const { terminal, screen, states } = await open();
    terminal.write("one ");
    await until(() => screen.text === "one ");
    terminal.drop();
    terminal.output += "two ";
    await until(() => screen.text === "one two ");
    expect(screen.resets).toBe(1);
    expect(states).toContain("reconnecting");
  });

  it("shows the same text after many cuts, and types each key once", async () => {
    const { terminal, screen, session } = await open();
    const below = random(7);
    let typed = "";
    for (let cut = 0; cut < 8; cut += 1) {
      terminal.write(`line ${cut};`);
      typed += `${cut},`;
      session.type(keys(`${cut},`));
      if (below(2) === 0) terminal.drop();
      else await until(() => screen.text === terminal.output);
    }
    await until(() => screen.text === terminal.output);
    await until(() => terminal.typed === typed);
    expect(screen.resets).toBe(1);
  });

  it("acknowledges what is parsed, soon and after each connection", async () => {
    const { terminal } = await open();
    terminal.write("x".repeat(1000));
    await until(() => terminal.acks.includes(1000));
    terminal.drop();
    await until(() => terminal.acks.filter((ack) => ack === 1000).length === 2);
  });

  it("holds keys while away, shows them, then sends them", async () => {
    const { terminal, session, notes } = await open();
    await terminal.server.stop();
    await until(() => session.status.state === "reconnecting");
    session.type(keys("ls\r"));
    expect(session.status.held).toBe(3);
    expect(session.heldText).toBe("ls\r");
    await terminal.server.start();
    await until(() => terminal.typed === "ls\r");
    expect(session.status.held).toBe(0);
    expect(notes).toEqual([]);
  });

  it("says at which count its keys begin, once after each count", async () => {
    const { terminal, session } = await open();
    session.type(keys("a"));
    session.type(keys("b"));
    await until(() => terminal.typed === "ab");
    terminal.takesKeys = false;
    session.type(keys("lost"));
    await until(() => terminal.input.includes("lost"));
    terminal.takesKeys = true;
    const more = { offset: 0, input: 2, writer: null, state: "running" };
    terminal.tell(JSON.parse(connected({ ...more, resume: "resumed" })));
    await until(() => terminal.typed === "ablost");
    session.type(keys("c"));
    await until(() => terminal.typed === "ablostc");
    expect(terminal.input).toEqual([0, "a", "b", "lost", 2, "lost", "c"]);
  });

  it("says who types instead of sending keys", async () => {
    const { terminal, session, notes } = await open();
    terminal.tell({ type: "writer", user: "bob", idle_seconds: 0 });
    await until(() => session.status.writer === "bob");
    session.type(keys("x"));
    expect(notes).toEqual(["bob is typing. Nothing was sent."]);
    expect(terminal.typed).toBe("");
  });

  it("waits for a worker that is away, and goes on with it", async () => {
    const { terminal, session } = await open();
    terminal.tell({ type: "container-disconnected", worker: "web-1", reason: "gone" });
    await until(() => session.status.state === "waiting");
    session.type(keys("y"));
    expect(session.status.held).toBe(1);
    terminal.tell({ type: "container-connected", worker: "web-1" });
    await until(() => terminal.typed === "y");
    expect(session.status.state).toBe("connected");
    expect(terminal.server.visits).toHaveLength(1);
  });

  it("learns the count anew when it may type after a refusal", async () => {
    const { terminal, session, notes } = await open();
    terminal.tell({
      type: "error",
      code: "not-writer",
      message: "bob is typing here.",
    });
    await until(() => notes.length === 1);
    terminal.tell({ type: "writer", user: "ana", idle_seconds: 0 });
    await until(() => terminal.server.visits.length === 2);
    await until(() => session.status.state === "connected");
  });

  it("tells how the shell ended", async () => {
    const { terminal, session } = await open();
    terminal.tell({ type: "exited", offset: 0, code: 7, signal: null });
    await until(() => session.status.state === "exited");
    expect(session.status.text).toBe("Exited with code 7.");
  });

  it("tells that it is being recorded, and by whom", async () => {
    const { terminal, session } = await open();
    expect(session.status.recordedBy).toBeNull();
    terminal.tell({ type: "recording", is_on: true, id: "r1", by: "bob" });
    await until(() => session.status.recordedBy === "bob");
    terminal.tell({ type: "recording", is_on: false, id: "r1", by: "bob" });
    await until(() => session.status.recordedBy === null);
  });
});
