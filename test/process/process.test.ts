import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { event, instances, process, queue, stream, to } from '../../src/index.ts'
import { given, type TestBroker, testBroker } from '../../src/testing/index.ts'

const id = z.object({ order: z.string() })
const Placed = event('order.placed', z.object({ order: z.string(), cart: z.string(), at: z.coerce.date().optional() }))
const Paid = event('payment.received', z.object({ payment: z.string(), order: z.string() }))
const Shipped = event('parcel.shipped', id)
const Expired = event('order.expired', id)
const Ship = event('ship', id)

const orders = stream('orders', { events: [Placed], key: 'data.cart' })
const notices = stream('notices', { events: [Expired], key: 'data.order' })
const payments = stream('payments', { events: [Paid], key: 'data.payment' })
const parcels = stream('parcels', { events: [Shipped], key: 'data.order' })
const shipping = queue('shipping', { events: [Ship], key: 'data.order' })

const Stage = z.object({ stage: z.enum(['open', 'paid', 'shipped']), cart: z.string(), reminders: z.int().default(0) })

const make = () =>
  process('checkout', [orders, payments, parcels], { state: Stage, retry: { attempts: 2, min: '1s', max: '1s' } })
    .start(Placed, { id: (e) => e.data.order }, ({ data }) => ({
      state: { stage: 'open', cart: data.cart },
      after: { reminder: '10m', unpaid: '30m' },
    }))
    .on(Paid, { id: (e) => e.data.order }, (state, { data }) => ({
      state: { ...state, stage: 'paid' },
      emit: [to(shipping, Ship({ order: data.order }))],
      cancel: ['reminder', 'unpaid'],
    }))
    .on(Shipped, { id: (e) => e.data.order }, () => ({ done: true }))
    .timeout('reminder', (state) => ({
      state: { ...state, reminders: state.reminders + 1 },
      ...(state.reminders < 1 && { after: { reminder: '10m' } }),
    }))
    .timeout('unpaid', (_, timer) => ({ emit: [to(notices, Expired({ order: timer.id }))], done: true }))
    .missing(Paid, 'dead-letter')
    .missing(Shipped, 'ignore')

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = []
  for await (const item of items) found.push(item)
  return found
}

