/** Reads an event's context attributes as CloudEvents SQL has them (spec 3.2): a string, a 32-bit integer or a boolean. Never the data. */
import type { ExpressionValue } from './expression-tree.ts'

/** What a valid event has: `EXISTS` of them is true without a look (spec 3.4.4). */
export const REQUIRED_ATTRIBUTES: ReadonlySet<string> = new Set(['specversion', 'id', 'source', 'type'])

/** The attribute's value; `undefined` when the event does not have it. All types beyond the three are strings. */
export function eventAttribute(event: object, name: string): ExpressionValue | undefined {
  if (name === 'data' || !Object.hasOwn(event, name)) return undefined
  const value = (event as Readonly<Record<string, unknown>>)[name]
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return (value | 0) === value ? value | 0 : String(value)
  return typeof value === 'object' && value !== null ? textOf(value) : undefined
}

/** Times, URIs and bytes, of events that were made in this process. */
function textOf(value: object): string | undefined {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : value.toISOString()
  if (value instanceof URL) return value.href
  if (value instanceof Uint8Array)
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
  return undefined
}
