/**
 * The filter dialects of the CloudEvents Subscriptions API: exact, prefix, suffix, all, any, not, sql
 * (subscriptions/spec.md 3.2.4.1).
 *
 * A filter is checked completely when it is compiled: an unknown dialect is refused, never ignored.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { isPlainObject, shown } from '../pattern-error.ts'
import { eventAttribute } from './event-attribute.ts'
import { compileExpression } from './expression.ts'

/** Attribute names, and the text that each is compared with. */
export type AttributeTexts = Readonly<Record<string, string>>

/** A filter of the Subscriptions API: an object with one dialect. */
export type EventFilterDialect =
  | { readonly exact: AttributeTexts }
  | { readonly prefix: AttributeTexts }
  | { readonly suffix: AttributeTexts }
  | { readonly all: readonly EventFilterDialect[] }
  | { readonly any: readonly EventFilterDialect[] }
  | { readonly not: EventFilterDialect }
  | { readonly sql: string }

/** A compiled filter. */
export interface CompiledFilter {
  /** Whether the event passes. Never throws. */
  matches(event: object): boolean
}

type FilterTest = (event: object) => boolean

/**
 * Compile a filter of the CloudEvents Subscriptions API, or an array of filters, all of which an event must pass (an
 * empty array passes all).
 *
 * A missing attribute is equal to nothing and begins with nothing. Integers and booleans are compared as they are
 * written.
 *
 * @throws INVALID_PATTERN when the filter is malformed; `details.path` says where
 * @throws INVALID_EXPRESSION when a `sql` filter does not parse; `details.path` says where
 * @example
 * ```ts
 * import { compileFilter } from 'millrace/pattern'
 *
 * const untested = { not: { sql: "subject LIKE '%/test'" } }
 * const pushes = compileFilter({ all: [{ prefix: { type: 'com.github.' } }, untested] })
 * pushes.matches({ specversion: '1.0', id: '1', source: '/hooks', type: 'com.github.push', subject: 'main' }) // true
 * ```
 * @see https://github.com/cloudevents/spec/blob/main/subscriptions/spec.md
 */
export function compileFilter(filter: EventFilterDialect | readonly EventFilterDialect[]): CompiledFilter {
  const matchers = Array.isArray(filter)
    ? filter.map((each, index) => matcherOf(each, `[${index}]`, 1))
    : [matcherOf(filter, '', 1)]
  const matches = every(matchers)
  return {
    matches(event) {
      try {
        return matches(event)
      } catch {
        // The event is not an object, or its getters throw: it has no attributes that could pass.
        return false
      }
    },
  }
}

function matcherOf(filter: unknown, path: string, depth: number): FilterTest {
  if (depth > LIMITS.expressionDepthMax) refuse(path, `filters nest at most ${LIMITS.expressionDepthMax} deep`)
  const entries = isPlainObject(filter) ? Object.entries(filter) : []
  const [entry] = entries
  if (entry === undefined || entries.length > 1)
    refuse(path, `a filter is an object with one dialect, not ${shown(filter)}`)
  const [dialect, value] = entry
  const where = path === '' ? dialect : `${path}.${dialect}`
  switch (dialect) {
    case 'exact':
      return attributesMatcher(value, where, (text, wanted) => text === wanted)
    case 'prefix':
      return attributesMatcher(value, where, (text, wanted) => text.startsWith(wanted))
    case 'suffix':
      return attributesMatcher(value, where, (text, wanted) => text.endsWith(wanted))
    case 'all':
      return every(matchersOf(value, where, depth))
    case 'any':
      return some(matchersOf(value, where, depth))
    case 'not': {
      const inner = matcherOf(value, where, depth + 1)
      return (event) => !inner(event)
    }
    case 'sql':
      return sqlMatcher(value, where)
    default:
      return refuse(where, `${shown(dialect)} is not a dialect; write exact, prefix, suffix, all, any, not or sql`)
  }
}

function attributesMatcher(value: unknown, path: string, fits: (text: string, wanted: string) => boolean): FilterTest {
  const entries = isPlainObject(value) ? Object.entries(value) : []
  if (entries.length === 0) refuse(path, `it takes an object of attribute names and texts, not ${shown(value)}`)
  return every(
    entries.map(([name, wanted]) => {
      if (!/^[a-z0-9]+$/.test(name))
        refuse(path, `${shown(name)} is not an attribute's name: lower-case letters and digits`)
      if (typeof wanted !== 'string' || wanted === '')
        refuse(`${path}.${name}`, `it takes a text that is not empty, not ${shown(wanted)}`)
      return (event) => {
        const found = eventAttribute(event, name)
        return found !== undefined && fits(String(found), wanted)
      }
    }),
  )
}

function matchersOf(value: unknown, path: string, depth: number): FilterTest[] {
  if (!Array.isArray(value) || value.length === 0)
    refuse(path, `it takes an array of at least one filter, not ${shown(value)}`)
  return value.map((each, index) => matcherOf(each, `${path}[${index}]`, depth + 1))
}

function sqlMatcher(value: unknown, path: string): FilterTest {
  if (typeof value !== 'string') refuse(path, `it takes a CloudEvents SQL expression, not ${shown(value)}`)
  try {
    return compileExpression(value).matches
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error
    throw new MillraceError(
      error.code,
      `the filter at "${path}": ${error.message}`,
      { ...error.details, path },
      { cause: error },
    )
  }
}

function every(matchers: readonly FilterTest[]): FilterTest {
  return (event) => matchers.every((matches) => matches(event))
}

function some(matchers: readonly FilterTest[]): FilterTest {
  return (event) => matchers.some((matches) => matches(event))
}

function refuse(path: string, reason: string): never {
  throw new MillraceError(
    'INVALID_PATTERN',
    `the filter is malformed${path === '' ? '' : ` at "${path}"`}: ${reason}`,
    { path, reason },
  )
}
