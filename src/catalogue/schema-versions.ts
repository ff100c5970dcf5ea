/** The schemas of an event type in one channel: of its newest version, and of the earlier ones. */
import type { JsonObject } from '../base/json-object.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { keptSchema, schemaState } from '../channel/kept-schemas.ts'
import { newestOf } from '../channel/merged-spec.ts'

/**
 * `known`: the JSON Schema is there. `none`: the event has no schema, or no declaration was seen. `opaque`: its schema
 * library gives no JSON Schema for the input side. `too large`: it does not fit into the channel's declaration.
 */
export type SchemaState = 'known' | 'none' | 'opaque' | 'too large'

export interface DeclaredSchema {
  readonly version: number
  /** There is a newer version. */
  readonly earlier: boolean
  readonly state: SchemaState
  /** Null unless the state is `known`. */
  readonly schema: JsonObject | null
}

/** The newest version first. */
export function schemasOf(spec: ChannelSpec, type: string): readonly DeclaredSchema[] {
  const kept = keptSchema(spec.schemas, type)
  const state = kept === undefined ? 'none' : (schemaState(kept) ?? 'known')
  const newest: DeclaredSchema = {
    version: newestOf(spec, type),
    earlier: false,
    state,
    schema: state === 'known' ? (kept ?? null) : null,
  }
  const { versions } = spec
  const earlier = versions !== undefined && Object.hasOwn(versions, type) ? (versions[type]?.earlier ?? {}) : {}
  const older = Object.entries(earlier)
    .map(
      ([number, schema]): DeclaredSchema => ({
        version: Number(number),
        earlier: true,
        // The declaration does not say why an earlier schema is missing: the library gives none, or it does not fit.
        state: schema === null ? 'opaque' : 'known',
        schema,
      }),
    )
    .sort((a, b) => b.version - a.version)
  return [newest, ...older]
}
