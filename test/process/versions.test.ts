import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { event, instances, type Process, process, stream, to } from '../../src/index.ts'
import { Input, inboxOf } from '../../src/process/process-inbox.ts'
import { given, type TestBroker, testBroker } from '../../src/testing/index.ts'

const order = z.object({ order: z.string() })
const Placed = event('order.placed', order)
const Refunded = event('order.refunded', order)
const Late = event('order.late', order)
const orders = stream('orders', { events: [Placed, Refunded], key: 'data.order' })
const notices = stream('notices', { events: [Late], key: 'data.order' })
const by = { id: (e: { readonly data: { readonly order: string } }) => e.data.order }
const Stage = z.object({ stage: z.string() })

const olderOne = () =>
  process('checkout', orders, { state: Stage, retry: { attempts: 1 } }).start(Placed, by, () => ({
    state: { stage: 'open' },
  }))

const newerOne = () =>
  process('checkout', orders, { state: Stage, retry: { attempts: 1 } })
    .start(Placed, by, () => ({ state: { stage: 'open' }, after: { late: '10m' } }))
    .on(Refunded, by, () => ({ state: { stage: 'refunded' } }))
    .timeout('late', (state, { id }) => ({ state, emit: [to(notices, Late({ order: id }))] }))
    .missing(Refunded, 'dead-letter')

describe('two versions of a process', () => {
  let broker: TestBroker
  beforeEach(() => {
    broker = testBroker()
  })
  afterEach(() => broker.close())

  const stages = async (): Promise<unknown[]> => {
    const found: unknown[] = []
    for await (const { state } of instances(broker, newerOne()).list()) found.push(state.stage)
    return found
  }
  const waiting = async (): Promise<boolean> =>
    (await broker.alarms()).some(({ code, message }) => code === 'UNKNOWN_VERSION' && message.includes('"checkout"'))

  it('run at once: an event that only the newer one handles is handled by it', async () => {
    await broker.start(olderOne())
    await broker.start(newerOne())
    const ids = Array.from({ length: 20 }, (_, at) => `o-${at}`)
    await broker.publish(
      orders,
      ids.map((id) => Placed({ order: id })),
    )
    await broker.publish(
      orders,
      ids.map((id) => Refunded({ order: id })),
    )
    await vi.waitFor(async () => expect(await stages()).toEqual(ids.map(() => 'refunded')))
    expect(await broker.deadLetters('checkout').list()).toEqual([])
  })

  it('after a rollback, what the newer one has put into the inbox waits, and holds back its instance alone', async () => {
    const inbox = inboxOf(newerOne().data)
    await broker.start(olderOne())
    await broker.publish(orders, Placed({ order: 'o-1' }))
    await broker.settled()
    const stored = { specversion: '1.0', source: '/s', id: 'r-1', type: 'order.refunded', data: { order: 'o-1' } }
    await broker.publish(inbox, Input({ channel: 'orders', offset: 9, event: stored }, { partitionkey: 'o-1' }))
    await vi.waitFor(async () => expect(await waiting()).toBe(true))
    await broker.publish(orders, Placed({ order: 'o-2' }))
    await vi.waitFor(async () => expect(await stages()).toEqual(['open', 'open']))
    await broker.start(newerOne())
    await vi.waitFor(async () => expect(await stages()).toEqual(['refunded', 'open']))
  })

  it('a timer of the newer one waits for an instance that knows it', async () => {
    const newer = await broker.start(newerOne())
    await broker.publish(orders, Placed({ order: 'o-1' }))
    await broker.settled()
    await newer.stop()
    await broker.start(olderOne())
    void broker.advance('11m').catch(() => undefined)
    await vi.waitFor(async () => expect(await waiting()).toBe(true))
    expect(await broker.deadLetters('checkout').list()).toEqual([])
    await broker.start(newerOne())
    await vi.waitFor(async () => expect(await broker.published(notices)).toHaveLength(1))
  })
})

const Dated = z.object({
  at: z.iso.datetime().transform((text) => new Date(text)),
  n: z.number().transform((n) => n + 1),
})

/** The same schema, whose validation takes a turn. */
const Slow = Dated.refine(async () => new Promise<boolean>((resolve) => setImmediate(() => resolve(true))))

describe.each([
  ['a schema', Dated],
  ['an asynchronous schema', Slow],
])('a process whose state %s transforms', (_, schema) => {
  const make = (): Process<z.output<typeof Dated>, z.input<typeof Dated>, typeof Placed | typeof Refunded> =>
    process('dated', orders, { state: schema, retry: { attempts: 1 } })
      .start(Placed, by, () => ({ state: { at: '2026-01-01T00:00:00Z', n: 0 }, after: { late: '10m', end: '20m' } }))
      .on(Refunded, by, () => ({ cancel: [] }))
      .timeout('late', ({ at, n }, { id }) => ({
        emit: [to(notices, Late({ order: `${id} ${at.toISOString()} ${n}` }))],
      }))
      .timeout('end', () => ({ done: true }))
      .missing(Refunded, 'dead-letter')

  it('keeps its state in steps and timers that set none, and ends by a timer', async () => {
    const broker = testBroker()
    await broker.start(make())
    await broker.publish(orders, [Placed({ order: 'o-1' }), Refunded({ order: 'o-1' })])
    await broker.advance('11m')
    expect(await broker.deadLetters('dated').list()).toEqual([])
    expect((await broker.published(notices)).map(({ data }) => data)).toEqual([
      { order: 'o-1 2026-01-01T00:00:00.000Z 1' },
    ])
    const kept = await instances(broker, make()).get('o-1')
    expect(kept?.state).toEqual({ at: new Date('2026-01-01T00:00:00Z'), n: 1 })
    await broker.advance('11m')
    expect(await instances(broker, make()).get('o-1')).toBeUndefined()
    await broker.close()
  })

  it.runIf(schema === Dated)('can be tested without a broker', () => {
    given(make(), { at: '2026-01-01T00:00:00Z', n: 0 }, ['late'])
      .when('late')
      .then({ state: { at: new Date('2026-01-01T00:00:00Z'), n: 1 }, timers: [] })
  })
})
