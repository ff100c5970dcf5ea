/**
 * Scenarios must be able to fail: an engine that lies in one way breaks each clause on purpose, and the named scenarios
 * notice. The same scenarios pass on the same engine when it does not lie.
 */
import { describe, test } from 'vitest'
import type { Delivery, DeliverySink, Engine, Subscription } from '../../src/broker/engine.ts'
import type { ChannelSpec } from '../../src/channel/channel.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { newId } from '../../src/event/identity.ts'
import { runScenario } from '../../src/testing/conformance/conformance.ts'
import { SCENARIOS } from '../../src/testing/conformance/scenarios.ts'
import { connected } from './connected.ts'

/** The target with `overrides` instead of its own members. */
function instead<T extends object>(target: T, overrides: Partial<T>): T {
  return new Proxy(target, {
    get(of, name) {
      const own = (overrides as Record<PropertyKey, unknown>)[name]
      const value = own ?? (of as Record<PropertyKey, unknown>)[name]
      return typeof value === 'function' && own === undefined ? value.bind(of) : value
    },
  })
}

function copyOf({ channel, offset, id, type, key, text, timeMs, attempt, redriven }: Delivery): Delivery {
  return { channel, offset, id, type, key, text, timeMs, attempt, redriven, attachment: null }
}

type Held = Parameters<Subscription['retry']>[0][]
/** `held` contains what was given to the subscriptions. */
type Lie = (engine: Engine, held: Held) => Partial<Engine>

const spec =
  (change: (spec: ChannelSpec) => Partial<ChannelSpec>): Lie =>
  (engine) => ({ declare: (own) => engine.declare({ ...own, ...change(own) }) })
const subscribing =
  (change: (spec: Parameters<Engine['subscribe']>[0]) => Partial<Parameters<Engine['subscribe']>[0]>): Lie =>
  (engine) => ({ subscribe: (own, sink) => engine.subscribe({ ...own, ...change(own) }, sink) })
const settling =
  (change: (subscription: Subscription, engine: Engine, held: Held) => Partial<Subscription>): Lie =>
  (engine, held) => ({
    subscribe: async (own, sink) =>
      engine.subscribe(own, sink).then((subscription) => instead(subscription, change(subscription, engine, held))),
  })
const delivering =
  (change: (sink: DeliverySink) => Partial<DeliverySink>): Lie =>
  (engine) => ({ subscribe: (own, sink) => engine.subscribe(own, instead(sink, change(sink))) })

interface Sabotage {
  readonly how: string
  readonly lie: Lie
  readonly noticed: readonly string[]
}

