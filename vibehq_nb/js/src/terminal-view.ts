/** A live terminal: bar, screen, search and the line that says how things stand. */

import type { Api } from "./api.ts";
import { button, h, setText } from "./dom.ts";
import { visible } from "./escape.ts";
import { exposeTerminal } from "./hook.ts";
import { SizeWish } from "./size-wish.ts";
import { adoptStyles } from "./styles.ts";
import { TerminalScreen } from "./terminal-screen.ts";
import { type Note, type Status, TerminalSession } from "./terminal-session.ts";
import { followTheme } from "./theme.ts";
import type { Connected } from "./wire.ts";

export interface TerminalOptions {
  api: Api;
  terminal: string;
  title: string;
  /** Rows of cells, or 0 to fill the element. */
  height: number;
}

const NOTE_MS = 6000;

export class TerminalView {
  readonly root: HTMLElement;
  private readonly parts = this.makeParts();
  private readonly screen: TerminalScreen;
  private readonly session: TerminalSession;
  private readonly wish: SizeWish;
  private readonly endings: (() => void)[] = [];
  private noteTimer: ReturnType<typeof setTimeout> | undefined;
  private banner = "";

  constructor(
    private readonly options: TerminalOptions,
    private readonly onState: (state: string) => void,
  ) {
    const { parts } = this;
    this.root = h(
      "div",
      {
        class: "vhq vhq-terminal",
        hook: "terminal",
        "data-terminal": options.terminal,
      },
      h(
        "div",
        { class: "vhq-bar" },
        parts.dot,
        parts.title,
        parts.recording,
        parts.writer,
        h("span", { class: "vhq-space" }),
        parts.size,
        parts.take,
        parts.searchOpen,
      ),
      parts.searchBar,
      parts.screen,
      h("div", { class: "vhq-notice", hook: "notice", role: "status" }, ...parts.line),
    );
    this.root.dataset.fill = String(options.height === 0);
    // JupyterLab's shortcuts look for this before they take a key.
    this.root.setAttribute("data-lm-suppress-shortcuts", "true");
    this.screen = new TerminalScreen(parts.screen, {
      isWriter: () => this.session.isWriter,
      type: (bytes) => this.session.type(bytes),
      note: (text, kind) => this.note(text, kind),
      offerLink: (address) => this.offerLink(address),
      chord: (event) => this.chord(event),
    });
    this.session = new TerminalSession(options.api, options.terminal, this.screen, {
      onStatus: (status) => this.show(status),
      onNote: (text, kind) => this.note(text, kind),
      onConnected: (connected) => this.connected(connected),
      onSizePolicy: (policy) => this.wish.decidedBy(policy),
    });
    this.wish = new SizeWish(
      () => this.wanted(),
      (cols, rows, isHidden) => this.session.resize(cols, rows, isHidden),
    );
    this.listen();
    this.show(this.session.status);
    this.endings.push(exposeTerminal(options.terminal, this.screen, this.session));
  }

  /** Call when the root was put somewhere: xterm.js needs a place to measure. */
  placed(): void {
    adoptStyles(this.root);
    if (!this.screen.open()) return;
    this.minimumHeight();
    this.wish.changed();
  }

  focus(): void {
    this.screen.terminal.focus();
  }

  dispose(): void {
    clearTimeout(this.noteTimer);
    for (const end of this.endings) end();
    this.wish.dispose();
    this.session.close();
    this.screen.dispose();
    this.root.remove();
  }

