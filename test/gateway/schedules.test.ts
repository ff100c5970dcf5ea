/** Schedules over HTTP: answers and permissions. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'

let folder: string
let broker: Broker
let gateway: Gateway
let carts: string
let reader: string

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-schedules-http-'))
  const tokens = join(folder, 'tokens.json')
  carts = addToken(tokens, {
    name: 'carts',
    permissions: { manage: ['carts'], publish: ['carts'], read: ['carts'] },
  }).token
  reader = addToken(tokens, { name: 'reader', permissions: { read: ['>'], publish: ['>'] } }).token
  broker = await connect('memory:')
  await broker.declare(stream('carts'), stream('orders'))
  gateway = createGateway(broker, { hosts: 'any', access: { tokens } })
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
  rmSync(folder, { recursive: true })
})

async function ask(
  token: string,
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const answer = await gateway.fetch(
    new Request(`http://g${path}`, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) }),
  )
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
}

const yearly = { when: { cron: '0 0 1 1 *' }, channel: 'carts', event: { type: 'year.began', data: { n: 1 } } }

it('schedules are put, listed, shown, paused, resumed, run and removed', async () => {
  expect(await ask(carts, 'PUT', '/api/schedules/year', yearly)).toMatchObject({
    status: 200,
    body: { name: 'year', channel: 'carts', type: 'year.began', paused: null, last: null },
  })
  expect(await ask(reader, 'GET', '/api/schedules')).toMatchObject({
    body: { schedules: [{ name: 'year' }], workers: 0 },
  })
  expect(await ask(carts, 'POST', '/api/schedules/year/pause?reason=audit')).toMatchObject({
    status: 200,
    body: { paused: { reason: 'audit' }, next: null },
  })
  expect(await ask(carts, 'POST', '/api/schedules/year/resume')).toMatchObject({ status: 200, body: { paused: null } })
  await broker.schedules.start()
  expect(await ask(reader, 'GET', '/api/schedules')).toMatchObject({ body: { workers: 1 } })
  const { body } = await ask(carts, 'POST', '/api/schedules/year/run')
  for await (const each of broker.read('carts', { follow: true })) {
    expect(each).toMatchObject({ id: body['id'], type: 'year.began', data: { n: 1 }, schedule: 'year' })
    break
  }
  expect(await ask(carts, 'DELETE', '/api/schedules/year?reason=done')).toMatchObject({ status: 200 })
  expect(await ask(reader, 'GET', '/api/schedules')).toMatchObject({ body: { schedules: [] } })
})

it('a schedule is seen by those who may read its channel, and changed by those who may manage it and publish to it', async () => {
  await broker.schedules.put('orders', { every: '1h' }, 'orders', { type: 'hour.passed' })
  const refused = { status: 403, body: { code: 'FORBIDDEN' } }
  expect(await ask(carts, 'GET', '/api/schedules')).toMatchObject({ body: { schedules: [] } })
  expect(await ask(reader, 'GET', '/api/schedules/orders')).toMatchObject({ status: 200 })
  for (const [method, path] of [
    ['GET', ''],
    ['DELETE', ''],
    ['POST', '/pause'],
    ['POST', '/resume'],
    ['POST', '/run'],
  ] as const) {
    const there = await ask(carts, method, `/api/schedules/orders${path}`)
    expect(there).toMatchObject(refused)
    // The answer does not tell whether it exists.
    expect((await ask(carts, method, `/api/schedules/absent${path}`)).body['detail']).toBe(
      String(there.body['detail']).replace('"orders"', '"absent"'),
    )
  }
  expect(await ask(reader, 'POST', '/api/schedules/orders/run')).toMatchObject(refused)
  expect(await ask(carts, 'PUT', '/api/schedules/orders', yearly)).toMatchObject(refused)
  expect(await ask(carts, 'PUT', '/api/schedules/mine', { ...yearly, channel: '$audit' })).toMatchObject(refused)
  expect(await ask(reader, 'GET', '/api/schedules/absent')).toMatchObject({
    status: 404,
    body: { code: 'UNKNOWN_SCHEDULE' },
  })
})

it('malformed schedules are refused', async () => {
  const put = (body: unknown): ReturnType<typeof ask> => ask(carts, 'PUT', '/api/schedules/bad', body)
  expect(await put({ ...yearly, when: { cron: 'never' } })).toMatchObject({
    status: 400,
    body: { code: 'INVALID_OPTION' },
  })
  expect(await put({ ...yearly, when: { each: '1h' } })).toMatchObject({
    status: 400,
    body: { code: 'INVALID_REQUEST' },
  })
  expect(await put({ ...yearly, event: [] })).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } })
  expect(await put({ ...yearly, event: { data: 1 } })).toMatchObject({ status: 400, body: { code: 'INVALID_EVENT' } })
  expect(await put({ ...yearly, at: 1 })).toMatchObject({ status: 400, body: { code: 'INVALID_REQUEST' } })
  expect(await broker.schedules.list()).toEqual([])
})
