/**
 * Query parameters as the broker's values. An unknown parameter, or one given twice, is refused, so that a misspelt one
 * is never ignored.
 */
import { type From, positionInText } from '../broker/position.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { badRequest } from './problem.ts'

/** The parameters by name. `access_token` is left to the authenticator. @throws INVALID_REQUEST */
export function parameters<const Name extends string>(url: URL, known: readonly Name[]): Partial<Record<Name, string>> {
  const found: Partial<Record<Name, string>> = {}
  if (url.search === '') return found
  for (const [name, value] of url.searchParams) {
    if (name === 'access_token') continue
    if (!known.includes(name as Name))
      throw badRequest(
        400,
        `unknown query parameter "${name.slice(0, 60)}"; this route has ${known.length === 0 ? 'none' : known.join(', ')}`,
        {
          parameter: name,
        },
      )
    if (Object.hasOwn(found, name))
      throw badRequest(400, `query parameter "${name}" is given twice`, { parameter: name })
    found[name as Name] = value
  }
  return found
}

/** A position in a channel: `beginning`, `end`, an offset, an RFC 3339 time, or an age such as `1h`. */
export function positionOf(name: string, text: string): From {
  const position = positionInText(text)
  if (position !== undefined) return position
  throw badRequest(
    400,
    `${name} must be "beginning", "end", an offset, an RFC 3339 time or an age such as 1h; it is "${text.slice(0, 60)}"`,
    {
      parameter: name,
    },
  )
}

/** A whole number within limits. */
export function countOf(name: string, text: string, min: number, max: number): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (count >= min && count <= max) return count
  throw badRequest(400, `${name} must be a whole number from ${min} to ${max}; it is "${text.slice(0, 60)}"`, {
    parameter: name,
    min,
    max,
  })
}

/** An event pattern as JSON. The broker checks whether it is a valid pattern. */
export function patternOf(text: string): PatternJson {
  try {
    return JSON.parse(text) as PatternJson
  } catch {
    throw badRequest(
      400,
      `where must be an event pattern in JSON, such as {"type":["cart.item.added"]}; it is "${text.slice(0, 60)}"`,
      { parameter: 'where' },
    )
  }
}
