// URLs, handshakes and plain requests: what a stock client says and is answered.
import { ask, connect, equal, fresh, holds, join, Peer, refusal, run, Seen } from "./harness.mjs";
import { host, url, WebSocket } from "./harness.mjs";

const NAMES = [
  "my room", "ünï", "日本", "🙂", "a%2Fb", "a%2fb", "a:b", "a|b", "{x}", "x^y", "a`b",
  "<t>", '"q"', "100%25", "a+b", "a&b=c", "~t", "(x)!*'", "a;b,c@d$e", "..x", "%E2%82%AC",
];

/** The room's segment as the URL standard leaves it. */
const segment = (name) => new URL(`http://h/parties/main/${name}`).pathname.split("/")[3];

const cors = (answer) => answer.headers.get("access-control-allow-origin");

async function raw(path) {
  const socket = new Seen(`ws://${host}${path}`);
  const peer = new Peer(socket);
  const hello = await peer.json();
  socket.close();
  return hello;
}

async function started(room) {
  return (await (await ask({ room: "asking", query: { started: room } })).json()).started;
}

run({
  "row-01-the-default-url-enters-the-room": async () => {
    const room = fresh();
    const { hello, socket } = await join(room);
    equal(hello.hello, room);
    holds(socket.url.startsWith(`ws://${host}/parties/main/${room}?_pk=`), socket.url);
  },
  "row-01-a-path-follows-the-room": async () => {
    const { hello } = await join(fresh(), { path: "x/y%2Fz" });
    equal(hello.path, "x/y%2Fz");
  },
  "row-01-doubled-slashes-are-one": async () => {
    const room = fresh();
    equal((await join(room, { prefix: "/parties/" })).hello.hello, room);
    equal((await (await fetch(`${url}//parties//main//${room}/`)).json()).room, room);
  },
  "row-03-a-custom-prefix-has-several-parts": async () => {
    const room = fresh();
    equal((await join(room, { prefix: "a/b" })).hello.hello, room);
    equal((await join("-", { basePath: `a/b/my-server/${room}` })).hello.hello, room);
    equal((await fetch(`${url}/a/main/${room}`)).status, 401);
  },
  "row-04-a-room-name-is-the-raw-segment": async () => {
    const names = new Set();
    for (const name of NAMES) {
      const { hello, socket } = await join(name, { disableNameValidation: true });
      const found = await (await ask({ room: name })).json();
      equal(hello.hello, segment(name), "over WebSocket");
      equal(found.room, segment(name), "over HTTP");
      equal(found.ids, [socket.id], "alone in it, and seen over HTTP");
      names.add(hello.hello);
    }
    equal(names.size, NAMES.length, "as many rooms as names");
  },
  "row-04-a-slash-ends-the-room-and-an-escaped-one-does-not": async () => {
    const one = await join("a/b", { disableNameValidation: true });
    equal([one.hello.hello, one.hello.path], ["a", "b"]);
    equal((await join("x/../y", { disableNameValidation: true })).hello.hello, "y");
  },
  "row-05-an-unknown-party-is-400-and-a-path-too-short-404": async () => {
    equal((await ask({ party: "nobody", room: "r" })).status, 400);
    equal(await refusal({ party: "nobody", room: "r" }), 400);
    equal((await fetch(`${url}/parties/main`)).status, 404);
  },
  "row-02-parties-are-kebab-case-names": async () => {
    for (const party of ["my-server", "my-do"]) {
      const room = fresh();
      equal((await join(room, { party })).hello.hello, room);
    }
    for (const party of ["MyServer", "MY_DO", "My-Server", "my_do"]) {
      equal((await ask({ party, room: "r" })).status, 400, party);
      equal(await refusal({ party, room: "r" }), 400, party);
    }
  },
  "row-06-pk-is-the-id": async () => {
    equal((await join(fresh(), { id: "me é" })).hello.id, "me é", "given");
    const peer = await join(fresh());
    equal(peer.hello.id, peer.socket.id, "made by partysocket");
    const twice = await join(fresh(), { id: "first", query: { _pk: "second" } });
    equal(twice.hello.id, "first", "of two, the first");
  },
  "row-06-without-pk-an-id-is-made": async () => {
    const room = `/parties/main/${fresh()}`;
    const ids = [];
    for (const path of [room, `${room}?`, `${room}?_pk=`, `${room}?_pk=&_pk=x`]) {
      ids.push((await raw(path)).id);
    }
    holds(ids.every((id) => id.length >= 21), `long enough: ${ids}`);
    equal(new Set(ids).size, 4);
  },
  "row-06-an-id-of-over-256-characters-is-refused": async () => {
    equal((await join(fresh(), { id: "é".repeat(256) })).hello.id.length, 256);
    equal(await refusal({ room: fresh(), id: "x".repeat(257) }), 400);
  },
  "row-09-on-connect-sees-url-query-and-headers": async () => {
    const query = { b: "1 2", a: "ü&=", gone: null, empty: "" };
    const { hello, socket } = await join(fresh(), { query, WebSocket: Seen });
    equal(hello.uri, socket.url.replace("ws:", "http:"), "as it was asked for");
    equal(hello.query, { _pk: socket.id, b: "1 2", a: "ü&=", empty: "" });
    equal(hello.headers["x-told"], "by header");
    equal(hello.headers.upgrade, "websocket");
  },
  "row-10-a-failing-on-connect-is-told-without-a-trace": async () => {
    const peer = connect({ room: fresh(), query: { boom: "connect" }, maxRetries: 0 });
    const { error } = await peer.json();
    holds(error && !/secret|Traceback|\.py/.test(error), error);
    await peer.until(() => peer.closes.length > 0, "the close");
    equal([peer.opens, peer.closes[0]], [1, 1011]);
  },
  "row-15-every-method-reaches-the-room-with-path-query-and-body": async () => {
    const room = fresh();
    const where = { room, path: "deep/%2F er", query: { a: "1 2", b: "ü" } };
    for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const body = method === "GET" ? undefined : `body of ${method}`;
      const seen = await (await ask(where, { method, body })).json();
      const { path, query } = seen;
      equal([seen.room, seen.method, path], [room, method, "deep/%2F%20er"]);
      equal([query, seen.body], [{ a: "1 2", b: "ü" }, body ?? ""]);
    }
    const head = await ask(where, { method: "HEAD" });
    equal([head.status, head.headers.get("x-room")], [200, room]);
  },
  "row-15-a-room-takes-any-body-and-may-answer-with-none": async () => {
    const form = new FormData();
    form.set("field", "in a form");
    const posted = await ask({ room: fresh() }, { method: "POST", body: form });
    holds((await posted.json()).body.includes("in a form"), "the form, unread");
    const words = new URLSearchParams({ token: "t", a: "1" });
    const told = await ask({ room: fresh() }, { method: "POST", body: words });
    equal((await told.json()).body, "token=t&a=1");
    const nothing = await ask({ room: fresh(), path: "nothing" });
    equal([nothing.status, await nothing.text()], [204, ""]);
  },
  "row-16-a-failing-on-request-is-500-without-a-trace": async () => {
    const answer = await ask({ room: fresh(), path: "boom" });
    const text = await answer.text();
    equal(answer.status, 500);
    holds(!/secret|Traceback|\.py|ValueError/.test(text), text);
  },
  "row-25-a-refused-handshake-starts-no-room": async () => {
    const room = fresh();
    equal(await refusal({ party: "guarded", room }), 401);
    const answer = await ask({ party: "guarded", room });
    equal([answer.status, await answer.text()], [401, "Who are you?"]);
    equal(answer.headers.get("www-authenticate"), "Bearer");
    equal(await started(`guarded/${room}`), 0);
    equal(await refusal({ party: "guarded", room, query: { who: "bug" } }), 500);
    equal(await started(`guarded/${room}`), 0);
    await join(room, { party: "guarded", query: { who: "friend" } });
    equal(await started(`guarded/${room}`), 1);
  },
  "row-25-a-hook-may-replace-the-request": async () => {
    const party = "guarded";
    const { hello } = await join(fresh(), { party, query: { who: "ana" } });
    equal(hello.headers, { "x-user": "ana" });
    const asked = await ask({ party, room: fresh(), query: { who: "ana" } });
    equal((await asked.json()).headers, { "x-user": "ana" });
    const renamed = await join(fresh(), { party, query: { who: "rename" } });
    equal(renamed.hello.id, "ana-1", "the id of the request that replaced it");
  },
  "row-26-a-preflight-is-answered-without-the-room": async () => {
    const room = fresh();
    const answer = await ask({ party: "shared", room }, { method: "OPTIONS" });
    const names = ["methods", "headers", "max-age"];
    equal([answer.status, cors(answer), await answer.text()], [200, "*", ""]);
    equal(
      names.map((n) => answer.headers.get(`access-control-${n === "max-age" ? n : `allow-${n}`}`)),
      ["GET, POST, HEAD, OPTIONS", "*", "86400"],
    );
    equal(await started(`shared/${room}`), 0);
  },
  "row-26-every-answer-of-the-room-has-the-headers": async () => {
    const shared = (more) => ask({ party: "shared", room: fresh(), ...more });
    const cases = [
      [200, shared({ query: { who: "friend" } })],
      [401, shared({})],
      [500, shared({ query: { who: "bug" } })],
      [500, shared({ query: { who: "friend" }, path: "boom" })],
    ];
    for (const [status, asked] of cases) {
      const answer = await asked;
      equal([answer.status, cors(answer)], [status, "*"]);
    }
    const table = await ask({ party: "shared-with-one", room: fresh() });
    equal([cors(table), table.headers.get("access-control-max-age")], ["https://a.example", "60"]);
  },
  "row-26-nothing-else-has-the-headers": async () => {
    const wrong = await ask({ party: "nobody", room: "r" });
    const short = await fetch(`${url}/parties/shared`);
    const plain = await ask({ room: fresh() });
    const bad = await fetch(`${url}/parties/shared/%00`);
    const found = [wrong, short, plain, bad].map((a) => [a.status, cors(a)]);
    equal(found, [[400, null], [404, null], [200, null], [404, null]]);
    const party = "shared";
    const { socket } = await join(fresh(), { party, query: { who: "friend" }, WebSocket: Seen });
    equal(socket._ws.answer["access-control-allow-origin"], undefined, "a WebSocket");
  },
  "row-26-without-cors-options-is-the-rooms": async () => {
    const answer = await ask({ room: fresh() }, { method: "OPTIONS" });
    equal((await answer.json()).method, "OPTIONS");
  },
});
