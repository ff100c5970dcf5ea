/** Query parameters in the broker's terms. A parameter that does not exist, or is given twice, is refused: a misspelt one must not be ignored. */
import { type From, positionInText } from '../broker/position.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { badRequest } from './problem.ts'

/** The parameters, by name. Credentials in the query are the authenticator's. @throws INVALID_REQUEST */
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

/** A place in a channel: `beginning`, `end`, an offset, an RFC 3339 time, or an age such as `1h`. */
export function placeOf(name: string, text: string): From {
  const place = positionInText(text)
  if (place !== undefined) return place
  throw badRequest(
    400,
    `${name} must be "beginning", "end", an offset, an RFC 3339 time or an age such as 1h; it is "${text.slice(0, 60)}"`,
    {
      parameter: name,
    },
  )
}

/** A whole number within bounds. */
export function countOf(name: string, text: string, min: number, max: number): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (count >= min && count <= max) return count
  throw badRequest(400, `${name} must be a whole number from ${min} to ${max}; it is "${text.slice(0, 60)}"`, {
    parameter: name,
    min,
    max,
  })
}

/** An event pattern as JSON text; whether it is one, the broker says. */
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
