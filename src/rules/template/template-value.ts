/** The value of a template for an event: a JSON value, or `MISSING` for a path that leads nowhere. */

/** The event has no value at the path. It differs from `null`, which an event can contain. */
export const MISSING: unique symbol = Symbol('missing')
export type TemplateValue = unknown

/** A template cannot be rendered for this event. Another attempt would fail too. */
export class TemplateFailure extends Error {
  override readonly name = 'TemplateFailure'
}

/** A value as a part of a text: empty for a missing value or null, JSON for objects and arrays. */
export function asText(value: TemplateValue): string {
  if (value === MISSING || value === null || value === undefined) return ''
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}

/** One step of a path: an own member of an object, or an element of an array. */
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

/** A text encoded as a part of a URL. An unpaired surrogate becomes U+FFFD. */
export function percentEncoded(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString())
}
