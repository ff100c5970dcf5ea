/** Actions that destroy or repeat need a reason, over HTTP; the audit trail has it with the actor. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, stream } from '../../src/index.ts'

let broker: Broker
let gateway: Gateway

beforeEach(async () => {
  broker = await connect('memory:')
  gateway = createGateway(broker, { drain: 0 })
  await broker.declare(stream('orders'))
  const running = await broker.start(consumer('billing', 'orders').onAny(() => undefined))
  await running.stop()
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
})

async function ask(method: string, path: string, body?: object): Promise<{ status: number; text: string }> {
  const init = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
  const answer = await gateway.fetch(new Request(`http://localhost${path}`, { method, ...init }))
  return { status: answer.status, text: await answer.text() }
}

async function trail(): Promise<unknown[]> {
  const entries: unknown[] = []
  for await (const { data } of broker.read('$audit')) entries.push(data)
  return entries
}

test.each<[method: string, path: string, body: object | undefined]>([
  ['DELETE', '/api/channels/orders', undefined],
  ['DELETE', '/api/consumers/billing', undefined],
  ['POST', '/api/consumers/billing/rewind?to=beginning', undefined],
  ['DELETE', '/api/consumers/billing/dead-letters?all=true', undefined],
  ['POST', '/api/consumers/billing/dead-letters/drop?all=true', undefined],
  ['POST', '/api/consumers/billing/dead-letters/redrive?all=true', undefined],
  ['POST', '/api/consumers/billing/redrives', {}],
  ['DELETE', '/channels/orders/delayed/1', undefined],
  ['PUT', '/api/channels/orders', { retain: { count: 5 } }],
])('%s %s is refused without a reason, and changes nothing', async (method, path, body) => {
  const refused = await ask(method, path, body)
  expect([refused.status, refused.text]).toEqual([400, expect.stringContaining('reason=')])
  expect((await ask(method, `${path}${path.includes('?') ? '&' : '?'}reason=%20`, body)).status).toBe(400)
  expect((await broker.describe()).consumers.map(({ name }) => name)).toEqual(['billing'])
  expect((await broker.channel('orders').describe()).name).toBe('orders')
})

test('the audit trail has the reason, from the query or from the body', async () => {
  const path = '/api/consumers/billing/rewind'
  expect((await ask('POST', `${path}?to=end&reason=wrong%20prices`)).status).toBe(204)
  expect((await ask('POST', path, { to: 'end', reason: 'wrong prices' })).status).toBe(204)
  expect((await ask('POST', `${path}?to=end&reason=${'x'.repeat(1001)}`)).status).toBe(400)
  expect((await ask('POST', `${path}?reason=one`, { to: 'end', reason: 'two' })).status).toBe(400)
  expect((await trail()).slice(0, 2)).toMatchObject([
    { by: { kind: 'local' }, outcome: 'done', target: { consumer: 'billing', to: 'end', reason: 'wrong prices' } },
    { by: { kind: 'local' }, outcome: 'done', target: { consumer: 'billing', to: 'end', reason: 'wrong prices' } },
  ])
})

test('a declaration over HTTP keeps the schemas, and needs no reason where it keeps as much as before', async () => {
  await broker.declare(stream('kept', { retain: { count: 10 } }))
  const put = (body: object, query = ''): Promise<{ status: number }> => ask('PUT', `/api/channels/kept${query}`, body)
  expect((await put({ retain: { count: 20 } })).status).toBe(200)
  expect((await put({ retain: { count: 5 } })).status).toBe(400)
  expect((await put({ retain: { count: 5 } }, '?reason=disk')).status).toBe(200)
})

test('code acts without a reason; with one, or with a name, the action is recorded', async () => {
  const billing = broker.consumer('billing')
  await billing.rewind('end')
  await billing.pause({ reason: 'the bank is down' })
  await billing.resume()
  await expect(trail()).rejects.toMatchObject({ code: 'UNKNOWN_CHANNEL' })
  expect((await billing.describe()).pause).toBe(null)
  await billing.pause({ reason: 'the bank is down', by: 'ann' })
  expect((await billing.describe()).pause).toMatchObject({ reason: 'the bank is down', by: 'ann' })
  await billing.resume({ by: 'ann' })
  await billing.rewind('beginning', { channel: 'orders', reason: 'wrong prices' })
  await billing.deadLetters.drop({}, { reason: 'old', by: 'ann' })
  await expect(billing.deadLetters.redrive({ offset: 7 }, { reason: 'again' })).rejects.toMatchObject({
    code: 'UNKNOWN_DEAD_LETTER',
  })
  await expect(billing.remove({ reason: 7 as never })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  await billing.remove({ reason: 'it is replaced' })
  await broker.channel('orders').delayed.cancel('1', { reason: 'too late' })
  await broker.channel('orders').remove({ by: 'ann' })
  expect(await trail()).toMatchObject([
    { action: 'pauseConsumer', by: { kind: 'local', name: 'ann' }, target: { reason: 'the bank is down' } },
    { action: 'resumeConsumer', by: { name: 'ann' } },
    { action: 'rewindConsumer', by: { name: 'code' }, target: { channel: 'orders', reason: 'wrong prices' } },
    { action: 'dropDeadLetters', by: { name: 'ann' }, target: { consumer: 'billing', reason: 'old' } },
    { action: 'redriveDeadLetters', outcome: 'failed', code: 'UNKNOWN_DEAD_LETTER' },
    { action: 'removeConsumer', outcome: 'done', target: { reason: 'it is replaced' } },
    { action: 'cancelDelayedEvent', target: { channel: 'orders', id: '1' } },
    { action: 'removeChannel', by: { name: 'ann' } },
  ])
})
