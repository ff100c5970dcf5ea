/** Why an event waits, asked in a process in which its consumer does not run: from the consumer's records. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { engineOf } from '../../src/broker/engine-of.ts'
import { type Broker, connect, consumer, event, stream } from '../../src/index.ts'
import { type Asker, type DeliveryWhy, OWNER, whyDelivery } from '../../src/why/why-delivery.ts'

const EMAIL = 'ann.smith@example.com'
const Registered = event('registered', z.object({ email: z.string().meta({ 'x-sensitive': true }) }))
const users = stream('users', { events: [Registered], retain: { count: 5 } })
const registered = (): object => ({ ...Registered({ email: EMAIL }), partitionkey: EMAIL })
const READER: Asker = { mayRead: () => true, maySee: () => false }

let folder: string
let broker: Broker

const publish = (count: number): Promise<unknown> =>
  broker.publish('users', Array.from({ length: count }, registered) as never)
const why = (offset: number, asker: Asker): Promise<DeliveryWhy> =>
  whyDelivery(engineOf(broker), 'mailer', 'users', { offset }, asker)

/** The first event waits for its next attempt when the process of the consumer ends; another process asks. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-why-'))
  const application = await connect(`file:${folder}`)
  await application.declare(users)
  const mailer = consumer('mailer', users, { retry: { attempts: 5, min: '1h', max: '1h' } })
  await application.start(
    mailer.on(Registered, ({ data }) => {
      throw new Error(`no mailbox ${data.email}`)
    }),
  )
  await application.publish('users', registered() as never)
  const retrying = async (): Promise<number> => (await application.consumer('mailer').describe()).retrying
  await expect.poll(retrying, { timeout: 10_000 }).toBe(1)
  await application.close()
  broker = await connect(`file:${folder}`)
})
afterEach(async () => {
  await broker.close()
  rmSync(folder, { recursive: true })
})

test('what the error of the event before it quotes of sensitive fields is masked, in words and in facts', async () => {
  await publish(1)
  const behind = [{ because: 'behind', facts: { by: 'retry', event: { channel: 'users', offset: 0 } } }]
  const whole = await why(1, OWNER)
  expect(whole.reasons.slice(0, 1)).toMatchObject(behind)
  expect(whole.reasons[0]?.text).toContain(`no mailbox ${EMAIL}`)
  const seen = await why(1, READER)
  expect(seen.reasons.slice(0, 1)).toMatchObject(behind)
  expect(JSON.stringify(seen)).not.toContain('ann.smith')
  expect(seen.reasons[0]?.facts['failure']).toEqual({ name: 'Error', kind: 'error', message: '[masked]' })
})

test('its own error, too', async () => {
  expect((await why(0, OWNER)).reasons[0]?.text).toContain(`no mailbox ${EMAIL}`)
  const seen = await why(0, READER)
  expect(seen.reasons[0]?.because).toBe('retrying')
  expect(JSON.stringify(seen)).not.toContain('ann.smith')
})

test('a retry whose event retention has removed holds nothing back', async () => {
  await publish(8)
  const first = async (): Promise<number> => (await engineOf(broker).bounds('users')).first
  await expect.poll(first, { timeout: 10_000 }).toBeGreaterThan(0)
  expect((await why(8, OWNER)).reasons[0]?.because).toBe('behind-others')
})
