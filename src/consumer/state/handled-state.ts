/**
 * The state of a key while an event of the key is handled.
 *
 * Invariants:
 * - What a handler changes is stored with the completion of its event, as an emission into the channel of the state. A
 *   failed attempt leaves nothing behind: the next attempt decodes the stored state again.
 * - The events of one key in a batch share a `KeyState`; each has its own emission.
 */
import { MillraceError } from '../../base/errors.ts'
import { is, memberOf } from '../../base/thrown.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import { STATE_DELETED } from '../../channel/state-channel.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { decodeEvent, type Encoded, encodeEvent } from '../../event/encode.ts'
import { inNewest } from '../../event/event-version.ts'
import { nowText } from '../../event/identity.ts'
import { schemaOutput } from '../../event/schema.ts'
import { attributeReason } from '../../event/validate-cloud-event.ts'
import type { StatePlan } from './state-plan.ts'

/** What the events that hold states say of their origin. */
export interface StateHost {
  /** The CloudEvents `source`. */
  readonly source: string
  nowMs(): number
}

/** The present value of a key. */
export interface KeyState {
  value: unknown
  /** How often the handlers of this call have set or deleted it. So a change that was judged late is known. */
  changes: number
}

/** An event that holds a state. Its data is decoded without the rest of its text. */
class StateEvent implements EncodedEvent {
  readonly id: string
  readonly type: string
  readonly key: string
  readonly text: string
  readonly #data: string
  readonly #version: number

  constructor({ id, type, text, dataText }: Encoded, key: string, version: number) {
    this.id = id
    this.type = type
    this.key = key
    this.text = text
    this.#data = dataText
    this.#version = version
  }

  decode(offset: number): StoredEvent {
    const { id, type } = this
    return { id, type, dataversion: this.#version, data: JSON.parse(this.#data) as unknown, offset } as StoredEvent
  }
}

/**
 * The value that a stored state has for handlers: decoded, migrated and validated.
 * @throws SCHEMA_MISMATCH · UPCAST_FAILED · UNKNOWN_VERSION with `details.waits` when the state is in a newer version
 */
export function decodedState(plan: StatePlan, key: string, stored: EncodedEvent | null): unknown {
  const { definition } = plan
  if (stored === null || stored.type === STATE_DELETED) return initialState(plan, key)
  const event = stored.type === definition.type ? eventOf(stored) : null
  if (event === null) throw damaged(plan, key)
  const judged = { type: definition.type, id: event.id }
  const newest = inNewest(definition, event, judged, 'handled')
  return newest instanceof Promise ? newest.then(({ data }) => data) : newest.data
}

function initialState(plan: StatePlan, key: string): unknown {
  const initial = plan.initial(key)
  const { schema, type } = plan.definition
  return initial === undefined || schema === undefined ? initial : schemaOutput(schema, initial, { type }, 'handled')
}

function eventOf(stored: EncodedEvent): StoredEvent | null {
  try {
    return stored.decode?.(0) ?? decodeEvent(stored.text, 0)
  } catch {
    return null
  }
}

function damaged({ consumer, channel }: StatePlan, key: string): MillraceError {
  const message = `the stored state of key "${key}" of consumer "${consumer}" is not a state: another program wrote into channel "${channel.name}"`
  return new MillraceError('DATA_DAMAGED', message, { channel: channel.name, consumer })
}

export class HandledState {
  readonly #plan: StatePlan
  readonly #key: string
  readonly #host: StateHost
  readonly #shared: KeyState
  #next: EncodedEvent | null = null
  /** The number of its last change. */
  #change = 0
  /** Settles when an asynchronous schema has judged what was set last. */
  #judging: Promise<void> | null = null

  constructor(plan: StatePlan, key: string, host: StateHost, shared: KeyState) {
    this.#plan = plan
    this.#key = key
    this.#host = host
    this.#shared = shared
  }

  get value(): unknown {
    return this.#shared.value
  }

