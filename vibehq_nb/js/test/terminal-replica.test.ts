import { describe, expect, it } from "vitest";
import { type Action, TerminalReplica } from "../src/terminal-replica.ts";
import type { Connected, Position } from "../src/wire.ts";
import { random } from "./random.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const read = (data: Uint8Array) => new TextDecoder().decode(data);

function connected(resume: Connected["resume"], at: Position): Connected {
  return {
    ...{ type: "connected", protocol: 1, version: "0", connection: "c", user: "ana" },
    ...{ roles: ["operator"], oldest: 0, resume, ...at },
  };
}

/** What xterm.js would hold: a reset empties it, a write adds to it. */
class Painted {
  text = "";
  reconnects = 0;
  size = "";
  live = "";

  perform(actions: Action[]): void {
    for (const action of actions) {
      if (action.do === "reset") this.text = "";
      if (action.do === "resize") this.size = `${action.cols}x${action.rows}`;
      if (action.do === "reconnect") this.reconnects += 1;
      if (action.do !== "write") continue;
      this.text += read(action.bytes);
      if (!action.isReplay) this.live += read(action.bytes);
    }
  }
}

function live(offset = 0): { replica: TerminalReplica; screen: Painted } {
  const replica = new TerminalReplica();
  const screen = new Painted();
  screen.perform(replica.message(connected("fresh", { epoch: "e", offset })));
  screen.perform(
    replica.message({
      ...{ type: "snapshot", epoch: "e", offset, cols: 80, rows: 24, bytes: 0 },
    }),
  );
  return { replica, screen };
}

describe("TerminalReplica", () => {
  it("paints a keyframe, then what follows it", () => {
    const replica = new TerminalReplica();
    const screen = new Painted();
    screen.perform(replica.message(connected("fresh", { epoch: "e", offset: 9 })));
    const size = { cols: 100, rows: 30 };
    screen.perform(
      replica.message({ type: "snapshot", epoch: "e", offset: 9, ...size, bytes: 4 }),
    );
    expect(replica.position).toBeNull();
    screen.perform(replica.bytes(bytes("KE")));
    screen.perform(replica.bytes(bytes("Y!tail")));
    expect(screen).toMatchObject({ text: "KEY!tail", size: "100x30", live: "tail" });
    expect(replica.position).toEqual({ epoch: "e", offset: 13 });
  });

  it("holds nothing when the connection breaks inside a keyframe", () => {
    const replica = new TerminalReplica();
    replica.message(connected("fresh", { epoch: "e", offset: 9 }));
    const size = { cols: 80, rows: 24 };
    replica.message({ type: "snapshot", epoch: "e", offset: 9, ...size, bytes: 4 });
    replica.bytes(bytes("K"));
    replica.disconnected();
    expect(replica.position).toBeNull();
  });

  it("keeps screen and position while the worker is away", () => {
    const { replica, screen } = live();
    screen.perform(replica.bytes(bytes("abc")));
    replica.disconnected();
    screen.perform(replica.message(connected("waiting", { epoch: "e", offset: 3 })));
    expect(replica.position).toEqual({ epoch: "e", offset: 3 });
    screen.perform(replica.message(connected("resumed", { epoch: "e", offset: 5 })));
    screen.perform(replica.bytes(bytes("de")));
    expect(screen.text).toBe("abcde");
  });

  it("marks what was written while away as replay, to the byte", () => {
    const { replica, screen } = live();
    replica.disconnected();
    screen.perform(replica.message(connected("resumed", { epoch: "e", offset: 4 })));
    screen.perform(replica.bytes(bytes("pastnow")));
    expect(screen).toMatchObject({ text: "pastnow", live: "now" });
  });

  it("asks for another connection on bytes it cannot place", () => {
    const replica = new TerminalReplica();
    expect(replica.bytes(bytes("x"))).toEqual([{ do: "reconnect" }]);
    replica.message(connected("waiting", { epoch: "e", offset: 0 }));
    expect(replica.bytes(bytes("x"))).toEqual([{ do: "reconnect" }]);
  });

  it("asks for another connection where it is resumed in another epoch", () => {
    const { replica } = live();
    replica.disconnected();
    const actions = replica.message(connected("resumed", { epoch: "f", offset: 0 }));
    expect(actions).toEqual([{ do: "reconnect" }]);
    expect(replica.position).toBeNull();
  });

  it("asks for another connection where a size change is ahead of its bytes", () => {
    const { replica } = live();
    const resized = { type: "resized", cols: 90, rows: 20, offset: 7 } as const;
    expect(replica.message(resized)).toEqual([{ do: "reconnect" }]);
  });

  it("notices by a tick that bytes are missing", () => {
    const { replica } = live();
    replica.bytes(bytes("abc"));
    expect(replica.message({ type: "tick", offset: 3 })).toEqual([]);
    expect(replica.message({ type: "tick", offset: 4 })).toEqual([{ do: "reconnect" }]);
  });

  it("tells a gap", () => {
    const { replica } = live();
    const gap = { type: "gap", from: 3, to: 9, reason: "trimmed" } as const;
    expect(replica.message(gap)).toEqual([
      { do: "gap", from: 3, to: 9, reason: "trimmed" },
    ]);
  });

  it("has the same text after any cuts, each byte once", () => {
    for (let seed = 1; seed <= 500; seed += 1) cutAtRandom(seed);
  });
});

