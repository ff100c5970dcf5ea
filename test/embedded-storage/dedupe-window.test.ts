/**
 * Clause 8: an id of the last `count` events, not older than the window, is found at its offset, whatever the order of
 * ids. An id that was never used is new.
 */
import { describe, expect, it } from 'vitest'
import { DedupeWindow } from '../../src/engines/embedded/dedupe-window.ts'
import { newId } from '../../src/event/identity.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'

const ORDERS: Record<string, (at: number, random: () => number) => string> = {
  'growing ids': () => newId(),
  'random ids': (_, random) => random().toString(36).slice(2),
  'falling ids': (at) => String(1_000_000 - at),
  'growing ids with great ones among them': (at, random) =>
    random() < 0.05 ? `z${Math.floor(random() * 1000)}-${at}` : newId(),
}

describe.each(Object.entries(ORDERS))('%s', (_, idOf) => {
  it.each([1, 2, 3, 4, 5])('the window remembers what a plain list remembers, with seed %d', (seed) => {
    const random = seededRandom(seed)
    const count = 20 + Math.floor(random() * 40)
    const window = new DedupeWindow({ count, ageMs: 1000 })
    const there: { readonly id: string; readonly timeMs: number }[] = []
    let timeMs = 0
    for (let at = 0; at < 1000; at++) {
      timeMs += random() < 0.01 ? 2000 : random() * 5
      const id = idOf(at, random)
      expect(window.find(id), `${id} is new`).toBe(-1)
      window.add(id, at, timeMs)
      there.push({ id, timeMs })
      for (let back = 1; back <= count && back <= there.length; back += 1 + Math.floor(random() * 5)) {
        const one = there[at + 1 - back]
        if (one !== undefined && timeMs - one.timeMs <= 1000)
          expect(window.find(one.id), `${back} events back`).toBe(at + 1 - back)
      }
    }
  })
})
