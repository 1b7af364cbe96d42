// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import {
  keepStills,
  type MimeModel,
  type Registry,
  WIDGET_TYPE,
} from "../src/lab-still.ts";

/** A registry whose widgets are all gone, or all there. */
function lab(widget: string) {
  const trusted: boolean[] = [];
  const registry: Registry = {
    createModel(options) {
      trusted.push(options.trusted);
      return { data: options.data };
    },
    createRenderer: (type) => {
      const node = document.createElement("div");
      return {
        node,
        async renderModel(model: MimeModel) {
          node.textContent = type === WIDGET_TYPE ? widget : String(model.data[type]);
        },
      };
    },
  };
  keepStills(registry);
  return { registry, trusted };
}

const LOST = "Error displaying widget: model not found";
const STILL = '<div class="vhq-snapshot">$ ls</div>';

async function shown(widget: string, html: unknown): Promise<[string, boolean[]]> {
  const { registry, trusted } = lab(widget);
  const renderer = registry.createRenderer(WIDGET_TYPE);
  await renderer.renderModel({ data: { [WIDGET_TYPE]: {}, "text/html": html } });
  return [renderer.node.textContent ?? "", trusted];
}

describe("a saved view in JupyterLab", () => {
  it("shows its HTML, sanitized, when its model is gone", async () => {
    expect(await shown(LOST, STILL)).toEqual([STILL, [false]]);
    expect(await shown(LOST, ['<div class="vhq-snapshot">', "$ ls</div>"])).toEqual([
      STILL,
      [false],
    ]);
  });

  it("is left alone while its model is there", async () => {
    expect(await shown("a terminal", STILL)).toEqual(["a terminal", []]);
  });

  it("is left alone where it is another package's", async () => {
    expect(await shown(LOST, "<p>a plot</p>")).toEqual([LOST, []]);
    expect(await shown(LOST, undefined)).toEqual([LOST, []]);
  });
});
