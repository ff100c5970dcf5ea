/** Chance from a seed, so that a failing run can be run again. */

export interface Random {
  /** At least 0, below 1. */
  next(): number
  /** A whole number, at least 0 and below `below`. */
  below(below: number): number
  /** True with this probability. */
  chance(probability: number): boolean
}

/** Mulberry32: 32 bits of state, good enough to choose faults. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  return { next, below: (below) => Math.floor(next() * below), chance: (probability) => next() < probability }
}
