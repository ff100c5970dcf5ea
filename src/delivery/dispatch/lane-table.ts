/** The lanes of a cursor by key, and the list of ready lanes: those whose first event may be deliverable. */
import { Lane } from './lane.ts'

/** Unused lanes kept for the next keys: in a channel of many keys, a lane comes and goes with each event. */
const SPARE_MAX = 1024

/** The list copies its rest to a new array after this many lanes were taken from its front. */
const TAKEN_MAX = 1000

/** A first-in, first-out list of lanes. */
class LaneList<Holder extends object> {
  #lanes: Lane<Holder>[] = []
  #head = 0

  get size(): number {
    return this.#lanes.length - this.#head
  }

  push(lane: Lane<Holder>): void {
    this.#lanes.push(lane)
  }

  [Symbol.iterator](): IterableIterator<Lane<Holder>> {
    return this.#lanes.slice(this.#head)[Symbol.iterator]()
  }

  shift(): Lane<Holder> {
    const lane = this.#lanes[this.#head++] as Lane<Holder>
    if (this.#head === this.#lanes.length || (this.#head > TAKEN_MAX && this.#head * 2 > this.#lanes.length)) {
      this.#lanes = this.#lanes.slice(this.#head)
      this.#head = 0
    }
    return lane
  }
}

export class LaneTable<Holder extends object = object> {
  readonly #byKey = new Map<string, Lane<Holder>>()
  #ready = new LaneList<Holder>()
  #spare: Lane<Holder>[] = []
  #epoch = 0
  #grew = false

  /** How many lanes are ready. */
  get ready(): number {
    return this.#ready.size
  }

  /** The keys of all lanes. */
  get keys(): string[] {
    return [...this.#byKey.keys()]
  }

  /** Whether a lane became ready since `beginRound`. */
  get grew(): boolean {
    return this.#grew
  }

  beginRound(): void {
    this.#grew = false
  }

  find(key: string): Lane<Holder> | undefined {
    return this.#byKey.get(key)
  }

  /** The lane of a key, made if there is none. Without a key: a new lane. */
  of(key: string | null): Lane<Holder> {
    if (key === null) return new Lane(null, this.#epoch)
    return this.#byKey.get(key) ?? this.make(key)
  }

  /** A lane for a key that has none. */
  make(key: string): Lane<Holder> {
    const lane = this.#spare.pop() ?? new Lane<Holder>(key, this.#epoch)
    lane.reuse(key)
    this.#byKey.set(key, lane)
    return lane
  }

  /** The lane is ready. A round that is under way looks at it. */
  enqueue(lane: Lane<Holder>): void {
    if (lane.queued) return
    this.#grew = true
    this.setAside(lane)
  }

  /** The lane is ready, but no instance takes its first event now. The round that is under way does not look again. */
  setAside(lane: Lane<Holder>): void {
    if (lane.queued || this.isOver(lane)) return
    lane.enteredQueue()
    this.#ready.push(lane)
  }

  /** Other instances are attached now: look at every ready lane again, also at those for which all were full. */
  lookAgain(): void {
    for (const lane of this.#ready) lane.waitFor(null)
  }

  /** Serve the lane that has been ready for longest. There must be one. If `serve` throws, the lane stays ready. */
  serve(serve: (lane: Lane<Holder>) => void): void {
    const lane = this.#ready.shift()
    lane.leftQueue()
    try {
      serve(lane)
    } catch (error) {
      this.setAside(lane)
      throw error
    }
  }

  /** Whether the lane was retired, or is from before the last rewind: nothing is delivered from it. */
  isOver(lane: Lane<Holder>): boolean {
    return lane.epoch !== this.#epoch
  }

  /** Remove an empty lane. */
  forget(lane: Lane<Holder>): void {
    if (lane.key === null || this.#byKey.get(lane.key) !== lane) return
    this.#byKey.delete(lane.key)
    if (lane.referenced) lane.retire()
    else if (this.#spare.length < SPARE_MAX) this.#spare.push(lane)
  }

  /** Remove all lanes. What a timer or a read still does to one of them has no effect. */
  clear(): void {
    this.#byKey.clear()
    this.#ready = new LaneList()
    this.#spare = []
    this.#epoch++
  }
}