  private makeParts() {
    const spinner = h("span", { class: "vhq-spinner", hook: "spinner", hidden: true });
    const text = h("span", { class: "vhq-notice-text", hook: "notice-text" });
    const held = h("code", { class: "vhq-held", hook: "held", hidden: true });
    const link = h("a", {
      class: "vhq-link",
      hook: "open-link",
      target: "_blank",
      rel: "noopener noreferrer",
      hidden: true,
    });
    const again = button("reconnect", "Try again", () => this.session.reconnect());
    const signIn = button("sign-in", "Sign in again", () => location.reload());
    again.hidden = true;
    signIn.hidden = true;
    const searchInput = h("input", {
      hook: "search-input",
      type: "search",
      placeholder: "Search the output",
      "aria-label": "Search the output",
    });
    const searchBar = h(
      "div",
      { class: "vhq-search", hook: "search", hidden: true },
      searchInput,
      button("search-previous", "↑", () => this.find(false), { title: "Previous" }),
      button("search-next", "↓", () => this.find(true), { title: "Next" }),
      button("search-close", "✕", () => this.toggleSearch(false), { title: "Close" }),
    );
    return {
      dot: h("span", { class: "vhq-dot", hook: "dot" }),
      title: h("span", { class: "vhq-title", hook: "title" }),
      recording: h(
        "span",
        { class: "vhq-badge vhq-recorded", hook: "recorded", hidden: true },
        "● REC",
      ),
      writer: h("span", { class: "vhq-writer", hook: "writer" }),
      size: h("span", { class: "vhq-size", hook: "size" }),
      take: button("take-control", "Take control", () => this.lease()),
      searchOpen: button("search-open", "", () => this.toggleSearch(), {
        title: "Search (Ctrl+Shift+F)",
        "aria-label": "Search",
        class: "vhq-icon",
      }),
      screen: h("div", { class: "vhq-screen", hook: "screen" }),
      line: [spinner, text, held, link, again, signIn],
      ...{ spinner, text, held, link, again, signIn, searchInput, searchBar },
    };
  }

