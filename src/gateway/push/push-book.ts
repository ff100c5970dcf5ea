/**
 * The push subscriptions of a broker, stored in its channel `$push`: each change is an event there.
 *
 * Every process reads the subscriptions from the channel, so they survive restarts and are the same on every engine.
 * The channel keeps the latest event of each name. It contains secrets, so a permission must name `$push` to read it: a
 * wildcard does not include it.
 */
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { isJsonObject } from '../../base/json-object.ts'
import { LIMITS } from '../../base/limits.ts'
import { isName } from '../../base/names.ts'
import type { Broker } from '../../broker/broker.ts'
import { engineOf } from '../../broker/engine-of.ts'
import type { From } from '../../broker/position.ts'
import { type Stream, stream } from '../../channel/channel.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { event } from '../../event/event.ts'
import { type PushJson, type PushSpec, pushSpecOf } from './push-spec.ts'

/** A subscription as it is stored. */
export interface PushChange {
  readonly name: string
  /** `null`: removed. */
  readonly subscription: PushJson | null
  readonly enabled: boolean
  readonly by: string
  readonly reason: string | null
  /** Requests per minute that the subscriber granted; `null`: it set no limit, or there was no handshake. */
  readonly grantedPerMinute: number | null
}

export interface PushEntry extends PushChange {
  readonly subscription: PushJson
  readonly changedAt: string
  /** `null` if another version of Millrace wrote it and this version cannot read it. */
  readonly spec: PushSpec | null
}

const TYPES = ['push.put', 'push.removed'] as const
const definitions = TYPES.map((type) => event(type))

const pushChannel: Stream = stream('$push', {
  events: definitions,
  key: (each) => (each.data as PushChange).name,
  retain: { latestByKey: true },
  dedupe: false,
})

export class PushBook {
  readonly #broker: Broker
  #entries = new Map<string, PushEntry>()
  #next = 0
  #reading: Promise<void> = Promise.resolve()

  constructor(broker: Broker) {
    this.#broker = broker
  }

  get entries(): ReadonlyMap<string, PushEntry> {
    return this.#entries
  }

  /** Reads all events that are in `$push` now. */
  refresh(): Promise<void> {
    const reading = this.#reading.catch(() => undefined).then(() => this.#read())
    this.#reading = reading
    return reading
  }

  async #read(): Promise<void> {
    if ((await engineOf(this.#broker).channel(pushChannel.name)) === undefined) return
    try {
      await this.#applyFrom({ offset: this.#next })
    } catch (error) {
      if (!isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
      // The channel begins at a later offset now: the events read before were replaced. All entries are read again.
      this.#entries = new Map()
      await this.#applyFrom('beginning')
    }
  }

  async #applyFrom(from: From): Promise<void> {
    for await (const stored of this.#broker.read(pushChannel.name, { from })) {
      this.#next = stored.offset + 1
      this.#apply(stored)
    }
  }

  #apply(event: StoredEvent): void {
    const change = changeIn(event)
    if (change === null) return
    const { time } = event
    if (change.subscription === null) this.#entries.delete(change.name)
    else
      this.#entries.set(change.name, {
        ...change,
        subscription: change.subscription,
        changedAt: time ?? '',
        spec: specOf(change.subscription),
      })
  }

  /** @throws UNKNOWN_SUBSCRIPTION */
  async get(name: string): Promise<PushEntry> {
    await this.refresh()
    const entry = this.#entries.get(name)
    if (entry === undefined) {
      throw new MillraceError(
        'UNKNOWN_SUBSCRIPTION',
        `there is no subscription "${name.slice(0, 100)}": list them, and correct the name`,
        {
          subscription: name.slice(0, 100),
        },
      )
    }
    return entry
  }

  /** Stores the change; it is durable when this resolves. @throws BACKPRESSURE above the limit of subscriptions */
  async put(change: PushChange): Promise<void> {
    await this.#broker.declare(pushChannel)
    await this.refresh()
    if (
      change.subscription !== null &&
      !this.#entries.has(change.name) &&
      this.#entries.size >= LIMITS.pushSubscriptionsMax
    ) {
      throw new MillraceError(
        'BACKPRESSURE',
        `there are ${LIMITS.pushSubscriptionsMax} subscriptions, which is the limit: remove one first`,
        {},
      )
    }
    const type = change.subscription === null ? 'push.removed' : 'push.put'
    await this.#broker.publish(pushChannel, { type, data: change, source: '/millrace/gateway' } as never)
    await this.refresh()
  }
}

/** The change in an event of `$push`, or `null`: an event that is not a valid change is ignored. */
function changeIn({ data }: StoredEvent): PushChange | null {
  if (!isJsonObject(data)) return null
  const { name, subscription, enabled, by, reason, grantedPerMinute } = data
  const named = isName(name) && typeof by === 'string' && typeof enabled === 'boolean'
  const rated = grantedPerMinute === null || (typeof grantedPerMinute === 'number' && grantedPerMinute > 0)
  const whole =
    named &&
    rated &&
    (reason === null || typeof reason === 'string') &&
    (subscription === null || isJsonObject(subscription))
  return whole ? (data as unknown as PushChange) : null
}

function specOf(json: PushJson): PushSpec | null {
  try {
    return pushSpecOf(json)
  } catch {
    return null
  }
}
