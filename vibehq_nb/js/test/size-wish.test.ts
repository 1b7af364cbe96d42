import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SizeWish } from "../src/size-wish.ts";

describe("SizeWish", () => {
  let asked: string[];
  let fits: { cols: number; rows: number } | null;
  let wish: SizeWish;

  beforeEach(() => {
    vi.useFakeTimers();
    asked = [];
    fits = { cols: 100, rows: 30 };
    wish = new SizeWish(
      () => fits,
      (cols, rows) => asked.push(`${cols}x${rows}`),
    );
  });
  afterEach(() => {
    wish.dispose();
    vi.useRealTimers();
  });

  it("asks nothing while somebody else leads", () => {
    wish.changed();
    vi.advanceTimersByTime(500);
    expect(asked).toEqual([]);
  });

  it("asks once for many changes within 100 ms", () => {
    wish.lead();
    for (let cols = 90; cols <= 100; cols += 1) {
      fits = { cols, rows: 30 };
      wish.changed();
      vi.advanceTimersByTime(20);
    }
    vi.advanceTimersByTime(200);
    expect(asked).toEqual(["100x30"]);
  });

  it.each([true, false])("does not fight over the size (asked before: %s)", (had) => {
    if (!had) wish.became(100, 30);
    wish.lead();
    vi.advanceTimersByTime(200);
    if (had) wish.became(100, 30);
    const before = [...asked];
    wish.became(50, 45);
    wish.changed();
    vi.advanceTimersByTime(200);
    expect(asked).toEqual(before);
    wish.lead();
    vi.advanceTimersByTime(200);
    expect(asked).toEqual([...before, "100x30"]);
  });

  it("asks nothing while hidden", () => {
    fits = null;
    wish.lead();
    vi.advanceTimersByTime(500);
    expect(asked).toEqual([]);
  });

  describe("while the smallest screen decides", () => {
    beforeEach(() => {
      wish = new SizeWish(
        () => fits,
        (cols, rows, isHidden) =>
          asked.push(`${cols}x${rows}${isHidden ? " hidden" : ""}`),
      );
      wish.became(100, 30);
      wish.decidedBy("smallest");
      vi.advanceTimersByTime(200);
    });

    it("tells what fits though it does not lead and has that size", () => {
      expect(asked).toEqual(["100x30"]);
    });

    it("takes it back while hidden, and tells it again", () => {
      for (const now of [null, { cols: 100, rows: 30 }]) {
        fits = now;
        wish.changed();
        vi.advanceTimersByTime(200);
      }
      expect(asked).toEqual(["100x30", "100x30 hidden", "100x30"]);
    });

    it("tells it again on a new connection", () => {
      wish.decidedBy("smallest");
      vi.advanceTimersByTime(200);
      expect(asked).toEqual(["100x30", "100x30"]);
    });

    it("tells nothing more once somebody else decides", () => {
      wish.decidedBy("fixed");
      fits = { cols: 50, rows: 20 };
      wish.changed();
      vi.advanceTimersByTime(200);
      expect(asked).toEqual(["100x30"]);
    });
  });
});