const SABOTAGE: readonly Sabotage[] = [
  {
    how: 'every seventh publish is acknowledged and not stored',
    lie: (engine) => {
      let count = 0
      return {
        publish: async (channel, event, due) =>
          ++count % 7 === 0 && due === null
            ? { channel, id: event.id, offset: count, duplicate: false }
            : engine.publish(channel, event, due),
      }
    },
    noticed: [
      '01-durable/an-acknowledged-event-is-readable-at-once',
      '02-fan-out-and-competition/each-consumer-sees-every-event',
      '03-at-least-once/a-random-history-has-no-anomaly',
    ],
  },
  {
    how: 'every publish is stored twice',
    lie: (engine) => ({
      publish: async (channel, event, due) => (
        await engine.publish(channel, { ...event, id: newId() }, due), engine.publish(channel, event, due)
      ),
    }),
    noticed: [
      '02-fan-out-and-competition/a-queue-event-goes-to-one-worker',
      '03-at-least-once/a-random-history-has-no-anomaly',
    ],
  },
  {
    how: 'a batch is stored in reverse',
    lie: (engine) => ({
      publishBatch: async (channel, events, due) =>
        (await engine.publishBatch(channel, [...events].reverse(), due)).reverse(),
    }),
    noticed: [
      '01-durable/a-batch-is-stored-whole-and-in-order',
      '04-order-by-key/failing-event-holds-back-its-own-key-only',
    ],
  },
  {
    how: 'each instance is a consumer of its own',
    lie: (engine) => {
      let count = 0
      return { subscribe: (own, sink) => engine.subscribe({ ...own, name: `${own.name}-${count++}` }, sink) }
    },
    noticed: ['02-fan-out-and-competition/instances-share-a-stream'],
  },
  {
    how: 'a failed event is done',
    lie: settling((own) => ({ retry: (delivery) => own.complete(delivery, null) })),
    noticed: [
      '03-at-least-once/a-failed-event-is-delivered-again',
      '05-retry/attempts-are-counted-and-limited',
      '04-order-by-key/failing-event-holds-back-its-own-key-only',
    ],
  },
  {
    how: 'every delivery is handed over twice',
    lie: delivering((sink) => ({
      deliver: (deliveries) => (sink.deliver(deliveries), sink.deliver(deliveries.map(copyOf))),
    })),
    noticed: [
      '02-fan-out-and-competition/instances-share-a-stream',
      '03-at-least-once/a-random-history-has-no-anomaly',
      '04-order-by-key/one-key-never-runs-twice-at-once-in-any-instance',
    ],
  },
  {
    how: 'several events of a key are in hands at once',
    lie: subscribing(() => ({ perKey: 5 })),
    noticed: [
      '04-order-by-key/order-is-kept-under-random-failures',
      '04-order-by-key/a-random-history-with-failures-has-no-anomaly',
    ],
  },
  {
    how: 'one at a time, whatever the key',
    lie: subscribing(() => ({ credit: 1 })),
    noticed: [
      '04-order-by-key/keys-run-in-parallel-across-instances',
      '04-order-by-key/events-without-a-key-run-in-parallel',
    ],
  },
  {
    how: 'handing back counts as an attempt',
    lie: settling((own, _, held) => ({
      close: () => {
        for (const delivery of held.splice(0))
          own.retry(delivery, 0, { name: 'Error', message: 'stopped', kind: 'error' })
        return own.close()
      },
    })),
    noticed: ['05-retry/a-release-at-stop-does-not-count'],
  },
  {
    how: 'the attempt is always the first',
    lie: delivering((sink) => ({
      deliver: (deliveries) => sink.deliver(deliveries.map((each) => instead(each, { attempt: 1 }))),
    })),
    noticed: ['05-retry/attempts-are-counted-and-limited', '06-dead-letter/the-last-attempts-error-is-kept'],
  },
  {
    how: 'redrive publishes the event again',
    lie: (engine) => ({
      consumers: instead(engine.consumers, {
        redrive: async (consumer, query) => {
          const letters = await engine.consumers.deadLetters(consumer, query)
          await engine.consumers.dropDeadLetters(consumer, query)
          for (const { channel, id, type, key, text } of letters)
            await engine.publish(channel, { id: `${id}-again`, type, key, text }, null)
          return letters.length
        },
      }),
    }),
    noticed: [
      '06-dead-letter/redrive-gives-it-to-that-consumer-alone',
      '06-dead-letter/park-holds-back-the-later-events-of-its-key',
    ],
  },
  {
    how: 'an event that is cancelled is stored all the same',
    lie: (engine) => ({
      delays: { list: (channel, query) => engine.delays.list(channel, query), cancel: async () => true },
    }),
    noticed: ['07-delay/a-cancelled-event-is-never-stored', '07-delay/an-event-is-stored-or-cancelled-and-never-both'],
  },
  {
    how: 'nothing waits behind a dead letter',
    lie: subscribing(() => ({ onDead: 'skip' })),
    noticed: [
      '06-dead-letter/park-holds-back-the-later-events-of-its-key',
      '06-dead-letter/block-holds-back-everything',
      '06-dead-letter/the-default-is-park-with-a-key',
    ],
  },
  {
    how: 'delays are ignored',
    lie: (engine) => ({ publish: (channel, event) => engine.publish(channel, event, null) }),
    noticed: ['07-delay/a-delayed-event-is-not-seen-before', '07-delay/events-come-in-the-order-of-their-due-times'],
  },
  {
    how: 'ids are not looked at',
    lie: spec(() => ({ dedupe: null })),
    noticed: [
      '08-deduplication/an-id-published-twice-is-stored-once-and-says-so',
      '08-deduplication/duplicates-in-flight-at-once',
    ],
  },
  {
    how: 'a consumer always begins at the beginning',
    lie: subscribing(() => ({ from: { at: 'beginning' } })),
    noticed: ['09-replay/a-consumer-starts-at-the-end', '09-replay/a-consumer-starts-at-an-offset'],
  },
  {
    how: 'rewinding does nothing',
    lie: (engine) => ({ consumers: instead(engine.consumers, { rewind: async () => undefined }) }),
    noticed: ['09-replay/rewind-to-the-beginning-while-running', '09-replay/rewind-takes-back-what-is-in-hand'],
  },
  {
    how: 'more is handed over than there is credit for',
    lie: subscribing((own) => ({ credit: own.credit * 2 })),
    noticed: [
      '10-bounded-memory/a-backlog-is-read-by-credit',
      '10-bounded-memory/in-flight-is-never-more-than-the-concurrency',
      '10-bounded-memory/one-in-flight-is-strictly-one',
    ],
  },
  {
    how: 'leases never end',
    lie: subscribing(() => ({ leaseMs: 3_600_000 })),
    noticed: ['11-leases/a-hung-instances-events-go-to-another', '12-emit-once/a-late-completion-emits-nothing'],
  },
  {
    how: 'renewing does not help',
    lie: settling(() => ({ renew: () => undefined })),
    noticed: [
      '11-leases/an-instance-that-renews-keeps-its-events',
      '11-leases/a-handler-may-run-longer-than-its-lease',
    ],
  },
  {
    how: 'emissions are stored twice',
    lie: settling((own) => ({
      complete: (delivery, emissions) =>
        own.complete(
          delivery,
          emissions === null
            ? null
            : emissions.flatMap((each) => [each, { ...each, event: { ...each.event, id: newId() } }]),
        ),
    })),
    noticed: ['12-emit-once/repeated-attempts-emit-once', '12-emit-once/a-random-history-of-emissions-has-no-anomaly'],
  },
  {
    how: 'emissions are lost',
    lie: settling((own) => ({ complete: (delivery) => own.complete(delivery, null) })),
    noticed: ['12-emit-once/repeated-attempts-emit-once', '12-emit-once/a-random-history-of-emissions-has-no-anomaly'],
  },
  {
    how: 'emissions are stored although the completion is refused',
    lie: settling((own, engine) => ({
      complete: (delivery, emissions) => {
        for (const { channel, event, dueAtMs } of emissions ?? []) void engine.publish(channel, event, dueAtMs)
        return own.complete(delivery, null)
      },
    })),
    noticed: ['12-emit-once/a-late-completion-emits-nothing'],
  },
  {
    how: 'nothing is ever let go',
    lie: spec((own) => ({ retain: { ageMs: null, bytes: null, count: null, latestByKey: own.retain.latestByKey } })),
    noticed: ['13-retention/count-keeps-the-newest', '13-retention/limits-hold-together'],
  },
  {
    how: 'too much is let go',
    lie: spec((own) => ({ retain: { ...own.retain, count: 10 } })),
    noticed: ['13-retention/count-keeps-the-newest'],
  },
  {
    how: 'pausing does nothing',
    lie: settling(() => ({ pause: () => undefined })),
    noticed: ['14-lifecycle/pause-takes-nothing-new-and-resume-goes-on'],
  },
  {
    how: 'deliveries begin before the subscriber has its subscription',
    lie: (engine) => ({
      subscribe: async (own, sink) => {
        const subscription = await engine.subscribe(own, sink)
        await new Promise((resolve) => setTimeout(resolve, 20))
        return subscription
      },
    }),
    noticed: ['14-lifecycle/nothing-is-delivered-before-the-subscription-is-there'],
  },
  {
    how: 'a removed channel stays',
    lie: () => ({ removeChannel: async () => undefined }),
    noticed: ['14-lifecycle/a-removed-channel-leaves-the-others', '14-lifecycle/a-removed-channel-can-be-made-anew'],
  },
  {
    how: 'everything is delivered',
    lie: subscribing(() => ({ wants: [{ type: null, pattern: null }] })),
    noticed: ['15-filter/workers-of-a-queue-divide-it-by-what-they-handle'],
  },
  {
    how: 'channels created later are not seen',
    lie: (engine) => ({
      subscribe: async (own, sink) => {
        const there = (await engine.describe()).channels
          .map((each) => each.name)
          .filter((name) => own.channels.some((each) => each === name || each.endsWith('*')))
        return engine.subscribe({ ...own, channels: there }, sink)
      },
    }),
    noticed: [
      '16-wildcards/channels-created-later-are-taken-too',
      '17-discovery/channels-and-consumers-created-later-are-listed',
    ],
  },
  {
    how: 'everything is always fine',
    lie: (engine) => ({
      describe: async () => {
        const described = await engine.describe()
        const consumers = described.consumers.map((each) => ({
          ...each,
          deadLetters: 0,
          parked: 0,
          stalled: null,
          channels: each.channels.map((channel) => ({ ...channel, lag: 0, lagMs: 0 })),
        }))
        return { ...described, consumers }
      },
    }),
    noticed: [
      '17-discovery/lag-is-told-in-events-and-in-time',
      '17-discovery/a-blocked-consumer-is-stalled-and-says-why',
      '17-discovery/in-flight-retrying-dead-and-parked-are-counted',
    ],
  },
  {
    how: 'errors are plain',
    lie: (engine) => ({
      channel: () => Promise.reject(new Error('no')),
      consumers: instead(engine.consumers, { rewind: () => Promise.reject(new Error('no')) }),
    }),
    noticed: ['18-errors/an-unknown-channel-is-refused', '09-replay/rewind-of-an-unknown-consumer-is-refused'],
  },
]

