// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ApprovalCard } from "../src/approval-card.ts";
import { ARMING_MS, type Decide, obstacle, outcome } from "../src/decision.ts";
import type { EventRoom } from "../src/event-room.ts";
import { type Approval, HIL, type HilState } from "../src/hil-state.ts";

function approval(more: object = {}): Approval {
  const request = {
    ...{ kind: "review", question: "Restart web-1?", requested_by: "bob", version: 3 },
    ...{ action: { command: "restart" }, action_digest: "d".repeat(64), risk: "low" },
    ...{ expires_at: "2126-01-01T00:00:00Z", status: "pending" },
    ...more,
  };
  const read = HIL.load({ requests: { a: request } }).approvals.a;
  if (!read) throw new Error("not read");
  return read;
}

const ana = { user: "ana", roles: ["approver"] };

describe("obstacle", () => {
  it("stops nobody who may decide", () => {
    expect(obstacle(approval(), ana, Date.now())).toBe("");
    expect(obstacle(approval({ kind: "confirm", requested_by: "ana" }), ana, 0)).toBe(
      "",
    );
  });
  it("stops those without the role, the requester, and those who are late", () => {
    expect(obstacle(approval(), { user: "x", roles: ["operator"] }, 0)).toMatch(/role/);
    expect(obstacle(approval({ requested_by: "ana" }), ana, 0)).toMatch(
      /another person/,
    );
    const late = Date.parse("2127-01-01");
    expect(obstacle(approval(), ana, late)).toMatch(/over/);
    const decisions = [{ decided_by: "ana", verdict: "approve", at: "" }];
    expect(obstacle(approval({ decisions }), ana, 0)).toMatch(/have answered/);
    expect(obstacle(approval(), null, 0)).toBe("Not connected.");
  });
});

describe("outcome", () => {
  it("says who and when", () => {
    const decisions = [{ decided_by: "bob", verdict: "approve", at: "T" }];
    const done = approval({ status: "approved", decisions });
    expect(outcome(done, (iso) => iso)).toBe("Approved by bob at T");
    expect(outcome(approval({ status: "expired" }), String)).toBe(
      "Expired: the answer is no",
    );
  });
});

describe("ApprovalCard", () => {
  let sent: Decide[];
  let isConnected: boolean;
  let card: ApprovalCard;

  beforeEach(() => {
    vi.useFakeTimers({ now: Date.parse("2026-11-23T00:00:00Z") });
    sent = [];
    isConnected = true;
    card = new ApprovalCard({
      me: ana,
      get isConnected() {
        return isConnected;
      },
      api: { now: () => Date.now() },
      send: (message: Decide) => isConnected && sent.push(message) > 0,
    } as unknown as EventRoom<HilState>);
  });
  afterEach(() => {
    card.dispose();
    vi.useRealTimers();
  });

  const part = (hook: string) => card.root.querySelector(`[data-vhq="${hook}"]`);
  const click = (hook: string) => (part(hook) as HTMLButtonElement).click();
  const say = (text: string) => {
    (part("reason") as HTMLInputElement).value = text;
  };

  it("ignores what is pressed within half a second", () => {
    card.show(approval());
    click("approve");
    vi.advanceTimersByTime(ARMING_MS - 1);
    click("approve");
    expect(sent).toEqual([]);
    vi.advanceTimersByTime(2);
    click("approve");
    expect(sent).toHaveLength(1);
  });

  it("waits again when another question takes its place", () => {
    card.show(approval());
    vi.advanceTimersByTime(ARMING_MS + 1);
    card.show(approval({ version: 4 }));
    click("approve");
    expect(sent).toEqual([]);
  });

  it("sends exactly what it showed, once", () => {
    card.show(approval());
    vi.advanceTimersByTime(ARMING_MS + 1);
    click("approve");
    click("approve");
    click("reject");
    expect(sent).toMatchObject([
      {
        approval_id: "a",
        version: 3,
        verdict: "approve",
        action_digest: "d".repeat(64),
      },
    ]);
    expect(sent[0]?.key).toBe(sent[0]?.id);
  });

  it("asks for a reason where the server will", () => {
    card.show(approval({ risk: "high" }));
    vi.advanceTimersByTime(ARMING_MS + 1);
    click("approve");
    click("reject");
    expect(sent).toEqual([]);
    expect(part("error")?.textContent).toMatch(/Say why/);
    say("seen the graph");
    click("approve");
    expect(sent).toMatchObject([{ reason: "seen the graph" }]);
  });

  it("sends the same decision again after the connection broke under it", () => {
    card.show(approval());
    vi.advanceTimersByTime(ARMING_MS + 1);
    click("approve");
    isConnected = false;
    card.show(approval());
    isConnected = true;
    card.show(approval());
    card.show(approval());
    expect(sent).toHaveLength(2);
    expect(sent[1]).toEqual(sent[0]);
  });

  it("shows a refusal by its code and lets one try again", () => {
    card.show(approval());
    vi.advanceTimersByTime(ARMING_MS + 1);
    click("approve");
    card.answered({ type: "error", id: sent[0]?.id, code: "stale", message: "m" });
    expect(part("error")?.textContent).toMatch(/changed while you read it/);
    click("approve");
    expect(sent).toHaveLength(2);
    expect(sent[1]?.key).not.toBe(sent[0]?.key);
  });

  it("shows hostile text as text, with what hides in it", () => {
    const question = '<img src=x onerror=alert(1)>\u202e"gnp.exe';
    card.show(approval({ question, requested_by: "<b>bob</b>\u200b" }));
    expect(part("question")?.textContent).toBe(
      '<img src=x onerror=alert(1)>\\u{202e}"gnp.exe',
    );
    expect(card.root.querySelector("img, b")).toBeNull();
    expect(part("facts")?.textContent).toContain("<b>bob</b>\\u{200b}");
  });

  it("shows the result and takes the buttons away", () => {
    card.show(approval());
    const decisions = [{ decided_by: "bob", verdict: "reject", at: "", reason: "no" }];
    card.show(approval({ status: "rejected", decisions }));
    expect(part("result")?.textContent).toContain("Rejected by bob");
    expect(part("approve")?.parentElement?.hidden).toBe(true);
  });
});
