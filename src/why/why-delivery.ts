/**
 * Why a consumer has, or has not, handled one event. The first reason is the one that decides; those after it hold too.
 *
 * No engine keeps a record of each completion. So a settled event "was completed or skipped", and only what the running
 * consumer's filter says now is known beyond that.
 */
import { compileWildcard, isWildcard } from '../base/names.ts'
import { unknownConsumer } from '../broker/consumer-errors.ts'
import type { ConsumerDescription } from '../broker/description.ts'
import type { Engine, StoredText } from '../broker/engine.ts'
import { type DeliveryState, type Inspection, type InstanceState, withoutPlaces } from '../broker/inspection.ts'
import { type MaySee, maskFor, seenInspection, seesAll } from '../broker/seen-events.ts'
import { unmasked } from '../event/sensitive/masked-event.ts'
import { holdingReasons, idleReasons } from './hindrances.ts'
import { type Reason, reason } from './reason.ts'
import { eventAt, eventWithId, type Found } from './stored-event.ts'
import { unwantedReason } from './why-filtered.ts'

/** `settled`: completed or skipped. `pending`: it is, or will be, delivered. */
export type Standing = 'settled' | 'pending' | 'dead letter' | 'never' | 'not there'

export interface DeliveryWhy {
  readonly consumer: string
  readonly channel: string
  readonly offset: number | null
  readonly id: string | null
  readonly type: string | null
  readonly key: string | null
  readonly standing: Standing
  readonly reasons: readonly Reason[]
  /** What Millrace does not keep, or the asked process cannot know. */
  readonly notKnown: readonly string[]
}

export type AskedEvent = { readonly offset: number } | { readonly id: string }

/** What the caller of a question may know. */
export interface Asker {
  /** Nothing is said about events of channels for which this is false. */
  readonly mayRead: (channel: string) => boolean
  /** Sensitive fields are masked in channels for which this is false. */
  readonly maySee: MaySee
}

export const OWNER: Asker = { mayRead: () => true, maySee: seesAll }

/**
 * Why a consumer has handled an event, or has not.
 * @throws UNKNOWN_CHANNEL · UNKNOWN_CONSUMER
 */
export async function whyDelivery(
  engine: Engine,
  consumer: string,
  channel: string,
  asked: AskedEvent,
  asker: Asker = OWNER,
): Promise<DeliveryWhy> {
  const found: Found =
    'id' in asked ? await eventWithId(engine, channel, asked.id) : await eventAt(engine, channel, asked.offset)
  const of = { consumer, channel }
  const description = await engine.consumers.describe(consumer)
  if (found.event === null) {
    if (description === null && (await engine.consumers.inspect(consumer, null)).instances.length === 0)
      throw unknownConsumer(consumer)
    const [offset, id] = 'id' in asked ? [null, asked.id] : [asked.offset, null]
    return { ...of, offset, id, type: null, key: null, standing: 'not there', reasons: [found.reason], notKnown: [] }
  }
  const { event } = found
  const { offset, id, type, key } = event
  const whole = await engine.consumers.inspect(consumer, { channel, offset, key })
  const mask = await maskFor(engine, channel, asker.maySee)
  const seen = mask?.event(type, event.text) ?? unmasked(event.text)
  const readable = withoutPlaces(whole, asker.mayRead)
  const inspection = await seenInspection(engine, readable, { channel, event }, asker.maySee)
  if (description === null && inspection.instances.length === 0) throw unknownConsumer(consumer)
  const why = await explained(engine, of, { event, seen: seen.text, inspection, description, mayRead: asker.mayRead })
  return { ...of, offset, id, type, key: seen.redact(key), ...why }
}

interface Facts {
  readonly event: StoredText
  /** The event's text as the caller sees it. */
  readonly seen: string
  readonly inspection: Inspection
  /** Null for a consumer that has not begun anywhere. */
  readonly description: ConsumerDescription | null
  readonly mayRead: (channel: string) => boolean
}

