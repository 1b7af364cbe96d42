// What a room does with its connections, as a stock client sees it.
import { ask, connect, equal, fresh, holds, join, run, Seen } from "./harness.mjs";

async function refusedTags(tags) {
  const peer = connect({ room: fresh(), query: { tags }, maxRetries: 0 });
  holds((await peer.json()).error, "one text that says so");
  await peer.until(() => peer.closes.length > 0, "the close");
  return peer.closes[0];
}

async function gone(room, id) {
  for (;;) {
    const { closes } = await (await ask({ room })).json();
    const found = closes.find((one) => one[0] === id);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const bytes = (size) => Uint8Array.from({ length: size }, (_, i) => (i * 31) % 256);

run({
  "row-11-text-and-bytes-come-back-exact-and-stay-apart": async () => {
    const peer = await join(fresh());
    for (const text of ["", "\u0000", "a🙂\u0000é\u2028", "x".repeat(900_000)]) {
      peer.socket.send(text);
      const back = await peer.next();
      holds(back === text, `text of ${text.length}`);
    }
    for (const size of [0, 1, 125, 126, 65_535, 65_536, 70_000]) {
      const sent = bytes(size);
      peer.socket.send(sent);
      const back = await peer.next();
      holds(back instanceof ArrayBuffer, "bytes are an ArrayBuffer");
      holds(Buffer.from(back).equals(Buffer.from(sent)), `${size} bytes`);
    }
  },
  "row-12-a-failing-message-harms-nobody-not-even-its-sender": async () => {
    const room = fresh();
    const [thrower, other] = [await join(room), await join(room)];
    thrower.socket.send("!throw");
    thrower.socket.send("!nonsense");
    await thrower.settled();
    await other.settled();
    thrower.socket.send("!all:still here");
    equal([await thrower.next(), await other.next()], ["still here", "still here"]);
    equal([thrower.closes, other.closes], [[], []]);
  },
  "row-13-the-hook-sees-the-peers-code-and-reason": async () => {
    const room = fresh();
    const peer = await join(room, { id: "leaver" });
    peer.socket.close(4321, "x");
    equal(await gone(room, "leaver"), ["leaver", 4321, "x", true, false]);
  },
  "row-13-a-dropped-line-is-1006-and-not-clean": async () => {
    const room = fresh();
    const peer = await join(room, { id: "dropped", maxRetries: 0 });
    peer.socket._ws.terminate();
    equal(await gone(room, "dropped"), ["dropped", 1006, "", false, false]);
  },
  "row-14-a-client-gets-its-own-code-back": async () => {
    for (const code of [1000, 3000, 4321, 4999]) {
      const { socket } = await join(fresh(), { WebSocket: Seen });
      const inner = socket._ws;
      const closed = new Promise((resolve) => inner.once("close", resolve));
      socket.close(code, "bye");
      equal(await closed, code);
    }
  },
  "row-14-a-close-without-a-code-is-answered-too": async () => {
    const { socket } = await join(fresh(), { WebSocket: Seen, maxRetries: 0 });
    const inner = socket._ws;
    const closed = new Promise((resolve) => inner.once("close", resolve));
    const began = Date.now();
    inner.close();
    equal(await closed, 1005);
    holds(Date.now() - began < 2_000, "at once, not by a timeout");
  },
  "row-18-a-broadcast-reaches-the-sender-unless-it-is-left-out": async () => {
    const room = fresh();
    const [one, two] = [await join(room), await join(room)];
    const elsewhere = await join(fresh());
    one.socket.send("!all:to all");
    equal([await one.next(), await two.next()], ["to all", "to all"]);
    one.socket.send("!others:to others");
    equal(await two.next(), "to others");
    await one.settled();
    await elsewhere.settled();
  },
  "row-19-connections-are-found-by-tag-and-by-id": async () => {
    const room = fresh();
    const red = await join(room, { id: "r", query: { tags: "red" } });
    await join(room, { id: "b", query: { tags: "blue" } });
    const both = await join(room, { id: "rb", query: { tags: "red,blue" } });
    equal(await red.ask("!list"), ["r", "b", "rb"]);
    equal(await red.ask("!list:red"), ["r", "rb"]);
    equal(await red.ask("!list:blue"), ["b", "rb"]);
    equal(await red.ask("!list:rb"), ["rb"], "the id is a tag");
    equal(await red.ask("!list:green"), []);
    equal([await red.ask("!find:rb"), await red.ask("!find:no")], [true, false]);
    both.socket.close();
    await gone(room, "rb");
    equal(await red.ask("!list"), ["r", "b"], "who has gone is absent");
    equal(await red.ask("!find:rb"), false);
  },
  "row-19-of-two-with-one-id-both-are-served-and-the-newer-is-found": async () => {
    const room = fresh();
    const older = await join(room, { id: "same" });
    const newer = await join(room, { id: "same", query: { tags: "newer" } });
    newer.socket.send("!all:to both");
    equal([await older.next(), await newer.next()], ["to both", "to both"]);
    older.socket.send("!kick:same");
    await newer.until(() => newer.closes.length > 0, "the newer is kicked");
    await newer.json();
    older.socket.close();
    await gone(room, "same");
    newer.socket.send("!all:to the newer");
    equal(await newer.next(), "to the newer", "the older one's end harms nobody");
  },
  "row-20-nine-tags-of-256-characters-and-no-more": async () => {
    const nine = "123456789".split("").map((n) => n.repeat(256)).join(",");
    const { hello, socket } = await join(fresh(), { query: { tags: nine } });
    equal(hello.tags, [socket.id, ...nine.split(",")]);
    for (const tags of ["1,2,3,4,5,6,7,8,9,10", "x".repeat(257), "a,,b", ""]) {
      equal(await refusedTags(tags), 1011, tags.slice(0, 30));
    }
  },
  "row-20-the-own-id-is-no-tag-twice-and-other-doubles-are-kept": async () => {
    const { hello } = await join(fresh(), { id: "me", query: { tags: "a,me,a" } });
    equal(hello.tags, ["me", "a", "a"]);
  },
  "row-21-state-is-a-connections-own-and-ends-with-it": async () => {
    const room = fresh();
    const [one, two] = [await join(room), await join(room)];
    equal(one.hello.state, null, "at first");
    equal(await one.ask("!set:mine"), { state: "mine" }, "returned");
    equal(await two.ask("!state"), { state: null }, "another's");
    equal(await one.ask("!state"), { state: "mine" }, "kept");
    equal(await two.ask("!add"), { state: 1 }, "by a function of what was before");
    equal(await two.ask("!add"), { state: 2 });
    two.socket.reconnect();
    equal((await two.json()).state, null, "gone after a reconnect");
    equal(two.opens, 2);
  },
  "row-22-url-and-tags-stay-with-the-connection": async () => {
    const room = fresh();
    const query = { tags: "a,b", q: "x y/*~é" };
    const peer = await join(room, { path: "p", query });
    const { socket } = peer;
    equal(peer.hello.hello, room);
    equal(await peer.ask("!uri"), socket.url.replace("ws:", "http:"));
    equal(await peer.ask("!tags"), [socket.id, "a", "b"]);
  },
  "row-23-a-room-closes-another-connection": async () => {
    const room = fresh();
    const [ga, gb] = [await join(room, { id: "ga" }), await join(room, { id: "gb" })];
    ga.socket.send("!kick:gb");
    await gb.until(() => gb.closes.length > 0, "the close");
    equal(gb.closes, [4001]);
    equal(ga.closes, []);
  },
  "row-24-props-come-equal-and-in-no-header": async () => {
    const seen = await (await ask({ room: fresh() })).json();
    equal(seen.props, { é: 1 });
    holds(!JSON.stringify(seen.headers).includes("props"), "no header of ours");
  },
  "row-31-a-ping-is-answered-with-its-payload": async () => {
    const { socket } = await join(fresh(), { WebSocket: Seen });
    const pong = new Promise((resolve) => socket._ws.once("pong", resolve));
    socket._ws.ping("are you there?");
    equal(String(await pong), "are you there?");
  },
  "row-31-compression-is-offered-and-not-taken": async () => {
    const peer = await join(fresh(), { WebSocket: Seen });
    equal([peer.socket.extensions, peer.socket.protocol], ["", ""]);
    peer.socket.send("x".repeat(10_000));
    equal((await peer.next()).length, 10_000);
  },
  "row-31-a-byte-over-the-limit-is-1009": async () => {
    const peer = await join(fresh(), { party: "small", maxRetries: 0 });
    peer.socket.send("x".repeat(1000));
    equal((await peer.next()).length, 1000);
    peer.socket.send("x".repeat(1001));
    await peer.until(() => peer.closes.length > 0, "the close");
    equal(peer.closes, [1009]);
    const large = await join(fresh(), { maxRetries: 0 });
    large.socket.send(new Uint8Array(1024 * 1024));
    equal((await large.next()).byteLength, 1024 * 1024);
    large.socket.send(new Uint8Array(1024 * 1024 + 1));
    await large.until(() => large.closes.length > 0, "the close");
    equal(large.closes, [1009]);
  },
  "row-32-all-of-a-room-see-one-order": async () => {
    const room = fresh();
    const peers = [await join(room), await join(room), await join(room)];
    for (let i = 0; i < 100; i += 1) {
      peers[0].socket.send(`!all:a${i}`);
      peers[1].socket.send(`!all:b${i}`);
    }
    for (const peer of peers) {
      await peer.until(() => peer.messages.length >= 200, "all of them");
    }
    equal(peers[1].messages, peers[0].messages);
    equal(peers[2].messages, peers[0].messages);
    for (const who of ["a", "b"]) {
      const own = peers[0].messages.filter((text) => text.startsWith(who));
      equal(own, Array.from({ length: 100 }, (_, i) => `${who}${i}`), "a sender's own order");
    }
  },
});
