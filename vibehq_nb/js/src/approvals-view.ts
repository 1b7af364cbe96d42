/** Approvals: one, or all that wait. Decisions go over this page's own connection. */

import type { Api } from "./api.ts";
import { ApprovalCard } from "./approval-card.ts";
import { h, setText } from "./dom.ts";
import { type EventRoom, joinRoom } from "./event-room.ts";
import { HIL, type HilState, pending } from "./hil-state.ts";
import { STOP_TEXTS } from "./socket-policy.ts";
import { adoptStyles } from "./styles.ts";
import { followTheme } from "./theme.ts";

export interface ApprovalsOptions {
  api: Api;
  /** Show this one only; "" for the list of all that wait. */
  approvalId: string;
}

/** How long a decided approval stays in the list. */
const LINGER_MS = 30_000;
const SECOND_MS = 1000;

export class ApprovalsView {
  readonly root = h("div", { class: "vhq vhq-approvals", hook: "approvals" });
  private readonly line = h("div", {
    class: "vhq-card vhq-message",
    hook: "approvals-message",
    role: "status",
  });
  private readonly cards = new Map<string, ApprovalCard>();
  private readonly decidedAt = new Map<string, number>();
  private readonly room: EventRoom<HilState>;
  private readonly endings: (() => void)[];
  private readonly timer: ReturnType<typeof setInterval>;

  constructor(
    private readonly options: ApprovalsOptions,
    private readonly onState: (state: string) => void,
  ) {
    const lease = joinRoom(options.api, "hil", "main", HIL);
    this.room = lease.value;
    this.root.append(this.line);
    const unwatch = this.room.watch({
      onChange: () => this.show(),
      onLink: () => this.show(),
      onMessage: (message) => {
        for (const card of this.cards.values()) card.answered(message);
      },
    });
    this.timer = setInterval(() => this.show(), SECOND_MS);
    this.endings = [unwatch, () => lease.release(), followTheme(this.root)];
    void options.api.me().catch(() => undefined);
    this.show();
  }

  placed(): void {
    adoptStyles(this.root);
  }

  dispose(): void {
    clearInterval(this.timer);
    for (const end of this.endings) end();
    for (const card of this.cards.values()) card.dispose();
    this.root.remove();
  }

  private show(): void {
    const ids = this.shownIds();
    for (const [id, card] of this.cards) {
      if (ids.includes(id)) continue;
      card.dispose();
      this.cards.delete(id);
    }
    for (const id of ids) {
      const approval = this.room.state.approvals[id];
      if (!approval) continue;
      let card = this.cards.get(id);
      if (!card) {
        card = new ApprovalCard(this.room);
        this.cards.set(id, card);
        this.root.append(card.root);
      }
      card.show(approval);
    }
    this.showLine();
  }

  private shownIds(): string[] {
    const { approvals } = this.room.state;
    const { approvalId } = this.options;
    if (approvalId) return approvals[approvalId] ? [approvalId] : [];
    const now = Date.now();
    for (const [id, card] of this.cards) {
      const isOver = approvals[id]?.status !== "pending" && !card.isBusy;
      if (isOver && !this.decidedAt.has(id)) this.decidedAt.set(id, now);
    }
    const lingering = [...this.cards.keys()].filter(
      (id) => approvals[id] && now - (this.decidedAt.get(id) ?? now) < LINGER_MS,
    );
    const waiting = pending(this.room.state).map((approval) => approval.id);
    return [...new Set([...lingering, ...waiting])];
  }

  private showLine(): void {
    const { room } = this;
    const text = this.sentence();
    setText(this.line, text);
    this.line.hidden = text === "";
    const isStopped = room.link.state === "stopped";
    const state = isStopped ? "stopped" : room.isConnected ? "connected" : "connecting";
    this.root.dataset.state = state;
    this.onState(state);
  }

  private sentence(): string {
    const { link } = this.room;
    if (link.state === "stopped") return STOP_TEXTS[link.reason];
    if (!this.room.replica.position) return "Connecting…";
    if (!this.room.isConnected) return "Connection lost, reconnecting…";
    if (this.cards.size > 0) return "";
    return this.options.approvalId
      ? "The server does not know this approval."
      : "Nothing waits for an answer.";
  }
}