  /** The event that holds the new state; null if the handler has set none. */
  get next(): EncodedEvent | null {
    return this.#next
  }

  get channel(): string {
    return this.#plan.channel.name
  }

  /**
   * Settles when the last change has taken effect; rejects when an asynchronous schema refused it. Null if there is
   * nothing to wait for.
   */
  get judging(): Promise<void> | null {
    return this.#judging
  }

  /** @throws SCHEMA_MISMATCH · INVALID_EVENT · EVENT_TOO_LARGE · INVALID_OPTION */
  set(next: unknown): void {
    const { definition, consumer } = this.#plan
    if (next === undefined) {
      const message = `the state of a key of consumer "${consumer}" cannot be undefined: use deleteState()`
      throw new MillraceError('INVALID_OPTION', message, { consumer, option: 'state' })
    }
    const change = this.#begin()
    const schema = definition.schema
    const judged = schema === undefined ? next : this.#judged(() => schemaOutput(schema, next, definition, 'published'))
    this.#wait(
      judged instanceof Promise
        ? judged.then((output) => this.#put(change, next, output))
        : this.#put(change, next, judged),
    )
  }

  #begin(): number {
    this.#judging = null
    this.#change = ++this.#shared.changes
    return this.#change
  }

  #wait(judging: Promise<void> | undefined): void {
    if (judging === undefined) return
    this.#judging = judging
    judging.catch(() => undefined)
  }

  /** Nothing is kept before the schema has judged everything. */
  #put(change: number, next: unknown, output: unknown): Promise<void> | undefined {
    const { definition } = this.#plan
    const encoded = this.#encoded({ data: next, dataversion: definition.version }, definition.type)
    // What reads back as something else must be a state, too.
    if (encoded.altered && definition.schema !== undefined) {
      const { schema } = definition
      const stored = this.#judged(() => schemaOutput(schema, encoded.data, definition, 'stored'))
      if (stored instanceof Promise) return stored.then(() => this.#keep(change, encoded, output))
    }
    return this.#keep(change, encoded, output)
  }

  #keep(change: number, encoded: Encoded, output: unknown): undefined {
    if (change === this.#change) this.#next = new StateEvent(encoded, this.#key, this.#plan.definition.version)
    this.#show(change, output)
  }

  #show(change: number, value: unknown): undefined {
    if (change === this.#shared.changes) this.#shared.value = value
  }

  delete(): void {
    const { id, type, text } = this.#encoded({}, STATE_DELETED)
    const initial = initialState(this.#plan, this.#key)
    const change = this.#begin()
    this.#next = { id, type, key: this.#key, text }
    if (initial instanceof Promise) this.#wait(initial.then((value) => this.#show(change, value)))
    else this.#show(change, initial)
  }

  #encoded(members: { readonly data?: unknown; readonly dataversion?: number }, type: string): Encoded {
    const key = this.#key
    // Some keys cannot be an attribute of a CloudEvent. The record of the event has every key.
    const shownKey = attributeReason('partitionkey', key) === undefined && { partitionkey: key }
    const { source, nowMs } = this.#host
    const event = { type, time: nowText(nowMs()), ...shownKey, ...members }
    return encodeEvent(event, key, source, this.#plan.channel.eventBytesMax)
  }

  #judged(judge: () => unknown): unknown {
    const refused = (error: unknown): never => {
      throw is(error, MillraceError) && error.code === 'SCHEMA_MISMATCH' ? this.#refused(error) : error
    }
    try {
      const judged = judge()
      return judged instanceof Promise ? judged.catch(refused) : judged
    } catch (error) {
      return refused(error)
    }
  }

  #refused(cause: MillraceError): MillraceError {
    const issues = memberOf(cause.details, 'issues') as readonly { readonly message: string }[]
    const why = issues.slice(0, 5).map((issue) => issue.message)
    const message = `a handler of consumer "${this.#plan.consumer}" set a state that its schema refuses (${why.join('; ')})`
    return new MillraceError('SCHEMA_MISMATCH', message, cause.details, { cause })
  }
}
