/** Requests over HTTP: the reply of a consumer is the answer. */
import { afterEach, expect, it } from 'vitest'
import { z } from 'zod'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, event, queue } from '../../src/index.ts'

let broker: Broker
let gateway: Gateway
afterEach(async () => {
  await gateway.close()
  await broker.close()
})

const IsFree = event('seat.is-free', z.object({ seat: z.string() }))

async function ask(data: unknown, query = ''): Promise<{ status: number; type: string | null; body: unknown }> {
  const headers = {
    'content-type': 'application/json',
    'ce-specversion': '1.0',
    'ce-id': '1',
    'ce-source': '/test',
    'ce-type': 'seat.is-free',
  }
  const url = `http://localhost/channels/seats/requests${query}`
  const answer = await gateway.fetch(new Request(url, { method: 'POST', headers, body: JSON.stringify(data) }))
  return { status: answer.status, type: answer.headers.get('content-type'), body: await answer.json() }
}

it('answers with the reply, or with a problem document', async () => {
  broker = await connect('memory:')
  gateway = createGateway(broker)
  const seats = queue('seats', { events: [IsFree], dedupe: false })
  await broker.start(
    consumer('box-office', seats).on(IsFree, ({ data }, ctx) => {
      if (data.seat === '') ctx.reject('a seat has a name')
      return data.seat === 'silent' ? undefined : ctx.reply({ type: 'seat.answer', data: { free: true } })
    }),
  )
  expect(await ask({ seat: 'B7' })).toMatchObject({
    status: 200,
    type: 'application/cloudevents+json',
    body: { type: 'seat.answer', data: { free: true }, causationid: '1', replier: 'box-office' },
  })
  expect(await ask({ seat: '' })).toMatchObject({
    status: 502,
    type: 'application/problem+json',
    body: { code: 'REQUEST_FAILED', details: { consumer: 'box-office', problem: { detail: 'a seat has a name' } } },
  })
  expect(await ask({ seat: 'silent' }, '?timeout=30ms')).toMatchObject({
    status: 504,
    body: { code: 'REQUEST_TIMEOUT' },
  })
  expect(await ask({ seat: 7 })).toMatchObject({ status: 422, body: { code: 'SCHEMA_MISMATCH' } })
  expect(await ask({ seat: 'B7' }, '?timeout=1h')).toMatchObject({ status: 400, body: { code: 'INVALID_OPTION' } })
  expect(broker.requests.waiting).toBe(0)
})
