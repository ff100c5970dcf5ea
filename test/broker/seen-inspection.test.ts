/** What a caller without the permission `sensitive` sees of the failures in an inspection. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { engineOf } from '../../src/broker/engine-of.ts'
import { type DeliveryState, type Inspection, withoutPlaces } from '../../src/broker/inspection.ts'
import { seenInspection } from '../../src/broker/seen-events.ts'
import { type Broker, connect, event, stream } from '../../src/index.ts'

const SECRET = 'ann.smith@example.com'
const Registered = event('registered', z.object({ email: z.string().meta({ 'x-sensitive': true }) }))
const failure = {
  name: 'Error',
  message: `no ${SECRET}`,
  stack: `Error: no ${SECRET}`,
  code: SECRET,
  kind: 'error',
} as const
const attempt = { attempts: 1, dueAtMs: 0, failure }
const retries = [{ channel: 'users', offset: 0, ...attempt }]
const behind = { state: 'behind', by: 'retry', event: { channel: 'users', offset: 0 }, ...attempt } as const
const asked = { type: 'registered', text: JSON.stringify({ type: 'registered', data: { email: SECRET } }) }
let broker: Broker

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('users', { events: [Registered] }), stream('plain'))
})
afterEach(() => broker.close())

const inspection = (delivery: DeliveryState): Inspection => ({ delivery, live: false, instances: [] })

test.each<[what: string, channel: string, delivery: DeliveryState, event: typeof asked | null]>([
  ['its own retry', 'users', { state: 'retrying', ...attempt }, asked],
  ['its own retry, where the event is not stored any more', 'users', { state: 'retrying', ...attempt }, null],
  ['its dead letter', 'users', { state: 'dead letter', attempts: 1, deadAtMs: 0, failure }, asked],
  ['the event before it', 'users', behind, asked],
  ['the event before it, of a channel with sensitive fields', 'plain', behind, asked],
  ['an event that the caller may not know', 'users', { ...behind, event: null }, asked],
  ['earlier retries', 'users', { state: 'waiting', ahead: 1, retries }, asked],
  ['earlier retries of a channel with sensitive fields', 'plain', { state: 'waiting', ahead: 1, retries }, asked],
  ['an event of a channel that is gone', 'gone', { state: 'dead letter', attempts: 1, deadAtMs: 0, failure }, null],
])('the failure of %s is masked', async (_what, channel, delivery, stored) => {
  const of = (maySee: boolean): Promise<Inspection> =>
    seenInspection(engineOf(broker), inspection(delivery), { channel, event: stored }, () => maySee)
  expect(await of(true)).toEqual(inspection(delivery))
  const seen = JSON.stringify(await of(false))
  expect(seen).not.toContain('ann.smith')
  expect(seen).toContain('[masked]')
})

test('retries in channels that the caller may not read are not named', () => {
  const seen = withoutPlaces(inspection({ state: 'waiting', ahead: 1, retries }), (channel) => channel === 'plain')
  expect(seen.delivery).toEqual({ state: 'waiting', ahead: 1, retries: [] })
})
