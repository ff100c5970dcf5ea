/** The rings of the metrics history, compared with a model that keeps everything. */
import { describe, expect, test } from 'vitest'
import { figuresOf, type Row, STEPS } from '../../src/metrics-history/figures.ts'
import { MetricsHistory } from '../../src/metrics-history/metrics-history.ts'
import { CHUNK, decode, encode } from '../../src/metrics-history/ring.ts'
import { readSlot, savedSlot } from '../../src/metrics-history/saved-slot.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'

const STEP = STEPS.day.stepMs
const START = 179_000_000
const NAMES = ['a', 'b', 'c'] as const
const LAG = figuresOf('consumer').findIndex(([name]) => name === 'lag')
const COMPLETED = figuresOf('consumer').findIndex(([name]) => name === 'completed')

function consumerRow(name: string, lag: number, completed: number): Row {
  const values = figuresOf('consumer').map((_, index) => (index === LAG ? lag : index === COMPLETED ? completed : 0))
  return { kind: 'consumer', name, values }
}

/** What was recorded: by slot, the lag of each consumer. */
class Model {
  readonly slots = new Map<number, ReadonlyMap<string, number>>()

  newest = -1

  record(slot: number, lags: ReadonlyMap<string, number>): void {
    if (this.slots.has(slot) || slot <= this.newest - STEPS.day.slots) return
    this.slots.set(slot, lags)
    if (slot <= this.newest) return
    if (slot > this.newest + 1)
      for (const old of this.slots.keys()) if (old <= slot - STEPS.day.slots) this.slots.delete(old)
    this.slots.delete(slot - STEPS.day.slots)
    this.newest = slot
  }

  cut(slot: number): void {
    for (const each of this.slots.keys()) if (each >= slot) this.slots.delete(each)
    if (slot <= this.newest) this.newest = slot - 1
  }
}

function lagsFrom(random: () => number): Map<string, number> {
  const found = new Map<string, number>()
  for (const name of NAMES) if (random() < 0.7) found.set(name, random() < 0.5 ? 0 : Math.floor(random() * 900))
  // For long stretches a value does not change: its chunk becomes one number.
  found.set('steady', 3)
  return found
}

function expectAlike(history: MetricsHistory, model: Model, seed: number): void {
  const [from, to] = [Math.max(model.newest - 1500, START), model.newest + 3]
  for (const name of [...NAMES, 'steady']) {
    const found = history.of('consumer', name, from * STEP, to * STEP, 2000)
    const known = [...model.slots.keys()].filter((slot) => model.slots.get(slot)?.has(name))
    const since = known.reduce((least, slot) => Math.min(least, slot), Number.POSITIVE_INFINITY)
    const lags = Array.from({ length: to - from }, (_, index) => {
      const slot = from + index
      return model.slots.has(slot) && slot >= since ? (model.slots.get(slot)?.get(name) ?? 0) : null
    })
    if (found === null) expect(lags.every((lag) => lag === null || lag === 0)).toBe(true)
    else if (found.stepMs === STEP) {
      const shown = (found.figures['lag'] ?? []).map((lag, index) => (lags[index] === null && lag === 0 ? null : lag))
      expect.soft(shown, `seed ${seed}, ${name}`).toEqual(lags)
    }
  }
}

describe('the code of values', () => {
  test('is exact up to 1,000, and within 0.06 % above', () => {
    for (let value = 0; value <= 1000; value++) expect(decode(encode(value))).toBe(value)
    for (let value = 1000; value < 1e12; value *= 1.37)
      expect(Math.abs(decode(encode(value)) - value) / value).toBeLessThan(0.0006)
    expect(decode(encode(0.25))).toBeCloseTo(0.25, 3)
    for (const strange of [Number.NaN, -1, -0]) expect(decode(encode(strange))).toBe(0)
    expect(decode(encode(Number.POSITIVE_INFINITY))).toBeGreaterThan(1e12)
  })
})

