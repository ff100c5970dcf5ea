/** One event in the hands of one instance. */
import type { Delivery, EncodedEvent } from '../broker/engine.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { decodeEvent } from '../event/encode.ts'
import type { Cursor } from './cursor.ts'
import type { Instance } from './instance.ts'
import type { Lane } from './lane.ts'

export class HeldDelivery implements Delivery {
  readonly cursor: Cursor
  readonly instance: Instance
  readonly lane: Lane | null
  readonly event: EncodedEvent
  readonly offset: number
  readonly timeMs: number
  readonly attempt: number
  readonly redriven: boolean
  /** Not settled, and still this instance's. */
  live = true
  /** Where it stands in its instance's `held`. */
  place = -1
  attachment: unknown = null

  constructor(cursor: Cursor, instance: Instance, lane: Lane | null, event: EncodedEvent, offset: number, timeMs: number, attempt: number, redriven: boolean) {
    this.cursor = cursor
    this.instance = instance
    this.lane = lane
    this.event = event
    this.offset = offset
    this.timeMs = timeMs
    this.attempt = attempt
    this.redriven = redriven
  }

  get channel(): string {
    return this.cursor.log.name
  }
  get id(): string {
    return this.event.id
  }
  get type(): string {
    return this.event.type
  }
  get key(): string | null {
    return this.event.key
  }
  get text(): string {
    return this.event.text
  }

  decode(offset: number): StoredEvent {
    return this.event.decode?.(offset) ?? decodeEvent(this.event.text, offset)
  }
}
