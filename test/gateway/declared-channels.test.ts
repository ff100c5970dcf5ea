/**
 * A gateway whose process has no code of a channel computes keys from the channel's declaration, and refuses data that
 * its schema refuses.
 */
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import { createGateway } from '../../src/gateway/index.ts'
import { connect, consumer, event, stream } from '../../src/index.ts'

const Placed = event('order.placed', z.object({ order: z.string(), n: z.int().min(1) }))
const orders = stream('orders', { events: [Placed], key: 'data.order' })
const keyed = stream('keyed', { events: [Placed], key: ({ data }) => data.order })

async function served(): Promise<{
  post(channel: string, event: object): Promise<{ status: number; body: unknown }>
  keys: (string | null)[]
}> {
  const app = await connect('memory:')
  onTestFinished(() => app.close())
  await app.declare(orders, keyed)
  const engine = engineOf(app)
  const gateway = createGateway(new ConnectedBroker(engine, { source: '/served', random: Math.random }))
  onTestFinished(() => gateway.close())
  const keys: (string | null)[] = []
  await app.start(consumer('worker', orders).onAny((_, { key }) => void keys.push(key)))
  const post = async (channel: string, given: object): Promise<{ status: number; body: unknown }> => {
    const body = JSON.stringify({
      specversion: '1.0',
      id: crypto.randomUUID(),
      source: '/test',
      type: 'order.placed',
      ...given,
    })
    const headers = { 'content-type': 'application/cloudevents+json' }
    const response = await gateway.fetch(
      new Request(`http://localhost/channels/${channel}/events`, { method: 'POST', headers, body }),
    )
    return { status: response.status, body: await response.json() }
  }
  return { post, keys }
}

test('the gateway takes the key from the declared path', async () => {
  const { post, keys } = await served()
  expect(await post('orders', { data: { order: 'o-1', n: 1 }, partitionkey: 'another' })).toMatchObject({ status: 202 })
  await expect.poll(() => keys, { timeout: 15_000 }).toEqual(['o-1'])
  const refused = await post('orders', { data: { n: 1 } })
  expect(refused).toMatchObject({
    status: 400,
    body: { code: 'INVALID_EVENT', detail: expect.stringContaining('data.order') },
  })
})

test("data that the stored schema refuses is refused with the schema's errors", async () => {
  const { post } = await served()
  const refused = await post('orders', { data: { order: 'o-1', n: 0 } })
  expect(refused).toMatchObject({
    status: 422,
    body: { code: 'SCHEMA_MISMATCH', detail: expect.stringContaining('n: must be at least 1') },
  })
})

test('an event without a key is refused if the key is a function', async () => {
  const { post } = await served()
  const data = { order: 'o-1', n: 1 }
  expect(await post('keyed', { data })).toMatchObject({
    status: 400,
    body: { code: 'INVALID_EVENT', detail: expect.stringContaining('partitionkey') },
  })
  expect(await post('keyed', { data, partitionkey: 'o-1' })).toMatchObject({ status: 202 })
})
