/** The lanes of a cursor, and those of them whose next event can be handed out. */
import { Lane } from './lane.ts'

/** Lanes kept for the next keys: those of events come and go with each event. */
const SPARE_MAX = 1024

export class LaneTable {
  readonly #byKey = new Map<string, Lane>()
  #ready: Lane[] = []
  readonly #spare: Lane[] = []
  /** A lane became ready since the ready ones were taken. */
  grew = false

  get ready(): number {
    return this.#ready.length
  }

  /** The keys of all. */
  get keys(): string[] {
    return [...this.#byKey.keys()]
  }

  find(key: string): Lane | undefined {
    return this.#byKey.get(key)
  }

  /** The lane of a key, made if there is none. */
  of(key: string): Lane {
    return this.#byKey.get(key) ?? this.make(key)
  }

  /** A lane for a key that has none. */
  make(key: string): Lane {
    const lane = this.#spare.pop() ?? new Lane(key)
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
    if (lane.queued) return
    lane.queued = true
    lane.named = true
    this.#ready.push(lane)
  }

  takeReady(): Lane[] {
    const ready = this.#ready
    this.#ready = []
    for (const lane of ready) lane.queued = false
    return ready
  }

  /** It holds nothing any more. */
  forget(lane: Lane): void {
    if (lane.key === null || this.#byKey.get(lane.key) !== lane) return
    this.#byKey.delete(lane.key)
    if (!lane.named && this.#spare.length < SPARE_MAX) this.#spare.push(lane)
  }

  clear(): void {
    this.#byKey.clear()
    this.#ready = []
  }
}
