/** Request bodies that are JSON: strict UTF-8, limited depth, and only the members that a route accepts. */
import { LIMITS } from '../base/limits.ts'
import { essenceOf, isJson } from '../event/http/media-type.ts'
import { type JsonBounds, JsonScanner } from '../event/json-scanner.ts'
import { badRequest } from './problem.ts'

const BOUNDS: JsonBounds = {
  depthMax: LIMITS.dataDepthMax + 8,
  namesMax: LIMITS.gatewayJsonValuesMax,
  valuesMax: LIMITS.gatewayJsonValuesMax,
}
const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * The value of a JSON body, and its text; `undefined` when it is empty. A body without a content type, or with the one
 * that `curl -d` sends, is read as JSON.
 * @throws INVALID_REQUEST
 */
export function jsonOf(
  bytes: Uint8Array,
  contentType: string | null,
): { readonly value: unknown; readonly text: string } {
  if (bytes.length === 0) return { value: undefined, text: '' }
  if (contentType !== null && !isJson(contentType) && essenceOf(contentType) !== 'application/x-www-form-urlencoded') {
    throw badRequest(415, `the body must be application/json; it is ${contentType.slice(0, 100)}`, {
      contentType: contentType.slice(0, 200),
    })
  }
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    throw badRequest(400, 'the body is not UTF-8')
  }
  try {
    new JsonScanner(text, BOUNDS).whole()
  } catch (error) {
    throw badRequest(400, `the body cannot be read as JSON: ${(error as Error).message}`)
  }
  return { value: JSON.parse(text) as unknown, text }
}

/** The members of a JSON object. Unknown members are refused. @throws INVALID_REQUEST */
export function membersOf<const Name extends string>(
  value: unknown,
  known: readonly Name[],
  what: string,
): Partial<Record<Name, unknown>> {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest(400, `${what} must be a JSON object`)
  for (const name of Object.keys(value)) {
    if (!known.includes(name as Name)) {
      throw badRequest(400, `${what} has no member "${name.slice(0, 60)}"; it has ${known.join(', ')}`, {
        member: name.slice(0, 200),
      })
    }
  }
  return value as Partial<Record<Name, unknown>>
}
