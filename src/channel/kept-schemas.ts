/**
 * The JSON Schemas of a channel's events. They are stored with the declaration, for processes without the channel's
 * code.
 */
import { isJsonObject, type JsonObject } from '../base/json-object.ts'
import { LIMITS } from '../base/limits.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import { SENSITIVE } from '../event/sensitive/marked-places.ts'
import { SensitiveFields } from '../event/sensitive/masked-event.ts'

/** By event type, sorted. */
export type KeptSchemas = Readonly<Record<string, JsonObject>>

interface StandardJsonSchema {
  readonly jsonSchema?: { readonly input?: (options: { readonly target: string }) => unknown }
}

/**
 * The schemas that the libraries provide through Standard JSON Schema, for the input side, which is the form of stored
 * events. Undefined if there are none.
 */
export function keptSchemas(definitions: Iterable<AnyEventDefinition>): KeptSchemas | undefined {
  const found: [string, JsonObject][] = []
  for (const { type, schema } of definitions) {
    const json = schema === undefined ? null : jsonSchemaOf(schema['~standard'] as StandardJsonSchema)
    if (json !== null) found.push([type, json])
  }
  return fitting(found)
}

/** The schema as plain JSON; null if the library provides none. */
function jsonSchemaOf({ jsonSchema }: StandardJsonSchema): JsonObject | null {
  try {
    const made: unknown = JSON.parse(JSON.stringify(jsonSchema?.input?.({ target: 'draft-2020-12' }) ?? null))
    return isJsonObject(made) ? made : null
  } catch {
    return null
  }
}

/**
 * Sorted by type, as many as the limit of a declaration allows. In the place of a schema with sensitive fields that
 * does not fit, it is kept that all data of the type is sensitive.
 */
export function fitting(schemas: readonly (readonly [type: string, schema: JsonObject])[]): KeptSchemas | undefined {
  const kept: [string, JsonObject][] = []
  let bytes = 0
  for (const [type, schema] of [...schemas].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const size = Buffer.byteLength(type) + Buffer.byteLength(JSON.stringify(schema))
    if (bytes + size > LIMITS.keptSchemaBytesMax) {
      if (SensitiveFields.of(schema) !== null) kept.push([type, { [SENSITIVE]: true }])
      continue
    }
    bytes += size
    kept.push([type, schema])
  }
  return kept.length === 0 ? undefined : Object.fromEntries(kept)
}
