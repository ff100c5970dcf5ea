/** Push subscriptions after a restart, at several gateways, on several partitions, and to another Millrace. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Webhook } from 'standardwebhooks'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import { newId } from '../../src/event/identity.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { createGateway, type Gateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from '../external-log/memory-backend.ts'
import { Receiver, SECRET } from '../outbound/receiver.ts'
import { brokersOf, eventually, published } from '../rules/support.ts'
import { ask, type JsonAnswer } from './ask.ts'

let subscriber: Receiver

beforeEach(async () => {
  subscriber = new Receiver()
  await subscriber.start()
})
afterEach(() => subscriber.stop())

const quickly = { backoff: { min: '1ms', max: '2ms' } }
const open = (broker: Broker): Gateway => createGateway(broker, { push: { allow: ['127.0.0.0/8'] }, drain: '500ms' })
const put = (more: object, gateway: Gateway): Promise<JsonAnswer> =>
  ask(gateway, 'PUT', '/api/subscriptions/billing', {
    channels: ['orders'],
    url: subscriber.url,
    secret: SECRET,
    ...more,
  })

test('after a restart a subscription continues, with events published meanwhile and events that wait for a retry', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-push-'))
  try {
    const before = await connect(`file:${folder}`)
    await before.declare(stream('orders'))
    const first = open(before)
    subscriber.answer = (response) => response.writeHead(500).end()
    await put({ backoff: { min: '5ms', max: '50ms' }, attempts: 1000 }, first)
    await before.publish('orders', { type: 'a', id: 'e-1', partitionkey: 'k' })
    await eventually(() => expect(subscriber.received.length).toBeGreaterThan(1))
    await first.close()
    await before.publish('orders', { type: 'a', id: 'e-2', partitionkey: 'k' })
    await before.close()
    subscriber.received.length = 0
    subscriber.answer = (response) => response.writeHead(204).end()
    const after = await connect(`file:${folder}`)
    const second = open(after)
    await eventually(() => expect(subscriber.ids).toEqual(['e-1', 'e-2']))
    new Webhook(SECRET).verify(
      subscriber.received.at(-1)?.body ?? '',
      subscriber.received.at(-1)?.headers as Record<string, string>,
    )
    await second.close()
    await after.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('an event of $push that is not a change of a subscription is ignored: other subscriptions continue, also after a restart', async () => {
  const broker = await connect('memory:')
  await broker.declare(stream('orders'))
  const gateway = open(broker)
  const failures: unknown[] = []
  expect((await put(quickly, gateway)).status).toBe(201)
  const own = { name: 'x', subscription: null, enabled: true, by: 'x', reason: null, grantedPerMinute: null }
  const strange: readonly unknown[] = [
    ...[
      null,
      'text',
      5,
      [],
      {},
      new Uint8Array([1]),
      { name: 'x' },
      { ...own, name: 5 },
      { ...own, name: '../x' },
      { ...own, subscription: 'x' },
    ],
    ...[
      { ...own, subscription: { channels: 5 }, enabled: 'yes' },
      { ...own, by: {} },
      { ...own, reason: 5, subscription: {} },
      { ...own, grantedPerMinute: 'x' },
    ],
    { ...own, name: 'half', subscription: { url: 5 } },
  ]
  for (const data of strange)
    await broker
      .publish('$push', { type: 'push.put', source: '/somebody', data, partitionkey: 'x' } as never)
      .catch(() => undefined)
  // Another process that did not declare the channel may write any event there.
  const engine = engineOf(broker)
  for (const data of strange) {
    const text = JSON.stringify({ specversion: '1.0', id: newId(), source: '/somebody', type: 'push.put', data })
    await engine.publish('$push', { id: newId(), type: 'push.put', key: 'x', text } as never, null)
  }
  const again = createGateway(broker, {
    push: { allow: ['127.0.0.0/8'] },
    drain: '500ms',
    onError: (error) => failures.push(error),
  })
  await again.started
  for (const each of [gateway, again]) {
    const listed = await ask(each, 'GET', '/api/subscriptions')
    expect(listed).toMatchObject({
      status: 200,
      body: { subscriptions: [{ name: 'billing', problem: null }, { name: 'half' }] },
    })
  }
  await broker.publish('orders', { type: 'a', id: 'e-1' })
  await eventually(() => expect(subscriber.ids).toEqual(['e-1']))
  expect(failures).toEqual([])
  await again.close()
  await gateway.close()
  await broker.close()
})

test('several gateways on one broker share a subscription, and a change at one is applied by the others', async () => {
  const [one, two] = brokersOf(2) as [Broker, Broker]
  await one.declare(stream('orders'))
  const [first, second] = [open(one), open(two)]
  await Promise.all([first.started, second.started])
  await put(quickly, first)
  await eventually(async () =>
    expect((await one.describe()).consumers).toMatchObject([{ name: 'push.billing', instances: 2 }]),
  )
  await one.publish(
    'orders',
    Array.from({ length: 50 }, (_, n) => ({ type: 'a', id: `e-${n}` })),
  )
  await eventually(() => expect(subscriber.received).toHaveLength(50))
  expect(new Set(subscriber.ids).size).toBe(50)
  await first.close()
  await one.publish('orders', { type: 'a', id: 'last' })
  await eventually(() => expect(subscriber.received).toHaveLength(51))
  expect((await ask(second, 'DELETE', '/api/subscriptions/billing?reason=moved')).status).toBe(204)
  await eventually(async () => expect((await one.describe()).consumers).toEqual([]))
  await second.close()
  await one.close()
})

test('one Millrace pushes to another, whose webhook endpoint stores the event unchanged', async () => {
  const [other, broker] = [await connect('memory:'), await connect('memory:')]
  await broker.declare(stream('orders'))
  const gateway = open(broker)
  const there = await serveGateway(other, {
    port: 0,
    webhooks: { first: { scheme: 'standard', secret: SECRET, channel: 'orders' } },
  })
  try {
    await put({ url: `${there.url}/webhooks/first` }, gateway)
    const event = { type: 'order.placed', id: 'e-1', source: '/shop', time: '2026-01-01T00:00:00Z', data: { n: 1 } }
    await broker.publish('orders', event)
    expect(await published(other, 'orders', 1)).toMatchObject([event])
    expect((await ask(gateway, 'GET', '/api/subscriptions/billing')).body).toMatchObject({ lastFailure: null })
  } finally {
    await gateway.close()
    await broker.close()
    await there.close()
    await other.close()
  }
})

test('on an external log with several partitions a subscription is put, changed, disabled, and continued by the next process', async () => {
  const log = new MemoryServer()
  const brokerOf = async (): Promise<Broker> => {
    const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(log), partitions: 4 })
    return new ConnectedBroker(engine, { source: '/test', random: Math.random })
  }
  const names = ['one', 'two', 'three', 'four', 'five']
  const [here, there] = [await brokerOf(), await brokerOf()]
  await here.declare(stream('orders'))
  const [first, second] = [open(here), open(there)]
  for (const gateway of [first, second])
    for (const name of names)
      await ask(gateway, 'PUT', `/api/subscriptions/${name}`, {
        channels: ['orders'],
        url: `${subscriber.url}/${name}`,
        types: [name],
      })
  // The other gateway applies a change within a second. This waits for it.
  for (const gateway of [second, first]) await ask(gateway, 'POST', '/api/subscriptions/two/disable')
  await here.publish(
    'orders',
    names.map((type) => ({ type, id: type })),
  )
  await eventually(() => expect(subscriber.ids.sort()).toEqual(names.filter((name) => name !== 'two').sort()))
  await Promise.all([first.close(), second.close()])
  await Promise.all([here.close(), there.close()])
  const after = await brokerOf()
  const third = open(after)
  await ask(third, 'POST', '/api/subscriptions/two/enable')
  await eventually(() => expect(subscriber.ids.sort()).toEqual([...names].sort()))
  await third.close()
  await after.close()
})
