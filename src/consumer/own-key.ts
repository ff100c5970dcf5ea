/**
 * A consumer's own key (clause 4): the application's function, around which nothing else throws. An event for which it
 * fails becomes a dead letter, because no later attempt would find another key.
 *
 * The function gets the event as a handler gets it. An event in a version that this instance does not know is given as
 * it is stored; where the function cannot read it, the event has no key, and its handler hands it back.
 */
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { namedMessageOf, watchAnswer } from '../base/thrown.ts'
import type { OwnKey, StoredText } from '../broker/engine.ts'
import { type EventDecoder, parsed } from '../broker/event-decoder.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { failureOf } from './failure.ts'

export type KeyFunction = (event: never) => unknown

export function ownKey(consumer: string, key: KeyFunction, decoder: EventDecoder): OwnKey {
  const of = (event: StoredEvent): unknown => (key as (given: StoredEvent) => unknown)(event)
  return (stored, channel) => {
    try {
      return checked(called(consumer, stored, channel, of, decoder), consumer, stored, channel)
    } catch (error) {
      return { failed: failureOf(error) }
    }
  }
}

function called(
  consumer: string,
  stored: StoredText,
  channel: string,
  key: (event: StoredEvent) => unknown,
  decoder: EventDecoder,
): unknown {
  const event = decodedOrNewer(consumer, stored, channel, decoder)
  try {
    return key(event ?? parsed(stored, channel, 'handled'))
  } catch (cause) {
    if (event === null) return undefined
    throw failed(consumer, stored, channel, `threw ${namedMessageOf(cause)}`, cause)
  }
}

/** Null for an event in a version that this instance does not know. */
function decodedOrNewer(
  consumer: string,
  stored: StoredText,
  channel: string,
  decoder: EventDecoder,
): StoredEvent | null {
  try {
    const event = decoder.decode(stored, channel)
    if (!(event instanceof Promise)) return event
    event.catch(() => undefined)
  } catch (error) {
    if (isMillraceError(error, 'UNKNOWN_VERSION')) return null
    throw error
  }
  throw failed(
    consumer,
    stored,
    channel,
    `cannot wait for the schema of "${stored.type}", which validates asynchronously: give the event type a synchronous schema`,
  )
}

function checked(key: unknown, consumer: string, stored: StoredText, channel: string): string | null {
  if (key === undefined || key === null) return null
  const fits =
    typeof key === 'string' && key.length > 0 && !key.includes('\0') && Buffer.byteLength(key) <= LIMITS.keyBytesMax
  if (fits) return key.isWellFormed() ? key : key.toWellFormed()
  watchAnswer(key)
  const rule = `text of 1 to ${LIMITS.keyBytesMax} bytes, or undefined for none`
  throw failed(consumer, stored, channel, `returned ${shown(key)}: a key is ${rule}`)
}

function failed(
  consumer: string,
  { id, offset }: StoredText,
  channel: string,
  what: string,
  cause?: unknown,
): MillraceError {
  return new MillraceError(
    'INVALID_EVENT',
    `the key function of consumer "${consumer}" ${what} (event "${id}" at offset ${offset} of channel "${channel}")`,
    { channel, offset, id, handled: true },
    cause === undefined ? {} : { cause },
  )
}
