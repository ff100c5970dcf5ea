/** What a caller may do, as the gateway tells it. */
import { expect, test } from 'vitest'
import { consumer } from '../../src/index.ts'
import { accessWorld } from './access-world.ts'

const world = accessWorld()

test('a caller is told its actions everywhere, on a channel, and on a consumer', async () => {
  const token = world.make({ read: ['>'], manage: ['orders.*'], publish: ['orders.eu'] })
  const running = await world.broker.start(consumer('billing', 'orders.eu').onAny(() => undefined))
  const wide = await world.broker.start(consumer('wide', ['orders.eu', 'secrets']).onAny(() => undefined))
  const gateway = world.open({ access: { tokens: world.tokens } })
  const ask = async (query: string): Promise<unknown> => {
    const headers = { authorization: `Bearer ${token}` }
    return (await gateway.fetch(new Request(`http://localhost/api/caller${query}`, { headers }))).json()
  }
  const known = { kind: 'token', everywhere: ['read'] }
  expect(await ask('')).toMatchObject({ ...known, permitted: ['read'] })
  expect(await ask('?channel=orders.eu')).toMatchObject({ ...known, permitted: ['publish', 'read', 'manage'] })
  expect(await ask('?channel=orders.*')).toMatchObject({ permitted: ['read', 'manage'] })
  expect(await ask('?channel=secrets')).toMatchObject({ permitted: ['read'] })
  expect(await ask('?consumer=billing')).toMatchObject({ permitted: ['publish', 'read', 'manage'] })
  expect(await ask('?consumer=wide')).toMatchObject({ permitted: ['read'] })
  // It does not tell whether a consumer exists.
  expect(await ask('?consumer=nobody')).toMatchObject({ permitted: ['read'] })
  expect((await gateway.fetch(new Request('http://localhost/api/caller'))).status).toBe(401)
  await running.stop()
  await wide.stop()
})

test('redrives and groups need the permission on every channel of the consumer', async () => {
  const reader = world.make({ read: ['orders.*'] })
  const manager = world.make({ read: ['orders.eu'], manage: ['orders.eu'] })
  const running = await world.broker.start(consumer('billing', 'orders.eu').onAny(() => undefined))
  const wide = await world.broker.start(consumer('wide', ['orders.eu', 'orders.us']).onAny(() => undefined))
  const gateway = world.open({ access: { tokens: world.tokens } })
  const ask = async (token: string, path: string, body?: object): Promise<number> => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const init = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) }
    return (await gateway.fetch(new Request(`http://localhost/api/consumers/${path}`, init))).status
  }
  for (const name of ['billing', 'wide']) {
    expect(await ask(reader, `${name}/dead-letter-groups`)).toBe(200)
    expect(await ask(reader, `${name}/dead-letters?fingerprint=x`)).toBe(200)
    expect(await ask(reader, `${name}/redrives`)).toBe(200)
    expect(await ask(reader, `${name}/redrives`, {})).toBe(403)
    expect(await ask(reader, `${name}/redrives/x/stop`, {})).toBe(403)
  }
  expect(await ask(manager, 'billing/redrives', { action: 'drop', reason: 'old' })).toBe(202)
  expect(await ask(manager, 'wide/redrives', { action: 'drop', reason: 'old' })).toBe(403)
  expect(await ask(manager, 'wide/redrives', { action: 'drop', channel: 'orders.eu' })).toBe(403)
  expect(await ask(manager, 'wide/dead-letter-groups')).toBe(403)
  expect(await ask(manager, 'nobody/redrives', {})).toBe(403)
  await running.stop()
  await wide.stop()
})
