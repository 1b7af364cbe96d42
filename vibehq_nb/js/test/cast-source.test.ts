import { describe, expect, it } from "vitest";
import { Api, ApiError } from "../src/api.ts";
import type { CastEvent } from "../src/cast.ts";
import { CastSource } from "../src/cast-source.ts";

const HEADER = '{"version":3,"term":{"cols":90,"rows":30}}\n';

function sourceOf(body: BodyInit | null, status = 200) {
  const asked: URL[] = [];
  const fetcher = async (url: URL | RequestInfo) => {
    asked.push(url as URL);
    return new Response(body, { status });
  };
  const api = new Api(new URL("http://hq/base/"), fetcher as typeof fetch);
  return { source: new CastSource(api, "r 1"), asked };
}

async function all(source: CastSource, start = 0): Promise<CastEvent[]> {
  const found: CastEvent[] = [];
  const { signal } = new AbortController();
  for await (const events of source.open(start, signal)) found.push(...events);
  return found;
}

describe("a recording on the server", () => {
  it("is read from a time on, its size first", async () => {
    const { source, asked } = sourceOf(`${HEADER}[1,"o","x"]\n`);

    const found = await all(source, 12.5);

    expect(asked[0]?.href).toBe(
      "http://hq/base/api/recordings/r%201/cast?version=3&from=12.500",
    );
    expect(found).toEqual([
      { time: 0, code: "r", text: "90x30" },
      { time: 1, code: "o", text: "x" },
    ]);
  });

  it("is whole when a character is cut between two pieces", async () => {
    const bytes = new TextEncoder().encode(`${HEADER}[1,"o","a😀b"]\n`);
    for (let cut = HEADER.length; cut < bytes.length; cut += 1) {
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(bytes.slice(0, cut));
          controller.enqueue(bytes.slice(cut));
          controller.close();
        },
      });
      expect((await all(sourceOf(body).source)).at(-1)?.text).toBe("a😀b");
    }
  });

  it("says why its stream broke off", async () => {
    const body = new ReadableStream({
      pull(controller) {
        controller.enqueue(new TextEncoder().encode(`${HEADER}[1,"o","x"]\n`));
        controller.error(new Error("cut"));
      },
    });
    await expect(all(sourceOf(body).source)).rejects.toThrow("cut");
  });

  it("is refused with the server's own words", async () => {
    const refusal = JSON.stringify({ code: "not-found", message: "No such one." });
    const { source } = sourceOf(refusal, 404);

    await expect(all(source)).rejects.toThrow(ApiError);
    await expect(all(source)).rejects.toThrow("No such one.");
  });

  it("is read ahead no further than eight million characters", async () => {
    let pulled = 0;
    const line = `[0,"o","${"y".repeat(1024 * 1024)}"]\n`;
    const body = new ReadableStream(
      {
        pull(controller) {
          pulled += 1;
          const text = pulled === 1 ? HEADER : line;
          controller.enqueue(new TextEncoder().encode(text));
          if (pulled === 40) controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    const { source } = sourceOf(body);
    const events = source.open(0, new AbortController().signal);
    await events.next();
    for (let turn = 0; turn < 200; turn += 1)
      await new Promise((go) => setImmediate(go));
    const ahead = pulled;
    let size = 0;
    for await (const some of events) for (const { text } of some) size += text.length;

    expect(ahead).toBeLessThan(15);
    expect(size).toBe(39 * 1024 * 1024);
  });
});
