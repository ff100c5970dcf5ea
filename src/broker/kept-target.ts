/**
 * A channel that this process knows only by its stored declaration, which has the key's path and the schemas of the
 * data. If the declared key is a function, an event must have a `partitionkey`.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { ChannelSpec } from '../channel/channel.ts'
import { knownSchemas } from '../channel/kept-schemas.ts'
import { type KeyFunction, keptKey } from '../channel/key-path.ts'
import { schemaOf } from '../event/json-schema.ts'

export interface KeptTarget {
  readonly name: string
  readonly spec: ChannelSpec
  readonly events: null
  readonly keyOf: KeyFunction | undefined
  /** By type. */
  readonly kept: ReadonlyMap<string, StandardSchemaV1>
}

export function keptTarget(spec: ChannelSpec): KeptTarget {
  const { name, key, schemas } = spec
  const kept = new Map(Object.entries(knownSchemas(schemas)).map(([type, schema]) => [type, schemaOf(schema)]))
  return { name, spec, events: null, keyOf: keptKey(key, name), kept }
}
