import { describe, expect, it } from "vitest";
import { prettyJson, visible } from "../src/escape.ts";
import { isMisleading, webAddress } from "../src/links.ts";
import { CHUNK_BYTES, PASTE_BYTES, pasteFrames } from "../src/paste.ts";
import { sortOf } from "../src/terminal-replies.ts";
import { clock, countdown } from "../src/time.ts";

const HIDDEN = [
  ...[0x00, 0x07, 0x08, 0x0a, 0x0d, 0x1b, 0x7f, 0x85, 0x9b, 0xa0, 0xad, 0x34f, 0x61c],
  ...[0x115f, 0x1160, 0x17b4, 0x180e, 0x2000, 0x200b, 0x200c, 0x200d, 0x200e, 0x200f],
  ...[0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2060, 0x2063, 0x2066],
  ...[0x2067, 0x2068, 0x2069, 0x3000, 0x3164, 0xfe0f, 0xfeff, 0xffa0, 0xfff9],
  ...[0xe000, 0x1d173, 0xe0001, 0xe0041, 0xe0100, 0xf0000, 0xd800],
];

describe("visible", () => {
  it.each(HIDDEN)("shows character %i as an escape", (code) => {
    const shown = `\\u{${code.toString(16)}}`;
    expect(visible(`a${String.fromCodePoint(code)}b`)).toBe(`a${shown}b`);
  });

  it("leaves what shows itself alone", () => {
    expect(visible("rm -rf /tmp/x  héllo 😀 日本語")).toBe(
      "rm -rf /tmp/x  héllo 😀 日本語",
    );
  });
});

describe("prettyJson", () => {
  it("sorts keys at every depth and escapes inside strings", () => {
    const text = prettyJson({ b: 1, a: { d: "x\u202ey", c: ["\u001b[2K"] } });
    expect(text).toBe(
      '{\n  "a": {\n    "c": [\n      "\\u001b[2K"\n    ],\n    "d": "x\\u{202e}y"\n  },\n  "b": 1\n}',
    );
  });

  it("hides no key, not even __proto__", () => {
    expect(prettyJson(JSON.parse('{"__proto__": {"x": 1}}'))).toContain("__proto__");
  });

  it("does not show a rounded number as the exact one", () => {
    expect(prettyJson(JSON.parse('{"id": 9007199254740993}'))).toContain("too large");
  });
});

describe("pasteFrames", () => {
  const text = (frames: Uint8Array[] | null) =>
    (frames ?? []).map((frame) => new TextDecoder().decode(frame)).join("");

  it("brackets a paste and turns line ends into returns", () => {
    expect(text(pasteFrames("a\r\nb\nc", true))).toBe("\x1b[200~a\rb\rc\x1b[201~");
  });

  it.each(["\x1b[201~", "\x9b201~", "\x1b\x1b[201~[201~", "\x03", "\x04"])(
    "lets %j in no paste",
    (bad) => {
      const inside = text(pasteFrames(`a${bad}b`, true)).slice(6, -6);
      expect([...inside].every((char) => char >= " " && char <= "~")).toBe(true);
    },
  );

  it("cuts a long paste into frames and loses nothing", () => {
    const frames = pasteFrames("é".repeat(40_000), false) ?? [];
    expect(Math.max(...frames.map((frame) => frame.length))).toBe(CHUNK_BYTES);
    const all = new Uint8Array(Buffer.concat(frames));
    expect(new TextDecoder().decode(all)).toBe("é".repeat(40_000));
  });

  it("refuses what the terminal's queue cannot hold", () => {
    expect(pasteFrames("x".repeat(PASTE_BYTES + 1), false)).toBeNull();
  });
});

describe("links", () => {
  it("are of the web only", () => {
    expect(webAddress("https://example.org/a b")).toBe("https://example.org/a%20b");
    for (const bad of ["javascript:alert(1)", "data:text/html,x", "file:///etc", "x"])
      expect(webAddress(bad)).toBeNull();
    expect(webAddress("https://bank.example@evil.example/")).toBeNull();
  });

  it("that say one host and lead to another are misleading", () => {
    expect(isMisleading("https://bank.example", "https://evil.example/")).toBe(true);
    expect(isMisleading("bank.example", "https://bank.example.evil.example/")).toBe(
      true,
    );
    expect(isMisleading("https://bank.example/x", "https://bank.example/y")).toBe(
      false,
    );
    expect(isMisleading("the manual", "https://docs.example/")).toBe(false);
  });
});

describe("sortOf", () => {
  const REPLIES = [
    ...["\x1b[?1;2c", "\x1b[>0;276;0c", "\x1b[24;80R", "\x1b[?24;80R", "\x1b[0n"],
    ...[
      "\x1b]10;rgb:ff/ff/ff\x1b\\",
      "\x1b]11;rgb:0/0/0\x07",
      "\x1b]4;1;rgb:0/0/0\x07",
    ],
    ...["\x1bP1$r0m\x1b\\", "\x1bP>|xterm.js\x1b\\", "\x1b[?2026;2$y", "\x1b[8;24;80t"],
  ];
  it.each(REPLIES)("knows the reply %j", (reply) => {
    expect(sortOf(reply)).toBe("reply");
  });
  it.each([
    "a",
    "\r",
    "\x1b[A",
    "\x1bOP",
    "\x1b[1;2R",
    "\x1b[15~",
    "\x1b",
    "é",
    "\x03",
  ])("knows the key %j", (key) => {
    expect(sortOf(key)).toBe("keys");
  });
  it("knows gestures that mean no typing", () => {
    expect(sortOf("\x1b[I")).toBe("gesture");
    expect(sortOf("\x1b[<35;10;5M")).toBe("gesture");
    expect(sortOf("\x1b[<64;10;5M")).toBe("gesture");
    expect(sortOf("\x1b[<0;10;5M")).toBe("keys");
  });
});

describe("times", () => {
  it("count down", () => {
    expect(countdown(59_001)).toBe("1:00");
    expect(countdown(3_723_000)).toBe("1:02:03");
    expect(countdown(0)).toBe("0:00");
    expect(countdown(Number.POSITIVE_INFINITY)).toBe("");
  });
  it("are empty where there is none", () => {
    expect(clock("")).toBe("");
  });
});
