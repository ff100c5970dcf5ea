/** `broker.causes()` and `broker.effects()`: checks the options of a walk and decodes its events. */
import { LIMITS } from '../../base/limits.ts'
import { compileWildcard, isWildcard, nameOf } from '../../base/names.ts'
import { knownOptions, wholeNumber } from '../../base/units.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { decodeEvent } from '../../event/encode.ts'
import type { Engine } from '../engine.ts'
import { CausalWalk, type RelatedText, type WalkProgress } from './causal-walk.ts'

export interface RelatedOptions {
  /** Search only in these channels, by name or wildcard. @default every channel except Millrace's own */
  readonly channels?: string | readonly string[]
  /** The largest number of events to read. @default 100,000; up to 10,000,000 */
  readonly scan?: number
  /** The largest number of events to find. @default 1,000; up to 10,000 */
  readonly limit?: number
  /** Stops the walk. */
  readonly signal?: AbortSignal
}

/** An event of a causal tree. */
export interface RelatedEvent {
  readonly channel: string
  /** The event as it is stored. */
  readonly event: StoredEvent
  /** When it was stored. */
  readonly storedAt: Date
  /** `copy`: the same event, by its id, in another channel, for example after a rule forwarded it. */
  readonly relation: RelatedText['relation']
  /** The number of steps from the event that was asked about: 1 for its cause, and for its own effects. */
  readonly distance: number
}

/** The events of a walk as they are found, and its progress. */
export interface RelatedEvents extends AsyncIterableIterator<RelatedEvent> {
  readonly progress: WalkProgress
}

/**
 * Begins a walk through the causes or the effects of an event.
 * @throws INVALID_OPTION when an option or the offset is wrong · INVALID_NAME when a name or a wildcard is malformed
 */
export function relatedEvents(
  engine: Engine,
  direction: 'causes' | 'effects',
  channel: string | { readonly name: string },
  offset: number,
  options: RelatedOptions,
): RelatedEvents {
  knownOptions(options, ['channels', 'scan', 'limit', 'signal'], direction)
  const name = nameOf(channel, 'channel')
  wholeNumber(offset, 'offset', 0, Number.MAX_SAFE_INTEGER)
  const left = new AbortController()
  const walk = new CausalWalk(engine, {
    mayRead: channelFilter(options.channels),
    lookedMax: wholeNumber(options.scan ?? LIMITS.causalScanDefault, 'scan', 1, LIMITS.causalScanMax),
    foundMax: wholeNumber(options.limit ?? LIMITS.causalFoundDefault, 'limit', 1, LIMITS.causalFoundMax),
    signal: options.signal === undefined ? left.signal : AbortSignal.any([left.signal, options.signal]),
  })
  const events = walked(walk, direction, name, offset)
  return {
    get progress() {
      return walk.progress
    },
    next: () => events.next(),
    return: () => {
      left.abort()
      return events.return(undefined)
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

async function* walked(
  walk: CausalWalk,
  direction: 'causes' | 'effects',
  channel: string,
  offset: number,
): AsyncGenerator<RelatedEvent, undefined> {
  const stored = await walk.event(channel, offset)
  for await (const related of walk[direction]({ channel, stored })) for (const each of related) yield decoded(each)
  return undefined
}

function decoded({ channel, stored, relation, distance }: RelatedText): RelatedEvent {
  const event = decodeEvent(stored.text, stored.offset)
  return { channel, event, storedAt: new Date(stored.timeMs), relation, distance }
}

/** @throws INVALID_NAME when a wildcard is malformed */
function channelFilter(channels: RelatedOptions['channels']): (channel: string) => boolean {
  if (channels === undefined) return () => true
  const list = [channels].flat()
  const names = new Set(list.filter((each) => !isWildcard(each)).map((each) => nameOf(each, 'channel')))
  const wildcards = list.filter(isWildcard).map(compileWildcard)
  return (channel) => names.has(channel) || wildcards.some((matches) => matches(channel))
}
