/** The page of a server: workers and terminals on the left, one of them at work. */

import { Api, ApiError, type Me } from "./api.ts";
import { ApprovalsView } from "./approvals-view.ts";
import { findPlace } from "./base.ts";
import { button, h, setText } from "./dom.ts";
import { visible } from "./escape.ts";
import { type EventRoom, joinRoom } from "./event-room.ts";
import { FindingsView } from "./findings-view.ts";
import { HIL, type HilState, pending } from "./hil-state.ts";
import {
  LOBBY,
  type LobbyState,
  readTerminal,
  readWorker,
  type Terminal,
  type Worker,
} from "./lobby-state.ts";
import page from "./page.css";
import { rows } from "./read.ts";
import { STOP_TEXTS } from "./socket-policy.ts";
import { adoptStyles } from "./styles.ts";
import { TerminalView } from "./terminal-view.ts";
import { followTheme } from "./theme.ts";
import type { JsonObject } from "./wire.ts";

interface View {
  root: HTMLElement;
  placed(): void;
  dispose(): void;
}

type Place =
  | { view: "terminal"; id: string }
  | { view: "approvals" }
  | { view: "findings" };

/** The lobby tells what changes; HTTP is asked again in case it is away. */
const POLL_MS = 15_000;

export class Dashboard {
  readonly root = h("div", { class: "vhq vhq-page", hook: "dashboard" });
  private readonly who = h("span", { hook: "user" });
  private readonly version = h("span", { class: "vhq-clock", hook: "version" });
  private readonly dot = h("span", { class: "vhq-dot", hook: "connection" });
  private readonly list = h("nav", { class: "vhq-list", hook: "list" });
  private readonly content = h("main", { class: "vhq-content", hook: "content" });
  private readonly message = h("div", {
    class: "vhq-page-message",
    hook: "page-message",
    role: "alert",
    hidden: true,
  });
  private readonly lobby: EventRoom<LobbyState>;
  private readonly hil: EventRoom<HilState>;
  private readonly endings: (() => void)[];
  private workers: Worker[] = [];
  private terminals: Terminal[] = [];
  private me: Me | null = null;
  private place: Place | null = null;
  private view: View | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly api: Api) {
    const lobby = joinRoom(api, "lobby", "main", LOBBY);
    const hil = joinRoom(api, "hil", "main", HIL);
    this.lobby = lobby.value;
    this.hil = hil.value;
    this.root.append(this.header(), this.message, this.list, this.content);
    const listen = {
      onLink: () => this.showConnection(),
      onMessage: () => this.moved(),
    };
    this.endings = [
      this.lobby.watch(listen),
      this.hil.watch({ onChange: () => this.showList() }),
      () => lobby.release(),
      () => hil.release(),
      followTheme(this.root),
      onHash(() => this.go(placeOf(location.hash))),
    ];
    void this.refresh();
    this.go(placeOf(location.hash));
  }

  placed(): void {
    adoptStyles(this.root, page);
    this.view?.placed();
  }

  dispose(): void {
    clearTimeout(this.timer);
    for (const end of this.endings) end();
    this.view?.dispose();
    this.root.remove();
  }

  private header(): HTMLElement {
    return h(
      "header",
      { class: "vhq-top" },
      button("menu", "☰", () => this.root.classList.toggle("vhq-open"), {
        class: "vhq-menu",
        "aria-label": "Workers and terminals",
      }),
      h("strong", { class: "vhq-brand" }, "VibeHQ"),
      this.version,
      h("span", { class: "vhq-space" }),
      this.dot,
      this.who,
    );
  }

  /** Ask over HTTP for what there is. */
  private async refresh(): Promise<void> {
    clearTimeout(this.timer);
    try {
      this.me ??= await this.api.me();
      const [terminals, workers] = await Promise.all([
        this.api.get("api/terminals"),
        this.api.get("api/workers"),
      ]);
      this.terminals = rows(terminals.terminals).map(readTerminal);
      this.workers = rows(workers.workers).map(readWorker);
      this.say("");
    } catch (error) {
      const isRefused = error instanceof ApiError && [401, 403].includes(error.status);
      if (isRefused) this.say(STOP_TEXTS["signed-out"]);
    }
    this.showList();
    this.showConnection();
    if (!this.place) this.goFirst();
    this.timer = setTimeout(() => void this.refresh(), POLL_MS);
  }

  private moved(): void {
    if (this.lobby.isConnected) {
      ({ workers: this.workers, terminals: this.terminals } = this.lobby.state);
      if (!this.place) this.goFirst();
    }
    this.showList();
    this.showConnection();
  }

  private say(text: string): void {
    setText(this.message, text);
    this.message.hidden = text === "";
  }

  private showConnection(): void {
    const { link } = this.lobby;
    this.dot.dataset.state = link.state;
    const texts = {
      open: "connected",
      connecting: "reconnecting…",
      stopped: "offline",
    };
    this.dot.title = texts[link.state];
    this.root.dataset.state = link.state === "open" ? "connected" : link.state;
    if (link.state === "stopped") this.say(STOP_TEXTS[link.reason]);
    setText(this.who, visible(this.me?.user ?? this.lobby.me?.user ?? ""));
    this.who.title = (this.me?.roles ?? []).join(", ");
    setText(this.version, visible(this.me?.version ?? ""));
  }

  private showList(): void {
    const waiting = pending(this.hil.state).length;
    const focused = (document.activeElement as HTMLElement | null)?.dataset.key;
    this.list.replaceChildren(
      this.item(
        "#approvals",
        "Approvals",
        waiting > 0 ? `${waiting}` : "",
        "approvals",
      ),
      this.item("#findings", "Findings", "", "findings"),
      h("h2", {}, "Terminals"),
      ...this.groups(),
    );
    if (this.mayOperate)
      this.list.append(button("new-terminal", "New terminal", () => void this.open()));
    if (!focused) return;
    const again = [...this.list.querySelectorAll<HTMLElement>("[data-key]")];
    again.find((element) => element.dataset.key === focused)?.focus();
  }

  private get mayOperate(): boolean {
    return (this.me?.roles ?? []).includes("operator");
  }

  private groups(): HTMLElement[] {
    const ids = new Set([
      ...this.workers.map((worker) => worker.id),
      ...this.terminals.map((terminal) => terminal.worker),
    ]);
    if (ids.size === 0)
      return [
        h("p", { class: "vhq-clock", hook: "no-workers" }, "No worker is here yet."),
      ];
    return [...ids].sort().map((id) => this.group(id));
  }

  private group(id: string): HTMLElement {
    const worker = this.workers.find((w) => w.id === id);
    const isOnline = worker?.isOnline ?? false;
    const dot = h("span", { class: "vhq-dot" });
    dot.dataset.state = isOnline ? "open" : "connecting";
    dot.title = isOnline ? "online" : "away";
    const own = this.terminals.filter((terminal) => terminal.worker === id);
    const host = worker?.host && worker.host !== id ? ` · ${visible(worker.host)}` : "";
    return h(
      "div",
      { class: "vhq-group", hook: "worker", "data-worker": id },
      h("h3", {}, dot, `${visible(id)}${host}`),
      ...own.map((terminal) =>
        this.item(
          `#t/${encodeURIComponent(terminal.id)}`,
          visible(terminal.id),
          badgeOf(terminal),
          "terminal-link",
        ),
      ),
    );
  }

  private item(hash: string, label: string, badge: string, hook: string): HTMLElement {
    const link = h(
      "a",
      { href: hash, hook, "data-key": hash, class: "vhq-item" },
      h("span", {}, label),
      badge ? h("span", { class: "vhq-badge" }, badge) : null,
    );
    if (this.place && hash === hashOf(this.place))
      link.setAttribute("aria-current", "page");
    return link;
  }

  private async open(): Promise<void> {
    try {
      const { id } = await this.api.post("api/terminals", this.nextTerminal());
      await this.refresh();
      if (typeof id === "string") location.hash = `#t/${encodeURIComponent(id)}`;
    } catch (error) {
      this.say(error instanceof Error ? visible(error.message) : "No terminal opened.");
    }
  }

  /** The next terminal of the worker in view: its first has the worker's own name. */
  private nextTerminal(): JsonObject {
    const online = this.workers.filter((worker) => worker.isOnline);
    const shown = this.place?.view === "terminal" ? this.place.id.split(":")[0] : "";
    const worker = online.find(({ id }) => id === shown) ?? online[0];
    if (!worker) return { target: "local" };
    const taken = new Set(this.terminals.map((terminal) => terminal.id));
    const where = { target: "local", worker: worker.id };
    if (!taken.has(worker.id)) return where;
    let number = 2;
    while (taken.has(`${worker.id}:${number}`)) number += 1;
    return { ...where, name: String(number) };
  }

  private goFirst(): void {
    const first = this.terminals[0];
    if (first) this.go({ view: "terminal", id: first.id });
    else if (!this.view) this.go({ view: "findings" });
  }

  private go(place: Place | null): void {
    this.root.classList.remove("vhq-open");
    if (!place || (this.place && hashOf(place) === hashOf(this.place))) return;
    this.place = place;
    this.view?.dispose();
    this.view = this.make(place);
    this.content.dataset.view = place.view;
    this.content.replaceChildren(this.view.root);
    this.view.placed();
    this.showList();
  }

  private make(place: Place): View {
    const { api } = this;
    const ignore = () => {};
    switch (place.view) {
      case "terminal":
        return new TerminalView(
          { api, terminal: place.id, title: "", height: 0 },
          ignore,
        );
      case "approvals":
        return new ApprovalsView({ api, approvalId: "" }, ignore);
      case "findings":
        return new FindingsView({ api, title: "" }, ignore);
    }
  }
}

