/** The retries of a consumer over HTTP: with keys, bounded, and masked for callers who may not see a field. */
import { expect, test } from 'vitest'
import { z } from 'zod'
import { consumer, event, stream } from '../../src/index.ts'
import { accessWorld, call, eventually } from './access-world.ts'

const world = accessWorld()
const Paid = event('paid', z.object({ card: z.string().meta({ 'x-sensitive': true }) }))
const payments = stream('payments', { events: [Paid], key: 'data.card' })

test('retries have the key, the attempts and the next attempt', async () => {
  await world.broker.declare(payments)
  const running = await world.broker.start(
    consumer('charge', payments, { retry: { backoff: 'fixed', min: '1h' } }).on(Paid, ({ data }) => {
      throw new Error(`no answer for ${data.card}`)
    }),
  )
  await world.broker.publish(
    payments,
    ['4242-1', '4242-2', '4242-3'].map((card) => Paid({ card })),
  )
  const seer = world.make({ read: ['>'], sensitive: ['>'] })
  const reader = world.make({ read: ['>'] }, { name: 'reader' })
  const other = world.make({ read: ['other'] }, { name: 'other' })
  const gateway = world.open({ access: { tokens: world.tokens } })
  const of = async (token: string, query = ''): Promise<{ retries: Record<string, unknown>[]; total: number }> =>
    (await call(gateway, `/api/consumers/charge/retries${query}`, token)).body
  await eventually(async () => (await of(seer)).retries.length).toBe(3)
  const { retries } = await of(seer)
  expect(retries.map(({ key }) => key).sort()).toEqual(['4242-1', '4242-2', '4242-3'])
  expect(retries[0]).toMatchObject({ channel: 'payments', type: 'paid', attempts: 1, dueAtMs: expect.any(Number) })
  expect(await of(seer, '?limit=2')).toMatchObject({ total: 3, retries: [{}, {}] })
  expect(JSON.stringify(await of(reader))).not.toContain('4242')
  expect((await call(gateway, '/api/consumers/charge/retries?limit=101', seer)).status).toBe(400)
  expect((await call(gateway, '/api/consumers/charge/retries', other)).status).toBe(403)
  await running.stop()
})
