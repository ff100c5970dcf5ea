/**
 * The states of the keys that were handled last, for the consumers of one engine (clause 19).
 *
 * Invariants:
 * - A state that is not durable yet is never dropped: the store would answer with an older one.
 * - What was read is kept only if nothing was set meanwhile: a read that began under a lost lease brings nothing back.
 * - Memory is bounded: of the durable states, the ones that were used longest ago are dropped.
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
/** How many states that are not durable are passed over at a time, to find one that can be dropped. */
const PASSED_MAX = 8

export class KeyStates {
  readonly #source: KeyStateSource
  readonly #charsMax: number
  /** By channel and key; those that were used last are at the end. */
  readonly #kept = new Map<string, Kept>()
  readonly #reading = new Map<string, Promise<State>>()
  #chars = 0

  constructor(source: KeyStateSource, charsMax: number = LIMITS.stateCacheChars) {
    this.#source = source
    this.#charsMax = charsMax
  }

  get(channel: string, key: string): State | Promise<State> {
    const id = idOf(channel, key)
    const kept = this.#kept.get(id)
    if (kept !== undefined) {
      this.#kept.delete(id)
      this.#kept.set(id, kept)
      return kept.event
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
    this.#reading.delete(id)
    this.#keep(id, { event, isDurable })
  }

  /** Forget all states of a consumer: they were deleted, or other processes may change them. */
  forget(channel: string): void {
    const prefix = idOf(channel, '')
    for (const id of this.#kept.keys()) if (id.startsWith(prefix)) this.#drop(id)
    for (const id of this.#reading.keys()) if (id.startsWith(prefix)) this.#reading.delete(id)
  }

  #keep(id: string, kept: Kept): void {
    this.#drop(id)
    this.#kept.set(id, kept)
    this.#chars += charsOf(id, kept)
    if (this.#chars > this.#charsMax) this.#shrink()
  }

  #shrink(): void {
    let passed = 0
    for (const [id, { isDurable }] of this.#kept) {
      if (isDurable()) this.#drop(id)
      else if (++passed > PASSED_MAX) return
      if (this.#chars <= this.#charsMax) return
    }
  }

  #drop(id: string): void {
    const kept = this.#kept.get(id)
    if (kept === undefined) return
    this.#kept.delete(id)
    this.#chars -= charsOf(id, kept)
  }
}

/** No name of a channel, and no key, has U+0000. */
function idOf(channel: string, key: string): string {
  return `${channel}\0${key}`
}

function charsOf(id: string, { event }: Kept): number {
  return ENTRY_CHARS + id.length + (event?.text.length ?? 0)
}