describe('a process', () => {
  let broker: TestBroker
  beforeEach(() => {
    broker = testBroker()
  })
  afterEach(() => broker.close())

  const state = async (order: string): Promise<unknown> => (await instances(broker, make()).get(order))?.state

  it('follows its instance over channels with different keys', async () => {
    await broker.start(make())
    await broker.publish(orders, Placed({ order: 'o-1', cart: 'c-1' }))
    await broker.settled()
    expect(await state('o-1')).toEqual({ stage: 'open', cart: 'c-1', reminders: 0 })
    await broker.publish(payments, Paid({ payment: 'p-9', order: 'o-1' }))
    await broker.settled()
    expect(await state('o-1')).toMatchObject({ stage: 'paid' })
    expect((await broker.published(shipping)).map(({ data }) => data)).toEqual([{ order: 'o-1' }])
    await broker.advance('2h')
    expect(await broker.published(notices)).toEqual([])
    await broker.publish(parcels, Shipped({ order: 'o-1' }))
    await broker.settled()
    expect(await state('o-1')).toBeUndefined()
  })

  it('fires its timers, and a timer that was cancelled or replaced does nothing', async () => {
    await broker.start(make())
    await broker.publish(orders, Placed({ order: 'o-1', cart: 'c-1' }))
    await broker.settled()
    const [listed] = await all(instances(broker, make()).list())
    expect(listed).toMatchObject({ id: 'o-1', timers: [{ name: 'reminder' }, { name: 'unpaid' }] })
    await broker.advance('11m')
    expect(await state('o-1')).toMatchObject({ reminders: 1 })
    await broker.advance('10m')
    expect(await state('o-1')).toMatchObject({ reminders: 2 })
    await broker.advance('10m')
    expect(await state('o-1')).toBeUndefined()
    const [expired] = await broker.published(notices)
    expect(expired).toMatchObject({ type: 'order.expired', data: { order: 'o-1' } })
  })

  it('does not take the timer of an earlier instance with the same id', async () => {
    await broker.start(make())
    await broker.publish(orders, Placed({ order: 'o-1', cart: 'c-1' }))
    await broker.advance('5m')
    await broker.publish(parcels, Shipped({ order: 'o-1' }))
    await broker.advance('20m')
    await broker.publish(orders, Placed({ order: 'o-1', cart: 'c-2' }))
    await broker.advance('6m')
    expect(await state('o-1')).toEqual({ stage: 'open', cart: 'c-2', reminders: 0 })
  })

  it('does what was said with an event without an instance', async () => {
    await broker.start(make())
    await broker.publish(payments, Paid({ payment: 'p-1', order: 'unknown' }))
    await broker.publish(parcels, Shipped({ order: 'unknown' }))
    await broker.settled()
    const letters = await broker.deadLetters('checkout').list()
    expect(letters.map(({ key, failure }) => [key, failure.message])).toEqual([
      ['unknown', 'process "checkout" has no instance "unknown"'],
    ])
  })

  it('takes a step once, whatever is delivered again', async () => {
    broker.inject({ redeliver: 0.5 })
    await broker.start(make())
    for (let at = 0; at < 20; at++) await broker.publish(orders, Placed({ order: `o-${at}`, cart: 'c-1' }))
    for (let at = 0; at < 20; at++) await broker.publish(payments, Paid({ payment: `p-${at}`, order: `o-${at}` }))
    await broker.advance('1m')
    const shipped = (await broker.published(shipping)).map(({ data }) => (data as { order: string }).order)
    expect(shipped.sort()).toEqual(Array.from({ length: 20 }, (_, at) => `o-${at}`).sort())
  })

  it('can be stuck, retried and ended', async () => {
    let broken = true
    const stubborn = process('stubborn', orders, { state: Stage, retry: { attempts: 1 } }).start(
      Placed,
      { id: (e) => e.data.order },
      ({ data }) => {
        if (broken && data.cart === 'bad') throw new Error('no such cart')
        return { state: { stage: 'open', cart: data.cart } }
      },
    )
    await broker.start(stubborn)
    await broker.publish(orders, [Placed({ order: 'o-1', cart: 'bad' }), Placed({ order: 'o-2', cart: 'good' })])
    await broker.settled()
    const found = instances(broker, stubborn)
    expect(await found.get('o-1')).toBeUndefined()
    expect(await found.get('o-2')).toMatchObject({ state: { cart: 'good' }, deadLetters: [] })
    broken = false
    expect(await found.retry('o-1')).toBe(1)
    await broker.settled()
    expect(await found.get('o-1')).toMatchObject({ id: 'o-1', state: { cart: 'bad' } })
    await found.end('o-1')
    await broker.settled()
    expect(await found.get('o-1')).toBeUndefined()
  })

  it('names the cause of what it emits', async () => {
    await broker.start(make())
    await broker.publish(orders, Placed({ order: 'o-1', cart: 'c-1' }))
    await broker.publish(payments, Paid({ payment: 'p-9', order: 'o-1' }, { id: 'the-payment', correlationid: 'shop' }))
    await broker.settled()
    const [ship] = await broker.published(shipping)
    expect(ship).toMatchObject({ causationid: 'the-payment', correlationid: 'shop' })
  })

  it('migrates the state of instances from before', async () => {
    await broker.start(make())
    await broker.publish(orders, Placed({ order: 'o-1', cart: 'c-1' }))
    await broker.settled()
    const later = process('checkout', [orders], {
      state: z.object({ phase: z.string() }),
      version: 2,
      migrate: { 1: ({ stage }) => ({ phase: `was ${stage}` }) },
    }).start(Placed, { id: (e) => e.data.order }, () => ({ state: { phase: 'new' } }))
    expect(await instances(broker, later).get('o-1')).toMatchObject({
      state: { phase: 'was open' },
      timers: [{ name: 'reminder' }, { name: 'unpaid' }],
    })
  })

  it('is removed with both consumers and its queue: nothing of it comes when it is started again', async () => {
    const running = await broker.start(make())
    await broker.publish(orders, Placed({ order: 'o-1', cart: 'c-1' }))
    await broker.settled()
    await running.stop()
    await broker.consumer('checkout.intake').remove()
    await broker.consumer('checkout').remove()
    await broker.removeChannel('$process.checkout')
    await broker.start(make())
    await broker.settled()
    expect(await all(instances(broker, make()).list())).toHaveLength(1)
    await broker.advance('11m')
    expect(await state('o-1')).toMatchObject({ reminders: 1 })
    await broker.advance('20m')
    expect(await broker.published(notices)).toHaveLength(1)
  })

  it('makes an event whose id cannot be found a dead letter of its intake', async () => {
    const wrong = process('wrong', orders, { state: Stage }).start(Placed, { id: () => '' }, () => ({ done: true }))
    await broker.start(wrong)
    await broker.publish(orders, Placed({ order: 'o-1', cart: 'c' }))
    await broker.settled()
    expect((await broker.deadLetters('wrong.intake').list())[0]?.failure.message).toContain('an id is text')
  })
})

