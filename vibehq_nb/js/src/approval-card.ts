/** One approval: the question, the exact action, and the buttons that decide it. */

import {
  ARMING_MS,
  type Decide,
  decide,
  missing,
  obstacle,
  outcome,
  RESEND_MS,
  refusal,
  remaining,
  type Verdict,
} from "./decision.ts";
import { button, h, setText } from "./dom.ts";
import { prettyJson, visible } from "./escape.ts";
import type { RoomMessage } from "./event-replica.ts";
import type { EventRoom } from "./event-room.ts";
import type { Approval, HilState } from "./hil-state.ts";
import { clock, countdown } from "./time.ts";

const GOOD = new Set(["approved", "consumed"]);

export class ApprovalCard {
  readonly root: HTMLElement;
  private readonly parts = this.makeParts();
  private approval: Approval | null = null;
  private shown = "";
  private armedAt = Number.POSITIVE_INFINITY;
  private arming: ReturnType<typeof setTimeout> | undefined;
  private sent: { message: Decide; at: number; isOut: boolean } | null = null;
  private error = "";

  constructor(private readonly room: EventRoom<HilState>) {
    const { parts } = this;
    this.root = h(
      "section",
      { class: "vhq-card vhq-approval", hook: "approval" },
      h(
        "div",
        { class: "vhq-head" },
        parts.kind,
        parts.risk,
        h("span", { class: "vhq-space" }),
        parts.clock,
      ),
      h(
        "div",
        { class: "vhq-body" },
        parts.question,
        parts.facts,
        parts.action,
        parts.answer,
        parts.obstacle,
        parts.error,
        parts.result,
      ),
    );
    for (const type of ["keydown", "keypress", "keyup"])
      this.root.addEventListener(type, (event) => event.stopPropagation());
    this.root.setAttribute("data-lm-suppress-shortcuts", "true");
  }

  /** True while a decision of this page is on its way. */
  get isBusy(): boolean {
    return this.sent !== null;
  }

  show(approval: Approval): void {
    this.approval = approval;
    const identity = `${approval.id} ${approval.version} ${approval.digest}`;
    if (identity !== this.shown) {
      // Another question under the same button counts as one that just appeared.
      this.shown = identity;
      this.write(approval);
      this.arm();
    }
    this.resend();
    this.refresh(approval);
  }

  /** The server answered a message of this page, maybe this card's. */
  answered(message: RoomMessage): void {
    if (!this.sent || message.id !== this.sent.message.id) return;
    if (message.type === "error") {
      this.error = refusal(String(message.code), visible(String(message.message)));
    } else if (message.type !== "accepted") return;
    this.sent = null;
    if (this.approval) this.refresh(this.approval);
  }

  dispose(): void {
    clearTimeout(this.arming);
    this.root.remove();
  }

  private makeParts() {
    const reason = h("input", {
      hook: "reason",
      placeholder: "Reason (kept in the record)",
      "aria-label": "Reason",
      maxlength: "2000",
    });
    const approve = button("approve", "Approve", () => this.press("approve"), {
      class: "vhq-approve",
    });
    const reject = button("reject", "Reject", () => this.press("reject"), {
      class: "vhq-reject",
    });
    return {
      kind: h("h3", { hook: "kind" }),
      risk: h("span", { class: "vhq-badge", hook: "risk" }),
      clock: h("span", { class: "vhq-clock", hook: "countdown" }),
      question: h("p", { class: "vhq-question", hook: "question" }),
      facts: h("p", { class: "vhq-facts", hook: "facts" }),
      action: h("pre", { class: "vhq-action", hook: "action", tabindex: "0" }),
      answer: h("div", { class: "vhq-answer" }, reason, approve, reject),
      obstacle: h("p", { class: "vhq-facts", hook: "obstacle" }),
      error: h("p", { class: "vhq-facts vhq-error", hook: "error", role: "alert" }),
      result: h("div", { class: "vhq-result", hook: "result", role: "status" }),
      ...{ reason, approve, reject },
    };
  }

  private write(approval: Approval): void {
    const { parts, root } = this;
    const isConfirm = approval.kind === "confirm";
    root.dataset.approval = approval.id;
    setText(parts.kind, isConfirm ? "Confirmation" : "Review by another person");
    setText(parts.approve, isConfirm ? "Confirm" : "Approve");
    setText(parts.risk, `${visible(approval.risk)} risk`);
    parts.risk.dataset.level = approval.risk;
    setText(parts.question, visible(approval.question, "\n"));
    const asked = `Asked by ${visible(approval.requestedBy)} at ${clock(approval.requestedAt)}`;
    const task = approval.taskId ? `, for task ${visible(approval.taskId)}` : "";
    const why = approval.reason ? `. Reason: ${visible(approval.reason, "\n")}` : "";
    setText(parts.facts, `${asked}${task}${why}`);
    setText(parts.action, prettyJson(approval.action));
  }

  private refresh(approval: Approval): void {
    const { parts, room, root } = this;
    const isPending = approval.status === "pending";
    const now = room.api.now();
    const left = remaining(approval, now);
    root.dataset.status = approval.status;
    setText(parts.clock, isPending ? `${countdown(left)} left` : "");
    const stops = isPending
      ? obstacle(approval, room.isConnected ? room.me : null, now)
      : "";
    setText(parts.obstacle, this.sent ? "Sending the answer…" : stops);
    parts.answer.hidden = !isPending;
    const isArmed = Date.now() >= this.armedAt;
    root.dataset.armed = String(isArmed);
    const isOff = !isPending || stops !== "" || this.sent !== null || !isArmed;
    parts.approve.disabled = isOff;
    parts.reject.disabled = isOff;
    setText(parts.error, isPending ? this.error : "");
    setText(parts.result, outcome(approval, clock));
    parts.result.dataset.kind = GOOD.has(approval.status) ? "good" : "bad";
  }

  private arm(): void {
    clearTimeout(this.arming);
    this.armedAt = Date.now() + ARMING_MS;
    this.arming = setTimeout(() => {
      if (this.approval) this.refresh(this.approval);
    }, ARMING_MS + 1);
  }

  private press(verdict: Verdict): void {
    const { approval } = this;
    if (!approval || this.sent || Date.now() < this.armedAt) return;
    const reason = this.parts.reason.value;
    this.error = missing(approval, verdict, reason);
    if (this.error) {
      this.refresh(approval);
      this.parts.reason.focus();
      return;
    }
    const message = decide(approval, verdict, reason, crypto.randomUUID());
    this.sent = { message, at: Date.now(), isOut: this.room.send(message) };
    this.refresh(approval);
  }

  /** The connection broke under a decision: the same key gets the same answer. */
  private resend(): void {
    const { approval, room, sent } = this;
    if (!approval || !sent) return;
    if (approval.status !== "pending") {
      this.sent = null;
      return;
    }
    if (!room.isConnected) {
      sent.isOut = false;
      if (Date.now() - sent.at < RESEND_MS) return;
      this.sent = null;
      this.error = "The answer could not be sent: the connection was away.";
      return;
    }
    if (!sent.isOut) sent.isOut = room.send(sent.message);
  }
}
