/** Chance from a seed, so that a failing run can be run again. */
import { seededRandom } from '../seeded-random.ts'

export interface Random {
  /** A whole number, at least 0 and below `below`. */
  below(below: number): number
  /** True with this probability. */
  chance(probability: number): boolean
}

export function randomFrom(seed: number): Random {
  const next = seededRandom(seed)
  return { below: (below) => Math.floor(next() * below), chance: (probability) => next() < probability }
}
