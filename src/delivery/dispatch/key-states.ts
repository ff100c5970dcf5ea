/**
 * The states of the keys that were handled last, for the consumers of one engine (clause 19).
 *
 * Invariants:
 * - A state that is not durable yet is never dropped: the store would answer with an older one.
 * - What was read is kept only if nothing was set meanwhile: a read that began under a lost lease brings nothing back.
 * - Memory is bounded: durable states that were not used for long are dropped.
 */
import { LIMITS } from '../../base/limits.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'

type State = EncodedEvent | null

interface Kept {
  /** Null: the key has no state. */
  readonly event: State
  /** Whether the store has it. */
  readonly isDurable: () => boolean
}

export interface KeyStateSource {
  /** The durable state of a key, from the store. */
  read(channel: string, key: string): State | Promise<State>
}

const durable = (): boolean => true
/** Characters that an entry costs besides its texts. */
const ENTRY_CHARS = 200

/**
 * Two generations, because moving an entry to the end of one map at each use would cost more than the use: what is used
 * is in the young one. When that is full it becomes the old one, and what is left in the old one is dropped.
 */
export class KeyStates {
  readonly #source: KeyStateSource
  readonly #charsMax: number
  /** By channel and key. */
  #young = new Map<string, Kept>()
  #old = new Map<string, Kept>()
  #youngChars = 0
  readonly #reading = new Map<string, Promise<State>>()

  constructor(source: KeyStateSource, charsMax: number = LIMITS.stateCacheChars) {
    this.#source = source
    this.#charsMax = charsMax
  }

  get(channel: string, key: string): State | Promise<State> {
    const id = idOf(channel, key)
    const young = this.#young.get(id)
    if (young !== undefined) return young.event
    const old = this.#old.get(id)
    if (old !== undefined) {
      this.#keep(id, old)
      return old.event
    }
    const under = this.#reading.get(id)
    if (under !== undefined) return under
    const read = this.#source.read(channel, key)
    if (!(read instanceof Promise)) {
      this.#keep(id, { event: read, isDurable: durable })
      return read
    }
    const reading = read.then(
      (event) => {
        if (this.#reading.get(id) === reading) {
          this.#reading.delete(id)
          this.#keep(id, { event, isDurable: durable })
        }
        return event
      },
      (error: unknown) => {
        if (this.#reading.get(id) === reading) this.#reading.delete(id)
        throw error
      },
    )
    this.#reading.set(id, reading)
    return reading
  }

  /** A completion has set the state of a key. */
  set(channel: string, event: EncodedEvent & { readonly key: string }, isDurable: () => boolean): void {
    const id = idOf(channel, event.key)
    if (this.#reading.size > 0) this.#reading.delete(id)
    this.#keep(id, { event, isDurable })
  }

  /** Forget all states of a consumer: they were deleted, or other processes may change them. */
  forget(channel: string): void {
    const prefix = idOf(channel, '')
    for (const id of this.#reading.keys()) if (id.startsWith(prefix)) this.#reading.delete(id)
    for (const id of this.#old.keys()) if (id.startsWith(prefix)) this.#old.delete(id)
    for (const [id, kept] of this.#young) {
      if (!id.startsWith(prefix)) continue
      this.#young.delete(id)
      this.#youngChars -= charsOf(id, kept)
    }
  }

  /** An entry in the young map is found before one in the old map. */
  #keep(id: string, kept: Kept): void {
    const before = this.#young.get(id)
    if (before !== undefined) this.#youngChars -= charsOf(id, before)
    this.#young.set(id, kept)
    this.#youngChars += charsOf(id, kept)
    if (this.#youngChars > this.#charsMax / 2) this.#age()
  }

  #age(): void {
    const leaving = this.#old
    this.#old = this.#young
    this.#young = new Map()
    this.#youngChars = 0
    for (const [id, kept] of leaving) {
      if (kept.isDurable() || this.#old.has(id)) continue
      this.#young.set(id, kept)
      this.#youngChars += charsOf(id, kept)
    }
  }
}

/** No name of a channel, and no key, has U+0000. */
function idOf(channel: string, key: string): string {
  return `${channel}\0${key}`
}

function charsOf(id: string, { event }: Kept): number {
  return ENTRY_CHARS + id.length + (event?.text.length ?? 0)
}
