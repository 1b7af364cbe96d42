// @vitest-environment jsdom
import { afterEach, describe, expect, it } from "vitest";
import { xsrfToken } from "../src/api.ts";
import { findPlace, isRoomName } from "../src/base.ts";
import { render, rowsIn } from "../src/widget.ts";

const page = { location: { origin: "https://lab.example" }, document };

function put(html: string): void {
  document.body.innerHTML = html;
}

describe("findPlace", () => {
  afterEach(() => put(""));

  it("finds Jupyter's server, prefix included", () => {
    put('<script id="jupyter-config-data">{"baseUrl": "/user/bob/"}</script>');
    const base = new URL("https://lab.example/user/bob/vibehq/");
    expect(findPlace("", page)).toEqual({ kind: "here", base });
  });

  it("finds the standalone server by the page's meta", () => {
    put('<meta name="vibehq-base" content="/hq">');
    const base = new URL("https://lab.example/hq/");
    expect(findPlace("", page)).toEqual({ kind: "here", base });
    put('<meta name="vibehq-base" content="">');
    expect(findPlace("", page)).toMatchObject({ kind: "here" });
  });

  it("uses a given address of this origin", () => {
    const given = findPlace("https://lab.example/vibehq?token=x#y", page);
    expect(given).toMatchObject({ base: { href: "https://lab.example/vibehq/" } });
  });

  it.each([
    "https://evil.example/vibehq",
    "http://lab.example/vibehq",
    "https://lab.example:8443/",
    "//evil.example/",
  ])("never connects by itself to %s", (given) => {
    put('<script id="jupyter-config-data">{"baseUrl": "/"}</script>');
    expect(findPlace(given, page).kind).toBe("elsewhere");
  });

  it.each(["javascript:alert(1)", "data:text/html,x", "https://a:b@lab.example/"])(
    "makes no link of %s",
    (given) => {
      expect(findPlace(given, page)).toEqual({ kind: "none" });
    },
  );

  it("says so where there is no server", () => {
    expect(findPlace("", page)).toEqual({ kind: "none" });
  });
});

describe("isRoomName", () => {
  it.each(["web-1", "web-1:main", "a%20b", "x_y.z~"])("takes %s", (name) => {
    expect(isRoomName(name)).toBe(true);
  });
  it.each(["", ".", "..", "a/b", "a?b", "a#b", "a b", "ü", "a%2", "x".repeat(257)])(
    "refuses %j",
    (name) => {
      expect(isRoomName(name)).toBe(false);
    },
  );
});

describe("xsrfToken", () => {
  it("reads Jupyter's cookie among others", () => {
    expect(xsrfToken("a=1; _xsrf=2|ab|cd; z=3")).toBe("2|ab|cd");
    expect(xsrfToken("my_xsrf=evil")).toBe("");
  });
});

describe("a hostile notebook's widget", () => {
  const model = (traits: object) => ({
    get: (name: string) => Reflect.get(traits, name),
  });

  it("opens no socket to another origin and shows its host as a link", () => {
    const opened: string[] = [];
    const kept = globalThis.WebSocket;
    globalThis.WebSocket = class {
      constructor(url: string) {
        opened.push(url);
      }
    } as unknown as typeof WebSocket;
    const el = document.createElement("div");
    const base = "https://evil.example/<img src=x onerror=alert(1)>";
    const stop = render({
      model: model({ view: "terminal", base, terminal: "x" }),
      el,
    });
    const link = el.querySelector("a");
    expect(link?.href.startsWith("https://evil.example/")).toBe(true);
    expect(link?.rel).toContain("noopener");
    expect(link?.textContent).toBe("Open evil.example");
    expect(el.querySelector("img")).toBeNull();
    expect(el.dataset.state).toBe("elsewhere");
    stop();
    expect(el.childElementCount).toBe(0);
    expect(opened).toEqual([]);
    globalThis.WebSocket = kept;
  });

  it.each([
    { view: "nonsense", base: location.origin },
    { view: "terminal", base: location.origin, terminal: "../../api/me" },
    { view: 7, base: location.origin, terminal: { length: 3 } },
    { view: "terminal", base: "" },
  ])("gets one sentence for %j", (traits) => {
    const el = document.createElement("div");
    const stop = render({ model: model(traits), el });
    expect(el.querySelector('[data-vhq="sentence"]')?.textContent).toBeTruthy();
    stop();
  });
});

describe("the height of a terminal view", () => {
  it.each([
    [0, 18],
    [Number.NaN, 18],
    [-5, 18],
    [100, 2],
    [338, 18],
    [400, 22],
    [100_000, 200],
  ])("is given in pixels: %d gives %d rows", (pixels, rows) => {
    expect(rowsIn(pixels)).toBe(rows);
  });
});
