/**
 * Clause 18, versions of events: old ones are upcast when they are read, and newer ones wait for an instance that knows
 * them.
 */
import assert from 'node:assert/strict'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { type Stream, stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import type { NewEvent } from '../../../event/cloud-event.ts'
import { type EventDefinition, event } from '../../../event/event.ts'
import { holds, idle, numbers, QUICK, refused } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import type { World } from '../world.ts'

interface Euros {
  readonly order: string
  readonly euros: number
}

interface Cents {
  readonly order: string
  readonly cents: number
}

/** A schema whose data has an order and an amount, and no other member that is an amount. */
function amount<Data extends object>(member: 'euros' | 'cents'): StandardSchemaV1<Data, Data> {
  const issue = { message: `${member} must be a number`, path: [member] }
  return {
    '~standard': {
      version: 1,
      vendor: 'millrace-conformance',
      validate: (value) => {
        const given: unknown = (value as Readonly<Record<string, unknown>> | null)?.[member]
        return typeof given === 'number' ? { value: value as Data } : { issues: [issue] }
      },
    },
  }
}

const First: EventDefinition<'order.paid', Euros, Euros> = event('order.paid', amount<Euros>('euros'))
const Second: EventDefinition<'order.paid', Cents, Cents> = First.nextVersion(
  2,
  amount<Cents>('cents'),
  ({ order, euros }) => ({ order, cents: Math.round(euros * 100) }),
)

type Payments<Definition extends typeof First | typeof Second> = Stream<Definition>
const firstStream = (name: string): Payments<typeof First> => stream(name, { events: [First], key: 'data.order' })
const secondStream = (name: string): Payments<typeof Second> => stream(name, { events: [Second], key: 'data.order' })

/** Orders and cents that handlers got. */
class Got {
  readonly all: [order: string, cents: number][] = []

  readonly handler = ({ data: { order, cents } }: { readonly data: Cents }): void => {
    this.all.push([order, cents])
  }

  of(order: string): number[] {
    return this.all.filter(([each]) => each === order).map(([, cents]) => cents)
  }

  reach(world: World, count: number): Promise<void> {
    return world.eventually(() => holds(this.all.length >= count))
  }
}

const euros = (order: string, amount: number): NewEvent<'order.paid', Euros> => First({ order, euros: amount })
const cents = (order: string, amount: number): NewEvent<'order.paid', Cents> => Second({ order, cents: amount })

export const versions: readonly Scenario[] = clause(18, {
  'an-event-of-an-earlier-version-is-handled-and-read-in-the-newest': async (world) => {
    const broker = await world.connect()
    const name = world.name('payments')
    await broker.publish(firstStream(name), [euros('a', 1.5), euros('b', 2)])
    const payments = secondStream(name)
    await broker.publish(payments, [cents('a', 250), cents('b', 300)])
    const got = new Got()
    await broker.start(consumer(world.name('worker'), payments).on(Second, got.handler))
    await got.reach(world, 4)
    assert.deepEqual(
      [got.of('a'), got.of('b')],
      [
        [150, 250],
        [200, 300],
      ],
    )
    const read: unknown[] = []
    for await (const { data, dataversion } of broker.read(payments)) read.push([data.cents, dataversion])
    assert.deepEqual(read.sort(), [
      [150, 2],
      [200, 2],
      [250, 2],
      [300, 2],
    ])
    const stored: unknown[] = []
    for await (const { data, dataversion } of broker.read(name))
      stored.push([dataversion, Object.keys(data as object)[1]])
    assert.deepEqual(stored.map(String).sort(), [',euros', ',euros', '2,cents', '2,cents'])
  },

  'a-pattern-is-about-the-newest-version': async (world) => {
    const broker = await world.connect()
    const name = world.name('payments')
    await broker.publish(
      firstStream(name),
      numbers(10).map((n) => euros('a', n)),
    )
    const payments = secondStream(name)
    await broker.publish(
      payments,
      numbers(10).map((n) => cents('a', n * 100 + 50)),
    )
    const got = new Got()
    const worker = consumer(world.name('worker'), payments)
    await broker.start(worker.on(Second.where({ cents: [{ numeric: ['>=', 800] }] }), got.handler))
    await idle(world, broker, worker.name)
    assert.deepEqual(got.of('a'), [800, 900, 850, 950])
  },

  'an-event-of-a-newer-version-waits-for-an-instance-that-knows-it-and-holds-back-its-key-alone': async (world) => {
    const broker = await world.connect()
    const name = world.name('payments')
    const worker = world.name('worker')
    const before: string[] = []
    const old = await broker.start(
      consumer(worker, firstStream(name), { retry: { ...QUICK, attempts: 1 } }).on(First, ({ data }) => {
        before.push(`${data.order} ${data.euros}`)
      }),
    )
    await broker.publish(firstStream(name), euros('a', 1))
    await world.eventually(() => assert.deepEqual(before, ['a 1']))
    const payments = secondStream(name)
    await broker.publish(payments, cents('a', 200))
    await broker.publish(name, { type: 'order.paid', data: { order: 'a', euros: 3 } })
    await broker.publish(name, { type: 'order.paid', data: { order: 'b', euros: 4 } })
    await world.eventually(() => assert.deepEqual(before, ['a 1', 'b 4']))
    await world.eventually(async () =>
      holds(
        (await broker.alarms()).some(({ code, message }) => code === 'UNKNOWN_VERSION' && message.includes(worker)),
      ),
    )
    assert.deepEqual((await broker.deadLetters(worker).list()).length, 0, 'it is not a dead letter')
    const got = new Got()
    const attempts: number[] = []
    await broker.start(
      consumer(worker, payments, { retry: { ...QUICK, attempts: 1 } }).on(Second, (each, ctx) => {
        attempts.push(ctx.attempt)
        got.handler(each)
      }),
    )
    await world.eventually(() => assert.deepEqual(got.of('a')[0], 200))
    await idle(world, broker, worker)
    assert.deepEqual([...new Set(attempts)], [1], 'no attempt was counted')
    assert.deepEqual([...got.of('a').slice(1), ...before.slice(2)].length, 1, 'the event behind it was handled once')
    await old.stop()
    await world.eventually(async () =>
      holds(
        (await broker.alarms()).every(({ code, message }) => code !== 'UNKNOWN_VERSION' || !message.includes(worker)),
      ),
    )
  },

  'events-of-a-newer-version-wait-across-a-stop-of-the-instance': async (world) => {
    const broker = await world.connect()
    const name = world.name('payments')
    const worker = world.name('worker')
    const payments = secondStream(name)
    await broker.publish(
      payments,
      numbers(20).map((n) => cents(`o${n % 4}`, n)),
    )
    const old = await broker.start(
      consumer(worker, firstStream(name)).on(First, () => assert.fail('not in this version')),
    )
    await world.eventually(async () => holds((await broker.alarms()).some(({ code }) => code === 'UNKNOWN_VERSION')))
    await old.stop()
    const got = new Got()
    await broker.start(consumer(worker, payments).on(Second, got.handler))
    await got.reach(world, 20)
    await idle(world, broker, worker)
    for (const n of numbers(4))
      assert.deepEqual(
        got.of(`o${n}`),
        numbers(5).map((each) => each * 4 + n),
      )
    assert.equal((await broker.deadLetters(worker).list()).length, 0)
  },

  'an-upcast-that-throws-is-an-error-of-the-consumer': async (world) => {
    const broker = await world.connect()
    const name = world.name('payments')
    const worker = world.name('worker')
    await broker.publish(firstStream(name), euros('a', 1))
    let calls = 0
    const Broken = First.nextVersion(2, amount<Cents>('cents'), () => {
      calls++
      throw new Error('no rate for this day')
    })
    const payments: Stream<typeof Broken> = stream(name, { events: [Broken], key: 'data.order' })
    await broker.start(consumer(worker, payments, { retry: { ...QUICK, attempts: 2 } }).on(Broken, () => undefined))
    await world.eventually(async () => {
      const [letter] = await broker.deadLetters(worker).list()
      assert.deepEqual([letter?.failure.code, letter?.attempts], ['UPCAST_FAILED', 2])
      holds(letter?.failure.message.includes('no rate for this day') === true)
    })
    assert.equal(calls, 2)
    await refused(
      async () => {
        for await (const _ of broker.read(payments)) assert.fail('it cannot be read')
      },
      'UPCAST_FAILED',
      'no rate for this day',
    )
  },

  'an-event-by-name-is-validated-by-the-schema-of-its-own-version': [
    ['reopen'],
    async (world) => {
      const app = await world.connect()
      const name = world.name('payments')
      const json = (member: string): StandardSchemaV1 =>
        ({
          '~standard': {
            ...amount(member as 'euros')['~standard'],
            jsonSchema: {
              input: () => ({ type: 'object', properties: { [member]: { type: 'number' } }, required: [member] }),
            },
          },
        }) as unknown as StandardSchemaV1
      const Described = event('order.paid', json('euros')).nextVersion(2, json('cents'), () => ({ cents: 1 }))
      await app.declare(stream(name, { events: [Described] }))
      // A process of the version before declares the channel, too.
      const before = await world.reopen(app)
      await before.declare(stream(name, { events: [event('order.paid', json('euros'))] }))
      const broker = await world.reopen(before)
      const made = (data: object, dataversion?: number | string): object => ({
        type: 'order.paid',
        data,
        ...(dataversion !== undefined && { dataversion }),
      })
      const publish = (each: object): Promise<unknown> => broker.publish(name, each as never)
      await publish(made({ euros: 1 }))
      await publish(made({ cents: 1 }, 2))
      await publish(made({ cents: 1 }, '2'))
      await refused(() => publish(made({ cents: 1 })), 'SCHEMA_MISMATCH', 'euros')
      await refused(() => publish(made({ euros: 1 }, 2)), 'SCHEMA_MISMATCH', 'cents')
      await refused(() => publish(made({ cents: 1 }, 3)), 'UNKNOWN_VERSION', 'version 3')
    },
  ],
})
