/**
 * The figures of channels and consumers over time, in memory: two timelines with a fixed number of slots each.
 *
 * A slot that was not recorded is a gap, not zero. The number of objects is bounded, and so are the bytes of all
 * values: beyond that, the oldest chunks of the day are forgotten.
 */
import { LIMITS } from '../base/limits.ts'
import { figuresOf, type Joining, type ObjectKind, type Row, STEPS, type StepName } from './figures.ts'
import { CHUNK, chunkOf, Ring } from './ring.ts'

/** The figures of one object between two times; a null is a gap. Counts are events a second. */
export interface HistoryOf {
  readonly stepMs: number
  /** The time of the first point, in milliseconds since the epoch. */
  readonly fromMs: number
  readonly figures: Readonly<Record<string, readonly (number | null)[]>>
}

/** The possible steps between two points of an answer. Each divides all later ones: the last is a day. */
const POINT_STEPS_MS = [
  10_000, 30_000, 60_000, 300_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 86_400_000,
]

/** One resolution. */
class Timeline {
  readonly stepMs: number
  readonly slots: number
  /** The slots that were recorded have a 1. */
  readonly marks: Ring = new Ring()
  readonly rings = new Map<string, readonly Ring[]>()
  /** The first slot of each object. */
  readonly since = new Map<string, number>()
  newest = -1

  constructor(step: StepName) {
    this.stepMs = STEPS[step].stepMs
    this.slots = STEPS[step].slots
  }

  /** The oldest slot that is kept. */
  get oldest(): number {
    return Math.max(0, this.newest - this.slots + 1)
  }

  has(slot: number): boolean {
    return slot >= this.oldest && slot <= this.newest && this.marks.get(slot) === 1
  }

  all(): Ring[] {
    return [this.marks, ...[...this.rings.values()].flat()]
  }
}

export class MetricsHistory {
  readonly #timelines: Readonly<Record<StepName, Timeline>> = { day: new Timeline('day'), month: new Timeline('month') }
  readonly #objectsMax: number
  readonly #bytesMax: number
  #leftOut = new Set<string>()

  constructor(objectsMax: number = LIMITS.historyObjectsMax, bytesMax: number = LIMITS.historyBytesMax) {
    this.#objectsMax = objectsMax
    this.#bytesMax = bytesMax
  }

  /** How many objects have no history, because there are too many. */
  get leftOut(): number {
    return this.#leftOut.size
  }

  get objects(): number {
    return this.#timelines.day.rings.size
  }

  /** The bytes of all values. */
  get bytes(): number {
    return this.#all().reduce((sum, ring) => sum + ring.bytes, 0)
  }

  newest(step: StepName): number {
    return this.#timelines[step].newest
  }

  has(step: StepName, slot: number): boolean {
    return this.#timelines[step].has(slot)
  }

  /**
   * Record a slot. Each object without a row has zeros in it. Nothing changes if the slot is recorded already or is too
   * old.
   */
  record(step: StepName, slot: number, rows: readonly Row[]): void {
    const timeline = this.#timelines[step]
    if (slot < 0 || slot < timeline.oldest || timeline.has(slot)) return
    const before = chunkOf(timeline.newest)
    timeline.newest = Math.max(timeline.newest, slot)
    // In a chunk that was sealed, slots that are not set do not have zero.
    if (chunkOf(slot) < chunkOf(timeline.newest)) for (const ring of timeline.all()) ring.set(slot, 0)
    timeline.marks.set(slot, 1)
    for (const { kind, name, values } of rows) {
      const since = timeline.since.get(keyOf(kind, name))
      if (since !== undefined && since > slot) timeline.since.set(keyOf(kind, name), slot)
      const rings = timeline.rings.get(keyOf(kind, name)) ?? this.#added(timeline, kind, name, slot)
      rings.forEach((ring, index) => void ring.set(slot, values[index] ?? 0))
    }
    if (chunkOf(timeline.newest) > before) this.#shed(timeline, before)
  }

  #added(timeline: Timeline, kind: ObjectKind, name: string, slot: number): readonly Ring[] {
    const key = keyOf(kind, name)
    if (timeline.rings.size >= this.#objectsMax) {
      if (this.#leftOut.size < LIMITS.historyObjectsMax) this.#leftOut.add(key)
      return []
    }
    const rings = figuresOf(kind).map(() => new Ring())
    timeline.rings.set(key, rings)
    timeline.since.set(key, slot)
    return rings
  }

  /** The clock went back: forget the slots from this one on. They were recorded with a time that was wrong. */
  cut(step: StepName, slot: number): void {
    const timeline = this.#timelines[step]
    if (slot > timeline.newest) return
    for (const ring of timeline.all()) ring.cut(slot)
    timeline.newest = slot - 1
  }

