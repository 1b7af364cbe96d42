import { describe, expect, it } from "vitest";
import {
  HELD_BYTES,
  HOLD_MS,
  type InputAction,
  InputSession,
} from "../src/input-session.ts";
import { random } from "./random.ts";

const keys = (text: string) => new TextEncoder().encode(text);
const sent = (actions: InputAction[]) =>
  actions
    .map((action) =>
      action.do === "send" ? new TextDecoder().decode(action.bytes) : "",
    )
    .join("");
const discarded = (actions: InputAction[]) =>
  actions.filter((action) => action.do === "discard");

describe("InputSession", () => {
  it("sends at once while the link is there", () => {
    const input = new InputSession(0);
    input.connected(0, true, 0);
    expect(sent(input.type(keys("ls"), 1))).toBe("ls");
    input.acknowledged(2);
    expect(input.inFlight).toBe(0);
  });

  it("holds keys while the link is away and sends them once it is back in time", () => {
    const input = new InputSession(0);
    expect(input.type(keys("ls"), 10)).toEqual([]);
    expect(new TextDecoder().decode(input.held)).toBe("ls");
    expect(sent(input.connected(0, true, HOLD_MS))).toBe("ls");
    expect(input.held.length).toBe(0);
  });

  it("discards what is held for over 5 s, once, and what is typed then", () => {
    const input = new InputSession(0);
    input.type(keys("rm"), 10);
    expect(input.expire(HOLD_MS)).toEqual([]);
    expect(input.expire(HOLD_MS + 1)).toEqual([
      { do: "discard", count: 2, why: "late" },
    ]);
    expect(input.expire(HOLD_MS + 2)).toEqual([]);
    expect(input.type(keys("x"), HOLD_MS + 3)).toEqual([
      { do: "discard", count: 1, why: "late" },
    ]);
    expect(sent(input.connected(0, true, HOLD_MS + 4))).toBe("");
  });

  it("sends again only what the server does not have", () => {
    const input = new InputSession(0);
    input.connected(0, true, 0);
    input.type(keys("abcdef"), 1);
    input.acknowledged(2);
    input.lost(10);
    input.type(keys("gh"), 11);
    expect(sent(input.connected(4, true, 20))).toBe("efgh");
    expect(input.inFlight).toBe(4);
  });

  it("discards the uncertain rest when the link is back too late", () => {
    const input = new InputSession(0);
    input.connected(0, true, 0);
    input.type(keys("abcd"), 1);
    input.lost(10);
    const actions = input.connected(1, true, 11 + HOLD_MS);
    expect(actions).toEqual([{ do: "discard", count: 3, why: "late" }]);
    // The count goes on from what the server has.
    expect(sent(input.type(keys("e"), 9000))).toBe("e");
    input.acknowledged(2);
    expect(input.inFlight).toBe(0);
  });

  it("never guesses while the worker is away", () => {
    const input = new InputSession(0);
    input.connected(0, true, 0);
    input.type(keys("ab"), 1);
    input.lost(2);
    expect(input.connected(null, true, 3)).toEqual([]);
    expect(input.type(keys("c"), 4)).toEqual([]);
    expect(sent(input.connected(2, true, 5))).toBe("c");
  });

  it("sends nothing it held into a frozen terminal", () => {
    const input = new InputSession(0);
    input.type(keys("y\n"), 1);
    const actions = input.connected(0, false, 2);
    expect(actions).toEqual([{ do: "discard", count: 2, why: "refused" }]);
  });

  it("sends nothing again after a refusal, for its counts are then uncertain", () => {
    const input = new InputSession(0);
    input.connected(0, true, 0);
    input.type(keys("abc"), 1);
    expect(discarded(input.refused())).toHaveLength(1);
    input.type(keys("d"), 2);
    input.acknowledged(1);
    input.lost(3);
    expect(sent(input.connected(1, true, 4))).toBe("");
  });

  it("sends nothing again to a server that forgot the session", () => {
    const input = new InputSession(0);
    input.connected(0, true, 0);
    input.type(keys("abc"), 1);
    input.acknowledged(3);
    input.type(keys("de"), 1);
    input.lost(2);
    expect(sent(input.connected(0, true, 3))).toBe("");
    expect(sent(input.type(keys("f"), 4))).toBe("f");
  });

  it("bounds what is held", () => {
    const input = new InputSession(0);
    input.type(keys("x".repeat(HELD_BYTES)), 1);
    expect(input.type(keys("y"), 2)).toEqual([
      { do: "discard", count: 1, why: "full" },
    ]);
  });

  it("types each key at most once and in order, whatever breaks", () => {
    for (let seed = 1; seed <= 1000; seed += 1) typeOnABadLine(seed);
  });
});

/** The worker takes a prefix of what is on the line; the rest dies with the line. */
function typeOnABadLine(seed: number): void {
  const below = random(seed);
  const input = new InputSession(0);
  let [typed, taken, line, lost, now] = ["", "", "", 0, 0];
  const perform = (actions: InputAction[]) => {
    line += sent(actions);
    for (const action of actions) if (action.do === "discard") lost += action.count;
  };
  let isUp = false;
  for (let step = 0; step < 60; step += 1) {
    now += below(3000);
    switch (below(5)) {
      case 0:
        if (isUp) input.lost(now);
        isUp = false;
        line = "";
        break;
      case 1:
        if (isUp) break;
        perform(input.connected(taken.length, true, now));
        isUp = true;
        break;
      case 2:
        perform(input.expire(now));
        break;
      default: {
        const text = String.fromCodePoint(0x21 + (typed.length % 90));
        typed += text;
        perform(input.type(keys(text), now));
        const arrives = isUp ? below(line.length + 1) : 0;
        taken += line.slice(0, arrives);
        line = line.slice(arrives);
        if (below(2) === 0) input.acknowledged(taken.length);
      }
    }
  }
  if (!isUp) perform(input.connected(taken.length, true, now));
  taken += line;
  expect(isSubsequence(taken, typed), `seed ${seed}: ${taken} of ${typed}`).toBe(true);
  expect(taken.length + lost, `seed ${seed}`).toBe(typed.length);
}

function isSubsequence(part: string, whole: string): boolean {
  let at = 0;
  for (const char of whole) if (char === part[at]) at += 1;
  return at === part.length;
}
