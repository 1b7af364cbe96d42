/** The anywidget side: traits in, a view in the cell's output, a clean-up out. */

import { Api } from "./api.ts";
import { ApprovalsView } from "./approvals-view.ts";
import { findPlace, isRoomName } from "./base.ts";
import { h } from "./dom.ts";
import { visible } from "./escape.ts";
import { FindingsView } from "./findings-view.ts";
import { RecordingView } from "./recording-view.ts";
import { type Slot, showTerminal } from "./slots.ts";
import { adoptStyles } from "./styles.ts";
import { followTheme } from "./theme.ts";

/** What is used of anywidget's model. */
export interface Model {
  get(name: string): unknown;
}

const USUAL_ROWS = 18;
const LEAST_ROWS = 2;
const MOST_ROWS = 200;
/** What surrounds the rows, and one row, as JupyterLab's fonts make them. */
const FRAME_PIXELS = 68;
const ROW_PIXELS = 15;

interface View {
  root: HTMLElement;
  placed(): void;
  dispose(): void;
}

/** Show what the model says; returns the clean-up. */
export function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const place = findPlace(traitText(model, "base"), globalThis.window);
  if (place.kind !== "here") return explain(el, place);
  const api = new Api(place.base);
  const onState = (state: string) => {
    el.dataset.state = state;
  };
  switch (traitText(model, "view") || "terminal") {
    case "terminal":
      return terminal(model, el, api, onState);
    case "recording": {
      const recording = traitText(model, "recording");
      const title = traitText(model, "title");
      return mount(el, new RecordingView({ api, recording, title }, onState));
    }
    case "approvals": {
      const approvalId = traitText(model, "approval_id");
      return mount(el, new ApprovalsView({ api, approvalId }, onState));
    }
    case "findings": {
      const title = traitText(model, "title");
      return mount(el, new FindingsView({ api, title }, onState));
    }
    default:
      return sentence(el, "This notebook asks for a view that is not known here.");
  }
}

function terminal(
  model: Model,
  el: HTMLElement,
  api: Api,
  onState: (state: string) => void,
): () => void {
  const id = traitText(model, "terminal");
  if (!isRoomName(id)) return sentence(el, "This widget names no terminal.");
  const height = rowsIn(Number(model.get("height") ?? 0));
  const options = { api, terminal: id, title: traitText(model, "title"), height };
  const slot: Slot = showTerminal(options, el, onState);
  return () => slot.leave();
}

/** Return how many rows fit in *pixels*, bar and notice aside; 0 asks for the usual. */
export function rowsIn(pixels: number): number {
  if (!(pixels > 0)) return USUAL_ROWS;
  const rows = Math.floor((pixels - FRAME_PIXELS) / ROW_PIXELS);
  return Math.max(LEAST_ROWS, Math.min(MOST_ROWS, rows));
}

function mount(el: HTMLElement, view: View): () => void {
  el.append(view.root);
  view.placed();
  requestAnimationFrame(() => view.placed());
  return () => view.dispose();
}

function explain(
  el: HTMLElement,
  place: { kind: "elsewhere"; host: string; link: string } | { kind: "none" },
): () => void {
  if (place.kind === "none")
    return sentence(el, "No VibeHQ server was found from this page.");
  const host = visible(place.host);
  const link = h(
    "a",
    {
      hook: "elsewhere",
      href: place.link,
      target: "_blank",
      rel: "noopener noreferrer",
    },
    `Open ${host}`,
  );
  const text = "This view belongs to another server, and is not connected by itself.";
  return placeholder(el, "elsewhere", h("span", {}, text), link);
}

function sentence(el: HTMLElement, text: string): () => void {
  return placeholder(el, "unavailable", h("span", { hook: "sentence" }, text));
}

function placeholder(
  el: HTMLElement,
  state: string,
  ...children: HTMLElement[]
): () => void {
  const root = h(
    "div",
    { class: "vhq vhq-placeholder", hook: "placeholder" },
    ...children,
  );
  const unfollow = followTheme(root);
  el.append(root);
  adoptStyles(root);
  el.dataset.state = state;
  return () => {
    unfollow();
    root.remove();
  };
}

function traitText(model: Model, name: string): string {
  const value = model.get(name);
  return typeof value === "string" ? value : "";
}
