/** The lanes of a cursor, and those of them whose next event can be handed out. */
import { Lane } from './lane.ts'

/** Lanes kept for the next keys: those of events come and go with each event. */
const SPARE_MAX = 1024

/** The front of a list of lanes is given back when so much of it is taken. */
const TAKEN_MAX = 1000

/** Lanes in the order in which they came. */
class LaneList {
  #lanes: Lane[] = []
  #head = 0

  get size(): number {
    return this.#lanes.length - this.#head
  }

  push(lane: Lane): void {
    this.#lanes.push(lane)
  }

  [Symbol.iterator](): IterableIterator<Lane> {
    return this.#lanes.slice(this.#head)[Symbol.iterator]()
  }

  shift(): Lane {
    const lane = this.#lanes[this.#head++] as Lane
    if (this.#head === this.#lanes.length || (this.#head > TAKEN_MAX && this.#head * 2 > this.#lanes.length)) {
      this.#lanes = this.#lanes.slice(this.#head)
      this.#head = 0
    }
    return lane
  }
}

export class LaneTable {
  readonly #byKey = new Map<string, Lane>()
  #ready = new LaneList()
  #spare: Lane[] = []
  #epoch = 0
  /** A lane became ready since the ready ones were taken. */
  grew = false

  get ready(): number {
    return this.#ready.size
  }

  /** The keys of all. */
  get keys(): string[] {
    return [...this.#byKey.keys()]
  }

  find(key: string): Lane | undefined {
    return this.#byKey.get(key)
  }

  /** The lane of a key, made if there is none; for an event without a key a lane of its own. */
  of(key: string | null): Lane {
    if (key === null) return new Lane(null, this.#epoch)
    return this.#byKey.get(key) ?? this.make(key)
  }

  /** A lane for a key that has none. */
  make(key: string): Lane {
    const lane = this.#spare.pop() ?? new Lane(key, this.#epoch)
    lane.reuse(key)
    this.#byKey.set(key, lane)
    return lane
  }

  /** Its first event can be handed out, or looked at again. */
  enqueue(lane: Lane): void {
    if (lane.queued) return
    this.grew = true
    this.setAside(lane)
  }

  /** It is ready, and nobody takes it now: the next free place does. */
  setAside(lane: Lane): void {
    if (lane.queued || this.isOver(lane)) return
    lane.queued = true
    lane.named = true
    this.#ready.push(lane)
  }

  /** Others are there to take what is ready. */
  lookAgain(): void {
    for (const lane of this.#ready) lane.full = null
  }

  /** Give from the lane that has been ready for longest: there must be one. Where that throws, the lane stays ready. */
  serve(give: (lane: Lane) => void): void {
    const lane = this.#ready.shift()
    lane.queued = false
    try {
      give(lane)
    } catch (error) {
      this.setAside(lane)
      throw error
    }
  }

  /** Another lane may serve its key: nothing is handed out from it. */
  isOver(lane: Lane): boolean {
    return lane.epoch !== this.#epoch
  }

  /** It holds nothing any more. */
  forget(lane: Lane): void {
    if (lane.key === null || this.#byKey.get(lane.key) !== lane) return
    this.#byKey.delete(lane.key)
    if (lane.named) lane.epoch = -1
    else if (this.#spare.length < SPARE_MAX) this.#spare.push(lane)
  }

  /** All are over: what a timer or a reader still does to one of them has no effect. */
  clear(): void {
    this.#byKey.clear()
    this.#ready = new LaneList()
    this.#spare = []
    this.#epoch++
  }
}
