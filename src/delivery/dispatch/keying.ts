/**
 * Clause 4: which key decides the order of an event. It is the channel's key, or the answer of the consumer's own key
 * function. The question is asked once, when the cursor reads the event. Lanes, chains and deliveries keep the answer.
 *
 * A consumer's own function may be another one after a deployment. Events that the cursor has read and not delivered
 * are read again then (`Dispatcher.keyAgain`). Events that are kept among the dead letters have the key that they got
 * when they were given up; they get the new one when they are delivered from there.
 */
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { OwnKey, StoredText, Unkeyed } from '../../broker/engine.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { decodeAlike } from '../../event/decode-alike.ts'

/** An event as the functions of a consumer get it: its text is read when it is asked for. */
export class KeyedText implements StoredText {
  readonly offset: number
  readonly timeMs: number
  readonly #event: EncodedEvent

  constructor(event: EncodedEvent, offset: number, timeMs: number) {
    this.#event = event
    this.offset = offset
    this.timeMs = timeMs
  }

  get id(): string {
    return this.#event.id
  }
  get type(): string {
    return this.#event.type
  }
  get key(): string | null {
    return this.#event.key
  }
  get text(): string {
    return this.#event.text
  }

  decode(offset: number): StoredEvent {
    return this.#event.decode?.(offset) ?? decodeAlike(this.#event.text, offset)
  }
}

export class Keying {
  readonly #channel: string
  #own: OwnKey | null = null

  constructor(channel: string) {
    this.#channel = channel
  }

  /** Whether the consumer has a key of its own. */
  get isOwn(): boolean {
    return this.#own !== null
  }

  /**
   * An instance is attached. `alone`: no other one is. Its own key is taken from now on; an instance without one
   * changes nothing for those that have one. Returns whether events may get other keys now.
   */
  adopt(own: OwnKey | undefined, alone: boolean): boolean {
    const next = own ?? (alone ? null : this.#own)
    if (next === this.#own) return false
    this.#own = next
    return true
  }

  /** The key of an event; or why it has none. */
  of(event: EncodedEvent, offset: number, timeMs: number): string | null | Unkeyed {
    return this.#own === null ? event.key : this.#own(new KeyedText(event, offset, timeMs), this.#channel)
  }
}

/** Whether the key function failed. */
export function isUnkeyed(key: string | null | Unkeyed): key is Unkeyed {
  return typeof key === 'object' && key !== null
}
