/** An event between the broker, which encodes it, and an engine, which stores it. */
import type { StoredEvent } from '../event/cloud-event.ts'

/** An event ready to be stored: the CloudEvent's JSON text, and what an engine needs to know of it without parsing. */
export interface EncodedEvent {
  readonly id: string
  readonly type: string
  /** Order and partition; `null` is "no key": no order is promised. */
  readonly key: string | null
  /** The whole CloudEvent in its JSON format. */
  readonly text: string
  /** Decodes the event in a way that is cheaper than parsing the whole text. Absent if there is no such way. */
  decode?(offset: number): StoredEvent
}
