// A PartyServer deployment's client code for a terminal, unchanged but for the ticket.
// One line of JSON for each thing that happens; "type TEXT" on standard input is typed.
import { createInterface } from "node:readline";
import { PartySocket } from "partysocket";
import WebSocket from "ws";

const [url, token, room, where] = process.argv.slice(2);
const [worker, sandboxId] = room.split(":");

async function ticket() {
  const answer = await fetch(`${url}/api/tickets`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify({ party: "terminal", room }),
  });
  return (await answer.json()).ticket;
}

const ADDRESSES = {
  party: { party: "terminal-server", room },
  path: { basePath: `api/workers/${worker}/terminal` },
};

const socket = new PartySocket({
  host: new URL(url).host,
  ...ADDRESSES[where],
  query: async () => ({
    ticket: await ticket(),
    ...(where === "path" ? { sandboxId } : {}),
  }),
  WebSocket,
  minReconnectionDelay: 50,
  maxReconnectionDelay: 200,
});
socket.binaryType = "arraybuffer";

const tell = (what) => console.log(JSON.stringify(what));
const decoder = new TextDecoder();
socket.addEventListener("message", ({ data }) => {
  if (typeof data === "string") tell(JSON.parse(data));
  else tell({ type: "bytes", text: decoder.decode(data, { stream: true }) });
});

createInterface({ input: process.stdin })
  .on("line", (line) => socket.send(new TextEncoder().encode(`${line.slice(5)}\r`)))
  .on("close", () => process.exit(0));