function run(name: string, lie: Lie, eventuallyMs: number): Promise<void> {
  const scenario = SCENARIOS.find((each) => each.name === name)
  if (scenario === undefined) throw new Error(`there is no scenario ${name}`)
  const engine = openMemoryEngine()
  const held: Held = []
  const lying = instead<Engine>(engine, lie(engine, held))
  const noting = instead<Engine>(lying, {
    subscribe: (own, sink) =>
      lying.subscribe(
        own,
        instead(sink, {
          deliver: (deliveries) => {
            held.push(...deliveries)
            sink.deliver(deliveries)
          },
        }),
      ),
  })
  return runScenario(scenario, {
    open: () => ({
      connect: async () => connected(noting, '/sabotage'),
      openEngine: async () => noting,
    }),
    patience: { eventuallyMs },
  })
}

describe.concurrent.each(SABOTAGE)('when $how', ({ lie, noticed }) => {
  test.for(noticed)('%s fails', { timeout: 60_000 }, async (name, { expect }) => {
    await expect(run(name, lie, 600)).rejects.toThrow()
  })
})

describe.concurrent('when nothing is wrong', () => {
  test.each([...new Set(SABOTAGE.flatMap((sabotage) => sabotage.noticed))])(
    '%s passes',
    { timeout: 60_000 },
    async (name) => {
      await run(name, () => ({}), 20_000)
    },
  )
})
