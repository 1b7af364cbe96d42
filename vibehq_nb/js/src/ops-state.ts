/** The `ops` room's state: findings, scans that run and that ran, events. Pure. */

import type { EventRoomKind, RoomMessage } from "./event-replica.ts";
import { count, type Json, type JsonObject, rows, table, text, texts } from "./read.ts";

export interface Finding {
  id: string;
  severity: string;
  state: string;
  title: string;
  resource: string;
  host: string;
  rule: string;
  lastSeen: string;
  count: number;
  runbook: string;
}

export interface RunningScan {
  id: string;
  scope: string;
  requestedBy: string;
  processed: number;
  total: number;
  phase: string;
}

export interface ScanSummary {
  id: string;
  scope: string;
  status: string;
  completedAt: string;
  issuesFiled: number;
  /** Why it failed, or "". */
  message: string;
}

export interface OpsEvent {
  name: string;
  by: string;
  at: string;
}

export interface OpsState {
  findings: Record<string, Finding>;
  running: Record<string, RunningScan>;
  /** The latest first. */
  scans: ScanSummary[];
  events: OpsEvent[];
}

const SCANS_KEPT = 50;
const EVENTS_KEPT = 100;
const SEVERITIES = ["critical", "fatal", "high", "medium", "low", "info"];

export const OPS: EventRoomKind<OpsState> = {
  load(state) {
    const findings: OpsState["findings"] = {};
    for (const row of rows(state.findings)) {
      const finding = readFinding(row);
      findings[finding.id] = finding;
    }
    const running: OpsState["running"] = {};
    for (const [id, row] of table(state.running))
      running[id] = readRunning({ scan_id: id, ...row });
    return {
      findings,
      running,
      scans: rows(state.scans).map(readSummary),
      events: rows(state.events).map(readEvent),
    };
  },

  apply(state, message) {
    const fields = message as unknown as JsonObject;
    switch (message.type) {
      case "scan-start":
        return withRunning(state, readRunning(fields));
      case "scan-progress":
        return progressed(state, fields);
      case "scan-result":
        return ended(seen(state, rows(fields.findings)), {
          ...readSummary(fields),
          status: "completed",
        });
      case "scan-failed":
        return failed(state, message);
      case "finding-created":
      case "finding-updated":
      case "finding-resolved":
        return found(state, message.type, fields.finding);
      case "event":
        return {
          ...state,
          events: [readEvent(fields), ...state.events].slice(0, EVENTS_KEPT),
        };
      default:
        return state;
    }
  },
};

/** Return the findings worth showing: open ones first, the worst first. */
export function ranked(state: OpsState): Finding[] {
  return Object.values(state.findings).sort(
    (a, b) =>
      Number(a.state === "resolved") - Number(b.state === "resolved") ||
      rank(a.severity) - rank(b.severity) ||
      b.lastSeen.localeCompare(a.lastSeen),
  );
}

export function openCount(state: OpsState): number {
  return Object.values(state.findings).filter((f) => f.state !== "resolved").length;
}

function rank(severity: string): number {
  const place = SEVERITIES.indexOf(severity.toLowerCase());
  return place < 0 ? SEVERITIES.length : place;
}

function withRunning(state: OpsState, scan: RunningScan): OpsState {
  return { ...state, running: { ...state.running, [scan.id]: scan } };
}

function progressed(state: OpsState, fields: JsonObject): OpsState {
  const id = text(fields.scan_id);
  const before = state.running[id];
  // Progress that arrives after the end does not bring a scan back.
  if (!before) return state;
  const { processed, total, phase } = readRunning(fields);
  return withRunning(state, { ...before, processed, total, phase });
}

function ended(state: OpsState, summary: ScanSummary): OpsState {
  const { [summary.id]: scan, ...running } = state.running;
  const scope = summary.scope || (scan?.scope ?? "");
  const others = state.scans.filter((s) => s.id !== summary.id);
  return {
    ...state,
    running,
    scans: [{ ...summary, scope }, ...others].slice(0, SCANS_KEPT),
  };
}

/** A scan that sees a finding once more says so in its result only. */
function seen(state: OpsState, found: JsonObject[]): OpsState {
  const findings = { ...state.findings };
  for (const finding of found.map(readFinding))
    if (findings[finding.id]) findings[finding.id] = finding;
  return { ...state, findings };
}

function failed(state: OpsState, message: RoomMessage): OpsState {
  const fields = message as unknown as JsonObject;
  const summary = readSummary(fields);
  return ended(state, {
    ...summary,
    status: "failed",
    message: text(fields.message) || text(fields.code),
  });
}

function found(state: OpsState, type: string, row: Json | undefined): OpsState {
  const finding = readFinding((row ?? {}) as JsonObject);
  const known =
    type === "finding-resolved" ? { ...finding, state: "resolved" } : finding;
  return { ...state, findings: { ...state.findings, [known.id]: known } };
}

function readFinding(row: JsonObject): Finding {
  return {
    id:
      text(row.id) ||
      text(row.fingerprint) ||
      `${text(row.rule)} ${text(row.resource)}`,
    severity: text(row.severity) || "info",
    state: text(row.state) || "new",
    title: text(row.title),
    resource: text(row.resource),
    host: text(row.host),
    rule: text(row.rule),
    lastSeen: text(row.last_seen),
    count: count(row.count) || 1,
    runbook: text(row.runbook),
  };
}

function readRunning(row: JsonObject): RunningScan {
  return {
    id: text(row.scan_id),
    scope: text(row.scope),
    requestedBy: text(row.requested_by),
    processed: count(row.processed),
    total: count(row.total),
    phase: text(row.phase) || whereTo(texts(row.on)),
  };
}

/** Where a scan that has not begun yet will run. */
function whereTo(workers: string[]): string {
  return workers.length > 0 ? `on ${workers.join(", ")}` : "";
}

function readSummary(row: JsonObject): ScanSummary {
  return {
    id: text(row.scan_id),
    scope: text(row.scope),
    status: text(row.status) || "completed",
    completedAt: text(row.completed_at),
    issuesFiled: count(row.issues_filed),
    message: text(row.message),
  };
}

function readEvent(row: JsonObject): OpsEvent {
  return { name: text(row.name), by: text(row.by), at: text(row.at) };
}