  /** The rows of a slot of the month, from the slots of the day in it; null if none of these was recorded. */
  joined(monthSlot: number): Row[] | null {
    const { day, month } = this.#timelines
    const per = month.stepMs / day.stepMs
    const slots = Array.from({ length: per }, (_, index) => monthSlot * per + index).filter((slot) => day.has(slot))
    if (slots.length === 0) return null
    return [...day.rings].flatMap(([key, rings]) => {
      const [kind, name] = partsOf(key)
      const values = figuresOf(kind).map(([, joining], index) => join(joining, slots, rings[index] as Ring))
      return values.some((value) => value !== 0) ? [{ kind, name, values }] : []
    })
  }

  /**
   * The figures of an object, in at most `pointsMax` points. Each point begins at a multiple of the step; where that
   * makes one point too many, the oldest is left out. The day is used where it reaches back far enough, else the month.
   * Null if nothing is known of the object.
   */
  of(kind: ObjectKind, name: string, fromMs: number, toMs: number, pointsMax: number): HistoryOf | null {
    const key = keyOf(kind, name)
    const { day, month } = this.#timelines
    const timeline = fromMs >= day.oldest * day.stepMs ? day : month
    const rings = timeline.rings.get(key) ?? []
    if (!day.rings.has(key) && !month.rings.has(key)) return null
    const span = Math.max(timeline.stepMs, toMs - fromMs)
    const wanted = Math.max(timeline.stepMs, span / pointsMax)
    const stepMs = POINT_STEPS_MS.find((step) => step >= wanted) ?? Math.ceil(wanted / 86_400_000) * 86_400_000
    const end = Math.ceil(toMs / stepMs)
    const first = Math.max(Math.floor(fromMs / stepMs), end - pointsMax)
    const per = stepMs / timeline.stepMs
    const since = timeline.since.get(key) ?? Number.POSITIVE_INFINITY
    const points = Array.from({ length: Math.max(0, end - first) }, (_, point) =>
      Array.from({ length: per }, (_, index) => (first + point) * per + index).filter(
        (slot) => slot >= since && timeline.has(slot),
      ),
    )
    const figures = Object.fromEntries(
      figuresOf(kind).map(([figure, joining], index) => [
        figure,
        points.map((slots) => pointOf(joining, slots, rings[index], timeline.stepMs)),
      ]),
    )
    return { stepMs, fromMs: first * stepMs, figures }
  }

  #all(): Ring[] {
    return Object.values(this.#timelines).flatMap((timeline) => timeline.all())
  }

  /**
   * A chunk has ended: seal it. Forget what is older than the timeline, objects without any value in it, and chunks of
   * the day beyond the bound.
   */
  #shed(timeline: Timeline, ended: number): void {
    const recorded = Array.from({ length: CHUNK }, (_, index) => ended * CHUNK + index).filter((slot) =>
      timeline.has(slot),
    )
    const oldest = chunkOf(timeline.oldest)
    for (const ring of timeline.all()) {
      if (ring !== timeline.marks) ring.seal(ended, recorded)
      ring.keepFrom(oldest)
    }
    for (const [key, rings] of timeline.rings) {
      if ((timeline.since.get(key) ?? 0) > timeline.newest - CHUNK || rings.some((ring) => ring.bytes > 0)) continue
      timeline.rings.delete(key)
      timeline.since.delete(key)
    }
    this.#leftOut = new Set()
    const { day } = this.#timelines
    for (let from = chunkOf(day.oldest) + 1; this.bytes > this.#bytesMax && from <= chunkOf(day.newest); from++)
      for (const ring of day.all()) ring.keepFrom(from)
  }
}

function join(joining: Joining, slots: readonly number[], ring: Ring): number {
  return slots.reduce((all, slot) => (joining === 'sum' ? all + ring.get(slot) : Math.max(all, ring.get(slot))), 0)
}

function pointOf(joining: Joining, slots: readonly number[], ring: Ring | undefined, stepMs: number): number | null {
  if (slots.length === 0 || ring === undefined) return null
  const value = join(joining, slots, ring)
  return rounded(joining === 'sum' ? value / ((slots.length * stepMs) / 1000) : value)
}

/** Four significant digits: more are not kept. */
function rounded(value: number): number {
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(4))
}

function keyOf(kind: ObjectKind, name: string): string {
  return `${kind}:${name}`
}

function partsOf(key: string): [ObjectKind, string] {
  const at = key.indexOf(':')
  return [key.slice(0, at) as ObjectKind, key.slice(at + 1)]
}