type Explained = Pick<DeliveryWhy, 'standing' | 'reasons' | 'notKnown'>

async function explained(
  engine: Engine,
  of: Pick<DeliveryWhy, 'consumer' | 'channel'>,
  facts: Facts,
): Promise<Explained> {
  const { inspection, description } = facts
  const delivery = inspection.delivery ?? { state: 'not begun' }
  const notKnown = inspection.live ? [] : [ELSEWHERE]
  switch (delivery.state) {
    case 'not begun':
      return { standing: 'never', reasons: [notSubscribed(of, facts)], notKnown: [] }
    case 'settled':
      return settled(of, delivery.began, facts)
    case 'dead letter':
      return { standing: 'dead letter', reasons: [deadLetter(of, delivery)], notKnown: [] }
    default: {
      const unwanted =
        delivery.state === 'waiting' ? unwantedReason(of.consumer, facts.event, facts.seen, inspection.instances) : null
      const holding = await holdingReasons(engine, of, facts.event, delivery)
      const reasons = [...(unwanted === null ? [] : [unwanted]), ...holding, ...idleReasons(inspection, description)]
      return { standing: 'pending', reasons, notKnown }
    }
  }
}

const ELSEWHERE =
  'the consumer does not run in the process that was asked: what its instances hold in memory is not known here'
const NO_RECORD =
  'when it was handled and after how many attempts: a completion leaves no record, only that the event is settled'

function settled(of: Pick<DeliveryWhy, 'consumer' | 'channel'>, began: number | null, facts: Facts): Explained {
  const { event, seen, inspection } = facts
  const why = (only: Reason, notKnown = [NO_RECORD]): Explained => ({ standing: 'settled', reasons: [only], notKnown })
  if (began !== null && event.offset < began) {
    const text = `"${of.consumer}" began in "${of.channel}" at offset ${began}, or was moved there: it does not get earlier events unless it is rewound`
    return why(reason('before-begin', text, { began }), [])
  }
  const unwanted = unwantedReason(of.consumer, event, seen, inspection.instances)
  if (unwanted !== null) return why(unwanted)
  const skipped = inspection.instances.length === 0 ? ', or skipped because no handler matched it' : ''
  const before = began === null ? ', or it is before the position from which the consumer began' : ''
  return why(reason('settled', `"${of.consumer}" is done with the event: it was completed${skipped}${before}`))
}

function notSubscribed(
  { consumer, channel }: Pick<DeliveryWhy, 'consumer' | 'channel'>,
  { inspection: { instances }, description, mayRead }: Facts,
): Reason {
  const taken = takenBy(instances, description).filter(mayRead)
  const list = taken.length === 0 ? 'other channels' : taken.map((name) => `"${name}"`).join(', ')
  if (instances.some((instance) => takes(instance, channel)))
    return reason('not-begun', `"${consumer}" takes "${channel}", and has not begun there yet`, { channels: taken })
  return reason('not-subscribed', `"${consumer}" does not take "${channel}": it takes ${list}`, { channels: taken })
}

function takenBy(instances: readonly InstanceState[], description: ConsumerDescription | null): string[] {
  const running = instances.flatMap(({ channels }) => channels)
  return [...new Set(running.length > 0 ? running : (description?.channels ?? []).map(({ channel }) => channel))].sort()
}

function takes({ channels }: InstanceState, channel: string): boolean {
  return channels.some((name) => name === channel || (isWildcard(name) && compileWildcard(name)(channel)))
}

function deadLetter(
  { consumer }: Pick<DeliveryWhy, 'consumer'>,
  { attempts, deadAtMs, failure }: Extract<DeliveryState, { readonly state: 'dead letter' }>,
): Reason {
  const text = `"${consumer}" gave up on the event after ${attempts} attempt(s), ${new Date(deadAtMs).toISOString()}: ${failure.message}. It is in the consumer's dead letters`
  return reason('dead-letter', text, { attempts, deadAtMs, failure })
}