/** Show on *body* what its data attributes ask for. */
export function openPage(body: HTMLElement): void {
  const place = findPlace("", window);
  if (place.kind !== "here") {
    body.append("This page does not say where its server is.");
    return;
  }
  const api = new Api(place.base);
  const view = pageView(api, body.dataset.view ?? "dashboard", body.dataset.id ?? "");
  (document.getElementById("app") ?? body).replaceChildren(view.root);
  adoptStyles(view.root, page);
  view.placed();
}

function pageView(api: Api, view: string, id: string): View {
  const onState = (state: string) => {
    document.body.dataset.state = state;
  };
  switch (view) {
    case "terminal":
      document.title = `${id} · VibeHQ`;
      return framed(
        new TerminalView({ api, terminal: id, title: "", height: 0 }, onState),
      );
    case "approval":
      document.title = "Approval · VibeHQ";
      return framed(new ApprovalsView({ api, approvalId: id }, onState));
    default:
      return new Dashboard(api);
  }
}

/** One view as a whole page. */
function framed(view: View): View {
  const root = h("div", { class: "vhq vhq-single" }, view.root);
  const unfollow = followTheme(root);
  return {
    root,
    placed: () => view.placed(),
    dispose: () => {
      unfollow();
      view.dispose();
    },
  };
}

function badgeOf(terminal: Terminal): string {
  if (terminal.state === "exited" || terminal.state === "frozen") return terminal.state;
  return terminal.writer ? visible(terminal.writer) : "";
}

function placeOf(hash: string): Place | null {
  if (hash === "#approvals") return { view: "approvals" };
  if (hash === "#findings") return { view: "findings" };
  if (!hash.startsWith("#t/")) return null;
  try {
    return { view: "terminal", id: decodeURIComponent(hash.slice(3)) };
  } catch {
    return null;
  }
}

function hashOf(place: Place): string {
  return place.view === "terminal"
    ? `#t/${encodeURIComponent(place.id)}`
    : `#${place.view}`;
}

function onHash(changed: () => void): () => void {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
}
