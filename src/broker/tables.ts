/** The part of the port that reads the latest event of a key, in streams that keep only this one. */
import type { StoredText } from './engine.ts'

export interface TableScan {
  /** The keys begin with this text. */
  readonly prefix: string
  /** Begin after this key; null: at the first one. */
  readonly after: string | null
  readonly limit: number
}

export interface Tables {
  /**
   * The latest durable event of a key; null if there is none.
   * @throws UNKNOWN_CHANNEL · INVALID_OPTION when the stream keeps all events · CLAUSE_REFUSED where the engine cannot
   */
  get(channel: string, key: string): Promise<StoredText | null>
  /** The latest durable event of each key, in the order of the keys' code points. @throws as `get` */
  scan(channel: string, query: TableScan): Promise<readonly StoredText[]>
}
