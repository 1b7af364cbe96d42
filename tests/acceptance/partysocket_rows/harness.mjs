// What the rows share: a stock partysocket that remembers, checks by name, one verdict.
import { PartySocket } from "partysocket";
import WebSocket from "ws";

export const url = process.argv[2];
export const host = new URL(url).host;
export { PartySocket, WebSocket };

const ROW_MS = 8_000;
const WAIT_MS = 5_000;
const QUICK = { minReconnectionDelay: 30, maxReconnectionDelay: 100, WebSocket };

let rooms = 0;
/** A room name that no other row uses. */
export function fresh() {
  rooms += 1;
  return `r-${process.pid}-${rooms}`;
}

/** Resolve when `condition()` is true, which may change whenever something happens. */
async function until(condition, what) {
  const deadline = Date.now() + WAIT_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

/** A `ws` whose handshake and inner events a check can look at. */
export class Seen extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, { headers: { "X-Told": "by header" } });
    this.on("upgrade", (answer) => {
      this.answer = answer.headers;
    });
    this.on("close", (code, reason) => {
      this.closed = [code, String(reason)];
    });
  }
}

export class Peer {
  constructor(socket) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    this.messages = [];
    this.closes = [];
    this.errors = [];
    this.opens = 0;
    socket.addEventListener("message", ({ data }) => this.messages.push(data));
    socket.addEventListener("close", ({ code }) => this.closes.push(code));
    socket.addEventListener("error", ({ message }) => this.errors.push(message));
    socket.addEventListener("open", () => {
      this.opens += 1;
    });
  }

  until(condition, what) {
    return until(() => condition(this), what);
  }

  /** The next message as it came. */
  async next() {
    await this.until(() => this.messages.length > 0, "a message");
    return this.messages.shift();
  }

  async json() {
    return JSON.parse(await this.next());
  }

  /** Send a command and return its answer. */
  async ask(command) {
    this.socket.send(command);
    return this.json();
  }

  /** Show that nothing more is on its way: what is sent back comes after it. */
  async settled() {
    this.socket.send("settled?");
    equal(await this.next(), "settled?", "nothing in between");
  }
}

const peers = [];

export function connect(options) {
  const peer = new Peer(new PartySocket({ host, ...QUICK, ...options }));
  peers.push(peer);
  return peer;
}

/** Connect to the `main` party's room and read its greeting. */
export async function join(room, options = {}) {
  const peer = connect({ room, ...options });
  peer.hello = await peer.json();
  return peer;
}

/** The status a handshake is refused with. */
export async function refusal(options) {
  const peer = connect({ maxRetries: 0, ...options });
  await peer.until(() => peer.errors.length > 0, "a refusal");
  return Number(/server response: (\d+)/.exec(peer.errors[0])?.[1]);
}

export function ask(options, init) {
  return PartySocket.fetch({ host, ...options }, init);
}

export function equal(found, wanted, what = "") {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: ${a?.slice(0, 300)}, not ${b?.slice(0, 300)}`);
}

export function holds(condition, what) {
  if (!condition) throw new Error(`it does not hold: ${what}`);
}

async function verdict(check) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("it took too long")), ROW_MS);
  });
  try {
    await Promise.race([check(), late]);
    return { ok: true, detail: "" };
  } catch (error) {
    return { ok: false, detail: String(error.stack) };
  } finally {
    clearTimeout(timer);
    for (const peer of peers.splice(0)) peer.socket.close();
  }
}

/** Run every check, one after another, and print one JSON object. */
export async function run(checks) {
  const verdicts = {};
  for (const [name, check] of Object.entries(checks)) {
    verdicts[name] = await verdict(check);
  }
  process.stdout.write(JSON.stringify(verdicts), () => process.exit(0));
}
