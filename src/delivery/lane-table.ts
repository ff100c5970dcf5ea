/** The lanes of a cursor, and those of them whose next event can be handed out. */
import { Lane } from './lane.ts'

export class LaneTable {
  readonly #byKey = new Map<string, Lane>()
  #ready: Lane[] = []
  /** A lane became ready since the ready ones were taken. */
  grew = false

  get ready(): number {
    return this.#ready.length
  }

  find(key: string): Lane | undefined {
    return this.#byKey.get(key)
  }

  /** The lane of a key, made if there is none. */
  of(key: string): Lane {
    let lane = this.#byKey.get(key)
    if (lane === undefined) {
      lane = new Lane(key)
      this.#byKey.set(key, lane)
    }
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
    if (lane.key !== null && this.#byKey.get(lane.key) === lane) this.#byKey.delete(lane.key)
  }

  clear(): void {
    this.#byKey.clear()
    this.#ready = []
  }
}
