/**
 * A channel that a process knows by name only. Its stored declaration gives the key of an event and the schemas of the
 * data.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { ChannelSpec } from '../channel/channel.ts'
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
  const { name, key, schemas = {} } = spec
  const kept = new Map(Object.entries(schemas).map(([type, schema]) => [type, schemaOf(schema)]))
  return { name, spec, events: null, keyOf: keptKey(key, name), kept }
}
