/**
 * Knative's data plane, as a recipient and as a sender of events.
 * @see https://github.com/knative/specs/blob/main/specs/eventing/data-plane.md
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { Receiver } from '../outbound/receiver.ts'
import { eventually, published } from '../rules/support.ts'

let broker: Broker
let gateway: ServingGateway
let subscriber: Receiver

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('in'), stream('out'))
  gateway = await serveGateway(broker, { port: 0, drain: '200ms', push: { allow: ['127.0.0.0/8'] } })
  subscriber = new Receiver()
  await subscriber.start()
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
  await subscriber.stop()
})

const binary = {
  'ce-specversion': '1.0',
  'ce-id': 'e-1',
  'ce-source': '/s',
  'ce-type': 't',
  'ce-subject': 'Euro%20%E2%82%AC',
  'ce-traceparent': '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  'ce-comexampleext': '7',
  'content-type': 'application/json',
}
const send = (init: RequestInit): Promise<Response> => fetch(`${gateway.url}/channels/in/events`, init)
const subscribe = async (more: object = {}): Promise<void> => {
  const body = JSON.stringify({ channels: ['in'], url: subscriber.url, backoff: { min: '1ms', max: '2ms' }, ...more })
  const answer = await fetch(`${gateway.url}/api/subscriptions/k`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body,
  })
  expect(answer.status).toBe(201)
}

describe('a recipient', () => {
  it.each(['PUT', 'PATCH', 'DELETE'])('answers 405 to %s, and says that POST is supported', async (method) => {
    const answer = await send({ method })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, expect.stringContaining('POST')])
  })
  it('accepts with a 2xx once it is durable, in binary and structured mode', async () => {
    expect((await send({ method: 'POST', headers: binary, body: '{"n":1}' })).status).toBe(202)
    const body = '{"specversion":"1.0","id":"e-2","source":"/s","type":"t"}'
    expect(
      (await send({ method: 'POST', headers: { 'content-type': 'application/cloudevents+json' }, body })).status,
    ).toBe(202)
    expect((await published(broker, 'in', 2)).map(({ id }) => id)).toEqual(['e-1', 'e-2'])
  })
  it('answers 400 to a body that is not an event, 404 for an unknown channel, 202 to a duplicate', async () => {
    const { 'ce-id': _, ...without } = binary
    expect((await send({ method: 'POST', headers: without, body: '{}' })).status).toBe(400)
    expect(
      (await fetch(`${gateway.url}/channels/none/events`, { method: 'POST', headers: binary, body: '{}' })).status,
    ).toBe(404)
    for (const _ of [1, 2]) expect((await send({ method: 'POST', headers: binary, body: '{}' })).status).toBe(202)
    expect(await published(broker, 'in', 1)).toHaveLength(1)
  })
})

describe('a sender', () => {
  it('posts one event with all its attributes unchanged, and nothing added', async () => {
    await subscribe()
    await send({ method: 'POST', headers: binary, body: '{"n":1}' })
    await eventually(() => expect(subscriber.received).toHaveLength(1))
    const [{ method, headers, body } = { method: '', headers: {}, body: '' }] = subscriber.received
    expect([method, headers['content-type']]).toEqual(['POST', 'application/cloudevents+json; charset=utf-8'])
    expect(JSON.parse(body)).toEqual({
      specversion: '1.0',
      id: 'e-1',
      source: '/s',
      type: 't',
      subject: 'Euro €',
      traceparent: binary['ce-traceparent'],
      comexampleext: '7',
      datacontenttype: 'application/json',
      data: { n: 1 },
    })
  })
  it.each([200, 202, 204])('counts %d as accepted', async (status) => {
    subscriber.answer = (response) => response.writeHead(status).end()
    await subscribe()
    await send({ method: 'POST', headers: binary, body: '{}' })
    await eventually(async () =>
      expect([subscriber.received.length, (await broker.describe()).consumers[0]?.channels[0]?.lag]).toEqual([1, 0]),
    )
  })
  it.each([300, 404, 409, 429, 500, 503])('tries again after %d', async (status) => {
    subscriber.answer = (response, count) => response.writeHead(count === 1 ? status : 202).end()
    await subscribe()
    await send({ method: 'POST', headers: binary, body: '{}' })
    await eventually(() => expect(subscriber.ids).toEqual(['e-1', 'e-1']))
  })
  it('asks for replies with Prefer, and publishes them', async () => {
    const reply = {
      'ce-specversion': '1.0',
      'ce-id': 'r-1',
      'ce-source': '/r',
      'ce-type': 'reply',
      'content-type': 'text/plain',
    }
    subscriber.answer = (response) => response.writeHead(200, reply).end('hello')
    await subscribe({ reply: { channel: 'out' } })
    await send({ method: 'POST', headers: binary, body: '{}' })
    expect(await published(broker, 'out', 1)).toMatchObject([
      { id: 'r-1', source: '/r', type: 'reply', datacontenttype: 'text/plain', data: 'hello', correlationid: 'e-1' },
    ])
    expect(subscriber.received[0]?.headers['prefer']).toBe('reply')
  })
})
