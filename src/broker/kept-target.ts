/**
 * A channel that this process knows only by its stored declaration, which has the key's path and the schemas of the
 * data. If the declared key is a function, an event must have a `partitionkey`.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { JsonObject } from '../base/json-object.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { knownSchemas } from '../channel/kept-schemas.ts'
import { type KeyFunction, keptKey } from '../channel/key-path.ts'
import { newestOf } from '../channel/merged-spec.ts'
import { type SaysVersion, unpublishable, versionOf } from '../event/event-version.ts'
import { schemaOf } from '../event/json-schema.ts'
import type { JudgedEvent } from '../event/schema.ts'

export interface KeptTarget {
  readonly name: string
  readonly spec: ChannelSpec
  readonly events: null
  readonly keyOf: KeyFunction | undefined
  /**
   * The schema for an event of a type that is published in a version; undefined if none is kept.
   * @throws UNKNOWN_VERSION when the declaration has no such version
   */
  keptSchema(event: JudgedEvent & SaysVersion): StandardSchemaV1 | undefined
}

export function keptTarget(spec: ChannelSpec): KeptTarget {
  const { name, key, schemas } = spec
  const kept = new Map(
    Object.entries(knownSchemas(schemas)).map(([type, schema]) => [type, versionsOf(spec, type, schema)]),
  )
  const keptSchema: KeptTarget['keptSchema'] = (event) => {
    const versions = kept.get(event.type)
    if (versions === undefined) return undefined
    const version = versionOf(event)
    const schema = versions.schemas.get(version)
    if (schema === undefined) throw unpublishable({ version: versions.newest }, event, version)
    return schema ?? undefined
  }
  return { name, spec, events: null, keyOf: keptKey(key, name), keptSchema }
}

interface VersionsOfType {
  readonly newest: number
  /** `null`: the version is known, and its schema is not kept. */
  readonly schemas: ReadonlyMap<number, StandardSchemaV1 | null>
}

function versionsOf(spec: ChannelSpec, type: string, newestSchema: JsonObject): VersionsOfType {
  const newest = newestOf(spec, type)
  const earlier = newest === 1 ? [] : Object.entries(spec.versions?.[type]?.earlier ?? {})
  const schemas = earlier.map(
    ([version, schema]) => [Number(version), schema === null ? null : schemaOf(schema)] as const,
  )
  return { newest, schemas: new Map([...schemas, [newest, schemaOf(newestSchema)]]) }
}
