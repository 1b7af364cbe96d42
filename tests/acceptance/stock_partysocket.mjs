// A stock npm partysocket client, as somebody would write it: a ticket from the
// `query` function at every attempt, terminal bytes as they come, keys as bytes.
import { PartySocket } from "partysocket";
import WebSocket from "ws";

const [url, token, room] = process.argv.slice(2);

async function ticket() {
  const answer = await fetch(`${url}/api/tickets`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify({ party: "terminal", room }),
  });
  return { ticket: (await answer.json()).ticket };
}

const socket = new PartySocket({
  host: new URL(url).host,
  party: "terminal",
  room,
  query: ticket,
  WebSocket,
});
socket.binaryType = "arraybuffer";

const seen = { text: "", first: "", opens: 0, resumes: [] };
const decoder = new TextDecoder();
const encoder = new TextEncoder();

socket.addEventListener("open", () => {
  seen.opens += 1;
});
socket.addEventListener("message", ({ data }) => {
  if (typeof data === "string") {
    const message = JSON.parse(data);
    seen.first ||= message.type;
    if (message.type === "connected") seen.resumes.push(message.resume);
    if (message.type === "snapshot") type();
    return;
  }
  seen.text += decoder.decode(data, { stream: true });
  if (seen.text.includes("result-42") && seen.opens === 1) {
    // It comes back by itself, with a new ticket: the old one is used up.
    socket.reconnect();
  }
  if (seen.text.includes("result-43")) finish();
});

function type() {
  const sum = seen.opens === 1 ? "40+2" : "40+3";
  socket.send(encoder.encode(`echo result-$((${sum}))\r`));
}

function finish() {
  console.log(JSON.stringify({ ...seen, id: socket.id }));
  socket.close();
  process.exit(0);
}
setTimeout(() => {
  console.log(JSON.stringify(seen));
  process.exit(1);
}, 30_000);
