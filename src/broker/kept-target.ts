/** A channel that a process knows by name only: its declaration, as it was kept, says what the key of an event is, and what its data must be. */
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
