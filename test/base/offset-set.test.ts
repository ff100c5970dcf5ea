/**
 * The set of settled offsets, compared with a plain set of numbers: single offsets, runs, the floor, and what is saved
 * of it.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OffsetSet } from '../../src/base/offset-set.ts'

const TOP = 5000

class Model {
  readonly #settled = new Set<number>()
  #cleared = 0
  floor: number

  constructor(floor: number) {
    this.floor = floor
  }

  add(from: number, count: number): void {
    for (let offset = from; offset < from + count; offset++) if (offset >= this.floor) this.#settled.add(offset)
    this.#advance()
  }

  raise(offset: number): void {
    this.floor = Math.max(this.floor, offset)
    this.#advance()
  }

  #advance(): void {
    while (this.#settled.has(this.floor)) this.floor++
    if (this.floor === this.#cleared) return
    this.#cleared = this.floor
    for (const offset of this.#settled) if (offset < this.floor) this.#settled.delete(offset)
  }

  get above(): number[] {
    return [...this.#settled].sort((a, b) => a - b)
  }
}

function aboveIn(done: OffsetSet): number[] {
  return [...done.ranges()].flatMap(([from, to]) => Array.from({ length: to - from }, (_, at) => from + at))
}

/** Records as a store keeps them. */
class Saved {
  floor = -1
  readonly chunks = new Map<number, Uint8Array>()

  take(done: OffsetSet): void {
    this.floor = done.floor
    for (const [index, bytes] of done.takeChanges()) {
      if (bytes !== null) this.chunks.set(index, bytes)
      else expect(this.chunks.delete(index), 'only what was saved is said to be gone').toBe(true)
    }
  }

  restored(): OffsetSet {
    const done = new OffsetSet(this.floor)
    for (const [index, bytes] of this.chunks) done.load(index, bytes)
    return done
  }
}

const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('add' as const), offset: fc.nat(TOP) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('near' as const), offset: fc.nat(40), count: fc.nat(80) }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('run' as const), offset: fc.nat(TOP), count: fc.nat(2500) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('raise' as const), offset: fc.nat(TOP) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('save' as const), offset: fc.constant(0) }) },
  ),
  { maxLength: 60 },
)

test('is what a plain set says, and comes back from its records', () => {
  fc.assert(
    fc.property(fc.nat(2000), steps, (floor, each) => {
      const done = new OffsetSet(floor)
      const model = new Model(floor)
      const saved = new Saved()
      saved.take(done)
      for (const step of each) {
        if (step.kind === 'add') done.add(step.offset)
        else if (step.kind === 'run') done.addRun(step.offset, step.count)
        else if (step.kind === 'near') done.addRun(done.floor + step.offset, step.count)
        else if (step.kind === 'raise') done.raise(step.offset)
        else saved.take(done)
        if (step.kind === 'add') model.add(step.offset, 1)
        else if (step.kind === 'run') model.add(step.offset, step.count)
        else if (step.kind === 'near') model.add(model.floor + step.offset, step.count)
        else if (step.kind === 'raise') model.raise(step.offset)
        expect(done.floor).toBe(model.floor)
        expect(done.above).toBe(model.above.length)
      }
      expect(aboveIn(done)).toEqual(model.above)
      for (let offset = 0; offset < TOP + 2600; offset += 7)
        expect(done.has(offset)).toBe(offset < model.floor || model.above.includes(offset))
      saved.take(done)
      const restored = saved.restored()
      expect(restored.floor).toBe(model.floor)
      expect(aboveIn(restored)).toEqual(model.above)
    }),
    { numRuns: 200 },
  )
})

test('what the floor has passed needs no record', () => {
  const done = new OffsetSet(0)
  done.addRun(1, 3000)
  done.add(0)
  expect(done.floor).toBe(3001)
  expect(done.takeChanges()).toEqual([])
})
