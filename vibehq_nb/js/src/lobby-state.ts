/** The `lobby` room's state: workers, terminals, who is here. Pure. */

import type { EventRoomKind } from "./event-replica.ts";
import { count, type JsonObject, rows, text, texts } from "./read.ts";

export interface Worker {
  id: string;
  host: string;
  isOnline: boolean;
}

export interface Terminal {
  id: string;
  worker: string;
  state: string;
  target: string;
  writer: string;
  viewers: number;
}

export interface LobbyState {
  workers: Worker[];
  terminals: Terminal[];
  members: string[];
}

export const LOBBY: EventRoomKind<LobbyState> = {
  load: (state) => ({
    workers: rows(state.workers).map(readWorker),
    terminals: rows(state.terminals).map(readTerminal),
    members: [
      ...texts(state.members),
      ...rows(state.members).map((row) => text(row.user) || text(row.who)),
    ],
  }),
  // Who joins and leaves is told as it happens; what there is then, HTTP says whole.
  apply: (state) => ({ ...state }),
};

export function readWorker(row: JsonObject): Worker {
  return {
    id: text(row.id),
    host: text(row.host),
    isOnline: row.online !== false,
  };
}

export function readTerminal(row: JsonObject): Terminal {
  const viewers = Array.isArray(row.viewers) ? row.viewers.length : count(row.viewers);
  return {
    id: text(row.id),
    worker: text(row.worker) || text(row.id).split(":")[0] || "",
    state: text(row.state),
    target: text(row.target),
    writer: text(row.writer),
    viewers,
  };
}
