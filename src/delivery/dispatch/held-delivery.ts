/** One event in the hands of one instance. */

import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Delivery, OnDead } from '../../broker/engine.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { decodeAlike } from '../../event/decode-alike.ts'
import { EventInBlock } from '../../event/event-in-block.ts'
import type { Cursor } from '../cursor/cursor.ts'
import type { Instance } from './instance.ts'
import type { Lane } from './lane.ts'

export class HeldDelivery implements Delivery {
  readonly cursor: Cursor
  readonly instance: Instance
  readonly lane: Lane | null
  event: EncodedEvent
  readonly offset: number
  readonly timeMs: number
  readonly attempt: number
  readonly redriven: boolean
  /** Not settled, and still this instance's. */
  live = true
  /** Its slot in the set of deliveries that its instance holds. */
  slot = -1
  attachment: unknown = null
  #recorded = false

  constructor(
    cursor: Cursor,
    instance: Instance,
    lane: Lane | null,
    event: EncodedEvent,
    offset: number,
    timeMs: number,
    attempt: number,
    redriven: boolean,
  ) {
    this.cursor = cursor
    this.instance = instance
    this.lane = lane
    this.event = event
    this.offset = offset
    this.timeMs = timeMs
    this.attempt = attempt
    this.redriven = redriven
  }

  /** It is recorded as in flight: what is so more than once may be for long, and keeps no block of events alive. */
  recorded(): void {
    if (this.#recorded && this.event instanceof EventInBlock) this.event = this.event.own()
    this.#recorded = true
  }

  get consumer(): string {
    return this.instance.spec.name
  }

  /** What follows if it becomes a dead letter. */
  get onDead(): OnDead {
    return this.instance.spec.onDead ?? (this.event.key === null ? 'skip' : 'park')
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
    return this.event.decode?.(offset) ?? decodeAlike(this.event.text, offset)
  }
}
