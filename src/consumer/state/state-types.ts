/** The types of a consumer's state (clause 19): as it is declared. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Size } from '../../base/units.ts'

/** A stored state of an earlier version, as it comes out of JSON. If it is not an object, annotate it as `unknown`. */
export type EarlierState = Readonly<Record<string, unknown>>

/** What a consumer keeps for each key. */
export interface StateOptions<Schema extends StandardSchemaV1 = StandardSchemaV1> {
  /**
   * The state of one key, with any Standard Schema library. What a handler sets is validated, and refused with the
   * schema's issues; what is stored is decoded by it again.
   */
  readonly schema: Schema
  /**
   * The state of a key that has none: a value, which is copied for each key, or a function of the key.
   * @default undefined: `ctx.state` is undefined until it is set
   */
  readonly initial?: StandardSchemaV1.InferInput<Schema> | ((key: string) => StandardSchemaV1.InferInput<Schema>)
  /** The version of the schema, from 1. It is stored with each state. @default 1 */
  readonly version?: number
  /**
   * By earlier version: makes the state of the next version. A state is migrated when it is read, step by step, and
   * stored in the newest version when a handler sets it.
   * @default none: states of an earlier version are refused
   */
  readonly migrate?: Readonly<Record<number, (state: EarlierState) => unknown>>
  /** Largest state, as the CloudEvents JSON that is stored. Up to 16 MiB. @default 1 MiB */
  readonly maxBytes?: Size
}