describe('a definition', () => {
  it('is refused while it is not complete', async () => {
    const broker = testBroker()
    const options = { state: Stage }
    const by = { id: (e: { readonly data: { readonly order: string } }) => e.data.order }
    const none = process('none', orders, options)
    await expect(broker.start(none)).rejects.toThrow('nothing begins an instance')
    const unsaid = process('unsaid', [orders, payments], options)
      .start(Placed, by, () => ({ done: true }))
      .on(Paid, by, () => undefined)
    await expect(broker.start(unsaid)).rejects.toThrow('it is not said what happens to "payment.received"')
    expect(() => unsaid.on(Paid, by, () => undefined)).toThrow('twice')
    expect(() => unsaid.start(Placed, by, () => ({ done: true }))).toThrow('twice')
    expect(() => unsaid.missing(Paid, 'park' as never)).toThrow('ignore')
    expect(() => process('x', [], options)).toThrow('no channel')
    expect(() => process('x', orders, {} as never)).toThrow('needs state')
    await broker.close()
  })

  it('is shown as a diagram', () => {
    expect(make().diagram()).toBe(
      [
        'stateDiagram-v2',
        '  [*] --> active : order.placed',
        '  active --> active : payment.received',
        '  active --> active : parcel.shipped',
        '  active --> active : timer reminder',
        '  active --> active : timer unpaid',
        '  active --> [*] : done',
        '',
      ].join('\n'),
    )
  })
})

describe('given, when, then', () => {
  const open = { stage: 'open', cart: 'c-1' } as const

  it('tests one step without a broker', () => {
    given(make())
      .when(Placed({ order: 'o-1', cart: 'c-1' }))
      .then({ state: { ...open, reminders: 0 }, timers: ['reminder', 'unpaid'], emit: [], outcome: 'stepped' })
    given(make(), open, ['unpaid'])
      .when(Paid({ payment: 'p', order: 'o-1' }))
      .then({
        state: { ...open, stage: 'paid', reminders: 0 },
        emit: [{ channel: 'shipping', type: 'ship', data: { order: 'o-1' } }],
        timers: [],
      })
    given(make(), open).when('unpaid').then({ outcome: 'ended', state: undefined })
    given(make())
      .when(Paid({ payment: 'p', order: 'o-1' }))
      .then({ outcome: 'dead-letter' })
    given(make())
      .when(Shipped({ order: 'o-1' }))
      .then({ outcome: 'ignored' })
    given(make(), open)
      .when(Placed({ order: 'o-1', cart: 'c-2' }))
      .then({ outcome: 'ignored' })
  })

  it('fails when a step is another one', () => {
    const step = given(make(), open).when(Shipped({ order: 'o-1' }))
    expect(() => step.then({ outcome: 'stepped' })).toThrow()
  })

  it('refuses an answer that is no step', () => {
    const wrong = (answer: unknown) =>
      given(process('wrong', orders, { state: Stage }).start(Placed, { id: () => 'x' }, () => answer as never))
    const event = Placed({ order: 'o-1', cart: 'c-1' })
    expect(() => wrong(Promise.resolve({})).when(event)).toThrow('returned a promise')
    expect(() => wrong(undefined).when(event)).toThrow('not a step')
    expect(() => wrong({ done: false }).when(event)).toThrow('without a state')
    expect(() => wrong({ state: open, after: { later: '1m' } }).when(event)).toThrow('no timeout()')
    expect(() => wrong({ state: open, emits: [] }).when(event)).toThrow('emits')
    expect(() => wrong({ state: open, emit: [event] }).when(event)).toThrow('to(channel, event)')
    expect(() => wrong({ state: { stage: 'never' } }).when(event)).toThrow()
  })
})
