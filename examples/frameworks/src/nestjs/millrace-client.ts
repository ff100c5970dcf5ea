/**
 * The client side of a NestJS transport over Millrace. Copy this file into your application.
 *
 * `emit('order.placed', data)` publishes an event of this type on the channel that carries it. The observable gives the
 * receipt when the event is durable, and fails when it was not stored. NestJS subscribes to it by itself, so the event
 * is published also if nobody waits.
 *
 * `send` fails: Millrace has no request and reply yet.
 */
import { ClientProxy, type ReadPacket, type WritePacket } from '@nestjs/microservices'
import type { Broker, Channel, EventAttributes, EventDefinition } from 'millrace'

/** Data with attributes of the event: `client.emit('order.placed', new MillraceRecord(order, { id: 'o-1' }))`. */
export class MillraceRecord {
  readonly data: unknown
  readonly attributes: EventAttributes

  constructor(data: unknown, attributes: EventAttributes) {
    this.data = data
    this.attributes = attributes
  }
}

export class MillraceClient extends ClientProxy {
  readonly #broker: Broker
  readonly #channels: readonly Channel[]

  /** The channels need `events`: they say which types there are. */
  constructor(broker: Broker, channels: readonly Channel[]) {
    super()
    this.#broker = broker
    this.#channels = channels
  }

  override async connect(): Promise<void> {
    await this.#broker.declare(...this.#channels)
  }

  /** The application closes its broker itself. */
  override async close(): Promise<void> {}

  protected override async dispatchEvent<T>({ pattern, data }: ReadPacket): Promise<T> {
    const channel = this.#channels.find(({ events }) => events?.has(pattern))
    if (channel === undefined) throw new Error(`emit('${pattern}'): none of the channels of MillraceClient carries it`)
    const record = data instanceof MillraceRecord ? data : new MillraceRecord(data, {})
    const make = channel.events?.get(pattern) as EventDefinition
    return (await this.#broker.publish(channel, make(record.data, record.attributes))) as T
  }

  protected override publish(_packet: ReadPacket, callback: (packet: WritePacket) => void): () => void {
    callback({ err: new Error('send(): Millrace has no request and reply yet, use emit()'), isDisposed: true })
    return () => undefined
  }

  override on(): never {
    throw new Error('MillraceClient has no events of its own: see the logger of connect() and broker.onAlarm')
  }

  override unwrap<T>(): T {
    return this.#broker as T
  }
}
