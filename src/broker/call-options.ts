/** Checks the arguments of the broker's calls: queries of dead letters and of delayed events. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { knownOptions, wholeNumber } from '../base/units.ts'
import type { ActionOptions } from './action-options.ts'
import type { StateChoice } from './consumers.ts'
import type { DelayedQuery } from './delays.ts'
import type { DeadLetterQuery, EventPlace, LetterPlace } from './description.ts'

/** The reason and the actor that an action is recorded with; null if neither is given. @throws INVALID_OPTION */
export function checkedNote(
  { reason, by }: ActionOptions,
  of: string,
): { readonly reason: string | undefined; readonly by: string } | null {
  for (const [option, value] of Object.entries({ reason, by })) {
    if (value === undefined || (typeof value === 'string' && value.length <= LIMITS.reasonCharsMax)) continue
    throw new MillraceError(
      'INVALID_OPTION',
      `${option} of ${of} must be text of at most ${LIMITS.reasonCharsMax} characters; it is ${shown(value)}`,
      { option },
    )
  }
  return reason === undefined && by === undefined ? null : { reason, by: by ?? 'code' }
}

const DEAD_LETTER_MEMBERS = ['channel', 'offset', 'id', 'key', 'places', 'after', 'limit'] as const
const DELAYED_MEMBERS = ['id', 'key', 'after', 'limit'] as const

/**
 * A query of dead letters. A member with the value `undefined` is refused: a failed lookup gives it, and without the
 * member the query would select every dead letter.
 *
 * @throws INVALID_OPTION
 */
export function checkedQuery(query: DeadLetterQuery): DeadLetterQuery {
  knownOptions(query, DEAD_LETTER_MEMBERS, 'a dead-letter query')
  refuseUndefined(query, 'a dead-letter query', 'every dead letter')
  for (const name of ['channel', 'id', 'key'] as const) {
    if (!(name in query) || typeof query[name] === 'string') continue
    throw new MillraceError(
      'INVALID_OPTION',
      `${name} of a dead-letter query must be a string; it is ${shown(query[name])}`,
      { option: name },
    )
  }
  if ('offset' in query) wholeNumber(query.offset, 'offset', 0, Number.MAX_SAFE_INTEGER)
  if ('limit' in query) wholeNumber(query.limit, 'limit', 1, Number.MAX_SAFE_INTEGER)
  return {
    ...membersOf(query, DEAD_LETTER_MEMBERS),
    ...('places' in query && { places: checkedPlaces(query.places) }),
    ...('after' in query && { after: query.after === null ? null : checkedPlace(query.after, 'after') }),
  }
}

function checkedPlaces(places: unknown): LetterPlace[] {
  if (Array.isArray(places) && places.length <= LIMITS.deadLetterPlacesMax) {
    return places.map((place: unknown) => {
      const { deadAtMs } = (place ?? {}) as LetterPlace
      if (deadAtMs !== undefined) wholeNumber(deadAtMs, 'places.deadAtMs', 0, Number.MAX_SAFE_INTEGER)
      return { ...checkedPlace(place, 'places'), ...(deadAtMs !== undefined && { deadAtMs }) }
    })
  }
  throw new MillraceError(
    'INVALID_OPTION',
    `places of a dead-letter query must be an array of up to ${LIMITS.deadLetterPlacesMax} places; it is ${shown(places)}`,
    { option: 'places' },
  )
}

function checkedPlace(place: unknown, option: string): EventPlace {
  const { channel, offset } = (place ?? {}) as Partial<Record<keyof EventPlace, unknown>>
  wholeNumber(offset as number, `${option}.offset`, 0, Number.MAX_SAFE_INTEGER)
  return { channel: checkName(channel, 'channel'), offset: offset as number }
}

/**
 * A query of delayed events, after all checks.
 * @throws INVALID_OPTION when a member is unknown, `undefined` or wrong
 */
export function checkedDelayedQuery(query: DelayedQuery): DelayedQuery {
  const of = 'a query of delayed events'
  knownOptions(query, DELAYED_MEMBERS, of)
  refuseUndefined(query, of, 'every delayed event')
  for (const name of ['id', 'key'] as const) {
    if (!(name in query) || typeof query[name] === 'string') continue
    throw new MillraceError('INVALID_OPTION', `${name} of ${of} must be a string; it is ${shown(query[name])}`, {
      option: name,
    })
  }
  if ('limit' in query) wholeNumber(query.limit, 'limit', 1, LIMITS.delayedListMax)
  if (!('after' in query)) return membersOf(query, DELAYED_MEMBERS)
  const { after } = query
  if (typeof after !== 'object' || after === null || typeof after.id !== 'string') {
    throw new MillraceError(
      'INVALID_OPTION',
      `after of ${of} must be a delayed event, the last one of the previous page; it is ${shown(after)}`,
      {
        option: 'after',
      },
    )
  }
  wholeNumber(after.dueAtMs, 'after.dueAtMs', 0, Number.MAX_SAFE_INTEGER)
  return { ...membersOf(query, DELAYED_MEMBERS), after: { dueAtMs: after.dueAtMs, id: after.id } }
}

/** The id of a delayed event to cancel. @throws INVALID_OPTION when it is not text, or is empty */
export function checkedDelayedId(id: string): string {
  if (typeof id === 'string' && id !== '') return id
  throw new MillraceError('INVALID_OPTION', `cancel takes the id of an event; it got ${shown(id)}`, { option: 'id' })
}

/** The members of a query as a plain object: a class may have them as getters, an object by inheritance. */
function membersOf<Query extends object>(query: Query, names: readonly (keyof Query)[]): Query {
  return Object.fromEntries(names.flatMap((name) => (name in query ? [[name, query[name]]] : []))) as unknown as Query
}

/** Refuses members with the value `undefined`, for options whose absence selects more. */
export function refuseUndefined(options: object, of: string, widened: string): void {
  for (const name in options) {
    if ((options as Readonly<Record<string, unknown>>)[name] !== undefined) continue
    throw new MillraceError('INVALID_OPTION', `${name} of ${of} is undefined: leave it out to mean ${widened}`, {
      option: name,
    })
  }
}

/** The error for engines that keep no files on this machine. */
export function noFiles(engine: string): MillraceError {
  const message = `${engine} keeps no data directory on this machine: use the backup of its server, or millrace copy`
  return new MillraceError('INVALID_OPTION', message, { engine })
}

/** What a rewind does with the state of the consumer. @throws INVALID_OPTION */
export function checkStateChoice(state: unknown): asserts state is StateChoice {
  if (state === 'keep' || state === 'reset') return
  throw new MillraceError('INVALID_OPTION', `state of a rewind is 'keep' or 'reset'; it is ${shown(state)}`, {
    option: 'state',
  })
}
