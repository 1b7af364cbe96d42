/** When a socket comes back, how soon, and what is said when it does not. */

export type StopReason =
  | "signed-out"
  | "forbidden"
  | "no-such-room"
  | "replaced"
  | "ended"
  | "protocol";

/** Close codes below this one mean: come back and resume. */
const FIRST_FINAL = 4500;

const STOPS: Record<number, StopReason> = {
  4501: "signed-out",
  4503: "forbidden",
  4504: "no-such-room",
  4509: "replaced",
  4510: "ended",
  4511: "protocol",
};

export const STOP_TEXTS: Record<StopReason, string> = {
  "signed-out": "You are signed out. Sign in again to go on.",
  forbidden: "Your role does not let you in here.",
  "no-such-room": "There is no such room on the server.",
  replaced: "This view was taken over by another connection.",
  ended: "This has ended.",
  protocol: "This page is of another version than the server. Reload it.",
};

/** Return why a close is final, or null where the socket shall come back. */
export function stopReason(code: number): StopReason | null {
  if (code < FIRST_FINAL) return null;
  return STOPS[code] ?? "ended";
}

export const MIN_DELAY_MS = 250;
export const MAX_DELAY_MS = 5000;
export const GROWTH = 1.6;

/** Return how long to wait on top of partysocket's own delay, which has no jitter. */
export function jitter(retry: number, random: number): number {
  if (retry === 0) return 0;
  return random * Math.min(MIN_DELAY_MS * GROWTH ** (retry - 1), MAX_DELAY_MS / 2);
}
