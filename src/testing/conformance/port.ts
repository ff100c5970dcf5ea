/**
 * Tests at the engine's port: a channel, a consumer, and subscriptions that record every delivery, for clauses about
 * hung instances.
 */
import assert from 'node:assert/strict'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { ConsumerSpec, Delivery, Emission, Engine, EventAttempt, Subscription } from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import type { Channel } from '../../channel/channel.ts'
import { newId, nowText } from '../../event/identity.ts'
import { offsetOf } from './fixtures.ts'
import type { World } from './world.ts'

export function encoded(order: string, key: string | null, n: number): EncodedEvent {
  const id = newId()
  return {
    id,
    type: 'order.placed',
    key,
    text: JSON.stringify({
      specversion: '1.0',
      id,
      source: '/conformance',
      type: 'order.placed',
      time: nowText(),
      data: { order, n },
    }),
  }
}

export function failure(message: string): Failure {
  return { name: 'Error', message, kind: 'error' }
}

/** How an instance behaves. */
export interface Behaviour extends Partial<ConsumerSpec> {
  /** It renews its lease, until `hang` is called. @default false: it hangs */
  readonly renews?: boolean
  /** It completes every delivery at once, with the returned emissions. @default undefined: it settles nothing */
  readonly completes?: (delivery: Delivery) => readonly Emission[] | null
}

/** `completes` for an instance that emits nothing. */
export const nothing = (): null => null

/** One instance, with everything that it was given. */
export class PortInstance {
  readonly given: Delivery[] = []
  readonly revoked: Delivery[] = []
  readonly buried: EventAttempt[] = []
  /** Events that it was given before `subscribe` had resolved. */
  readonly early: Delivery[] = []
  subscription: Subscription = undefined as unknown as Subscription
  /** Renew the lease no more. */
  hang: () => void = () => undefined

  /** Deliveries that were given and not revoked. */
  get held(): Delivery[] {
    return this.given.filter((delivery) => !this.revoked.includes(delivery))
  }
}

export class Port {
  readonly engine: Engine
  readonly channel: Channel
  readonly consumer: string

  private constructor(engine: Engine, channel: Channel, consumer: string) {
    this.engine = engine
    this.channel = channel
    this.consumer = consumer
  }

  static async open(world: World, channel: Channel): Promise<Port> {
    const engine = await world.engine()
    await engine.declare(channel.spec)
    return new Port(engine, channel, world.name('worker'))
  }

  /** Publish `count` events over `keys` keys; without keys if `keys` is 0. */
  async publish(count: number, keys = 0): Promise<number[]> {
    const events = Array.from({ length: count }, (_, n) => encoded(`k${n}`, keys === 0 ? null : `k${n % keys}`, n))
    return (await this.engine.publishBatch(this.channel.name, events, null)).map(offsetOf)
  }

  /** The events of a channel, parsed. */
  async read(channel: string): Promise<readonly { readonly data: { readonly n: number } }[]> {
    const found: { readonly data: { readonly n: number } }[] = []
    const options = {
      from: { at: 'beginning' },
      to: null,
      follow: false,
      signal: new AbortController().signal,
    } as const
    for await (const batch of this.engine.read(channel, options))
      for (const each of batch) found.push(JSON.parse(each.text))
    return found
  }

  async subscribe(behaviour: Behaviour): Promise<PortInstance> {
    const { renews = false, completes, ...spec } = behaviour
    const instance = new PortInstance()
    const settle = (deliveries: readonly Delivery[]): void => {
      if (completes !== undefined)
        for (const delivery of deliveries.filter((each) => !instance.early.includes(each)))
          assert.equal(instance.subscription.complete(delivery, completes(delivery)), true)
    }
    const subscription = await this.engine.subscribe(
      {
        name: this.consumer,
        channels: [this.channel.name],
        wants: [{ type: null, pattern: null }],
        from: { at: 'beginning' },
        onDead: null,
        credit: 10,
        perKey: 1,
        leaseMs: 30_000,
        attemptsMax: 8,
        stallMs: 30_000,
        ...spec,
      },
      {
        deliver: (deliveries) => {
          instance.given.push(...deliveries)
          if ((instance.subscription as Subscription | undefined) === undefined) instance.early.push(...deliveries)
          queueMicrotask(() => settle(deliveries))
        },
        passesOn: false,
        revoked: (deliveries) => void instance.revoked.push(...deliveries),
        buried: (event) => void instance.buried.push(event),
      },
    )
    instance.subscription = subscription
    if (renews) {
      const renewing = setInterval(() => subscription.renew(), Math.max(5, (spec.leaseMs ?? 300) / 4))
      renewing.unref()
      instance.hang = () => clearInterval(renewing)
    }
    const close = subscription.close.bind(subscription)
    subscription.close = () => {
      instance.hang()
      return close()
    }
    return instance
  }
}
