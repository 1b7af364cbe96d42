/** The xterm.js side of a terminal view: painting, fonts, links, search, paste. */

import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { WebglAddon } from "@xterm/addon-webgl";
import { type IBufferRange, Terminal } from "@xterm/xterm";
import { isMisleading, webAddress } from "./links.ts";
import { pasteFrames } from "./paste.ts";
import { guard } from "./terminal-guards.ts";
import { ReplayMarks, silence, sortOf } from "./terminal-replies.ts";
import type { Note, Screen } from "./terminal-session.ts";
import { codeFont, terminalTheme } from "./theme.ts";

const SCROLLBACK = 10_000;
/** A browser gives a page some 16 WebGL contexts and takes the oldest away then. */
const MOST_WEBGL = 8;
let webglInUse = 0;

export interface ScreenHost {
  isWriter(): boolean;
  type(bytes: Uint8Array<ArrayBuffer>): void;
  note(text: string, kind: Note): void;
  /** A link was clicked that is to be shown before it is followed. */
  offerLink(address: string): void;
  /** A key chord of the view's own; true where it was taken. */
  chord(event: KeyboardEvent): boolean;
}

export class TerminalScreen implements Screen {
  readonly terminal: Terminal;
  readonly search = new SearchAddon();
  private readonly fit = new FitAddon();
  private readonly marks: ReplayMarks;
  private readonly encoder = new TextEncoder();
  private webgl: WebglAddon | null = null;
  private isOpened = false;

  constructor(
    private readonly element: HTMLElement,
    private readonly host: ScreenHost,
  ) {
    const font = codeFont();
    this.terminal = new Terminal({
      allowProposedApi: true,
      scrollback: SCROLLBACK,
      fontFamily: font.family,
      fontSize: font.size,
      theme: terminalTheme(),
      cursorBlink: false,
      minimumContrastRatio: 4.5,
      // Every report and request about the window stays off.
      windowOptions: {},
      linkHandler: {
        activate: (_event, address, range) => this.openHyperlink(address, range),
        allowNonHttpProtocols: false,
      },
    });
    this.marks = new ReplayMarks(this.terminal);
    this.terminal.loadAddon(this.fit);
    this.terminal.loadAddon(this.search);
    this.terminal.loadAddon(new Unicode11Addon());
    this.terminal.unicode.activeVersion = "11";
    this.terminal.loadAddon(
      new WebLinksAddon((event, address) => this.openPlainLink(event, address)),
    );
    guard(this.terminal);
    silence(
      this.terminal.parser,
      () => this.mayReply,
      () => host.note("A program tried to reach the clipboard. Refused.", "warning"),
    );
    this.listen();
  }

  /** Open xterm.js once its element is on the page and has a size. */
  open(): boolean {
    if (this.isOpened || !this.element.isConnected) return this.isOpened;
    this.isOpened = true;
    this.terminal.open(this.element);
    this.element.addEventListener("paste", this.pasted, { capture: true });
    this.useWebgl();
    return true;
  }

  reset(): void {
    // An empty write keeps its place behind what is still being painted.
    this.terminal.write("", () => this.terminal.reset());
  }

  resize(cols: number, rows: number): void {
    this.terminal.write("", () => this.terminal.resize(cols, rows));
  }

  write(bytes: Uint8Array, isReplay: boolean, painted: () => void): void {
    this.marks.write(bytes, isReplay, painted);
  }

  /** Return the size that fits the element, or null while it has none. */
  proposal(): { cols: number; rows: number } | null {
    if (!this.isOpened) return null;
    const size = this.fit.proposeDimensions();
    if (!size || !Number.isFinite(size.cols) || size.cols < 2) return null;
    return { cols: Math.min(500, size.cols), rows: Math.min(500, size.rows) };
  }

  retheme(): void {
    this.terminal.options.theme = terminalTheme();
  }

  /** Return the text on the screen and in the scrollback. */
  text(): string {
    const buffer = this.terminal.buffer.active;
    const lines = [];
    for (let row = 0; row < buffer.length; row += 1) {
      const line = buffer.getLine(row);
      const piece = line?.translateToString(true) ?? "";
      if (line?.isWrapped && lines.length > 0) lines[lines.length - 1] += piece;
      else lines.push(piece);
    }
    return lines.join("\n").trimEnd();
  }

  async copy(): Promise<void> {
    const text = this.terminal.getSelection();
    if (!text) return;
    try {
      await navigator.clipboard.writeText(text);
      this.host.note("Copied.", "info");
    } catch {
      this.host.note("The browser did not allow copying.", "warning");
    }
  }

  dispose(): void {
    this.dropWebgl();
    this.terminal.dispose();
  }

  private get mayReply(): boolean {
    return this.host.isWriter() && !this.marks.isReplay;
  }

  private listen(): void {
    this.terminal.onData((data) => this.data(data));
    this.terminal.onBinary((data) => {
      // Old mouse reports: a gesture, sent for the one who types only.
      if (this.host.isWriter())
        this.host.type(Uint8Array.from(data, (char) => char.charCodeAt(0)));
    });
    this.terminal.attachCustomKeyEventHandler((event) => !this.host.chord(event));
    this.terminal.attachCustomWheelEventHandler(() => {
      const isAlternate = this.terminal.buffer.active.type === "alternate";
      // There the wheel is turned into arrow keys.
      return !isAlternate || this.host.isWriter();
    });
  }

  private data(data: string): void {
    const sort = sortOf(data);
    if (sort === "reply" && !this.mayReply) return;
    if (sort === "gesture" && !this.host.isWriter()) return;
    this.host.type(this.encoder.encode(data));
  }

  private readonly pasted = (event: ClipboardEvent): void => {
    event.preventDefault();
    event.stopPropagation();
    this.paste(event.clipboardData?.getData("text/plain") ?? "");
  };

  private paste(text: string): void {
    const frames = pasteFrames(text, this.terminal.modes.bracketedPasteMode);
    if (!frames) this.host.note("This is too much to paste: use a file.", "warning");
    for (const frame of frames ?? []) this.host.type(frame);
  }

  private openPlainLink(event: MouseEvent, address: string): void {
    const safe = webAddress(address);
    if (!safe) return;
    if (event.ctrlKey || event.metaKey) window.open(safe, "_blank", "noopener");
    else this.host.offerLink(safe);
  }

  /** A hyperlink's words may say one thing and lead to another: always shown first. */
  private openHyperlink(address: string, range: IBufferRange): void {
    const safe = webAddress(address);
    if (!safe) return;
    if (isMisleading(this.shown(range), safe)) {
      this.host.note("This link names another host than it leads to.", "warning");
      return;
    }
    this.host.offerLink(safe);
  }

  private shown({ start, end }: IBufferRange): string {
    const line = this.terminal.buffer.active.getLine(start.y - 1);
    const last = end.y === start.y ? end.x : this.terminal.cols;
    return line?.translateToString(true, start.x - 1, last) ?? "";
  }

  private useWebgl(): void {
    if (webglInUse >= MOST_WEBGL) return;
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => this.dropWebgl());
      this.terminal.loadAddon(webgl);
      this.webgl = webgl;
      webglInUse += 1;
    } catch {
      // No WebGL here: xterm.js paints with elements instead.
    }
  }

  private dropWebgl(): void {
    if (!this.webgl) return;
    this.webgl.dispose();
    this.webgl = null;
    webglInUse -= 1;
  }
}