describe('the rings', () => {
  test('keep what a model keeps: gaps, late slots, a clock that goes back, and the end of the ring', () => {
    for (let seed = 1; seed <= 25; seed++) {
      const random = seededRandom(seed)
      const [history, model] = [new MetricsHistory(), new Model()]
      let slot = START
      for (let step = 0; step < 400; step++) {
        const kind = random()
        if (kind < 0.02) {
          const back = slot - Math.floor(random() * 200)
          history.cut('day', back)
          model.cut(back)
          slot = back
        } else if (kind < 0.06) slot += Math.floor(random() * (random() < 0.1 ? 12_000 : 700))
        const at = kind > 0.95 ? slot - Math.floor(random() * 500) : slot++
        const lags = lagsFrom(random)
        history.record(
          'day',
          at,
          [...lags].map(([name, lag]) => consumerRow(name, lag, 0)),
        )
        model.record(at, lags)
      }
      expectAlike(history, model, seed)
    }
  })

  test('have a gap where nothing was recorded, and zero where nothing happened', () => {
    const history = new MetricsHistory()
    for (const slot of [0, 1, 4, 5]) history.record('day', START + slot, slot === 5 ? [] : [consumerRow('a', 7, 20)])
    const found = history.of('consumer', 'a', START * STEP, (START + 6) * STEP, 100)
    expect(found?.figures['lag']).toEqual([7, 7, null, null, 7, 0])
    expect(found?.figures['completed']).toEqual([2, 2, null, null, 2, 0])
    expect(history.of('consumer', 'b', START * STEP, (START + 6) * STEP, 100)).toBe(null)
  })

  test('a point of a longer time has the largest lag, and the rate of the slots that were recorded', () => {
    const history = new MetricsHistory()
    const begin = Math.ceil(START / 30) * 30
    for (let slot = 0; slot < 60; slot++)
      if (slot < 30 || slot > 45) history.record('day', begin + slot, [consumerRow('a', slot, 10)])
    const found = history.of('consumer', 'a', begin * STEP, (begin + 60) * STEP, 2)
    expect(found).toMatchObject({ stepMs: 300_000, figures: { lag: [29, 59], completed: [1, 1] } })
    expect(history.joined(begin / 30)).toEqual([consumerRow('a', 29, 300)])
    expect(history.joined(begin / 30 + 5)).toBe(null)
  })

  test('an answer has at most as many points as were asked for, and these are the newest', () => {
    const history = new MetricsHistory()
    for (let slot = 0; slot < 400; slot++) history.record('day', START + slot, [consumerRow('a', slot, 0)])
    for (const points of [1, 2, 7, 60, 399, 400])
      for (const [shift, slots] of [
        [0, 400],
        [3, 360],
        [3.5, 360],
        [29.9, 60],
      ] as const) {
        const toMs = (START + shift + slots) * STEP
        const found = history.of('consumer', 'a', (START + shift) * STEP, toMs, points)
        const lags = found?.figures['lag'] ?? []
        const asked = `${points} points of ${slots} slots from ${shift}`
        expect(lags.length, asked).toBeLessThanOrEqual(points)
        expect((found?.fromMs ?? 0) + lags.length * (found?.stepMs ?? 0), asked).toBeGreaterThanOrEqual(toMs)
      }
  })

  test('a time before the day comes from the month', () => {
    const history = new MetricsHistory()
    history.record('month', 600_000, [consumerRow('a', 12, 300)])
    history.record('day', 600_000 * 30 + 20_000, [consumerRow('a', 1, 1)])
    const found = history.of('consumer', 'a', 600_000 * 300_000, 600_002 * 300_000, 10)
    expect(found).toEqual({
      stepMs: 300_000,
      fromMs: 600_000 * 300_000,
      figures: expect.objectContaining({ lag: [12, null], completed: [1, null] }),
    })
  })

  test('are bounded: in objects, and in bytes, where the oldest hours of the day go first', () => {
    const many = new MetricsHistory(2)
    for (const slot of [0, 1])
      many.record(
        'day',
        START + slot,
        ['a', 'b', 'c', 'd'].map((name) => consumerRow(name, 1, 1)),
      )
    expect([many.objects, many.leftOut]).toEqual([2, 2])
    const bytesMax = 12 * CHUNK * 2
    const history = new MetricsHistory(10, bytesMax)
    const random = seededRandom(1)
    for (let slot = 0; slot < 5 * CHUNK; slot++)
      history.record(
        'day',
        START + slot,
        ['a', 'b'].map((name) => consumerRow(name, random() * 1e6, random() * 1e6)),
      )
    expect(history.bytes).toBeLessThan(bytesMax + 5 * CHUNK * 2)
    const found = history.of('consumer', 'a', START * STEP, (START + 5 * CHUNK) * STEP, 2000)
    expect(found?.figures['lag']?.at(-1)).toBeGreaterThan(0)
  })

  test('a consumer that is never idle takes what the guide says, and an idle one next to nothing', () => {
    const random = seededRandom(3)
    const busy = new MetricsHistory()
    for (let slot = 0; slot < STEPS.day.slots; slot++)
      busy.record('day', START + slot, [
        { kind: 'consumer', name: 'a', values: figuresOf('consumer').map(() => 1 + random() * 1e5) },
      ])
    expect(busy.bytes / 1024).toBeLessThan(330)
    const idle = new MetricsHistory()
    for (let slot = 0; slot < STEPS.day.slots; slot++) idle.record('day', START + slot, [consumerRow('a', 0, 0)])
    expect(idle.bytes / 1024).toBeLessThan(20)
  })
})

describe('a saved slot', () => {
  const rows = [consumerRow('a', 5, 123_456), { kind: 'channel' as const, name: 'orders', values: [1.5, 4096, 0] }]

  test('is read as it was written', () => {
    expect(readSlot(savedSlot(START, rows))).toEqual({
      slot: START,
      rows: [
        { kind: 'consumer', name: 'a', values: rows[0]?.values.slice(0, LAG + 1) },
        { kind: 'channel', name: 'orders', values: [1.5, 4096] },
      ],
    })
  })

  test('that is cut off or changed anywhere is no slot, or rows that are valid', () => {
    const saved = savedSlot(START, rows)
    for (let end = 0; end < saved.rows.length - 4; end++)
      expect(readSlot({ slot: START, rows: saved.rows.slice(0, end) }), `cut at ${end}`).toBe(null)
    const random = seededRandom(9)
    for (let round = 0; round < 300; round++) {
      const bytes = Buffer.from(saved.rows, 'base64')
      bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      for (const row of readSlot({ slot: START, rows: bytes.toString('base64') })?.rows ?? [])
        expect(row.values.every((value) => Number.isFinite(value) && value >= 0)).toBe(true)
    }
    for (const strange of [
      null,
      1,
      {},
      { slot: -1, rows: '' },
      { slot: 1.5, rows: saved.rows },
      { slot: START, rows: 7 },
    ])
      expect(readSlot(strange)).toBe(null)
  })
})
