import { describe, expect, it } from "vitest";
import { type CastEvent, CastReader, sizeOf } from "../src/cast.ts";
import { type Clock, Player, type Source, type Stage } from "../src/player.ts";

const HEADER = '{"version":3,"term":{"cols":80,"rows":24}}\n';
const LINES = `${HEADER}[0.5,"o","one "]\n# note\n[1.5,"m","ls"]\n[0,"o","zwei ü "]\n`;

describe("a cast", () => {
  it("has times since the beginning, wherever its text is cut", () => {
    for (let cut = 0; cut <= LINES.length; cut += 1) {
      const reader = new CastReader();
      const events = [
        ...reader.feed(LINES.slice(0, cut)),
        ...reader.feed(LINES.slice(cut)),
      ];
      expect(reader.header).toEqual({ cols: 80, rows: 24 });
      expect(events).toEqual([
        { time: 0.5, code: "o", text: "one " },
        { time: 2, code: "m", text: "ls" },
        { time: 2, code: "o", text: "zwei ü " },
      ]);
    }
  });

  it.each(['{"version":2,"width":80}\n', "{}\n", "null\n", "no\n", `${HEADER}{}\n`])(
    "refuses %j",
    (text) => {
      expect(() => new CastReader().feed(text)).toThrow();
    },
  );

  it("reads sizes that a terminal may have", () => {
    expect(sizeOf("100x40")).toEqual({ cols: 100, rows: 40 });
    for (const text of ["0x1", "501x1", "80", "axb", "1x2x3"])
      expect(sizeOf(text)).toBeNull();
  });
});

/** A clock that goes where the test says. */
class TestClock implements Clock {
  private at = 0;
  private timers: { at: number; call: () => void }[] = [];

  now(): number {
    return this.at;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.at + ms, call };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter((one) => one !== timer);
    };
  }

  async go(seconds: number): Promise<void> {
    const end = this.at + seconds * 1000;
    while (true) {
      await settle();
      const next = this.timers
        .filter((one) => one.at <= end)
        .sort((one, other) => one.at - other.at)[0];
      if (!next) break;
      this.at = next.at;
      this.timers = this.timers.filter((one) => one !== next);
      next.call();
    }
    this.at = end;
    await settle();
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve();
}

class TestSource implements Source {
  opened: number[] = [];
  constructor(private readonly events: CastEvent[]) {}
  async *open(start: number): AsyncGenerator<CastEvent[]> {
    this.opened.push(start);
    yield [{ time: 0, code: "r", text: "80x24" }];
    for (const event of this.events) yield [event];
  }
}

class TestStage implements Stage {
  text = "";
  size = "";
  reset(): void {
    this.text = "";
  }
  resize(cols: number, rows: number): void {
    this.size = `${cols}x${rows}`;
  }
  write(text: string, painted: () => void): void {
    this.text += text;
    painted();
  }
}

const output = (time: number, text: string) => ({ time, code: "o", text });
const EVENTS = [output(1, "a"), output(2, "b"), output(10, "c")];

function made(events = EVENTS, marks = [1, 10]) {
  const clock = new TestClock();
  const source = new TestSource(events);
  const stage = new TestStage();
  const player = new Player(source, stage, 10, marks, () => {}, clock);
  return { clock, source, stage, player };
}

describe("a player", () => {
  it("shows each thing when it came", async () => {
    const { clock, stage, player } = made();
    player.seek(0, true);
    await clock.go(0.9);
    expect(stage.text).toBe("");
    await clock.go(0.2);
    expect(stage.text).toBe("a");
    await clock.go(1);
    expect(stage.text).toBe("ab");
    await clock.go(8);
    expect([stage.text, player.status.state]).toEqual(["abc", "ended"]);
  });

  it("stands still while paused, and knows where", async () => {
    const { clock, stage, player } = made();
    player.seek(0, true);
    await clock.go(1.5);
    player.toggle();
    await clock.go(100);
    expect(stage.text).toBe("a");
    expect(player.position).toBeCloseTo(1.5);
    player.toggle();
    await clock.go(0.6);
    expect(stage.text).toBe("ab");
  });

  it("takes a new speed in the middle of a pause", async () => {
    const { clock, stage, player } = made();
    player.seek(2, true);
    await clock.go(4);
    expect(player.position).toBeCloseTo(6);
    player.setSpeed(10);
    await clock.go(0.39);
    expect(stage.text).toBe("ab");
    await clock.go(0.02);
    expect(stage.text).toBe("abc");
  });

  it("skips pauses but for a second", async () => {
    const { clock, stage, player } = made();
    player.skipPauses(true);
    player.seek(2, true);
    await clock.go(0.9);
    expect(stage.text).toBe("ab");
    await clock.go(0.2);
    expect(stage.text).toBe("abc");
  });

  it("shows the screen of the time it is sought to, also while paused", async () => {
    const { clock, source, stage, player } = made();
    player.seek(5, false);
    await clock.go(60);
    expect([stage.text, player.position]).toEqual(["ab", 5]);
    player.seek(1.2);
    await clock.go(60);
    expect([stage.text, player.status.state]).toEqual(["a", "paused"]);
    expect(source.opened).toEqual([5, 1.2]);
    player.seek(999);
    await clock.go(0);
    expect(source.opened.at(-1)).toBe(10);
  });

  it("jumps to commands", async () => {
    const { clock, player } = made();
    player.seek(0, false);
    await clock.go(0);
    player.jump(1);
    await clock.go(0);
    expect(player.position).toBe(1);
    player.jump(1);
    await clock.go(0);
    expect(player.position).toBe(10);
    player.jump(-1);
    await clock.go(0);
    expect(player.position).toBe(1);
    player.jump(-1);
    await clock.go(0);
    expect(player.position).toBe(0);
  });

  it("sets the size of the header and of what follows", async () => {
    const { clock, stage, player } = made([{ time: 1, code: "r", text: "120x40" }]);
    player.seek(0, true);
    await clock.go(0.5);
    expect(stage.size).toBe("80x24");
    await clock.go(1);
    expect(stage.size).toBe("120x40");
  });

  it("says why it cannot go on, and tries again when asked", async () => {
    const { clock, stage } = made();
    let fails = true;
    const source: Source = {
      async *open() {
        if (fails) throw new Error("gone");
        yield [output(0, "back")];
      },
    };
    const player = new Player(source, stage, 10, [], () => {}, clock);
    player.seek(0, true);
    await clock.go(0);
    expect([player.status.state, player.status.text]).toEqual(["failed", "gone"]);
    fails = false;
    player.toggle();
    await clock.go(0);
    expect(stage.text).toBe("back");
  });

  it("shows nothing more once it is stopped or sought elsewhere", async () => {
    const { clock, stage, player } = made();
    player.seek(0, true);
    await clock.go(1.5);
    player.stop();
    await clock.go(60);
    expect(stage.text).toBe("a");
  });

  it("waits for the screen when much is to be painted", async () => {
    const { clock } = made();
    const paints: (() => void)[] = [];
    const stage = new TestStage();
    stage.write = (text, painted) => {
      stage.text += text[0];
      paints.push(painted);
    };
    const big = "x".repeat(400_000);
    const source = new TestSource([output(0, big), output(0, big), output(0, big)]);
    const player = new Player(source, stage, 10, [], () => {}, clock);
    player.seek(0, true);
    await clock.go(0);
    expect(stage.text).toBe("xx");
    paints.shift()?.();
    await clock.go(0);
    expect(stage.text).toBe("xxx");
  });
});
