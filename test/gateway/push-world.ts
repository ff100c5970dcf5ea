/**
 * A gateway that pushes to a real subscriber, over a broker in memory with the channels `orders`, `orders.eu` and
 * `replies`.
 */
import { afterEach, beforeEach } from 'vitest'
import { createGateway, type Gateway, type GatewayOptions } from '../../src/gateway/index.ts'
import { type Broker, connect, type DeadLetter, stream } from '../../src/index.ts'
import { type Received, Receiver, SECRET } from '../outbound/receiver.ts'
import { ask, type JsonAnswer } from './ask.ts'

/** A subscription as the gateway shows it. */
export type Subscription = Readonly<Record<string, unknown>>

/** Very short waits between attempts. */
export const quickly = { backoff: { min: '1ms', max: '2ms' } }

export class PushWorld {
  subscriber!: Receiver
  broker!: Broker
  gateway!: Gateway

  async start(): Promise<void> {
    this.subscriber = new Receiver()
    await this.subscriber.start()
    this.broker = await connect('memory:')
    await this.broker.declare(stream('orders'), stream('orders.eu'), stream('replies'))
    this.open()
  }

  async stop(): Promise<void> {
    await this.gateway.close()
    await this.broker.close()
    await this.subscriber.stop()
  }

  open(options: GatewayOptions = {}): void {
    this.gateway = createGateway(this.broker, { push: { allow: ['127.0.0.0/8'] }, drain: '500ms', ...options })
  }

  /** Closes the gateway and opens another one over the same broker. */
  async reopen(options: GatewayOptions): Promise<void> {
    await this.gateway.close()
    this.open(options)
  }

  get received(): readonly Received[] {
    return this.subscriber.received
  }

  get url(): string {
    return this.subscriber.url
  }

  ask(method: string, path: string, body?: unknown, token?: string): Promise<JsonAnswer> {
    return ask(this.gateway, method, path, body, token)
  }

  put(more: object = {}, name = 'billing', token?: string): Promise<JsonAnswer> {
    const subscription = { channels: ['orders'], url: this.url, secret: SECRET, ...more }
    return this.ask('PUT', `/api/subscriptions/${name}`, subscription, token)
  }

  async show(name = 'billing'): Promise<Subscription> {
    return (await this.ask('GET', `/api/subscriptions/${name}`)).body
  }

  deadLetters(name = 'billing'): Promise<DeadLetter[]> {
    return this.broker.deadLetters(`push.${name}`).list()
  }
}

/** A new world for each test of a file. */
export function pushWorld(): PushWorld {
  const world = new PushWorld()
  beforeEach(() => world.start())
  afterEach(() => world.stop())
  return world
}
