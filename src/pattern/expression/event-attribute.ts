/**
 * Reads an event's context attributes as CloudEvents SQL defines them (spec 3.2): a string, a 32-bit integer or a
 * boolean. It never reads the data.
 */
import type { ExpressionValue } from './expression-tree.ts'

/** The attributes of every valid event: `EXISTS` of them is true without a check (spec 3.4.4). */
export const REQUIRED_ATTRIBUTES: ReadonlySet<string> = new Set(['specversion', 'id', 'source', 'type'])

/** The attribute's value; `undefined` if the event does not have it. Values of all other types become strings. */
export function eventAttribute(event: object, name: string): ExpressionValue | undefined {
  if (name === 'data' || !Object.hasOwn(event, name)) return undefined
  const value = (event as Readonly<Record<string, unknown>>)[name]
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return (value | 0) === value ? value | 0 : String(value)
  return typeof value === 'object' && value !== null ? textOf(value) : undefined
}

/** Times, URIs and bytes of events that were made in this process. */
function textOf(value: object): string | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString()
  if (value instanceof URL) return value.href
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
  return undefined
}
