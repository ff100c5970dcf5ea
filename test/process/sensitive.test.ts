/** What a caller without the permission `sensitive` sees of a process whose events or state have sensitive fields. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { engineOf } from '../../src/broker/engine-of.ts'
import { maskFor, seenLetters } from '../../src/broker/seen-events.ts'
import { type Broker, connect, event, instances, process, stream } from '../../src/index.ts'

const SECRET = 'ann.smith@example.com'
const email = z.string().meta({ 'x-sensitive': true })
const Registered = event('registered', z.object({ user: z.string(), email }))
const Seen = event('seen', z.object({ user: z.string() }))
const by = { id: (e: { readonly data: { readonly user: string } }) => e.data.user }
const users = stream('users', { events: [Registered], key: 'data.user' })
const visits = stream('visits', { events: [Seen], key: 'data.user' })

let broker: Broker
beforeEach(async () => {
  broker = await connect('memory:')
})
afterEach(() => broker.close())

it('is masked in its queue, in its dead letters and in its states', async () => {
  const welcome = process('welcome', users, { state: z.object({ email }), retry: { attempts: 1 } }).start(
    Registered,
    by,
    ({ data }) => {
      if (data.user === 'bad') throw new Error(`no mail to ${data.email}`)
      return { state: { email: data.email } }
    },
  )
  await broker.start(welcome)
  await broker.publish(users, Registered({ user: 'bad', email: SECRET }))
  await broker.publish(users, Registered({ user: 'ann', email: SECRET }))
  const engine = engineOf(broker)
  const letters = await vi.waitFor(async () => {
    const found = await engine.consumers.deadLetters('welcome', {})
    expect(found).toHaveLength(1)
    return found
  })
  expect(JSON.stringify(letters)).toContain(SECRET)
  const seen = JSON.stringify(await seenLetters(engine, letters, () => false))
  expect(seen).not.toContain('ann.smith')
  expect(seen).toContain('[masked]')
  await vi.waitFor(async () =>
    expect(await instances(broker, welcome).get('ann')).toMatchObject({ state: { email: SECRET } }),
  )
  const stored = await engine.tables.get('$state.welcome', 'ann')
  const mask = await maskFor(engine, '$state.welcome', () => false)
  expect(stored?.text).toContain(SECRET)
  expect(mask?.event(stored?.type ?? '', stored?.text ?? '').text).not.toContain('ann.smith')
})

it('hides nothing where nothing is sensitive', async () => {
  const plain = process('plain', visits, { state: z.object({ n: z.int() }) }).start(Seen, by, () => ({
    state: { n: 1 },
  }))
  await broker.start(plain)
  for (const channel of ['$process.plain', '$state.plain'])
    expect(await maskFor(engineOf(broker), channel, () => false)).toBeNull()
})
