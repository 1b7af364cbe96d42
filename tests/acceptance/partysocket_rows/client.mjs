// What the stock client does by itself, against our server.
import { ask, connect, equal, fresh, holds, host, join, run, url } from "./harness.mjs";
import { PartySocket, Peer, WebSocket } from "./harness.mjs";

import Reconnecting from "partysocket/ws";

run({
  "row-33-it-comes-back-after-every-close-with-the-same-id": async () => {
    const peer = await join(fresh());
    for (const code of [4000, 1000, 1001, 1011, 3000]) {
      peer.socket.send(`!close:${code}:go`);
      const { id } = await peer.json();
      equal(id, peer.socket.id, `after ${code}`);
      equal(peer.closes.at(-1), code);
    }
    equal([peer.opens, peer.closes.length], [6, 5]);
  },
  "row-34-what-was-sent-while-away-comes-first-and-in-order": async () => {
    const peer = await join(fresh());
    const sent = Array.from({ length: 10 }, (_, i) => `held ${i}`);
    let waiting = -1;
    peer.socket.addEventListener("close", () => {
      equal(sent.map((text) => peer.socket.send(text)), sent.map(() => false));
    });
    peer.socket.addEventListener("open", () => {
      waiting = peer.socket.drainQueuedMessages().length;
      peer.socket.send("after open");
    });
    peer.socket.send("!close:1012:restart");
    await peer.until(() => peer.messages.length >= 12, "all of it");
    equal(waiting, 0, "flushed before the open event");
    equal(peer.messages.slice(1), [...sent, "after open"]);
  },
  "row-35-it-waits-longer-each-time-and-gives-up-where-it-is-told": async () => {
    const waits = [];
    const debugLogger = (_, what, value) => {
      if (what === "next delay") waits.push(value);
    };
    const peer = connect({
      party: "nobody", room: "r", minReconnectionDelay: 20, maxReconnectionDelay: 40,
      reconnectionDelayGrowFactor: 1.5, maxRetries: 4, debug: true, debugLogger,
    });
    await peer.until(() => peer.errors.length >= 5, "five refusals");
    equal(waits, [0, 20, 30, 40, 40]);
    equal([peer.opens, peer.socket.retryCount], [0, 4]);
  },
  "row-36-query-url-and-protocols-are-asked-for-at-every-attempt": async () => {
    let n = 0;
    let offers = 0;
    const room = fresh();
    const query = async () => ({ n: (n += 1) });
    const protocols = async () => ((offers += 1), null);
    const peer = await join(room, { query, protocols });
    equal(peer.hello.query.n, "1");
    peer.socket.send("!close:1000:");
    equal((await peer.json()).query.n, "2");
    equal(offers, 2);

    let asked = 0;
    const address = async () => `ws://${host}/parties/main/${room}?u=${(asked += 1)}`;
    const plain = new Peer(
      new Reconnecting(address, [], { WebSocket, minReconnectionDelay: 30 }),
    );
    equal((await plain.json()).query, { u: "1" });
    plain.socket.send("!close:1000:");
    equal((await plain.json()).query, { u: "2" });
    plain.socket.close();
  },
  "row-36-a-provider-that-fails-is-asked-again": async () => {
    let n = 0;
    const query = async () => {
      n += 1;
      if (n < 3) throw new Error("not yet");
      return { n };
    };
    const peer = await join(fresh(), { query });
    equal([peer.hello.query.n, peer.errors], ["3", ["not yet", "not yet"]]);
  },
  "row-37-reconnect-and-update-properties-move-to-another-room": async () => {
    const [one, two] = [fresh(), fresh()];
    const peer = await join(one, { id: "mover" });
    peer.socket.updateProperties({ room: two, query: { with: "this" } });
    peer.socket.reconnect();
    const { hello, id, query } = await peer.json();
    equal([hello, id, query.with], [two, "mover", "this"]);
    await peer.until(() => peer.opens === 2, "the second opening");
    equal((await (await ask({ room: two })).json()).ids, ["mover"]);
  },
  "row-37-drain-returns-what-was-not-sent-and-empties": async () => {
    const peer = connect({ room: fresh(), startClosed: true });
    for (const text of ["a", "b"]) peer.socket.send(text);
    equal(peer.socket.bufferedAmount, 2);
    equal(peer.socket.drainQueuedMessages(), ["a", "b"]);
    equal(peer.socket.drainQueuedMessages(), []);
    peer.socket.reconnect();
    peer.hello = await peer.json();
    await peer.settled();
  },
  "row-38-a-close-code-may-be-the-last-word": async () => {
    const codes = [];
    const shouldReconnectOnClose = ({ code }) => {
      codes.push(code);
      return code !== 4003;
    };
    const peer = await join(fresh(), { shouldReconnectOnClose });
    peer.socket.send("!close:4002:");
    await peer.json();
    peer.socket.send("!close:4003:enough");
    await peer.until(() => codes.length === 2, "the second close");
    equal(codes, [4002, 4003]);
    await new Promise((resolve) => setTimeout(resolve, 150)); // it would be back in 30
    equal(peer.opens, 2);
    peer.socket.reconnect();
    await peer.json();
    await peer.until(() => peer.opens === 3, "back when it is told to");
  },
  "row-39-fetch-asks-the-same-room-with-the-same-options": async () => {
    const room = fresh();
    const { socket } = await join(room, { party: "my-server" });
    const options = {
      host: url, protocol: "http", party: "my-server", room, path: "p",
      query: async () => ({ a: "1", gone: undefined }),
    };
    const answer = await PartySocket.fetch(options, { method: "POST", body: "text" });
    const seen = await answer.json();
    equal([seen.room, seen.ids, seen.path], [room, [socket.id], "p"]);
    equal([seen.query, seen.method, seen.body], [{ a: "1" }, "POST", "text"]);
    const other = await PartySocket.fetch({ host, basePath: `a/b/main/${room}` });
    equal((await other.json()).room, room);
    const refused = await PartySocket.fetch({ host, party: "nobody", room });
    equal([refused.status, refused.ok], [400, false], "an answer, not an exception");
    holds(answer.url.endsWith("/p?a=1"), "without _pk");
  },
});
