/**
 * The limits of one consumer (clause 21), as its instances ask them: may this event begin, what does it use, and what
 * holds it back. An event begins when each of its limits has room; then it uses all of them at once. So a limit with
 * room is not used up by an event that waits for another one. Rates are used when an attempt begins, and concurrency
 * from then until the delivery has ended.
 *
 * A limit without a key is like credit: while it has no room, the consumer reads nothing. A limit with a key holds back
 * the events of its keys, each in its lane, and reading goes on.
 */
import type { AlarmList } from '../../broker/alarm-list.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { FlowLimit } from '../../broker/engine.ts'
import { isUnkeyed, KeyedText } from '../dispatch/keying.ts'
import type { Held, LimitTable, Wake } from './limit-table.ts'

/** The key of events of a limit that has no key. */
const WHOLE = ''
/** The key of all events for which the key function of a limit fails. */
const FAILED = '\u0001'

/** An event, as its limits see it. */
export interface LimitedEvent {
  readonly event: EncodedEvent
  readonly channel: string
  readonly offset: number
  readonly timeMs: number
}

/** What a delivery uses of each limit: the key, or null where the limit does not apply. */
export type Permit = readonly (string | null)[]

export interface FlowHost {
  readonly alarms: Pick<AlarmList, 'raise'>
  /** The table of a limit: one for all consumers that name it. */
  table(limit: FlowLimit): LimitTable
}

export class Flow {
  readonly #consumer: string
  readonly #host: FlowHost
  readonly #limits: readonly (readonly [limit: FlowLimit, table: LimitTable])[]
  readonly #whole: readonly LimitTable[]
  /** Whether a limit has a key. */
  readonly keyed: boolean
  /** The keys of the event that was asked for last. */
  #asked: { readonly channel: string; readonly offset: number; readonly permit: Permit } | null = null

  constructor(consumer: string, limits: readonly FlowLimit[], host: FlowHost) {
    this.#consumer = consumer
    this.#host = host
    this.#limits = limits.map((limit) => [limit, host.table(limit)] as const)
    this.#whole = this.#limits.filter(([{ keyOf }]) => keyOf === undefined).map(([, table]) => table)
    this.keyed = limits.some(({ keyOf }) => keyOf !== undefined)
  }

  get tables(): readonly LimitTable[] {
    return this.#limits.map(([, table]) => table)
  }

  /** The first limit without a key that has no room; null where all have. */
  get shut(): LimitTable | null {
    for (const table of this.#whole) if (!table.hasRoom(WHOLE)) return table
    return null
  }

  /** What holds back events of the consumer now: a limit without a key, or one for which events wait. */
  get holding(): Held | null {
    const shut = this.shut
    if (shut !== null) return shut.held(WHOLE)
    const table = this.tables.find(({ waiting }) => waiting > 0)
    return table === undefined ? null : { limit: table.name, kind: table.kind, dueAtMs: null }
  }

  /** Call `wake` when the limits without a key may have room. */
  waitUntilOpen(place: string, wake: Wake): void {
    this.shut?.wait(WHOLE, place, wake)
  }

  /** Whether the event may begin now. If not, `wake` is called when it may. */
  admits(of: LimitedEvent, wake: Wake): boolean {
    const permit = this.#permitOf(of)
    for (const [index, [, table]] of this.#limits.entries()) {
      const key = permit[index] as string | null
      if (key === null || table.hasRoom(key)) continue
      table.wait(key, placeOf(this.#consumer, of.channel, of.offset), wake)
      return false
    }
    return true
  }

  /**
   * The event begins in an instance, which waits for limits without a key. `counted`: it began under an earlier owner
   * of the data.
   */
  begin(of: LimitedEvent, instance: string, counted: boolean): Permit {
    const permit = this.#permitOf(of)
    this.#asked = null
    const place = this.keyed ? placeOf(this.#consumer, of.channel, of.offset) : ''
    for (const [index, [{ keyOf }, table]] of this.#limits.entries()) {
      const key = permit[index] as string | null
      if (key !== null) table.begin(key, keyOf === undefined ? instance : place, counted)
    }
    return permit
  }

  end(permit: Permit): void {
    for (const [index, [, table]] of this.#limits.entries()) {
      const key = permit[index] as string | null
      if (key !== null) table.end(key)
    }
  }

  /** What holds back the event at an offset of a channel; null where no limit does. */
  heldBy(channel: string, offset: number): Held | null {
    const place = placeOf(this.#consumer, channel, offset)
    for (const [, table] of this.#limits) {
      const held = table.heldBy(place)
      if (held !== null) return held
    }
    return null
  }

  #permitOf({ event, channel, offset, timeMs }: LimitedEvent): Permit {
    const asked = this.#asked
    if (asked !== null && asked.offset === offset && asked.channel === channel) return asked.permit
    const text = this.keyed ? new KeyedText(event, offset, timeMs) : null
    const permit = this.#limits.map(([{ keyOf, name }]) => {
      if (keyOf === undefined || text === null) return WHOLE
      const key = keyOf(text, channel)
      if (!isUnkeyed(key)) return key
      this.#host.alarms.raise(
        'LIMIT_KEY_FAILED',
        `the key function of limit "${name}" of consumer "${this.#consumer}" fails: all events for which it fails count as one key. ${key.failed.name}`,
        `limit key ${this.#consumer} ${name}`,
      )
      return FAILED
    })
    this.#asked = { channel, offset, permit }
    return permit
  }
}

function placeOf(consumer: string, channel: string, offset: number): string {
  return `${consumer}\0${channel}\0${offset}`
}
