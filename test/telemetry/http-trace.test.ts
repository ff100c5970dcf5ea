/** Trace contexts that come and go over HTTP: publishing, pulling and push subscriptions. */
import * as api from '@opentelemetry/api'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { openTelemetry } from '../../src/telemetry/index.ts'
import { ask } from '../gateway/ask.ts'
import { Receiver, SECRET } from '../outbound/receiver.ts'
import { Sdk } from './sdk.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SAMPLED = `00-${TRACE}-b7ad6b7169203331-01`
const OWN = `00-${TRACE}-00f067aa0ba902b7-01`
const eventually = { timeout: 15_000 }
const http = { allow: ['127.0.0.0/8'] }

let broker: Broker
let gateway: Gateway
let receiver: Receiver
let sdk: Sdk | null = null

async function open(telemetry?: ReturnType<typeof openTelemetry>): Promise<void> {
  broker = await connect('memory:', { logger: false, ...(telemetry !== undefined && { telemetry }) })
  await broker.declare(stream('orders'), stream('mails'))
  gateway = createGateway(broker, { push: http, drain: 0 })
}
beforeEach(async () => {
  receiver = new Receiver()
  await receiver.start()
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
  await receiver.stop()
  sdk?.unregister()
  sdk = null
})

async function post(headers: Record<string, string>, body: unknown, path = 'channels/orders/events'): Promise<void> {
  const answer = await gateway.fetch(
    new Request(`http://localhost/${path}`, { method: 'POST', headers, body: JSON.stringify(body) }),
  )
  expect(answer.status, await answer.clone().text()).toBeLessThan(300)
}
const event = (id: string, more: object = {}): object => ({
  ...{ specversion: '1.0', type: 'order', source: '/shop', id, data: null },
  ...more,
})
async function stored(): Promise<unknown[][]> {
  const found: unknown[][] = []
  for await (const { id, traceparent, tracestate } of broker.read('orders')) found.push([id, traceparent, tracestate])
  return found
}

describe('publishing over HTTP', () => {
  const batch = { 'content-type': 'application/cloudevents-batch+json' }
  test('gives the trace of the request to events that have none, in every mode', async () => {
    await open()
    const trace = { traceparent: SAMPLED, tracestate: 'vendor=1' }
    await post({ ...batch, ...trace }, [
      event('1'),
      event('2', { traceparent: OWN }),
      event('3', { tracestate: 'a=b' }),
    ])
    await post({ 'content-type': 'application/cloudevents+json', ...trace }, event('4'))
    const binary = { 'ce-specversion': '1.0', 'ce-type': 'order', 'ce-source': '/shop', 'ce-id': '5' }
    await post({ ...binary, 'content-type': 'application/json', traceparent: SAMPLED }, null)
    expect(await stored()).toEqual([
      ['1', SAMPLED, 'vendor=1'],
      ['2', OWN, undefined],
      ['3', undefined, 'a=b'],
      ['4', SAMPLED, 'vendor=1'],
      ['5', SAMPLED, undefined],
    ])
  })
  test.each([
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    `ff-${TRACE}-b7ad6b7169203331-01`,
    'x',
    '',
    SAMPLED.repeat(500),
  ])('ignores a malformed trace', async (traceparent) => {
    await open()
    await post({ ...batch, traceparent }, [event('1')])
    await post({ ...batch, traceparent: SAMPLED, tracestate: `v=${'x'.repeat(5000)}` }, [event('2')])
    expect(await stored()).toEqual([
      ['1', undefined, undefined],
      ['2', SAMPLED, undefined],
    ])
  })
  test('continues the trace with telemetry', async () => {
    sdk = new Sdk()
    await open(openTelemetry(api, { sample: 0 }))
    await post({ ...batch, traceparent: SAMPLED }, [event('1')])
    expect(sdk.named('publish orders')).toMatchObject([{ traceId: TRACE, parent: 'b7ad6b7169203331' }])
  })
})

