/**
 * The calls of the carriage at the server. They need the permission `manage` on all channels. Whatever a client sends
 * is checked.
 *
 * "All channels" does not include Millrace's own channels (the audit trail, push subscriptions with their secrets):
 * these must be named.
 */
import { MillraceError } from '../../base/errors.ts'
import { checkName } from '../../base/names.ts'
import { wholeNumber } from '../../base/units.ts'
import type { CarriedConsumer, CarriedEvent, CarriedLetter } from '../../broker/carriage.ts'
import type { Engine } from '../../broker/engine.ts'
import { maskFor } from '../../broker/seen-events.ts'
import { type Access, allows } from '../access.ts'
import { malformed } from '../frame.ts'
import { checkEvent } from './checks.ts'

interface Asked {
  readonly engine: Engine
  readonly access: Access
  readonly args: readonly unknown[]
}

export const CARRIAGE_CALLS: Readonly<Record<string, (asked: Asked) => Promise<unknown>>> = {
  'carriage.accepts': async ({ engine, access }) => {
    access.check('manage', '>')
    return engine.carriage.accepts()
  },
  'carriage.consumers': async (asked) => {
    await refuseMasked(asked)
    return asked.engine.carriage.consumers(channelOf(asked))
  },
  'carriage.letters': async (asked) => {
    const [, consumer, from] = asked.args
    await refuseMasked(asked)
    return asked.engine.carriage.letters(channelOf(asked), consumerOf(consumer), cursorOf(from))
  },
  'carriage.scheduled': async (asked) => {
    await refuseMasked(asked)
    return asked.engine.carriage.scheduled(channelOf(asked), cursorOf(asked.args[1]))
  },
  'carriage.putEvents': async (asked) => {
    const channel = channelOf(asked)
    const events = listOf(asked.args[1]) as readonly CarriedEvent[]
    await checkEvents(asked, channel, events)
    await asked.engine.carriage.putEvents(channel, events)
  },
  'carriage.putConsumer': async (asked) => {
    const channel = channelOf(asked)
    const state = asked.args[1] as CarriedConsumer
    if (typeof state !== 'object' || state === null || state.channel !== channel)
      throw malformed('a consumer’s state is an object')
    consumerOf(state.consumer)
    for (const worker of listOf(state.workers)) checkName(worker, 'consumer')
    wholeNumber(state.floor, 'floor', 0, Number.MAX_SAFE_INTEGER)
    for (const [from, to] of listOf(state.settled) as CarriedConsumer['settled']) {
      wholeNumber(from, 'settled', 0, Number.MAX_SAFE_INTEGER)
      wholeNumber(to, 'settled', from, Number.MAX_SAFE_INTEGER)
    }
    for (const { offset } of listOf(state.retries) as CarriedConsumer['retries'])
      wholeNumber(offset, 'offset', 0, Number.MAX_SAFE_INTEGER)
    await asked.engine.carriage.putConsumer(state)
  },
  'carriage.putLetters': async (asked) => {
    const channel = channelOf(asked)
    const letters = listOf(asked.args[2]) as readonly CarriedLetter[]
    await checkEvents(asked, channel, letters)
    for (const { offset, consumer } of letters) {
      checkName(consumer, 'consumer')
      wholeNumber(offset, 'offset', 0, Number.MAX_SAFE_INTEGER)
    }
    await asked.engine.carriage.putLetters(channel, consumerOf(asked.args[1]), letters)
  },
}

function channelOf({ access, args: [channel] }: Asked): string {
  access.check('manage', '>')
  const name = checkName(channel, 'channel')
  if (name.startsWith('$')) access.check('manage', name)
  return name
}

/** A copy must not contain masks in the place of sensitive fields. @throws FORBIDDEN */
async function refuseMasked(asked: Asked): Promise<void> {
  const { engine, access } = asked
  const channel = channelOf(asked)
  if ((await maskFor(engine, channel, (name) => allows(access, 'sensitive', name))) === null) return
  const message = `channel "${channel}" has sensitive fields, which ${access.name} may not see: a copy needs the permission sensitive for it`
  throw new MillraceError('FORBIDDEN', message, { action: 'sensitive', channel })
}

function consumerOf(value: unknown): string | null {
  return value === null ? null : checkName(value, 'consumer')
}

function cursorOf(value: unknown): string | null {
  if (value === null || typeof value === 'string') return value
  throw malformed('a cursor is a text')
}

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value as readonly unknown[]
  throw malformed('a list is missing')
}

async function checkEvents({ engine, access }: Asked, channel: string, events: readonly CarriedEvent[]): Promise<void> {
  for (const { timeMs } of events) wholeNumber(timeMs, 'timeMs', 0, Number.MAX_SAFE_INTEGER)
  if (access.trusted) return
  const spec = await engine.channel(channel)
  if (spec !== undefined) for (const event of events) checkEvent(spec, event)
}
