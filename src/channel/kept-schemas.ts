/**
 * The JSON Schemas of a channel's events. They are stored with the declaration, for processes without the channel's
 * code.
 *
 * A type whose schema is not kept has a marker instead, `{"x-millrace-schema": "opaque"}`: a JSON Schema that accepts
 * everything.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isJsonObject, type JsonObject } from '../base/json-object.ts'
import { LIMITS } from '../base/limits.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import type { VersionedDefinition } from '../event/event-version.ts'
import { SENSITIVE } from '../event/sensitive/marked-places.ts'
import { SensitiveFields } from '../event/sensitive/masked-event.ts'

/** The kept schemas: for each event type, in the order of their names, the schema of its newest version. */
export type KeptSchemas = Readonly<Record<string, JsonObject>>

/**
 * Why a schema is not kept. `opaque`: its library gives no JSON Schema for the input side. `too large`: it does not fit
 * into the declaration.
 */
export type NotKept = 'opaque' | 'too large'

const MARKER = 'x-millrace-schema'

/** The versions of an event type that has more than the first. */
export interface KeptVersions {
  /** The newest. */
  readonly version: number
  /** The schemas of the earlier versions, by their numbers. `null`: the library provides none, or it does not fit. */
  readonly earlier: Readonly<Record<string, JsonObject | null>>
}

interface StandardJsonSchema {
  readonly jsonSchema?: { readonly input?: (options: { readonly target: string }) => unknown }
}

/**
 * The schemas that the libraries provide through Standard JSON Schema, for the input side, which is the form of stored
 * events. Undefined if no event has a schema.
 */
export function keptSchemas(definitions: Iterable<AnyEventDefinition>): KeptSchemas | undefined {
  const found: [string, JsonObject][] = []
  for (const { type, schema } of definitions)
    if (schema !== undefined) found.push([type, jsonSchemaOf(schema) ?? marker('opaque')])
  return fitting(found)
}

/** The versions of the types that have more than the first version, sorted by type. Undefined if there are none. */
export function keptVersions(
  definitions: Iterable<VersionedDefinition>,
): Readonly<Record<string, KeptVersions>> | undefined {
  const kept: [string, KeptVersions][] = []
  for (const { type, version, earlier } of definitions) {
    if (version === 1) continue
    const schemas = earlier.map(
      (each) => [String(each.version), each.schema === undefined ? null : jsonSchemaOf(each.schema)] as const,
    )
    kept.push([type, { version, earlier: Object.fromEntries(schemas) }])
  }
  return fittingVersions(kept)
}

/** Sorted by type. An earlier schema beyond the limit of a declaration is left out, and its version stays known. */
export function fittingVersions(
  versions: readonly (readonly [type: string, versions: KeptVersions])[],
): Readonly<Record<string, KeptVersions>> | undefined {
  let bytes = 0
  const fits = (schema: JsonObject | null): boolean => {
    const size = schema === null ? 0 : Buffer.byteLength(JSON.stringify(schema))
    if (bytes + size > LIMITS.keptSchemaBytesMax) return false
    bytes += size
    return true
  }
  const kept = [...versions]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([type, { version, earlier }]): [string, KeptVersions] => {
      const entries = Object.entries(earlier).map(
        ([number, schema]) => [number, fits(schema) ? schema : sensitiveOnly(schema)] as const,
      )
      return [type, { version, earlier: Object.fromEntries(entries) }]
    })
  return kept.length === 0 ? undefined : Object.fromEntries(kept)
}

/** What is kept of a schema that does not fit: that its data is sensitive, if a field is. */
function sensitiveOnly(schema: JsonObject | null): JsonObject | null {
  return schema === null || SensitiveFields.of(schema) === null ? null : { [SENSITIVE]: true }
}

/** The schema as plain JSON, of the input side; null if the library provides none. */
export function jsonSchemaOf(schema: StandardSchemaV1): JsonObject | null {
  const { jsonSchema } = schema['~standard'] as StandardJsonSchema
  try {
    const made: unknown = JSON.parse(JSON.stringify(jsonSchema?.input?.({ target: 'draft-2020-12' }) ?? null))
    return isJsonObject(made) ? made : null
  } catch {
    return null
  }
}

function marker(why: NotKept, schema: JsonObject = {}): JsonObject {
  return { [MARKER]: why, ...(SensitiveFields.of(schema) !== null && { [SENSITIVE]: true }) }
}

/** Why this schema is not kept; null if it is a schema. */
export function schemaState(kept: JsonObject): NotKept | null {
  const state = kept[MARKER]
  return state === 'opaque' || state === 'too large' ? state : null
}

/** The schema or the marker of a type. */
export function keptSchema(schemas: KeptSchemas | undefined, type: string): JsonObject | undefined {
  return schemas !== undefined && Object.hasOwn(schemas, type) ? schemas[type] : undefined
}

/** The schemas without markers. */
export function knownSchemas(schemas: KeptSchemas = {}): KeptSchemas {
  return Object.fromEntries(Object.entries(schemas).filter(([, schema]) => schemaState(schema) === null))
}

/**
 * Sorted by type, as many as the limit of a declaration allows. A type whose schema does not fit has a marker, as far
 * as there is room for it. If the schema has sensitive fields, its marker is always kept: all data of the type is
 * sensitive.
 */
export function fitting(schemas: readonly (readonly [type: string, schema: JsonObject])[]): KeptSchemas | undefined {
  const sorted = [...schemas].sort(([a], [b]) => (a < b ? -1 : 1))
  const kept = new Map<string, JsonObject>()
  let bytes = 0
  const keep = (type: string, schema: JsonObject, always: boolean): void => {
    const size = Buffer.byteLength(type) + Buffer.byteLength(JSON.stringify(schema))
    if (bytes + size > LIMITS.keptSchemaBytesMax && !always) return
    bytes += size
    kept.set(type, schema)
  }
  for (const [type, schema] of sorted) if (schemaState(schema) === null) keep(type, schema, false)
  for (const [type, schema] of sorted) {
    if (kept.has(type)) continue
    const mark = schemaState(schema) === null ? marker('too large', schema) : schema
    keep(type, mark, mark[SENSITIVE] === true)
  }
  return kept.size === 0 ? undefined : Object.fromEntries([...kept].sort(([a], [b]) => (a < b ? -1 : 1)))
}
