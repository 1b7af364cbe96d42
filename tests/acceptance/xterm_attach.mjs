// The real attach addon on a real xterm.js without a screen, as a page would use them:
// `?mode=raw`, a ticket for each socket, bytes down, text and bytes up, no JSON at all.
import { createRequire } from "node:module";
import WebSocket from "ws";

globalThis.WebSocket = WebSocket; // the addon compares with its constants
const require = createRequire(import.meta.url);
const { Terminal } = require("@xterm/headless");
const { AttachAddon } = require("@xterm/addon-attach");

const [url, ana, bob] = process.argv.slice(2);
const WAIT_MS = 15_000;

async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function api(token, method, path, body) {
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${token}` };
  const answer = await fetch(url + path, { method, headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

class Viewer {
  constructor(token) {
    this.token = token;
    this.terminal = new Terminal({ cols: 80, rows: 24, allowProposedApi: true });
    this.texts = 0; // text frames: there are none in this mode
  }

  async attach(room, path = `/parties/terminal/${room}`) {
    const asked = { party: "terminal", room };
    const { ticket } = await api(this.token, "POST", "/api/tickets", asked);
    const query = `${path.includes("?") ? "&" : "?"}mode=raw&ticket=${ticket}`;
    this.socket = new WebSocket(`${url.replace("http", "ws")}${path}${query}`);
    this.socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") this.texts += 1;
    });
    // Before it is open: the first frame may come together with the upgrade.
    this.terminal.loadAddon(new AttachAddon(this.socket));
    await new Promise((resolve, reject) => {
      this.socket.addEventListener("open", resolve);
      this.socket.addEventListener("error", reject);
    });
    return this;
  }

  detach() {
    this.socket.close();
    return until(() => this.socket.readyState === WebSocket.CLOSED, () => "a close");
  }

  type(text) {
    this.terminal.input(text);
  }

  get lines() {
    const buffer = this.terminal.buffer.active;
    const rows = Array.from({ length: buffer.length }, (_, row) =>
      buffer.getLine(row).translateToString(true),
    );
    return rows.join("\n").trimEnd().split("\n");
  }

  shows(pattern) {
    const shown = () => pattern.test(this.lines.join("\n"));
    return until(shown, () => `${pattern} in ${JSON.stringify(this.lines)}`);
  }

  count(line) {
    return this.lines.filter((one) => one === line).length;
  }
}

const viewers = [];
async function view(token, room, path) {
  const viewer = await new Viewer(token).attach(room, path);
  viewers.push(viewer);
  return viewer;
}

async function open(name, command) {
  return (await api(ana, "POST", "/api/terminals", { name, command })).id;
}

function equal(found, wanted, what) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: ${a}, not ${b}`);
}

const CHECKS = {
  "text-is-typed-and-output-shown": async () => {
    const viewer = await view(ana, await open("text"));
    await viewer.shows(/\$$/);
    viewer.type("echo sum-$((40+2)) größe\r");
    await viewer.shows(/^sum-42 größe$/m);
    equal(viewer.texts, 0, "text frames");
  },

  "bytes-are-typed-as-they-are": async () => {
    const script = "stty raw -echo; echo up; od -An -tx1 -N4";
    const viewer = await view(ana, await open("bytes", ["sh", "-c", script]));
    await viewer.shows(/up/);
    // What xterm.js gives to onBinary: one character a byte.
    viewer.terminal._core.coreService.triggerBinaryEvent("\x1b\x80\xff\x00");
    await viewer.shows(/1b 80 ff 00/);
  },

  "a-reconnect-shows-the-screen-once": async () => {
    const room = await open("again");
    const viewer = await view(ana, room);
    await viewer.shows(/\$$/);
    viewer.type("for i in 1 2 3; do echo row-$i; done\r");
    await viewer.shows(/^row-3$/m);
    const before = viewer.lines;
    await viewer.detach();
    await viewer.attach(room);
    viewer.type("echo back\r");
    await viewer.shows(/^back$/m);
    for (const row of ["row-1", "row-2", "row-3", "back"]) {
      equal(viewer.count(row), 1, row);
    }
    equal(viewer.lines.slice(0, before.length - 1), before.slice(0, -1), "the screen");
  },

  "a-size-is-set-by-the-api": async () => {
    const room = await open("size");
    const viewer = await view(ana, room);
    await viewer.shows(/\$$/);
    viewer.terminal.resize(100, 30);
    const size = { policy: "fixed", cols: 100, rows: 30 };
    await api(ana, "POST", `/api/terminals/${room}/size`, size);
    viewer.type("stty size\r");
    await viewer.shows(/^30 100$/m);
  },

  "the-second-viewer-types-no-answers": async () => {
    const script =
      "stty raw -echo; printf up; head -c 1 >/dev/null; " +
      "printf '\\033[6n\\033[c\\033[>c'; dd bs=1 count=29 2>/dev/null | cat -v; cat -v";
    const room = await open("answers", ["sh", "-c", script]);
    const first = await view(ana, room);
    const second = await view(bob, room);
    await first.shows(/up/);
    await second.shows(/up/);
    const answered = new Promise((resolve) => second.terminal.onData(resolve));
    first.type("x");
    await answered; // the second one did answer: it is the room that drops it
    await first.shows(/up\^\[\[1;3R/);
    second.type("\x1b[I"); // focus, as a browser tells it
    first.type("END");
    await first.shows(/END/);
    const shown = first.lines.join("");
    equal(shown.split("R").length - 1, 1, `cursor reports in ${shown}`);
    equal((shown.match(/\^\[\[\?/g) ?? []).length, 1, `attributes in ${shown}`);
    equal((shown.match(/\^\[\[>/g) ?? []).length, 1, `second attributes in ${shown}`);
    equal(shown.includes("[I"), false, "focus");
  },

  "the-seed-route-with-sandboxId-is-the-same-terminal": async () => {
    const room = await open("seed");
    const [worker, sandbox] = room.split(":");
    const path = `/api/workers/${worker}/terminal?sandboxId=${sandbox}`;
    const viewer = await view(ana, room, path);
    await viewer.shows(/\$$/);
    viewer.type("echo seed-$((1+1))\r");
    await viewer.shows(/^seed-2$/m);
    equal(viewer.texts, 0, "text frames");
  },
};

const verdicts = {};
for (const [name, check] of Object.entries(CHECKS)) {
  try {
    await check();
    verdicts[name] = "";
  } catch (error) {
    verdicts[name] = String(error.stack);
  }
}
for (const viewer of viewers) viewer.socket.terminate();
process.stdout.write(JSON.stringify(verdicts), () => process.exit(0));
