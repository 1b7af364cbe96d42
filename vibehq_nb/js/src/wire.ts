/**
 * Every message on the wire, as `vibehq_nb/core/messages.py` defines them.
 *
 * One table says which fields a message has; the TypeScript types come from the
 * table, and so does the check at run time. Unknown fields are ignored, as on the
 * Python side.
 */

/** `text`, `int`, `number`, `bool`, `object`, `texts` or `objects`; `|null`, then `?`. */
type Kind =
  | "text"
  | "int"
  | "number"
  | "bool"
  | "object"
  | "texts"
  | "objects"
  | "counts"
  | "resume";

type Spec = Kind | `${Kind}|null` | `${Kind}?` | `${Kind}|null?`;

interface Struct {
  readonly type: string;
  readonly fields: Readonly<Record<string, Spec>>;
}

const entry = { offset: "int" } as const;
const request = { id: "text" } as const;
const size = { cols: "int", rows: "int" } as const;
const snapshot = { epoch: "text", offset: "int" } as const;

export const STRUCTS = {
  Connected: {
    type: "connected",
    fields: {
      protocol: "int",
      version: "text",
      connection: "text",
      user: "text",
      roles: "texts",
      epoch: "text",
      offset: "int",
      oldest: "int",
      resume: "resume",
      reason: "text?",
      cols: "int?",
      rows: "int?",
      screen: "text?",
      input: "int|null?",
      writer: "text|null?",
      recording: "text|null?",
      state: "text?",
      size_policy: "text?",
    },
  },
  Gap: { type: "gap", fields: { from: "int", to: "int", reason: "text" } },
  StateSnapshot: { type: "snapshot", fields: { ...snapshot, state: "object" } },
  TerminalSnapshot: {
    type: "snapshot",
    fields: { ...snapshot, ...size, bytes: "int" },
  },
  Tick: { type: "tick", fields: entry },
  Accepted: { type: "accepted", fields: { ...request, ...entry } },
  Error: { type: "error", fields: { code: "text", message: "text", id: "text?" } },
  Presence: {
    type: "presence",
    fields: { event: "text", who: "text", roles: "texts", room: "text" },
  },
  Ack: { type: "ack", fields: entry },
  InputAck: {
    type: "input-ack",
    fields: { ...entry, session: "text?", number: "int?", refused: "text?" },
  },
  InputAt: { type: "input-at", fields: entry },
  Resize: { type: "resize", fields: { ...size, hidden: "bool?" } },
  AskSizePolicy: {
    type: "size-policy",
    fields: { policy: "text", cols: "int?", rows: "int?" },
  },
  SizePolicyNow: { type: "size-policy", fields: { policy: "text", by: "text" } },
  Resized: { type: "resized", fields: { ...size, ...entry } },
  TakeWriter: { type: "writer", fields: { action: "text", to: "text?" } },
  Writer: { type: "writer", fields: { user: "text|null", idle_seconds: "number?" } },
  Title: { type: "title", fields: { text: "text" } },
  Cwd: { type: "cwd", fields: { path: "text" } },
  Exited: {
    type: "exited",
    fields: { ...entry, code: "int|null?", signal: "text|null?" },
  },
  Recording: {
    type: "recording",
    fields: { is_on: "bool", id: "text", by: "text" },
  },
  ContainerConnected: { type: "container-connected", fields: { worker: "text" } },
  ContainerDisconnected: {
    type: "container-disconnected",
    fields: { worker: "text", reason: "text" },
  },
  Hello: {
    type: "hello",
    fields: {
      protocol: "int",
      epoch: "text",
      oldest: "int",
      ...entry,
      ...size,
      state: "text",
      screen: "text",
      target: "text?",
      inputs: "counts",
      code: "int|null?",
      signal: "text|null?",
    },
  },
  Since: { type: "since", fields: { ...entry, commands: "int?" } },
  Watched: { type: "watched", fields: { count: "int" } },
  Keyframe: { type: "keyframe", fields: {} },
  InputFrom: {
    type: "input-from",
    fields: { session: "text", ...entry, number: "int?" },
  },
  CommandStarted: {
    type: "command-started",
    fields: {
      number: "int",
      at_byte: "int",
      command: "text",
      cwd: "text",
      session: "text",
      age_s: "number",
    },
  },
  CommandEnded: {
    type: "command-ended",
    fields: {
      number: "int",
      at_byte: "int",
      exit_code: "int|null",
      output_end: "int",
      duration_s: "number",
    },
  },
  Frozen: { type: "frozen", fields: { is_frozen: "bool" } },
  WorkerHello: {
    type: "worker-hello",
    fields: {
      protocol: "int",
      version: "text",
      worker: "text",
      host: "text",
      generation: "int",
      providers: "texts",
      terminals: "texts",
    },
  },
  Spawn: {
    type: "spawn",
    fields: {
      ...request,
      terminal: "text",
      target: "text?",
      command: "texts|null?",
      cwd: "text|null?",
      cols: "int?",
      rows: "int?",
    },
  },
  Inspect: { type: "inspect", fields: { ...request, terminal: "text" } },
  Signal: {
    type: "signal",
    fields: { ...request, terminal: "text", signal: "text" },
  },
  CloseTerminal: { type: "close", fields: { ...request, terminal: "text" } },
  StopWorker: { type: "stop", fields: { ...request, force: "bool" } },
  Freeze: { type: "freeze", fields: { ...request, terminal: "text" } },
  Thaw: { type: "thaw", fields: { ...request, terminal: "text" } },
  Scan: {
    type: "scan",
    fields: {
      ...request,
      scan_id: "text",
      scope: "text",
      kinds: "texts|null?",
      logs: "texts?",
      filters: "object?",
      deadline: "number?",
    },
  },
  Cancel: { type: "cancel", fields: { ...request, scan_id: "text" } },
  Done: { type: "done", fields: { ...request, result: "object?" } },
  Failed: { type: "failed", fields: { ...request, code: "text", message: "text" } },
  ScanStart: {
    type: "scan-start",
    fields: {
      scan_id: "text",
      scope: "text",
      on: "texts",
      requested_by: "text",
      at: "text",
      ...entry,
    },
  },
  ScanProgress: {
    type: "scan-progress",
    fields: {
      scan_id: "text",
      processed: "int",
      total: "int",
      phase: "text",
      on: "text?",
    },
  },
  WorkerScanResult: {
    type: "scan-result",
    fields: {
      scan_id: "text",
      processed_logs: "int",
      started_at: "text",
      completed_at: "text",
      coverage: "objects",
      findings: "objects",
    },
  },
  ScanResult: {
    type: "scan-result",
    fields: {
      scan_id: "text",
      scope: "text",
      on: "texts",
      processed_logs: "int",
      issues_filed: "int",
      status: "text",
      started_at: "text",
      completed_at: "text",
      coverage: "objects",
      findings: "objects",
      changes: "counts",
      ...entry,
    },
  },
  ScanFailed: {
    type: "scan-failed",
    fields: { scan_id: "text", code: "text", message: "text", offset: "int?" },
  },
  Subscribe: { type: "subscribe", fields: { filters: "object", id: "text?" } },
  Subscribed: { type: "subscribed", fields: { filters: "object" } },
  FindingCreated: { type: "finding-created", fields: { finding: "object", ...entry } },
  FindingUpdated: { type: "finding-updated", fields: { finding: "object", ...entry } },
  FindingResolved: {
    type: "finding-resolved",
    fields: { finding: "object", ...entry },
  },
  Emit: { type: "event", fields: { name: "text", data: "object?", id: "text?" } },
  Event: {
    type: "event",
    fields: { name: "text", data: "object", by: "text", at: "text", ...entry },
  },
  AskApproval: {
    type: "hil-request",
    fields: {
      question: "text",
      action: "object",
      kind: "text",
      id: "text?",
      reason: "text?",
      risk: "text?",
      task_id: "text?",
      policy: "object?",
      expires_in: "number?",
      terminals: "texts?",
      order_id: "text|null?",
      conversation_id: "text|null?",
      context: "object?",
    },
  },
  HilRequest: {
    type: "hil-request",
    fields: {
      approval_id: "text",
      kind: "text",
      question: "text",
      action: "object",
      action_digest: "text",
      risk: "text",
      reason: "text",
      policy: "object",
      requested_by: "text",
      requested_at: "text",
      expires_at: "text",
      status: "text",
      version: "int",
      task_id: "text|null",
      order_id: "text|null",
      conversation_id: "text|null",
      context: "object",
      decisions: "objects",
      ...entry,
    },
  },
  Decide: {
    type: "hil-decision",
    fields: {
      approval_id: "text",
      version: "int",
      verdict: "text",
      action_digest: "text",
      key: "text",
      reason: "text?",
      id: "text?",
    },
  },
  HilDecision: {
    type: "hil-decision",
    fields: {
      approval_id: "text",
      version: "int",
      verdict: "text",
      reason: "text",
      action_digest: "text",
      key: "text",
      decided_by: "text",
      status: "text",
      at: "text",
      ...entry,
    },
  },
  CancelApproval: { type: "hil-cancel", fields: { approval_id: "text", id: "text?" } },
  HilState: {
    type: "hil-state",
    fields: {
      task_id: "text",
      state: "text",
      approval_id: "text",
      reason: "text",
      deciders: "texts",
      expires_at: "text",
      ...entry,
    },
  },
  TaskState: {
    type: "task-state",
    fields: {
      task_id: "text",
      name: "text",
      state: "text",
      step: "text",
      progress: "number",
      ...entry,
    },
  },
} as const satisfies Record<string, Struct>;

