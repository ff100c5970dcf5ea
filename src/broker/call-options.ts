/** What people give to the broker's calls, checked and in the port's form: places in a channel, queries of dead letters and of delayed events. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { timeMsOf } from '../base/time-text.ts'
import { durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import type { From } from './broker.ts'
import type { DelayedQuery } from './delays.ts'
import type { DeadLetterQuery } from './description.ts'
import type { Position } from './engine.ts'

/** Numbers this large are milliseconds since the epoch (the year 1973 and later) that were meant as a time. */
const LIKELY_TIME_MS = 100_000_000_000
const DATE_TEXT = /^\d{4}-\d{2}-\d{2}$/
const AGE_TEXT = /^\d+(?:\.\d+)?(?:ms|s|m|h|d|w)$/

const DEAD_LETTER_MEMBERS = ['channel', 'offset', 'id', 'key', 'limit'] as const
const DELAYED_MEMBERS = ['id', 'key', 'after', 'limit'] as const

/** A place in a channel from its human form. `option` is what an error calls it. @throws INVALID_OPTION */
export function position(from: From, nowMs: number, option = 'from'): Position {
  if (from === 'beginning' || from === 'end') return { at: from }
  if (from instanceof Date && Number.isFinite(from.getTime())) return { timeMs: from.getTime() }
  if (typeof from === 'string') {
    const timeMs = /^\d[^-]*$/.test(from) ? nowMs - durationMs(from, option) : timeMsOf(from)
    if (timeMs !== undefined) return { timeMs }
  }
  if (isOffset(from)) {
    knownOptions(from, ['offset'], option)
    return { offset: wholeNumber(from.offset, `${option}.offset`, 0, Number.MAX_SAFE_INTEGER) }
  }
  const meant = typeof from === 'number' ? numberMeant(from) : ''
  const forms = "'beginning', 'end', { offset }, a Date, RFC 3339 text, or an age such as '1h'"
  throw new MillraceError(
    'INVALID_OPTION',
    `${option} is a position in a channel: ${forms}; it is ${shown(from)}${meant}`,
    { option, value: shown(from) },
  )
}

/** A position as text has it, in a query or on a command line. Digits alone are an offset there; a date alone is its midnight in UTC. */
export function placeInText(text: string): From | undefined {
  if (/^\d{1,15}$/.test(text)) return { offset: Number(text) }
  if (text === 'beginning' || text === 'end' || AGE_TEXT.test(text)) return text as From
  const timeMs = timeMsOf(DATE_TEXT.test(text) ? `${text}T00:00:00Z` : text)
  return timeMs === undefined ? undefined : new Date(timeMs)
}

function isOffset(from: unknown): from is { readonly offset: number } {
  return typeof from === 'object' && from !== null && 'offset' in from
}

/** What a number can have meant: a whole one is an offset, and one that is a date of our time may be that. */
function numberMeant(from: number): string {
  if (!Number.isSafeInteger(from) || from < 0) return ''
  const isDate = from >= LIKELY_TIME_MS && Number.isFinite(new Date(from).getTime())
  return isDate ? `: did you mean new Date(${from})?` : `: did you mean { offset: ${from} }?`
}

/**
 * A query of dead letters. A member that is given as `undefined` is refused, and not left out: it is what a lookup gives that found nothing, and without it
 * the query would mean every dead letter.
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
  return membersOf(query, DEAD_LETTER_MEMBERS)
}

/** @throws INVALID_OPTION */
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

/** @throws INVALID_OPTION */
export function checkedDelayedId(id: string): string {
  if (typeof id === 'string' && id !== '') return id
  throw new MillraceError('INVALID_OPTION', `cancel takes the id of an event; it got ${shown(id)}`, { option: 'id' })
}

/** The members of a query as an object of its own: a class may have them as getters, and an object by inheritance. */
function membersOf<Query extends object>(query: Query, names: readonly (keyof Query)[]): Query {
  return Object.fromEntries(names.flatMap((name) => (name in query ? [[name, query[name]]] : []))) as unknown as Query
}

/** Refuse members that are given as `undefined`, where leaving them out means more than giving them. */
export function refuseUndefined(options: object, of: string, widened: string): void {
  for (const name in options) {
    if ((options as Readonly<Record<string, unknown>>)[name] !== undefined) continue
    throw new MillraceError('INVALID_OPTION', `${name} of ${of} is undefined: leave it out to mean ${widened}`, {
      option: name,
    })
  }
}

/** A backup is of files on this machine. */
export function noFiles(engine: string): MillraceError {
  const message = `${engine} keeps no data directory on this machine: use the backup of its server, or millrace copy`
  return new MillraceError('INVALID_OPTION', message, { engine })
}
