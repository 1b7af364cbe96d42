import { describe, expect, it } from "vitest";
import {
  EventReplica,
  type EventRoomKind,
  type RoomMessage,
} from "../src/event-replica.ts";
import { HIL, pending } from "../src/hil-state.ts";
import { LOBBY } from "../src/lobby-state.ts";
import { OPS, openCount, ranked } from "../src/ops-state.ts";
import type { Json } from "../src/wire.ts";
import { random } from "./random.ts";

const LIST: EventRoomKind<number[]> = {
  load: (state) => (Array.isArray(state.list) ? (state.list as number[]) : []),
  apply: (list, message) => [...list, message.n as number],
};

const entry = (n: number): RoomMessage => ({ type: "event", offset: n, n });
const greeting = (resume: string, epoch = "e"): RoomMessage => ({
  type: "connected",
  resume,
  epoch,
});
const snapshot = (list: number[]): RoomMessage => ({
  ...{ type: "snapshot", epoch: "e", offset: list.at(-1) ?? 0, state: { list } },
});
const upTo = (n: number) => Array.from({ length: n }, (_, at) => at + 1);

describe("EventReplica", () => {
  it("takes a snapshot, then each entry once", () => {
    const replica = new EventReplica(LIST);
    for (const message of [greeting("fresh"), snapshot([1, 2]), entry(2), entry(3)])
      replica.receive(message);
    expect(replica.state).toEqual([1, 2, 3]);
    expect(replica.position).toEqual({ epoch: "e", offset: 3 });
  });

  it("moves on by a tick, for filtered entries", () => {
    const replica = new EventReplica(LIST);
    for (const message of [
      greeting("fresh"),
      snapshot([1]),
      { type: "tick", offset: 9 },
    ])
      replica.receive(message);
    expect(replica.position).toEqual({ epoch: "e", offset: 9 });
    expect(replica.state).toEqual([1]);
  });

  it("takes no entry before the snapshot it was promised", () => {
    const replica = new EventReplica(LIST);
    for (const message of [greeting("fresh"), entry(5), snapshot(upTo(5))])
      replica.receive(message);
    expect(replica.state).toEqual(upTo(5));
  });

  it("folds in ephemeral messages without moving", () => {
    const replica = new EventReplica(LIST);
    for (const message of [greeting("fresh"), snapshot([1]), { type: "event", n: 7 }])
      replica.receive(message);
    expect(replica.state).toEqual([1, 7]);
    expect(replica.position?.offset).toBe(1);
  });

  it("holds the log whole after any cuts", () => {
    for (let seed = 1; seed <= 300; seed += 1) {
      const below = random(seed);
      const replica = new EventReplica(LIST);
      let head = 0;
      for (let round = 0; round < 10; round += 1) {
        head += below(6);
        const held = replica.position?.offset ?? -1;
        const frames =
          held >= 0 && head - held < 8
            ? [greeting("resumed"), ...upTo(head).slice(held).map(entry)]
            : [greeting("snapshot"), snapshot(upTo(head))];
        const arrives = round === 9 ? frames.length : below(frames.length + 1);
        for (const frame of frames.slice(0, arrives)) replica.receive(frame);
        replica.disconnected();
      }
      expect(replica.state, `seed ${seed}`).toEqual(upTo(head));
    }
  });
});

describe("the hil state", () => {
  const request = {
    type: "hil-request",
    approval_id: "a",
    status: "pending",
    version: 1,
  };

  it("goes from a request to its decision", () => {
    let state = HIL.load({ requests: { b: { question: "B?", status: "rejected" } } });
    state = HIL.apply(state, { ...request, offset: 1, question: "A?" });
    expect(pending(state).map((approval) => approval.question)).toEqual(["A?"]);
    const decision = {
      approval_id: "a",
      decided_by: "bob",
      at: "t",
      verdict: "approve",
    };
    const message = {
      type: "hil-decision",
      ...decision,
      status: "approved",
      version: 2,
    };
    state = HIL.apply(HIL.apply(state, message), message);
    expect(pending(state)).toEqual([]);
    expect(state.approvals.a).toMatchObject({ status: "approved", version: 2 });
    expect(state.approvals.a?.decisions).toHaveLength(1);
  });

  it("reads whatever a snapshot holds", () => {
    for (const odd of [
      null,
      [],
      "x",
      3,
      { a: null },
      { a: { decisions: "x" } },
    ] as Json[])
      expect(() => HIL.load({ requests: odd, tasks: odd })).not.toThrow();
  });

  it("knows what a task waits for", () => {
    let state = HIL.load({});
    const held = { type: "hil-state", task_id: "t", state: "review", approval_id: "a" };
    state = HIL.apply(state, held);
    expect(state.tasks.t).toMatchObject({ state: "review", waitsFor: "a" });
    state = HIL.apply(state, { ...held, state: "resumed" });
    expect(state.tasks.t).toMatchObject({ state: "running", waitsFor: "" });
  });
});

describe("the ops state", () => {
  const finding = (id: string, severity: string, state = "new") => ({
    id,
    severity,
    state,
  });

  it("ranks open findings before resolved ones, the worst first", () => {
    const state = OPS.load({
      findings: [
        finding("low", "low"),
        finding("gone", "critical", "resolved"),
        finding("bad", "high"),
      ],
    });
    expect(ranked(state).map(({ id }) => id)).toEqual(["bad", "low", "gone"]);
    expect(openCount(state)).toBe(2);
  });

  it("shows a scan from its start to its one end", () => {
    let state = OPS.load({});
    state = OPS.apply(state, { type: "scan-start", scan_id: "s", scope: "full" });
    const progress = { type: "scan-progress", scan_id: "s", processed: 4, total: 9 };
    state = OPS.apply(state, progress);
    expect(state.running.s).toMatchObject({ processed: 4, total: 9, scope: "full" });
    state = OPS.apply(state, { type: "scan-result", scan_id: "s", issues_filed: 2 });
    expect(state.running).toEqual({});
    expect(state.scans).toMatchObject([{ id: "s", scope: "full", issuesFiled: 2 }]);
    expect(OPS.apply(state, progress).running).toEqual({});
  });

  it("follows findings through their life", () => {
    let state = OPS.load({});
    const created = { type: "finding-created", finding: finding("f", "high") };
    state = OPS.apply(state, created);
    state = OPS.apply(state, { ...created, type: "finding-resolved" });
    expect(ranked(state)).toMatchObject([{ id: "f", state: "resolved" }]);
    expect(openCount(state)).toBe(0);
  });

  it("reads whatever a snapshot holds", () => {
    for (const odd of [null, {}, "x", [1, null, "y"], [{ id: {} }]] as Json[])
      expect(() => OPS.load({ findings: odd, scans: odd, running: odd })).not.toThrow();
  });
});

describe("the lobby state", () => {
  it("reads workers and terminals", () => {
    const state = LOBBY.load({
      workers: [{ id: "web-1", host: "h", online: false }],
      terminals: [{ id: "web-1:a", viewers: ["x", "y"] }, 7],
      members: [{ user: "ana" }],
    });
    expect(state.workers).toEqual([{ id: "web-1", host: "h", isOnline: false }]);
    expect(state.terminals).toMatchObject([{ worker: "web-1", viewers: 2 }]);
    expect(state.members).toEqual(["ana"]);
  });
});
