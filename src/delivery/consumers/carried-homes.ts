/** What carrying consumers to another engine needs of an engine, beside the port of `homes.ts`. */
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Records } from './carried-state.ts'
import type { Home, Homes } from './homes.ts'

/** A home of a consumer that does not run, open for writing records. */
export interface OpenRecords {
  readonly records: Records
  write(key: string, value: Uint8Array | null): void
  addWorker(consumer: string): void
}

export interface CarriedHomes<H extends Home> extends Homes<H> {
  /** The homes of a group in all logs of a channel, also where the group has not begun. @throws UNKNOWN_CHANNEL */
  logs(channel: string, group: string): Promise<readonly H[]>
  /** The log of a channel to which an event belongs. */
  logOf(channel: string, event: EncodedEvent): number
  /** The offset after the last event of the home's log. */
  endOf(home: H): Promise<number>
  /** The offsets of the log's events, from an offset on. */
  offsets(home: H, from: number): AsyncIterable<number>
  /**
   * Write records of a consumer that does not run. Resolves to true when they are durable, and to false, without a
   * change, where the consumer runs. `consumers`: the consumers that the records name.
   */
  put(home: H, consumers: readonly string[], change: (open: OpenRecords) => void): Promise<boolean>
}
