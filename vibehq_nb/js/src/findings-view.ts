/** What the ops monitor found: a table, the running scan, and how it is connected. */

import type { Api } from "./api.ts";
import { h, setText } from "./dom.ts";
import { visible } from "./escape.ts";
import { type EventRoom, joinRoom } from "./event-room.ts";
import {
  type Finding,
  OPS,
  type OpsState,
  openCount,
  type RunningScan,
  ranked,
  type ScanSummary,
} from "./ops-state.ts";
import { STOP_TEXTS } from "./socket-policy.ts";
import { adoptStyles } from "./styles.ts";
import { followTheme } from "./theme.ts";
import { clock } from "./time.ts";

export interface FindingsOptions {
  api: Api;
  title: string;
}

const COLUMNS = [
  "Severity",
  "State",
  "Title",
  "Resource",
  "Host",
  "Last seen",
  "Count",
];
/** More rows than this are counted, not drawn. */
const MOST_ROWS = 500;
const HEALTH = {
  open: { text: "live", level: "good" },
  connecting: { text: "reconnecting", level: "medium" },
  stopped: { text: "offline", level: "high" },
} as const;

export class FindingsView {
  readonly root = h("div", { class: "vhq vhq-card", hook: "findings" });
  private readonly count = h("span", { class: "vhq-badge", hook: "open-count" });
  private readonly health = h("span", { class: "vhq-badge", hook: "health" });
  private readonly last = h("span", { class: "vhq-clock", hook: "last-scan" });
  private readonly scans = h("div", { hook: "scans" });
  private readonly body = h("tbody");
  private readonly table: HTMLElement;
  private readonly empty = h("div", { class: "vhq-message", hook: "empty" });
  private readonly room: EventRoom<OpsState>;
  private readonly endings: (() => void)[];
  private drawing = 0;

  constructor(
    options: FindingsOptions,
    private readonly onState: (state: string) => void,
  ) {
    const head = h("tr", {}, ...COLUMNS.map((name) => h("th", { scope: "col" }, name)));
    this.table = h(
      "div",
      { class: "vhq-scroll", tabindex: "0" },
      h("table", { class: "vhq-table" }, h("thead", {}, head), this.body),
    );
    this.root.append(
      h(
        "div",
        { class: "vhq-head" },
        h("h3", {}, visible(options.title) || "Findings"),
        this.count,
        h("span", { class: "vhq-space" }),
        this.last,
        this.health,
      ),
      this.scans,
      this.table,
      this.empty,
    );
    const lease = joinRoom(options.api, "ops", "main", OPS);
    this.room = lease.value;
    const unwatch = this.room.watch({
      onChange: () => this.schedule(),
      onLink: () => this.schedule(),
    });
    this.endings = [unwatch, () => lease.release(), followTheme(this.root)];
    this.show();
  }

  placed(): void {
    adoptStyles(this.root);
  }

  dispose(): void {
    cancelAnimationFrame(this.drawing);
    for (const end of this.endings) end();
    this.root.remove();
  }

  /** Many findings may come in one moment: draw them once. */
  private schedule(): void {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.show();
    });
  }

  private show(): void {
    const { state, link } = this.room;
    const findings = ranked(state);
    const open = openCount(state);
    setText(this.count, `${open} open`);
    this.count.dataset.level = open > 0 ? (findings[0]?.severity ?? "") : "good";
    this.showHealth();
    const latest = state.scans[0];
    setText(this.last, latest ? lastScan(latest) : "");
    this.scans.replaceChildren(...Object.values(state.running).map(progressRow));
    this.body.replaceChildren(...findings.slice(0, MOST_ROWS).map(findingRow));
    this.table.hidden = findings.length === 0;
    const isKnown = this.room.replica.position !== null;
    setText(this.empty, isKnown ? emptyText(latest, findings.length) : "Connecting…");
    this.empty.hidden = findings.length > 0 && findings.length <= MOST_ROWS;
    if (link.state === "stopped" && !isKnown)
      setText(this.empty, STOP_TEXTS[link.reason]);
  }

  private showHealth(): void {
    const { link } = this.room;
    const health = HEALTH[this.room.isConnected ? "open" : link.state];
    const isFirst = health === HEALTH.connecting && !this.room.replica.position;
    setText(this.health, isFirst ? "connecting" : health.text);
    this.health.dataset.level = health.level;
    const state = this.room.isConnected ? "connected" : link.state;
    this.root.dataset.state = state;
    this.onState(state);
  }
}

function lastScan(scan: ScanSummary): string {
  const at = clock(scan.completedAt);
  if (scan.status === "failed")
    return `Last scan failed${at && ` at ${at}`}: ${visible(scan.message)}`;
  return `Last scan ${visible(scan.scope)} ${at}`;
}

function emptyText(latest: ScanSummary | undefined, held: number): string {
  if (held > 0) return `${held - MOST_ROWS} more findings are not shown here.`;
  if (!latest) return "No findings. No scan has run yet.";
  return `No findings. ${lastScan(latest)}.`;
}

function progressRow(scan: RunningScan): HTMLElement {
  const bar = h("progress", { hook: "progress", "aria-label": "Scan progress" });
  if (scan.total > 0) {
    bar.max = scan.total;
    bar.value = Math.min(scan.processed, scan.total);
  }
  const figures = scan.total > 0 ? `${scan.processed} of ${scan.total}` : "starting";
  return h(
    "div",
    { class: "vhq-scan", hook: "scan", "data-scan": scan.id },
    h("span", {}, `Scanning (${visible(scan.scope)})`),
    bar,
    h(
      "span",
      { class: "vhq-clock", hook: "scan-phase" },
      `${figures} ${visible(scan.phase)}`,
    ),
  );
}

function findingRow(finding: Finding): HTMLElement {
  const severity = h("span", { class: "vhq-badge" }, visible(finding.severity));
  severity.dataset.level = finding.severity.toLowerCase();
  const row = h(
    "tr",
    { hook: "finding", "data-id": finding.id },
    h("td", {}, severity),
    h("td", {}, visible(finding.state)),
    h("td", { class: "vhq-wide" }, visible(finding.title)),
    h("td", { class: "vhq-wide" }, visible(finding.resource)),
    h("td", {}, visible(finding.host)),
    h("td", {}, clock(finding.lastSeen)),
    h("td", { class: "vhq-number" }, String(finding.count)),
  );
  row.dataset.state = finding.state;
  return row;
}
