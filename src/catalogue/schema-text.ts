/** A JSON Schema as text, and its fingerprint: the same for the same schema, whatever the order of its members. */
import { createHash } from 'node:crypto'
import { isJsonObject, type JsonObject } from '../base/json-object.ts'

const FINGERPRINT_CHARS = 16

/** JSON with the members of objects in the order of their names. */
export function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    isJsonObject(member) ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1))) : member,
  )
}

export function fingerprintOf(schema: JsonObject): string {
  return createHash('sha256').update(canonicalText(schema)).digest('hex').slice(0, FINGERPRINT_CHARS)
}
