/** Deciding one approval: who may, what is sent, what came of it. Pure. */

import { visible } from "./escape.ts";
import type { Approval } from "./hil-state.ts";

export type Verdict = "approve" | "reject";

/** A key or click this soon after a question appeared was meant for something else. */
export const ARMING_MS = 500;
/** A decision whose connection broke is sent again within this time. */
export const RESEND_MS = 30_000;

export interface Decide {
  type: "hil-decision";
  id: string;
  approval_id: string;
  version: number;
  verdict: Verdict;
  action_digest: string;
  key: string;
  reason: string;
}

/** Return the message that decides exactly what *approval* shows. */
export function decide(
  approval: Approval,
  verdict: Verdict,
  reason: string,
  key: string,
): Decide {
  return {
    type: "hil-decision",
    id: key,
    approval_id: approval.id,
    version: approval.version,
    verdict,
    action_digest: approval.digest,
    key,
    reason: reason.trim().slice(0, 2000),
  };
}

/** Return why this person cannot decide, or "". */
export function obstacle(
  approval: Approval,
  me: { user: string; roles: string[] } | null,
  now: number,
): string {
  if (!me) return "Not connected.";
  if (!me.roles.includes("approver"))
    return "You may see this, but deciding needs the role approver.";
  const mayBeSelf = approval.kind === "confirm" || approval.policy.allow_self === true;
  if (approval.requestedBy === me.user && !mayBeSelf)
    return "You asked for this review: another person must answer.";
  if (remaining(approval, now) <= 0) return "The time for an answer is over.";
  if (approval.decisions.some((decision) => decision.by === me.user))
    return "You have answered; others must too.";
  return "";
}

const MUST_SAY_WHY = ["high", "critical"];

/** Return what is missing for this verdict, or "". */
export function missing(approval: Approval, verdict: Verdict, reason: string): string {
  if (reason.trim()) return "";
  if (verdict === "reject") return "Say why: a rejection needs a reason.";
  return MUST_SAY_WHY.includes(approval.risk)
    ? `Say why: to approve a ${approval.risk} risk needs a reason.`
    : "";
}

/** Return the milliseconds until *approval* expires, at least 0. */
export function remaining(approval: Approval, now: number): number {
  const end = Date.parse(approval.expiresAt);
  return Number.isNaN(end) ? Number.POSITIVE_INFINITY : Math.max(0, end - now);
}

/** Return in one sentence what became of *approval*, or "" while it is pending. */
export function outcome(approval: Approval, clock: (iso: string) => string): string {
  const last = approval.decisions.at(-1);
  const by = last ? ` by ${visible(last.by)} at ${clock(last.at)}` : "";
  const why = last?.reason ? `: ${visible(last.reason)}` : "";
  switch (approval.status) {
    case "pending":
      return "";
    case "approved":
      return `${approval.kind === "confirm" ? "Confirmed" : "Approved"}${by}${why}`;
    case "rejected":
      return `Rejected${by}${why}`;
    case "expired":
      return "Expired: the answer is no";
    case "cancelled":
      return "Withdrawn: no answer is needed any more";
    case "superseded":
      return "Superseded: the action changed and is asked for anew";
    case "consumed":
      return `Approved${by}, and carried out`;
    case "lapsed":
      return `Approved${by}, but not used in time`;
    case "unknown":
      return `Approved${by}; whether it was carried out is unknown`;
    default:
      return visible(approval.status);
  }
}

const REFUSALS: Record<string, string> = {
  conflict: "Somebody else decided first.",
  expired: "Too late: this has expired, and the answer is no.",
  stale: "The request changed while you read it. Look again, then decide.",
  forbidden: "You may not decide this.",
  "not-found": "The server does not know this request.",
  "not-stored": "The decision could not be stored, so it does not count. Try again.",
  "bad-message": "The server did not understand the decision. Reload the page.",
};

/** Return what to say about a refused decision. */
export function refusal(code: string, message: string): string {
  return REFUSALS[code] ?? message;
}
