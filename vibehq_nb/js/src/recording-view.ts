/** A player of one recording: bar, screen, and what moves it. */

import { type Api, ApiError } from "./api.ts";
import { CastSource } from "./cast-source.ts";
import { button, h, setText } from "./dom.ts";
import { visible } from "./escape.ts";
import { exposeRecording } from "./hook.ts";
import { Player, type Playing, SPEEDS } from "./player.ts";
import { rows } from "./read.ts";
import { adoptStyles } from "./styles.ts";
import { TerminalScreen } from "./terminal-screen.ts";
import { followTheme } from "./theme.ts";
import { countdown } from "./time.ts";

export interface RecordingOptions {
  api: Api;
  recording: string;
  title: string;
}

interface Command {
  time: number;
  command: string;
  exitCode: number | null;
}

const STEP = 5;
const STRIDE = 60;
const SHOWN_EVERY_MS = 200;

export class RecordingView {
  readonly root: HTMLElement;
  private readonly screen: TerminalScreen;
  private readonly encoder = new TextEncoder();
  private readonly parts = this.makeParts();
  private readonly endings: (() => void)[] = [];
  private player: Player | null = null;
  private commands: Command[] = [];
  private duration = 0;
  private note = "";

  constructor(
    private readonly options: RecordingOptions,
    private readonly onState: (state: string) => void,
  ) {
    const { parts } = this;
    this.root = h(
      "div",
      {
        class: "vhq vhq-terminal vhq-recording",
        hook: "recording",
        tabindex: "0",
        role: "region",
        "aria-label": "Recording",
      },
      h(
        "div",
        { class: "vhq-bar" },
        h("span", { class: "vhq-dot" }),
        parts.title,
        h("span", { class: "vhq-space" }),
        parts.facts,
      ),
      parts.screen,
      h(
        "div",
        { class: "vhq-player" },
        parts.previous,
        parts.toggle,
        parts.next,
        h("span", { class: "vhq-track" }, parts.seek, parts.ticks),
        parts.clock,
        parts.speed,
        parts.skip,
      ),
      h("div", { class: "vhq-notice", hook: "notice", role: "status" }, parts.notice),
    );
    this.root.setAttribute("data-lm-suppress-shortcuts", "true");
    this.screen = new TerminalScreen(parts.screen, {
      isWriter: () => false,
      type: () => {},
      note: (text) => this.say(text),
      offerLink: (address) => this.say(visible(address)),
      // No key is typed anywhere: the view takes them all, as they bubble.
      chord: () => true,
    });
    this.screen.terminal.options.disableStdin = true;
    this.screen.terminal.options.cursorInactiveStyle = "outline";
    this.listen();
    void this.load();
  }

  placed(): void {
    adoptStyles(this.root);
    this.screen.open();
  }

  dispose(): void {
    for (const end of this.endings) end();
    this.player?.stop();
    this.screen.dispose();
    this.root.remove();
  }

  private makeParts() {
    const seek = h("input", {
      hook: "seek",
      type: "range",
      min: "0",
      max: "1",
      step: "any",
      value: "0",
      "aria-label": "Position",
    });
    const speed = h(
      "select",
      { hook: "speed", "aria-label": "Speed", title: "Speed (< and >)" },
      ...SPEEDS.map((value) => h("option", { value: String(value) }, `${value}×`)),
    );
    speed.value = "1";
    return {
      title: h("span", { class: "vhq-title", hook: "title" }),
      facts: h("span", { class: "vhq-size", hook: "facts" }),
      screen: h("div", { class: "vhq-screen", hook: "screen" }),
      previous: button("previous", "", () => this.player?.jump(-1), {
        title: "Previous command (P)",
        "aria-label": "Previous command",
        "data-icon": "previous",
      }),
      toggle: button("toggle", "", () => this.player?.toggle(), {
        title: "Play or pause (space)",
        "aria-label": "Play",
        "data-icon": "play",
      }),
      next: button("next", "", () => this.player?.jump(1), {
        title: "Next command (N)",
        "aria-label": "Next command",
        "data-icon": "next",
      }),
      seek,
      ticks: h("span", { class: "vhq-ticks", hook: "ticks" }),
      clock: h("span", { class: "vhq-clock", hook: "clock" }),
      speed,
      skip: button("skip", "Skip pauses", () => this.skip(), {
        title: "No longer pauses than a second (S)",
        "aria-pressed": "false",
      }),
      notice: h("span", { class: "vhq-notice-text", hook: "notice-text" }),
    };
  }

  private listen(): void {
    const { parts, root } = this;
    root.addEventListener("keydown", (event) => this.key(event));
    for (const type of ["keypress", "keyup"])
      root.addEventListener(type, (event) => event.stopPropagation());
    parts.seek.addEventListener("input", () =>
      this.player?.seek(Number(parts.seek.value)),
    );
    parts.speed.addEventListener("change", () =>
      this.player?.setSpeed(Number(parts.speed.value)),
    );
    const timer = setInterval(() => this.showPosition(), SHOWN_EVERY_MS);
    this.endings.push(
      () => clearInterval(timer),
      followTheme(root, () => this.screen.retheme()),
      exposeRecording(this.options.recording, {
        text: () => this.screen.text(),
        status: () => ({
          ...(this.player?.status ?? { state: "loading" }),
          position: this.player?.position ?? 0,
        }),
      }),
    );
  }

