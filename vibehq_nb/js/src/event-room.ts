/** An event room's socket and replica, shared by every view of the page. */

import type { Api } from "./api.ts";
import { EventReplica, type EventRoomKind, type RoomMessage } from "./event-replica.ts";
import { type Link, RoomSocket } from "./room-socket.ts";
import { acquire, type Lease } from "./shared.ts";
import type { Connected } from "./wire.ts";

export interface Refusal {
  id: string | null;
  code: string;
  message: string;
}

export interface Watcher<S> {
  onChange?(state: S): void;
  onLink?(link: Link): void;
  /** Every message, after it was folded in. */
  onMessage?(message: RoomMessage): void;
}

export class EventRoom<S> {
  readonly replica: EventReplica<S>;
  /** Who this page is in the room, once connected. */
  me: { user: string; roles: string[] } | null = null;
  link: Link = { state: "connecting", attempt: 0, isRefused: false };
  private readonly watchers = new Set<Watcher<S>>();
  private readonly socket: RoomSocket<"ops" | "hil" | "lobby">;

  constructor(
    readonly api: Api,
    party: "ops" | "hil" | "lobby",
    room: string,
    kind: EventRoomKind<S>,
  ) {
    this.replica = new EventReplica(kind);
    this.socket = new RoomSocket<"ops" | "hil" | "lobby">({
      api,
      party,
      room,
      // The lobby stores nothing: whoever comes gets its snapshot.
      position: () => (party === "lobby" ? null : this.replica.position),
      events: {
        onLink: (link) => this.linked(link),
        onMessage: (message) => this.message(message as unknown as RoomMessage),
      },
    });
  }

  get state(): S {
    return this.replica.state;
  }

  /** True once the first frame of the current connection is in. */
  get isConnected(): boolean {
    return this.replica.isCurrent && this.socket.isOpen;
  }

  send(message: object): boolean {
    return this.socket.send(message);
  }

  watch(watcher: Watcher<S>): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  reconnect(): void {
    this.socket.reconnect();
  }

  close(): void {
    this.watchers.clear();
    this.socket.close();
  }

  private linked(link: Link): void {
    this.link = link;
    if (link.state !== "open") this.replica.disconnected();
    for (const watcher of this.watchers) watcher.onLink?.(link);
  }

  private message(message: RoomMessage): void {
    if (message.type === "connected") {
      const { user, roles } = message as unknown as Connected;
      this.me = { user, roles };
    }
    const isChanged = this.replica.receive(message);
    for (const watcher of this.watchers) {
      if (isChanged) watcher.onChange?.(this.state);
      watcher.onMessage?.(message);
    }
  }
}

/** Join a room; the page holds one connection to it, however many views ask. */
export function joinRoom<S>(
  api: Api,
  party: "ops" | "hil" | "lobby",
  room: string,
  kind: EventRoomKind<S>,
): Lease<EventRoom<S>> {
  return acquire(
    `${api.base.href}#${party}/${room}`,
    () => new EventRoom(api, party, room, kind),
    (joined) => joined.close(),
  );
}
