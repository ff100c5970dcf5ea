/** Random decisions from a seed, so that a failing run can be repeated. */
import { seededRandom } from '../seeded-random.ts'

export interface Random {
  /** A whole number from 0 up to, but not including, `below`. */
  below(below: number): number
  /** True with this probability. */
  chance(probability: number): boolean
}

export function randomFrom(seed: number): Random {
  const next = seededRandom(seed)
  return { below: (below) => Math.floor(next() * below), chance: (probability) => next() < probability }
}
