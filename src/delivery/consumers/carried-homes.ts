/** What carrying consumers to another engine needs of an engine, beside the port of `homes.ts`. */
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Records } from './carried-state.ts'
import type { Home, Homes } from './homes.ts'

/** A home of a consumer that does not run, to put records into. */
export interface OpenRecords {
  readonly records: Records
  write(key: string, value: Uint8Array | null): void
  addWorker(consumer: string): void
}

export interface CarriedHomes<H extends Home> extends Homes<H> {
  /** The homes of a group in each log of a channel, whether or not it has begun there. @throws UNKNOWN_CHANNEL */
  logs(channel: string, group: string): Promise<readonly H[]>
  /** The log in which an event of a channel is. */
  logOf(channel: string, event: EncodedEvent): number
  /** The log that has the event at an offset of a channel. */
  logAt(channel: string, offset: number): Promise<number>
  /** The log ends here. */
  endOf(home: H): Promise<number>
  /** Offsets of the log's events from one on. */
  offsets(home: H, from: number): AsyncIterable<number>
  /** Write records, where nobody works: false, and nothing is done, where somebody does. Resolves when they are durable. */
  put(home: H, change: (open: OpenRecords) => void): Promise<boolean>
}
