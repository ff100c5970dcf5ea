/**
 * What a caller sees of stored events: in channels whose sensitive fields the caller may not see, they are masked, also
 * where a dead letter's key and an error quote them.
 */

import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { ChannelMask } from '../channel/channel-mask.ts'
import { MASK } from '../event/sensitive/masked-event.ts'
import type { DelayedEvent, DelayedQuery } from './delays.ts'
import type { DeadLetter, EventPlace } from './description.ts'
import type { Engine, EngineReadOptions, StoredText } from './engine.ts'
import type { Failure } from './failure.ts'
import type { Inspection } from './inspection.ts'

/** Whether the caller may see the sensitive fields of a channel's events. */
export type MaySee = (channel: string) => boolean

export const seesAll: MaySee = () => true

type Read = Pick<Engine, 'read' | 'channel' | 'clock'>

/** The mask for a channel's events; null where this caller sees them whole. */
export async function maskFor(engine: Read, channel: string, maySee: MaySee): Promise<ChannelMask | null> {
  return (await maskOfKept(engine, channel, maySee)) ?? null
}

/** As `maskFor`; undefined where there is no such channel. */
async function maskOfKept(engine: Read, channel: string, maySee: MaySee): Promise<ChannelMask | null | undefined> {
  if (maySee(channel)) return null
  const spec = await engine.channel(channel)
  return spec === undefined ? undefined : ChannelMask.of(spec)
}

/** For what is kept beyond the channel, such as dead letters: what a removed channel marked is not known any more. */
async function lastingMask(engine: Read, channel: string, maySee: MaySee): Promise<ChannelMask | null> {
  const mask = await maskOfKept(engine, channel, maySee)
  return mask === undefined ? ChannelMask.ofUnknown : mask
}

/** As the engine reads, with masks. A schema that is declared while the read goes on applies within a second. */
export async function* readSeen(
  engine: Read,
  channel: string,
  options: EngineReadOptions,
  maySee: MaySee,
): AsyncGenerator<readonly StoredText[]> {
  if (maySee(channel)) return yield* engine.read(channel, options)
  let mask = await maskFor(engine, channel, maySee)
  let lookedMs = engine.clock.elapsed()
  for await (const batch of engine.read(channel, options)) {
    if (engine.clock.elapsed() - lookedMs > LIMITS.sensitiveLookMs) {
      mask = await maskFor(engine, channel, maySee)
      lookedMs = engine.clock.elapsed()
    }
    yield mask === null ? batch : batch.map((event) => seenText(event, mask as ChannelMask))
  }
}

/** An event as a caller sees it to whom this mask applies. */
export function seenText(event: StoredText, mask: ChannelMask): StoredText {
  const { masked, text, redact } = mask.event(event.type, event.text)
  if (!masked) return event
  const { id, type, offset, timeMs, key } = event
  return { id, type, key: redact(key), text, offset, timeMs }
}

export async function seenLetters(
  engine: Read,
  letters: readonly DeadLetter[],
  maySee: MaySee,
): Promise<readonly DeadLetter[]> {
  const masks = new Map<string, ChannelMask | null>()
  for (const { channel } of letters)
    if (!masks.has(channel)) masks.set(channel, await lastingMask(engine, channel, maySee))
  return letters.map((letter) => {
    const mask = masks.get(letter.channel) ?? null
    if (mask === null) return letter
    const { text, redact } = mask.event(letter.type, letter.text)
    return { ...letter, text, key: redact(letter.key), failure: seenFailure(letter.failure, redact) }
  })
}

/** Delayed events as a caller sees them. A caller who may not see a key cannot find events by it. */
export async function seenDelayed(
  engine: Read,
  channel: string,
  { list, query }: { readonly list: readonly DelayedEvent[]; readonly query: DelayedQuery },
  maySee: MaySee,
): Promise<readonly DelayedEvent[]> {
  const mask = await maskFor(engine, channel, maySee)
  if (mask === null) return list
  // Delayed events are listed without their data, so it is not known whether the key is made from a sensitive field.
  const seen = list.map((each) => (each.key !== null && mask.has(each.type) ? { ...each, key: MASK } : each))
  return query.key === undefined ? seen : seen.filter(({ key }) => key === query.key)
}

/**
 * How many events have a key tells whether one has it. So callers who may not see sensitive fields may not choose by
 * key where there are such fields. @throws FORBIDDEN
 */
export async function checkChoiceByKey(engine: Read, channels: Iterable<string>, maySee: MaySee): Promise<void> {
  if (!(await hidesErrors(engine, channels, maySee))) return
  const message =
    'a choice by key needs the permission sensitive here, because the key may be made from a sensitive field: choose by channel and offset'
  throw new MillraceError('FORBIDDEN', message, { action: 'sensitive' })
}

/** An inspected event; `event` is null where it is not stored any more. */
interface InspectedText {
  readonly channel: string
  readonly event: Pick<StoredText, 'type' | 'text'> | null
}

/**
 * What a consumer says about an event, as the caller sees it. Its own failures quote no masked value. Those of other
 * events are masked whole, because the data of these is not at hand.
 */
export async function seenInspection(
  engine: Read,
  inspection: Inspection,
  { channel, event }: InspectedText,
  maySee: MaySee,
): Promise<Inspection> {
  const { delivery } = inspection
  if (delivery === null) return inspection
  const mask = await lastingMask(engine, channel, maySee)
  const own = (failure: Failure): Failure => {
    if (mask === null) return failure
    return event === null ? quiet(failure) : seenFailure(failure, mask.event(event.type, event.text).redact)
  }
  const another = async (failure: Failure, place: EventPlace | null): Promise<Failure> => {
    const isHere = place === null || place.channel === channel
    const isHidden = isHere ? mask !== null : await hidesErrors(engine, [place.channel], maySee)
    return isHidden ? quiet(failure) : failure
  }
  switch (delivery.state) {
    case 'retrying':
    case 'dead letter':
      return { ...inspection, delivery: { ...delivery, failure: own(delivery.failure) } }
    case 'behind': {
      const failure = delivery.failure === null ? null : await another(delivery.failure, delivery.event)
      return { ...inspection, delivery: { ...delivery, failure } }
    }
    case 'waiting': {
      const retries = []
      for (const retry of delivery.retries) retries.push({ ...retry, failure: await another(retry.failure, retry) })
      return { ...inspection, delivery: { ...delivery, retries } }
    }
    default:
      delivery satisfies WithoutFailures
      return inspection
  }
}

/** A state with a failure is not one of these, so that the compiler finds a new one that is not masked. */
interface WithoutFailures {
  readonly state: string
  readonly failure?: never
  readonly retries?: never
}

function quiet({ name, kind }: Failure): Failure {
  return { name, kind, message: MASK }
}

/**
 * Whether the caller may not see what an error of these channels quotes: one of them has sensitive fields. For errors
 * whose event is not known.
 */
export async function hidesErrors(engine: Read, channels: Iterable<string>, maySee: MaySee): Promise<boolean> {
  for (const channel of channels) if ((await lastingMask(engine, channel, maySee)) !== null) return true
  return false
}

/** A failure whose texts quote no masked value. */
export function seenFailure(failure: Failure, redact: <Text extends string | null>(text: Text) => Text): Failure {
  const { name, message, stack, code, kind } = failure
  return {
    ...{ name: redact(name), message: redact(message), kind },
    ...(stack !== undefined && { stack: redact(stack) }),
    ...(code !== undefined && { code: redact(code) }),
  }
}