export type StructName = keyof typeof STRUCTS;

/** Which structs a party sends to people, as `DOWNSTREAM` in `messages.py`. */
const COMMON = ["Connected", "Gap", "Tick", "Accepted", "Error"] as const;
const DOWNSTREAM = {
  terminal: [
    ...COMMON,
    "TerminalSnapshot",
    "Resized",
    "Writer",
    "SizePolicyNow",
    "Title",
    "Recording",
    "Cwd",
    "Exited",
    "ContainerConnected",
    "ContainerDisconnected",
    "InputAck",
    "Presence",
  ],
  ops: [
    ...COMMON,
    "StateSnapshot",
    "ScanStart",
    "ScanProgress",
    "ScanResult",
    "ScanFailed",
    "Subscribed",
    "FindingCreated",
    "FindingUpdated",
    "FindingResolved",
    "Event",
  ],
  hil: [
    ...COMMON,
    "StateSnapshot",
    "HilRequest",
    "HilDecision",
    "HilState",
    "TaskState",
  ],
  lobby: [...COMMON, "StateSnapshot", "Presence"],
} as const satisfies Record<string, readonly StructName[]>;

export type Party = keyof typeof DOWNSTREAM;

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

interface Kinds {
  text: string;
  int: number;
  number: number;
  bool: boolean;
  object: JsonObject;
  texts: string[];
  objects: JsonObject[];
  counts: Record<string, number>;
  resume: "fresh" | "resumed" | "snapshot" | "reset" | "waiting";
}
type Value<S> = S extends `${infer K extends Kind}|null`
  ? Kinds[K] | null
  : S extends Kind
    ? Kinds[S]
    : never;
