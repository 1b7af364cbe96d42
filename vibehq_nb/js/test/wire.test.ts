import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { fault, type Party, parse, STRUCTS } from "../src/wire.ts";

interface Golden {
  /** The struct; a file may call it `struct` and have a `name` of its own. */
  struct?: string;
  name: string;
  type: string;
  parties?: { down?: string[] } | string[];
  message: Record<string, unknown>;
}

const FOLDER = join(import.meta.dirname, "../../../tests/data/wire");
const goldens = readdirSync(FOLDER)
  .filter((name) => name.endsWith(".json"))
  .map((name) => JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as Golden);
const PARTIES: readonly string[] = ["terminal", "ops", "hil", "lobby"];

const down = ({ parties }: Golden): Party[] => {
  const listed = Array.isArray(parties) ? [] : (parties?.down ?? []);
  return listed.filter((party): party is Party => PARTIES.includes(party));
};

describe("the wire", () => {
  it("has golden files", () => {
    expect(goldens.length).toBeGreaterThan(0);
  });

  it.each(goldens)("knows $name as Python writes it", (golden) => {
    expect(golden.message.type).toBe(golden.type);
    expect(fault(golden.struct ?? golden.name, golden.message)).toBeNull();
  });

  it.each(goldens)("reads $name where people are sent it", (golden) => {
    for (const party of down(golden)) {
      if (!isForPeople(golden, party)) continue;
      expect(parse(party, JSON.stringify(golden.message)), party).not.toBeNull();
    }
  });

  it("has no struct that Python does not have", () => {
    const known = goldens.map((golden) => golden.struct ?? golden.name);
    expect(known).toEqual(expect.arrayContaining(Object.keys(STRUCTS)));
  });

  it("ignores unknown fields, and refuses wrong and missing ones", () => {
    expect(parse("terminal", '{"type":"tick","offset":1,"new":2}')).not.toBeNull();
    expect(parse("terminal", '{"type":"tick","offset":"1"}')).toBeNull();
    expect(parse("terminal", '{"type":"tick"}')).toBeNull();
    expect(parse("terminal", '{"type":"ticks","offset":1}')).toBeNull();
    expect(parse("terminal", "not json")).toBeNull();
    expect(parse("terminal", "[]")).toBeNull();
    expect(fault("constructor", {})).toBe("unknown struct constructor");
  });
});

/** A worker's sockets are sent more than people are. */
function isForPeople(golden: Golden, party: Party): boolean {
  const name = golden.struct ?? golden.name;
  const toWorkers = ["Since", "Keyframe", "Resize", "Ack", "InputFrom", "Watched"];
  return !(party === "terminal" && toWorkers.includes(name));
}
