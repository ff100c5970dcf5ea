/** What is known of each key: the state that a consumer keeps, or the latest event of a stream that keeps only this. */
import type { Channel } from '../channel/channel.ts'
import type { Readable } from './reading.ts'

/** One key of a table. */
export interface TableEntry<Value = unknown> {
  readonly key: string
  /** Of a consumer: the state, as its handlers get it. Of a stream: the event. */
  readonly value: Value
  /** The offset of the event that holds it. */
  readonly offset: number
  /** When it was stored. */
  readonly storedAt: Date
}

/** A change of a table. `value` is undefined if the state of the key was deleted. */
export interface TableChange<Value = unknown> extends Omit<TableEntry<Value>, 'value'> {
  readonly value: Value | undefined
}

export interface TableQuery {
  /** Only keys that begin with this text. @default '' */
  readonly prefix?: string
  /** Begin after this key. @default undefined: at the first one */
  readonly after?: string
}

export interface FollowOptions {
  /** Ends the reading. */
  readonly signal?: AbortSignal
}

/** A table: read by key, without consuming. It shows what is durable. */
export interface Table<Value = unknown> {
  /** The channel that holds it. */
  readonly channel: string
  /**
   * One key; undefined if it has no state, or no event. One read, whatever the number of keys.
   * @throws INVALID_OPTION when it is not a key · UNKNOWN_CHANNEL when nothing has been kept yet, by a consumer that
   * was never started · CLAUSE_REFUSED when the engine has no tables · UPCAST_FAILED when a state cannot be migrated ·
   * SCHEMA_MISMATCH when it does not satisfy the schema
   */
  get(key: string): Promise<TableEntry<Value> | undefined>
  /** All keys, in the order of their code points, read a page at a time. @throws as `get` */
  entries(query?: TableQuery): AsyncIterableIterator<TableEntry<Value>>
  /**
   * The present value of each key, in the order in which they were stored, and then each change. A deletion that is
   * more than an hour old may be left out.
   * @throws UNKNOWN_CHANNEL when the table is removed meanwhile, also by a rewind that resets the state: follow it
   * again · and as `get`
   */
  follow(options?: FollowOptions): AsyncIterableIterator<TableChange<Value>>
}

/** A consumer with state, a stream that keeps the latest event of each key, or the name of either. */
export type TableSource = string | Channel | { readonly name: string; readonly state: object | null }

/** The type of the values of a table. */
export type TableValue<Source> = Source extends Channel
  ? Readable<Source>
  : Source extends { readonly state: infer Definition }
    ? Exclude<Definition, null> extends { readonly types?: { readonly output: infer State } }
      ? Exclude<State, undefined>
      : unknown
    : unknown