/** A room with a ring of 40 bytes against a replica on a bad line. */
function cutAtRandom(seed: number): void {
  const below = random(seed);
  const replica = new TerminalReplica();
  const screen = new Painted();
  let epoch = "e0";
  let stream = "";
  const write = () => {
    for (let n = below(30); n > 0; n -= 1)
      stream += String.fromCharCode(97 + (stream.length % 26));
  };
  for (let round = 0; round < 12; round += 1) {
    write();
    if (below(8) === 0) {
      epoch = `e${round}`;
      stream = "";
    }
    const frames = serve(replica.position, epoch, stream);
    // Some frames arrive, cut anywhere; then perhaps the line breaks.
    const isCut = below(2) === 0;
    deliver(
      replica,
      screen,
      frames,
      below,
      isCut ? below(frames.length + 1) : Infinity,
    );
    if (isCut) {
      replica.disconnected();
      continue;
    }
    const before = stream.length;
    write();
    screen.perform(splitBytes(replica, stream.slice(before), below));
    expect(screen.text, `seed ${seed}`).toBe(stream);
    replica.disconnected();
  }
  deliver(replica, screen, serve(replica.position, epoch, stream), below, Infinity);
  expect(screen.text, `seed ${seed}`).toBe(stream);
  expect(replica.position).toEqual({ epoch, offset: stream.length });
  expect(screen.reconnects).toBe(0);
}

type Frame = Parameters<TerminalReplica["message"]>[0] | string;

function serve(position: Position | null, epoch: string, stream: string): Frame[] {
  const head = { epoch, offset: stream.length };
  const keyframe = stream;
  const size = { cols: 80, rows: 24, bytes: keyframe.length };
  const snapshot: Frame[] = [{ type: "snapshot", ...head, ...size }, keyframe];
  if (!position) return [connected("fresh", head), ...snapshot];
  if (position.epoch !== epoch) return [connected("reset", head), ...snapshot];
  if (stream.length - position.offset > 40) {
    const gap = { from: position.offset, to: head.offset, reason: "trimmed" };
    return [connected("snapshot", head), { type: "gap", ...gap }, ...snapshot];
  }
  return [connected("resumed", head), stream.slice(position.offset)];
}

function deliver(
  replica: TerminalReplica,
  screen: Painted,
  frames: Frame[],
  below: (n: number) => number,
  most: number,
): void {
  frames.slice(0, most).forEach((frame, index) => {
    if (typeof frame !== "string") screen.perform(replica.message(frame));
    // The last frame before a cut may arrive in part.
    else if (index === most - 1 && below(2) === 0)
      screen.perform(replica.bytes(bytes(frame.slice(0, below(frame.length + 1)))));
    else screen.perform(splitBytes(replica, frame, below));
  });
}

function splitBytes(
  replica: TerminalReplica,
  text: string,
  below: (n: number) => number,
): Action[] {
  const actions: Action[] = [];
  for (let at = 0; at < text.length; ) {
    const end = at + 1 + below(text.length - at);
    actions.push(...replica.bytes(bytes(text.slice(at, end))));
    at = end;
  }
  return actions;
}
