/** One event in the hands of this process: an index into the events of a frame. */
import type { Delivery } from '../../broker/engine.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { decodeAlike } from '../../event/decode-alike.ts'
import type { EventColumns } from '../event-columns.ts'
import type { RemoteSubscription } from './remote-subscription.ts'

export class RemoteDelivery implements Delivery {
  /** Its number at the server, in the current session. */
  number: number
  readonly #events: EventColumns
  readonly #index: number
  readonly subscription: RemoteSubscription
  attachment: unknown = null
  /** True until it is settled or revoked. */
  live = true
  /** Its slot in the set of deliveries in flight. */
  slot = -1
  #text: string | null = null

  constructor(number: number, events: EventColumns, index: number, subscription: RemoteSubscription) {
    this.number = number
    this.#events = events
    this.#index = index
    this.subscription = subscription
  }

  get channel(): string {
    return this.#events.channel
  }
  get offset(): number {
    return this.#events.offsetAt(this.#index)
  }
  get timeMs(): number {
    return this.#events.timeAt(this.#index)
  }
  get attempt(): number {
    return this.#events.attemptAt(this.#index)
  }
  get redriven(): boolean {
    return this.#events.redrivenAt(this.#index)
  }
  get id(): string {
    return this.#events.block.idAt(this.#index)
  }
  get type(): string {
    return this.#events.block.typeAt(this.#index)
  }
  get key(): string | null {
    return this.#events.block.keyAt(this.#index)
  }
  get text(): string {
    this.#text ??= this.#events.block.textAt(this.#index)
    return this.#text
  }

  decode(offset: number): StoredEvent {
    return decodeAlike(this.text, offset)
  }
}