type Fields<F> = {
  -readonly [K in keyof F as F[K] extends `${string}?` ? never : K]: Value<F[K]>;
} & {
  -readonly [K in keyof F as F[K] extends `${string}?`
    ? K
    : never]?: F[K] extends `${infer S}?` ? Value<S> : never;
};

/** One message by the name of its struct. */
export type MessageOf<N extends StructName> = {
  type: (typeof STRUCTS)[N]["type"];
} & Fields<(typeof STRUCTS)[N]["fields"]>;

/** What a party sends to people. */
export type Downstream<P extends Party> = {
  [N in (typeof DOWNSTREAM)[P][number]]: MessageOf<N>;
}[(typeof DOWNSTREAM)[P][number]];

export type Connected = MessageOf<"Connected">;

/** One place in one life of a log; half of it counts as none. */
export interface Position {
  readonly epoch: string;
  readonly offset: number;
}

const RESUMES = ["fresh", "resumed", "snapshot", "reset", "waiting"];

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isCount = (value: unknown): boolean => Number.isSafeInteger(value);

const CHECKS: Record<Kind, (value: unknown) => boolean> = {
  text: (value) => typeof value === "string",
  int: isCount,
  number: (value) => typeof value === "number",
  bool: (value) => typeof value === "boolean",
  object: isObject,
  texts: (value) => Array.isArray(value) && value.every((v) => typeof v === "string"),
  objects: (value) => Array.isArray(value) && value.every(isObject),
  counts: (value) => isObject(value) && Object.values(value).every(isCount),
  resume: (value) => RESUMES.includes(value as string),
};

const NAMES = Object.keys(STRUCTS) as StructName[];

/** Return what is wrong with *value* as this struct, or null. */
export function fault(name: string, value: unknown): string | null {
  const struct: Struct | undefined = NAMES.includes(name as StructName)
    ? STRUCTS[name as StructName]
    : undefined;
  if (!struct) return `unknown struct ${name}`;
  if (!isObject(value)) return "not an object";
  if (value.type !== struct.type) return `type is not ${struct.type}`;
  for (const [field, spec] of Object.entries(struct.fields)) {
    const isOptional = spec.endsWith("?");
    const full = isOptional ? spec.slice(0, -1) : spec;
    const isNullable = full.endsWith("|null");
    const kind = (isNullable ? full.slice(0, -5) : full) as Kind;
    const held = value[field];
    if (held === undefined && isOptional) continue;
    if (held === null && isNullable) continue;
    if (!CHECKS[kind](held)) return `${field} is not ${spec}`;
  }
  return null;
}

/** Return the message in a text frame of *party*, or null if it is none we know. */
export function parse<P extends Party>(party: P, text: string): Downstream<P> | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isObject(value)) return null;
  const names: readonly StructName[] = DOWNSTREAM[party];
  const fits = names.some(
    (name) => STRUCTS[name].type === value.type && fault(name, value) === null,
  );
  return fits ? (value as unknown as Downstream<P>) : null;
}
