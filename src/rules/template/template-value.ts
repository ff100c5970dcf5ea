/** What a template makes of an event: a JSON value, or `MISSING`, which is what a path gives that leads nowhere. */

/** There is nothing at the path. Not `null`: an event can say `null`. */
export const MISSING: unique symbol = Symbol('missing')
export type TemplateValue = unknown

/** A template cannot be rendered for this event; another attempt would not help. */
export class TemplateFailure extends Error {
  override readonly name = 'TemplateFailure'
}

/** A value within a text: what is missing or null is nothing, objects and arrays are their JSON. */
export function asText(value: TemplateValue): string {
  if (value === MISSING || value === null || value === undefined) return ''
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}

/** A step of a path: own members of objects, elements of arrays. */
export function stepInto(value: TemplateValue, name: string): TemplateValue {
  if (typeof value !== 'object' || value === null) return MISSING
  if (Array.isArray(value)) {
    if (!/^-?(?:0|[1-9]\d{0,9})$/.test(name)) return MISSING
    const found: unknown = value.at(Number(name))
    return found === undefined ? MISSING : found
  }
  if (!Object.hasOwn(value, name)) return MISSING
  const found = (value as Readonly<Record<string, unknown>>)[name]
  return found === undefined ? MISSING : found
}

/** A text as a part of a URL; half a surrogate pair becomes U+FFFD. */
export function percentEncoded(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString())
}
