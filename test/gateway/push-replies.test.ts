/** Replies of a subscriber: the gateway publishes the CloudEvents in its answers. */
import { describe, expect, it } from 'vitest'
import { eventually, published } from '../rules/support.ts'
import { pushWorld, quickly } from './push-world.ts'

const world = pushWorld()

describe('a reply', () => {
  const structured = { 'content-type': 'application/cloudevents+json' }
  const binary = {
    'ce-specversion': '1.0',
    'ce-id': 'r-1',
    'ce-source': '/billing',
    'ce-type': 'invoice.made',
    'content-type': 'application/json',
  }
  const reply = { reply: { channel: 'replies' }, ...quickly }
  it('in any content mode is published with the completion, and names the causing event', async () => {
    world.subscriber.answer = (response, count) =>
      count === 1
        ? response.writeHead(200, binary).end('{"n":9007199254740993}')
        : count === 2
          ? response
              .writeHead(200, structured)
              .end('{"specversion":"1.0","id":"r-2","source":"/billing","type":"invoice.made"}')
          : response.writeHead(200, { 'content-type': 'application/cloudevents-batch+json' }).end('[]')
    await world.put({ ...reply, concurrency: 1 })
    await world.broker.publish(
      'orders',
      ['e-1', 'e-2', 'e-3'].map((id) => ({ type: 'a', id })),
    )
    const replies = await published(world.broker, 'replies', 2)
    expect(replies).toMatchObject([
      { id: 'r-1', source: '/billing', type: 'invoice.made', causationid: 'e-1', rulehops: 1 },
      { id: 'r-2', causationid: 'e-2' },
    ])
    expect(world.received[0]?.headers['prefer']).toBe('reply')
    const page = await world.gateway.fetch(new Request('http://localhost/channels/replies/events'))
    expect(await page.text()).toContain('9007199254740993')
    await eventually(async () => expect([world.received.length, (await world.show())['lag']]).toEqual([3, 0]))
  })
  it('is not published for a 202, for other content, or if the subscription has no channel for replies', async () => {
    world.subscriber.answer = (response, count) =>
      count === 1
        ? response.writeHead(202, binary).end('{}')
        : count === 2
          ? response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
          : response.writeHead(200, binary).end('{}')
    await world.put({ ...reply, concurrency: 1 })
    await world.broker.publish('orders', [{ type: 'a' }, { type: 'a' }])
    await eventually(async () => expect([world.received.length, (await world.show())['lag']]).toEqual([2, 0]))
    await world.put(quickly)
    await world.broker.publish('orders', { type: 'a' })
    await eventually(async () => expect([world.received.length, (await world.show())['lag']]).toEqual([3, 0]))
    expect(await published(world.broker, 'replies', 0)).toEqual([])
  })
  it('makes a dead letter without another attempt if it is malformed or too large', async () => {
    world.subscriber.answer = (response, count) =>
      count === 1
        ? response.writeHead(200, structured).end('{"specversion":"1.0"}')
        : response.writeHead(200, binary).end(`"${'x'.repeat(2_000_000)}"`)
    await world.put({ ...reply, concurrency: 1 })
    await world.broker.publish('orders', [{ type: 'a' }, { type: 'a' }])
    await eventually(async () => expect(await world.deadLetters()).toHaveLength(2))
    expect((await world.deadLetters()).map(({ failure }) => failure.code ?? failure.message)).toEqual([
      'INVALID_EVENT',
      expect.stringContaining('larger than'),
    ])
    expect(world.received).toHaveLength(2)
  })
  it('ends if it comes back to the same subscriber again and again', async () => {
    world.subscriber.answer = (response, count) =>
      response.writeHead(200, { ...binary, 'ce-id': `r-${count}` }).end('{}')
    await world.put({ reply: { channel: 'orders' } })
    await world.broker.publish('orders', { type: 'a' })
    await eventually(async () => expect(await world.deadLetters()).toHaveLength(1))
    expect(world.received).toHaveLength(17)
    expect((await world.deadLetters())[0]?.failure.code).toBe('INVALID_RULE')
  })
})
