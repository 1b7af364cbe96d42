/** A small seeded generator, so that a failing case can be run again. */

export type Random = (below: number) => number;

export function random(seed: number): Random {
  let state = seed * 2654435761 + 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