describe('requests to others', () => {
  const subscription = (): object => ({ channels: ['orders'], url: receiver.url, secret: SECRET })
  const headers = (): unknown[] =>
    receiver.received.map((each) => [each.headers['traceparent'], each.headers['tracestate']])

  test('of push subscriptions carry the trace of the event, and nothing if it has none', async () => {
    await open()
    await ask(gateway, 'PUT', '/api/subscriptions/billing', subscription())
    await broker.publish('orders', { type: 'order', traceparent: SAMPLED, tracestate: 'vendor=1' })
    await broker.publish('orders', { type: 'order' })
    await broker.publish('orders', { type: 'order', traceparent: OWN, tracestate: 'no=☕' })
    await expect.poll(() => receiver.received.length, eventually).toBe(3)
    expect(new Set(headers().map(String))).toEqual(new Set([`${SAMPLED},vendor=1`, ',', `${OWN},`]))
  })
  test('of push subscriptions are within the span of the attempt', async () => {
    sdk = new Sdk()
    await open(openTelemetry(api))
    await ask(gateway, 'PUT', '/api/subscriptions/billing', subscription())
    await broker.publish('orders', { type: 'order' })
    await expect.poll(() => sdk?.named('process orders').length, eventually).toBe(1)
    const [process] = sdk.named('process orders')
    expect(headers()).toEqual([[`00-${process?.traceId}-${process?.spanId}-01`, undefined]])
  })
})

describe('pulling over HTTP', () => {
  const pull = async (max: number): Promise<readonly { lease: string }[]> => {
    const { status, body } = await ask(gateway, 'POST', '/consumers/work/pull', { max, wait: '5s' })
    expect(status, JSON.stringify(body)).toBe(200)
    return (body as { deliveries: readonly { lease: string }[] }).deliveries
  }

  test('makes a receive span, and spans of how failed attempts were settled', async () => {
    sdk = new Sdk()
    await open(openTelemetry(api, { sample: 0 }))
    const put = await ask(gateway, 'PUT', '/consumers/work', { channels: ['orders'] })
    expect(put.status, JSON.stringify(put.body)).toBeLessThan(300)
    await broker.publish('orders', { type: 'order', id: '1', traceparent: SAMPLED })
    await broker.publish('orders', { type: 'order', id: '2' })
    const [first, second] = await pull(2)
    expect(sdk.named('receive orders')).toMatchObject([
      {
        kind: 'CLIENT',
        links: ['b7ad6b7169203331'],
        attributes: {
          'messaging.operation.type': 'receive',
          'messaging.consumer.group.name': 'work',
          'messaging.batch.message_count': 2,
        },
      },
    ])
    await ask(gateway, 'POST', `/leases/${first?.lease}/reject`, { reason: 'no' })
    await ask(gateway, 'POST', `/leases/${second?.lease}/complete`)
    const [receive] = sdk.named('receive orders')
    expect(sdk.named('dead-letter orders')).toMatchObject([{ parent: receive?.spanId, kind: 'CLIENT' }])
  })
  test('is counted', async () => {
    await open()
    const metrics = async (): Promise<string> => (await gateway.fetch(new Request('http://localhost/metrics'))).text()
    await metrics()
    const put = await ask(gateway, 'PUT', '/consumers/work', { channels: ['orders'] })
    expect(put.status, JSON.stringify(put.body)).toBeLessThan(300)
    await broker.publish('orders', [{ type: 'order' }, { type: 'order' }, { type: 'order' }])
    const [first, second] = await pull(3)
    const own = 'messaging_consumer_group_name="work",messaging_destination_name="orders"'
    const received = `messaging_system="millrace",messaging_operation_name="receive",${own}`
    expect(await metrics()).toContain(`millrace_consumer_in_flight{${own}} 3`)
    await ask(gateway, 'POST', `/leases/${first?.lease}/reject`, { reason: 'no' })
    await ask(gateway, 'POST', `/leases/${second?.lease}/complete`)
    await ask(gateway, 'POST', '/consumers/work/leave')
    const text = await metrics()
    expect(text).toContain(`messaging_client_consumed_messages_total{${received}} 3`)
    expect(text).toContain(`millrace_consumer_dead_lettered_total{${own}} 1`)
    expect(text).toContain(`millrace_consumer_latency_seconds_count{${own}} 1`)
  })
})
