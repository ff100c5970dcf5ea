/** Rules over HTTP: answers and permissions. */
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
let all: string

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-rules-http-'))
  const tokens = join(folder, 'tokens.json')
  carts = addToken(tokens, {
    name: 'carts',
    permissions: { rules: ['carts'], publish: ['alerts'], read: ['carts'] },
  }).token
  all = addToken(tokens, { name: 'all', permissions: { rules: ['>'], publish: ['>'], read: ['>'] } }).token
  broker = await connect('memory:')
  await broker.declare(stream('carts'), stream('orders'), stream('alerts'), stream('secret'))
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

const rule = { on: 'carts', when: { data: { n: [1] } }, then: { forward: 'alerts' } }

it('rules are put, listed, shown with their history, tested, explained, disabled, enabled and removed', async () => {
  await broker.publish(
    'carts',
    [1, 2, 1].map((n) => ({ type: 'x', data: { n } })),
  )
  expect(await ask(carts, 'PUT', '/api/rules/r?reason=because', rule)).toMatchObject({
    status: 200,
    body: { revision: 1, from: { carts: 3 } },
  })
  expect(await ask(carts, 'POST', '/api/rules/r/disable')).toMatchObject({ status: 200, body: { revision: 2 } })
  expect(await ask(carts, 'GET', '/api/rules/r')).toMatchObject({
    body: { rule: { enabled: false }, history: [{ type: 'rule.added', reason: 'because' }, { type: 'rule.disabled' }] },
  })
  expect(await ask(carts, 'POST', '/api/rule-tests', { rule: 'r', from: 1 })).toMatchObject({
    body: { events: 2, matched: 1 },
  })
  expect(
    await ask(carts, 'POST', '/api/rule-tests', { rule: { ...rule, name: 'x' }, event: { type: 'x', data: { n: 2 } } }),
  ).toMatchObject({
    body: { matches: false, reason: 'data.n must be 1; it is 2' },
  })
  expect((await ask(all, 'GET', '/api/rules')).body['rules']).toHaveLength(1)
  expect((await ask(carts, 'GET', '/api/rules?on=carts')).body['rules']).toHaveLength(1)
  expect((await ask(all, 'GET', '/api/rules?on=orders')).body['rules']).toEqual([])
  expect(await ask(carts, 'DELETE', '/api/rules/r?reason=done')).toMatchObject({ status: 200 })
  expect(await ask(all, 'GET', '/api/rules/r')).toMatchObject({ status: 404, body: { code: 'UNKNOWN_RULE' } })
  expect(await ask(carts, 'PUT', '/api/rules/r', { ...rule, when: { type: 'x' } })).toMatchObject({ status: 403 })
  expect(await ask(all, 'PUT', '/api/rules/r', { ...rule, when: { type: 'x' } })).toMatchObject({
    status: 400,
    body: { code: 'INVALID_RULE', details: { path: 'when.type' } },
  })
})

it('a change needs the permission for every channel of the rule, before and after, and for those to which it writes', async () => {
  expect(await ask(carts, 'PUT', '/api/rules/r', { ...rule, on: ['carts', 'orders'] })).toMatchObject({ status: 403 })
  expect(await ask(carts, 'PUT', '/api/rules/r', { ...rule, on: '>' })).toMatchObject({ status: 403 })
  expect(await ask(carts, 'PUT', '/api/rules/r', { ...rule, then: { forward: 'secret' } })).toMatchObject({
    status: 403,
  })
  expect(
    await ask(carts, 'PUT', '/api/rules/r', { ...rule, then: { emit: { channel: '$rules', type: 'rule.added' } } }),
  ).toMatchObject({ status: 403 })
  await ask(all, 'PUT', '/api/rules/r', { ...rule, on: 'orders' })
  for (const [method, path, body] of [
    ['PUT', '/api/rules/r', rule],
    ['GET', '/api/rules/r'],
    ['DELETE', '/api/rules/r'],
    ['POST', '/api/rules/r/enable'],
    ['GET', '/api/rules/unknown'],
    ['GET', '/api/rules'],
    ['POST', '/api/rule-tests', { rule: 'r' }],
    ['POST', '/api/rule-tests', { rule: { ...rule, name: 'x' }, on: 'secret' }],
  ] as const)
    expect([method, path, (await ask(carts, method, path, body)).status]).toEqual([method, path, 403])
  expect((await ask(all, 'GET', '/api/rules/r')).body).toMatchObject({ rule: { definition: { on: ['orders'] } } })
})