  private async load(): Promise<void> {
    const { api, recording, title } = this.options;
    setText(this.parts.title, visible(title));
    this.state("loading");
    try {
      const found = await api.get(`api/recordings/${encodeURIComponent(recording)}`);
      this.duration = Number(found.seconds) || 0;
      this.commands = rows(found.commands).map((row) => ({
        time: Number(row.time) || 0,
        command: String(row.command ?? ""),
        exitCode: typeof row.exit_code === "number" ? row.exit_code : null,
      }));
      const gaps = Array.isArray(found.gaps) ? found.gaps.length : 0;
      const missing = gaps > 0 ? ` · ${gaps} gap${gaps > 1 ? "s" : ""}` : "";
      const by = `by ${visible(String(found.by ?? ""))}`;
      setText(this.parts.facts, `${dateOf(found.started_at)} · ${by}${missing}`);
      this.begin();
    } catch (error) {
      const text = error instanceof ApiError ? error.message : "It cannot be read.";
      this.state("stopped");
      this.say(`${visible(text)}`, "warning");
    }
  }

  private begin(): void {
    const { parts, screen } = this;
    const stage = {
      reset: () => screen.reset(),
      resize: (cols: number, rows: number) => screen.resize(cols, rows),
      write: (text: string, painted: () => void) =>
        screen.write(this.encoder.encode(text), true, painted),
    };
    this.player = new Player(
      new CastSource(this.options.api, this.options.recording),
      stage,
      this.duration,
      this.commands.map((command) => command.time),
      (status) => this.show(status),
    );
    parts.seek.max = String(Math.max(this.duration, 0.001));
    parts.previous.disabled = parts.next.disabled = this.commands.length === 0;
    parts.ticks.replaceChildren(
      ...this.commands.map((command) => {
        const tick = h("i", { title: visible(command.command) });
        tick.style.left = `${(100 * command.time) / Math.max(this.duration, 0.001)}%`;
        tick.dataset.failed = String((command.exitCode ?? 0) !== 0);
        return tick;
      }),
    );
    this.player.seek(0, false);
  }

  private show(status: Playing): void {
    const { parts } = this;
    this.state(status.state);
    const isPlaying = status.state === "playing";
    const isOver = status.state === "ended";
    parts.toggle.dataset.icon = isPlaying ? "pause" : isOver ? "again" : "play";
    parts.toggle.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    parts.speed.value = String(status.speed);
    parts.skip.setAttribute("aria-pressed", String(status.skipsPauses));
    if (status.state === "failed") this.say(visible(status.text), "warning");
    this.showPosition();
  }

  private showPosition(): void {
    const position = this.player?.position ?? 0;
    const { parts } = this;
    if (!parts.seek.matches(":active")) parts.seek.value = String(position);
    // Rounded down, as a clock that runs.
    const shown = (seconds: number) => countdown(Math.floor(seconds) * 1000);
    setText(parts.clock, `${shown(position)} / ${shown(this.duration)}`);
    if (this.note) return;
    const now = this.commands.filter((command) => command.time <= position).at(-1);
    const code = now?.exitCode ? ` → ${now.exitCode}` : "";
    const text = now ? `$ ${visible(now.command)}${code}` : "Space plays and pauses.";
    this.line(text, "info");
  }

  private key(event: KeyboardEvent): void {
    event.stopPropagation();
    if (event.altKey || event.metaKey) return;
    if (event.ctrlKey) {
      if (event.shiftKey && event.code === "KeyC") void this.screen.copy();
      return;
    }
    const { target } = event;
    const isSelect = target instanceof HTMLSelectElement;
    if (isSelect || (target instanceof HTMLButtonElement && event.key === " ")) return;
    if (this.act(event.key)) event.preventDefault();
  }

  /** Do what a key says; tell whether it says anything. */
  private act(key: string): boolean {
    const { player } = this;
    if (!player) return false;
    const deeds: Record<string, () => void> = {
      " ": () => player.toggle(),
      ArrowLeft: () => player.seek(player.position - STEP),
      ArrowRight: () => player.seek(player.position + STEP),
      ArrowDown: () => player.seek(player.position - STRIDE),
      ArrowUp: () => player.seek(player.position + STRIDE),
      Home: () => player.seek(0),
      End: () => player.seek(this.duration, false),
      n: () => player.jump(1),
      p: () => player.jump(-1),
      s: () => this.skip(),
      "<": () => player.faster(-1),
      ">": () => player.faster(1),
    };
    const deed = Object.hasOwn(deeds, key) ? deeds[key] : undefined;
    deed?.();
    return deed !== undefined;
  }

  private skip(): void {
    this.player?.skipPauses(!this.player.status.skipsPauses);
  }

  private state(state: string): void {
    this.root.dataset.state = state;
    this.onState(state);
  }

  private say(text: string, kind: "info" | "warning" = "info"): void {
    this.note = text;
    this.line(text, kind);
    if (kind === "info")
      setTimeout(() => {
        this.note = "";
      }, 4000);
  }

  private line(text: string, kind: string): void {
    setText(this.parts.notice, text);
    const row = this.parts.notice.parentElement;
    if (row) row.dataset.kind = kind;
  }
}

function dateOf(value: unknown): string {
  const at = new Date(String(value ?? ""));
  return Number.isNaN(at.getTime()) ? "" : at.toLocaleString();
}