  private listen(): void {
    const { root, parts } = this;
    for (const type of ["keydown", "keypress", "keyup"])
      root.addEventListener(type, (event) => event.stopPropagation());
    root.addEventListener("focusin", () => this.wish.lead());
    parts.searchInput.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.find(!event.shiftKey);
      if (event.key === "Escape") this.toggleSearch(false);
    });
    const observer = new ResizeObserver(() => {
      this.placed();
    });
    observer.observe(parts.screen);
    const seen = () => this.wish.changed();
    document.addEventListener("visibilitychange", seen);
    this.endings.push(
      () => observer.disconnect(),
      () => document.removeEventListener("visibilitychange", seen),
      followTheme(root, () => this.screen.retheme()),
    );
  }

  private wanted(): { cols: number; rows: number } | null {
    const { root, options } = this;
    if (document.visibilityState !== "visible" || root.offsetParent === null)
      return null;
    if (root.offsetWidth < 80 || !this.session.mayOperate) return null;
    const fits = this.screen.proposal();
    if (!fits) return null;
    return options.height > 0 ? { cols: fits.cols, rows: options.height } : fits;
  }

  /** Room for the wished rows from the start, so that the page does not jump. */
  private minimumHeight(): void {
    const { terminal } = this.screen;
    const height = terminal.element?.querySelector(".xterm-screen")?.clientHeight ?? 0;
    if (this.options.height === 0 || height === 0) return;
    const cell = height / terminal.rows;
    this.parts.screen.style.minHeight = `${Math.ceil(cell * this.options.height) + 8}px`;
  }

  private connected(connected: Connected): void {
    const { terminal } = this.options;
    const can = connected.roles.includes("operator") ? "" : ", to watch";
    this.banner = `Connected to ${visible(terminal)} as ${visible(connected.user)}${can}.`;
    this.wish.decidedBy(connected.size_policy ?? "writer");
    const writer = connected.writer ?? null;
    if (connected.resume === "fresh" && (writer === null || writer === connected.user))
      this.wish.lead();
    this.showLine();
  }

  private show(status: Status): void {
    const { parts, root } = this;
    root.dataset.state = status.state;
    root.dataset.frozen = String(status.isFrozen);
    this.onState(status.state);
    const name = this.options.title || this.options.terminal;
    setText(parts.title, visible(status.title ? `${name} · ${status.title}` : name));
    parts.title.title = visible(this.options.terminal);
    parts.dot.title = status.text || status.state;
    setText(parts.size, `${status.cols}×${status.rows}`);
    parts.recording.hidden = status.recordedBy === null;
    parts.recording.title = recordedText(status.recordedBy);
    this.showWriter(status);
    this.wish?.became(status.cols, status.rows);
    this.showLine();
  }

  private showWriter(status: Status): void {
    const { parts } = this;
    const isOver = status.state === "exited";
    const writer = isOver ? null : status.writer;
    const isMine = writer !== null && writer === status.user;
    const typing = isMine ? "you are typing" : `${visible(writer ?? "")} is typing`;
    setText(parts.writer, writer === null ? "" : typing);
    parts.writer.dataset.mine = String(isMine);
    const isOperator = status.roles.includes("operator");
    if (status.roles.length > 0 && !isOperator) setText(parts.writer, "watching only");
    parts.take.hidden = !isOperator || writer === null;
    setText(parts.take, isMine ? "Release" : "Take control");
  }

  private lease(): void {
    this.session.lease(this.session.isWriter ? "give" : "take");
    this.focus();
  }

  private note(text: string, kind: Note): void {
    clearTimeout(this.noteTimer);
    this.noteTimer = setTimeout(() => {
      this.noteTimer = undefined;
      this.parts.link.hidden = true;
      this.showLine();
    }, NOTE_MS);
    this.parts.link.hidden = true;
    this.line(text, kind);
  }

  private offerLink(address: string): void {
    this.note("Open this page?", "info");
    const { link } = this.parts;
    link.href = address;
    setText(link, visible(address));
    link.hidden = false;
  }

  /** The line below the screen: a passing note, else the state, else the banner. */
  private showLine(): void {
    const { parts, session } = this;
    if (!session) return;
    const { state, text, held, isFrozen } = session.status;
    const isAway = state === "reconnecting" || state === "connecting";
    parts.spinner.hidden = !isAway && state !== "waiting";
    parts.again.hidden = !(isAway && state === "reconnecting") && state !== "stopped";
    parts.signIn.hidden = state !== "signed-out";
    parts.held.hidden = held === 0;
    setText(parts.held, held === 0 ? "" : `held: ${visible(session.heldText)}`);
    if (this.noteTimer !== undefined) return;
    const frozen = "Frozen while a task waits for an answer; keys are not sent.";
    const calm = isFrozen && state === "connected" ? frozen : this.banner;
    const isTrouble = state !== "connected" && state !== "exited";
    this.line(text || calm, isTrouble || isFrozen ? "warning" : "info");
  }

  private line(text: string, kind: Note): void {
    setText(this.parts.text, text);
    const row = this.parts.text.parentElement;
    if (row) row.dataset.kind = kind;
  }

  private chord(event: KeyboardEvent): boolean {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) return false;
    switch (event.code) {
      case "KeyC":
        void this.screen.copy();
        break;
      case "KeyF":
        this.toggleSearch(true);
        break;
      case "KeyK":
        // The way out of the terminal for those who use no pointer.
        this.parts.searchOpen.focus();
        break;
      case "KeyV":
        // The browser pastes; the terminal must not see the key as well.
        return true;
      default:
        return false;
    }
    event.preventDefault();
    return true;
  }

  private toggleSearch(isOpen = this.parts.searchBar.hidden): void {
    this.parts.searchBar.hidden = !isOpen;
    if (isOpen) {
      this.parts.searchInput.select();
      this.parts.searchInput.focus();
      return;
    }
    this.screen.search.clearDecorations();
    this.focus();
  }

  private find(isForward: boolean): void {
    const { value } = this.parts.searchInput;
    if (!value) return;
    const { search } = this.screen;
    const isFound = isForward ? search.findNext(value) : search.findPrevious(value);
    this.parts.searchInput.dataset.found = String(isFound);
  }
}

function recordedText(by: string | null): string {
  if (by === "policy") return "This server records what every terminal prints.";
  return `What this terminal prints is recorded, for ${visible(by ?? "")}.`;
}
