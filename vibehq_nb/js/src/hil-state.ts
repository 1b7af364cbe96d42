/** The `hil` room's state: requests for a decision, and tasks. Pure. */

import type { EventRoomKind, RoomMessage } from "./event-replica.ts";
import { type Json, type JsonObject, rows, table, text } from "./read.ts";

export interface Decision {
  verdict: string;
  by: string;
  at: string;
  reason: string;
}

export interface Approval {
  id: string;
  kind: string;
  question: string;
  action: Json;
  digest: string;
  risk: string;
  reason: string;
  requestedBy: string;
  requestedAt: string;
  expiresAt: string;
  status: string;
  version: number;
  taskId: string;
  policy: JsonObject;
  decisions: Decision[];
}

export interface Task {
  id: string;
  name: string;
  state: string;
  step: string;
  progress: number;
  /** What holds it up, from the latest `hil-state`. */
  waitsFor: string;
}

export interface HilState {
  approvals: Record<string, Approval>;
  tasks: Record<string, Task>;
}

export const HIL: EventRoomKind<HilState> = {
  load(state) {
    const approvals: HilState["approvals"] = {};
    for (const [id, request] of table(state.requests))
      approvals[id] = readApproval({ approval_id: id, ...request });
    const tasks: HilState["tasks"] = {};
    for (const [id, task] of table(state.tasks))
      tasks[id] = readTask({ task_id: id, ...task });
    return { approvals, tasks };
  },

  apply(state, message) {
    switch (message.type) {
      case "hil-request":
        return withApproval(state, readApproval(message as unknown as JsonObject));
      case "hil-decision":
        return decided(state, message);
      case "task-state": {
        const task = readTask(message as unknown as JsonObject);
        const waitsFor = state.tasks[task.id]?.waitsFor ?? "";
        return {
          ...state,
          tasks: { ...state.tasks, [task.id]: { ...task, waitsFor } },
        };
      }
      case "hil-state":
        return taskHeld(state, message);
      default:
        return state;
    }
  },
};

/** Return the approvals nobody decided yet, the oldest first. */
export function pending(state: HilState): Approval[] {
  return Object.values(state.approvals)
    .filter((approval) => approval.status === "pending")
    .sort((a, b) => a.requestedAt.localeCompare(b.requestedAt));
}

function withApproval(state: HilState, approval: Approval): HilState {
  return { ...state, approvals: { ...state.approvals, [approval.id]: approval } };
}

function decided(state: HilState, message: RoomMessage): HilState {
  const fields = message as unknown as JsonObject;
  const before = state.approvals[text(fields.approval_id)];
  if (!before) return state;
  const decision = readDecision(fields);
  const isKnown = before.decisions.some(
    (d) => d.by === decision.by && d.at === decision.at,
  );
  return withApproval(state, {
    ...before,
    status: text(fields.status) || before.status,
    version: typeof fields.version === "number" ? fields.version : before.version,
    decisions: isKnown ? before.decisions : [...before.decisions, decision],
  });
}

function taskHeld(state: HilState, message: RoomMessage): HilState {
  const id = text(message.task_id as Json);
  const known = state.tasks[id] ?? readTask({ task_id: id });
  const holds = text(message.state as Json);
  const task: Task = {
    ...known,
    state: holds === "resumed" ? "running" : holds,
    waitsFor: holds === "resumed" ? "" : text(message.approval_id as Json),
  };
  return { ...state, tasks: { ...state.tasks, [id]: task } };
}

function readApproval(fields: JsonObject): Approval {
  return {
    id: text(fields.approval_id),
    kind: text(fields.kind) || "review",
    question: text(fields.question),
    action: fields.action ?? {},
    digest: text(fields.action_digest),
    risk: text(fields.risk) || "medium",
    reason: text(fields.reason),
    requestedBy: text(fields.requested_by),
    requestedAt: text(fields.requested_at),
    expiresAt: text(fields.expires_at),
    status: text(fields.status) || "pending",
    version: typeof fields.version === "number" ? fields.version : 0,
    taskId: text(fields.task_id),
    policy: (fields.policy ?? {}) as JsonObject,
    decisions: rows(fields.decisions).map(readDecision),
  };
}

function readDecision(fields: JsonObject): Decision {
  return {
    verdict: text(fields.verdict),
    by: text(fields.decided_by),
    at: text(fields.at),
    reason: text(fields.reason),
  };
}

function readTask(fields: JsonObject): Task {
  return {
    id: text(fields.task_id),
    name: text(fields.name) || text(fields.task_id),
    state: text(fields.state) || "running",
    step: text(fields.step),
    progress: typeof fields.progress === "number" ? fields.progress : 0,
    waitsFor: text(fields.approval_id),
  };
}
