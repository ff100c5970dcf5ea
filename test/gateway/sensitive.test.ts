/** Sensitive fields are masked for callers without the permission, on every way out of the gateway. */
import { beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Permissions } from '../../src/gateway/access/permissions.ts'
import type { Gateway } from '../../src/gateway/index.ts'
import { serveGateway } from '../../src/gateway/index.ts'
import { connect, consumer, event, type Running, stream } from '../../src/index.ts'
import { accessWorld, call, eventually } from './access-world.ts'

const EMAIL = 'ann.smith@example.com'
const Registered = event('registered', z.object({ name: z.string(), email: z.string().meta({ 'x-sensitive': true }) }))
const users = stream('users', { events: [Registered] })
const all: Permissions = { read: ['>'], manage: ['>'], rules: ['>'], publish: ['>'] }
const world = accessWorld()
let gateway: Gateway
let running: Running
let reader: string
let seer: string
let worker: string
let european: string

beforeEach(async () => {
  const { broker } = world
  await broker.declare(users)
  running = await broker.start(
    consumer('mailer', users, { retry: { attempts: 1 } }).on(Registered, ({ data }) => {
      throw new Error(`no mailbox ${data.email}`)
    }),
  )
  await broker.publish(users, { ...Registered({ name: 'Ann', email: EMAIL }), subject: EMAIL, partitionkey: EMAIL })
  await eventually(async () => (await broker.deadLetters('mailer').list()).length).toBe(1)
  reader = world.make(all)
  seer = world.make({ ...all, sensitive: ['users'] }, { name: 'seer' })
  worker = world.make({ consume: ['users'] }, { name: 'worker' })
  european = world.make({ read: ['orders.eu'] }, { name: 'eu' })
  gateway = world.open({ access: { tokens: world.tokens } })
})

/** The text of an answer, of streams too. */
async function textOf(path: string, token: string, body?: object): Promise<string> {
  const leaving = new AbortController()
  const request = new Request(`http://events.example${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    signal: leaving.signal,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const answer = await gateway.fetch(request)
  expect(answer.status, path).toBe(200)
  if (!path.includes('/stream')) return answer.text()
  const chunks = (answer.body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  while (!text.includes('data:')) text += new TextDecoder().decode((await chunks.read()).value)
  leaving.abort()
  return text
}

const RULE = { name: 'r', on: 'users', when: { data: { email: [EMAIL] } }, then: 'drop' }

test.each<[what: string, path: string, body?: object]>([
  ['a page', '/channels/users/events'],
  ['a stream', '/channels/users/stream?from=beginning'],
  ['a search', '/channels/users/search'],
  ['dead letters with their errors', '/api/consumers/mailer/dead-letters'],
  ['groups of dead letters', '/api/consumers/mailer/dead-letter-groups'],
  ['why an event was not handled', '/channels/users/why?offset=0'],
  ['a dry run', '/api/rule-tests', { rule: { name: 'r', on: 'users', then: 'drop' } }],
])('%s', async (_what, path, body) => {
  expect(await textOf(path, seer, body)).toContain(EMAIL)
  const masked = await textOf(path, reader, body)
  expect(masked).not.toContain('ann.smith')
  expect(masked).toContain('[masked]')
})

test('causes and effects', async () => {
  await world.broker.publish(users, { ...Registered({ name: 'Bob', email: 'b' }), causationid: 'x', id: 'effect' })
  const [{ event: cause }] = (await call(gateway, '/channels/users/events', seer)).body.events ?? [{}]
  expect(cause).toBeUndefined()
  await world.broker.publish('orders.eu', { type: 't', id: 'down', causationid: 'effect' })
  expect(await textOf('/channels/orders.eu/events/0/causes', seer)).toContain('"email":"b"')
  expect(await textOf('/channels/orders.eu/events/0/causes', reader)).not.toContain('"email":"b"')
})

describe('a field that is masked', () => {
  test('is not found by a filter, a key or a rule', async () => {
    const where = encodeURIComponent(JSON.stringify({ data: { email: [EMAIL] } }))
    const sql = encodeURIComponent(`subject = '${EMAIL}'`)
    for (const query of [`where=${where}`, `filter=${sql}`, `key=${EMAIL}`]) {
      const of = (token: string): Promise<string> => textOf(`/channels/users/search?${query}`, token)
      expect([query, (await of(seer)).includes('event: hit')]).toEqual([query, true])
      const blind = await of(reader)
      expect([query, blind.includes('event: hit')]).toEqual([query, false])
      expect(blind).toContain('"masked":true')
    }
    const letters = `/api/consumers/mailer/dead-letters?key=${EMAIL}`
    expect((await call(gateway, letters, seer)).body.deadLetters).toHaveLength(1)
    expect((await call(gateway, letters, reader)).body.deadLetters).toHaveLength(0)
    expect((await call(gateway, '/api/rule-tests', seer, 'POST', { rule: RULE })).body.matched).toBe(1)
    expect((await call(gateway, '/api/rule-tests', reader, 'POST', { rule: RULE })).body.matched).toBe(0)
  })

  test('is not shown where it is said why a rule did not match', async () => {
    const rule = { on: 'users', when: { data: { email: ['somebody@else.com'] } }, then: 'drop' }
    await call(gateway, '/api/rules/other', seer, 'PUT', rule)
    await world.broker.publish(users, Registered({ name: 'Ann', email: EMAIL }))
    const why = '/api/rules/other/why?channel=users&offset=1'
    expect((await call(gateway, why, seer)).body.reasons[0].text).toContain(EMAIL)
    const { reasons } = (await call(gateway, why, reader)).body
    expect(reasons[0]).toMatchObject({ because: 'condition', text: expect.stringContaining('it is "[masked]"') })
    expect(JSON.stringify(reasons)).not.toContain('ann.smith')
  })

  test('is not stored as the mask by a caller who corrects a masked event', async () => {
    const { events } = JSON.parse(
      await (
        await gateway.fetch(
          new Request('http://events.example/channels/users/events', {
            headers: { authorization: `Bearer ${reader}`, accept: 'application/json' },
          }),
        )
      ).text(),
    )
    const corrected = { ...events[0].event, id: 'corrected', data: { ...events[0].event.data, name: 'Anne' } }
    const refused = await call(gateway, '/channels/users/events', reader, 'POST', corrected)
    expect([refused.status, refused.code]).toEqual([400, 'INVALID_EVENT'])
    const whole = { ...corrected, subject: 's', partitionkey: 'k', data: { name: 'Anne', email: EMAIL } }
    expect((await call(gateway, '/channels/users/events', reader, 'POST', whole)).status).toBe(202)
    const served = await serveGateway(world.broker, { port: 0, access: { tokens: world.tokens } })
    const remote = await connect(served.url.replace('http', 'ws'), { token: reader })
    try {
      await expect(remote.publish('users', corrected)).rejects.toMatchObject({ code: 'INVALID_EVENT' })
      await expect(remote.publish(users, corrected)).rejects.toMatchObject({ code: 'INVALID_EVENT' })
      await remote.publish('users', { ...whole, id: 'over the wire' })
    } finally {
      await remote.close()
      await served.close()
    }
  })
})

test('the fingerprint of an error without a frame does not tell what a sensitive field has', async () => {
  await running.stop()
  running = await world.broker.start(
    consumer('mailer', users, { retry: { attempts: 1 } }).on(Registered, ({ data }, ctx) =>
      ctx.reject(`no mailbox ${data.email}`),
    ),
  )
  await world.broker.deadLetters('mailer').drop()
  await world.broker.publish(
    users,
    ['one', 'two'].map((name) => Registered({ name, email: `${name}@example.com` })),
  )
  await eventually(async () => (await world.broker.deadLetters('mailer').list()).length).toBe(2)
  const groups = async (token: string): Promise<{ fingerprint: string; count: number }[]> =>
    (await call(gateway, '/api/consumers/mailer/dead-letter-groups', token)).body.groups
  const [group] = await groups(reader)
  expect(await groups(seer)).toMatchObject([{ fingerprint: group?.fingerprint, count: 2 }])
  const query = `?fingerprint=${group?.fingerprint}&after=`
  const { body } = await call(gateway, `/api/consumers/mailer/dead-letters${query}`, seer)
  expect(body.deadLetters).toHaveLength(2)
  const plan = { fingerprint: group?.fingerprint, action: 'drop', reason: 'old' }
  expect((await call(gateway, '/api/consumers/mailer/redrives', seer, 'POST', plan)).status).toBe(202)
  await eventually(async () => (await world.broker.deadLetters('mailer').list()).length).toBe(0)
})

describe('a key that is made from a masked field', () => {
  const jobs = '/api/consumers/mailer/redrives'

  test('is not shown for delayed events, and does not find them', async () => {
    const later = { ...Registered({ name: 'Ann', email: EMAIL }), id: 'later', partitionkey: EMAIL }
    await world.broker.publish(users, later, { delay: '1h' })
    const of = async (token: string, query = ''): Promise<readonly { readonly key: string }[]> =>
      (await call(gateway, `/channels/users/delayed${query}`, token)).body.delayed
    expect(await of(seer, `?key=${EMAIL}`)).toMatchObject([{ key: EMAIL }])
    expect(await of(reader)).toMatchObject([{ id: 'later', key: '[masked]' }])
    expect(await of(reader, `?key=${EMAIL}`)).toEqual([])
  })

  test('does not choose what is redriven or dropped, and is not shown by the job of another', async () => {
    const letters = '/api/consumers/mailer/dead-letters'
    for (const [path, body] of [
      [`${letters}/redrive?key=${EMAIL}`],
      [`${letters}/drop?key=${EMAIL}&channel=users`],
      [jobs, { key: EMAIL, reason: 'mended' }],
    ] as const) {
      const refused = await call(gateway, path, reader, 'POST', body)
      expect([path, refused.status, refused.code]).toEqual([path, 403, 'FORBIDDEN'])
    }
    expect((await call(gateway, jobs, seer, 'POST', { key: EMAIL, reason: 'mended' })).status).toBe(202)
    const of = async (token: string): Promise<readonly { readonly key: string; readonly phase: string }[]> =>
      (await call(gateway, jobs, token)).body.redrives
    await eventually(async () => (await of(seer))[0]?.phase).toBe('returned')
    expect(await of(seer)).toMatchObject([{ key: EMAIL }])
    expect(await of(reader)).toMatchObject([{ key: '[masked]' }])
  })

  test('its redrives are masked too when the channel or the consumer is gone', async () => {
    expect((await call(gateway, jobs, seer, 'POST', { key: EMAIL, reason: 'mended' })).status).toBe(202)
    const of = async (token: string): Promise<string> => JSON.stringify((await call(gateway, jobs, token)).body)
    await eventually(() => of(seer)).toContain('"endedMs":1')
    await running.stop()
    await world.broker.consumer('mailer').remove()
    expect(await of(seer)).toContain(EMAIL)
    expect(await of(reader)).not.toContain('ann.smith')
  })
})

test('redrives of another channel, which the consumer took before, are not listed', async () => {
  expect((await call(gateway, '/api/consumers/mailer/redrives', seer, 'POST', { reason: 'mended' })).status).toBe(202)
  const of = async (token: string): Promise<string> =>
    JSON.stringify((await call(gateway, '/api/consumers/mailer/redrives', token)).body)
  await eventually(() => of(seer)).toContain('"endedMs":1')
  await running.stop()
  await world.broker.consumer('mailer').remove()
  await world.broker.start(consumer('mailer', 'orders.eu').onAny(() => undefined))
  await eventually(async () => (await world.broker.consumer('mailer').describe()).channels[0]?.channel).toBe(
    'orders.eu',
  )
  expect(await of(european)).toBe('{"redrives":[]}')
})

test('over a connection, nobody finds out which events have a key that is masked', async () => {
  running.pause()
  await world.broker.publish(users, { ...Registered({ name: 'Bob', email: 'b' }), partitionkey: 'other' })
  const server = await serveGateway(world.broker, { port: 0, access: { tokens: world.tokens }, drain: 0 })
  const { engineOf } = await import('../../src/broker/engine-of.ts')
  const stateOf = async (token: string): Promise<string | undefined> => {
    const remote = await connect(`${server.url.replace('http', 'ws')}?access_token=${token}`)
    try {
      const guess = { channel: 'users', offset: 1, key: EMAIL }
      return (await engineOf(remote).consumers.inspect('mailer', guess)).delivery?.state
    } finally {
      await remote.close()
    }
  }
  expect([await stateOf(seer), await stateOf(reader)]).toEqual(['behind', 'waiting'])
  await server.close()
})

test('who consumes gets whole events', async () => {
  const asked = { channels: ['users'], from: 'beginning', wait: '1s' }
  const { status, body } = await call(gateway, '/consumers/worker/pull', worker, 'POST', asked)
  expect([status, JSON.stringify(body).includes(EMAIL)]).toEqual([200, true])
})

test('over a connection, reads and dead letters are masked, and a copy is refused', async () => {
  const server = await serveGateway(world.broker, { port: 0, access: { tokens: world.tokens }, drain: 0 })
  const of = async (token: string): Promise<[string, string, string, string]> => {
    const remote = await connect(`${server.url.replace('http', 'ws')}?access_token=${token}`)
    try {
      const read = []
      for await (const each of remote.read('users')) read.push(each)
      const letters = await remote.deadLetters('mailer').list()
      const { engineOf } = await import('../../src/broker/engine-of.ts')
      const copied = await engineOf(remote)
        .carriage.consumers('users')
        .then(
          () => 'copied',
          (error: { code: string }) => error.code,
        )
      const place = { channel: 'users', offset: 0, key: EMAIL }
      const inspected = JSON.stringify(await engineOf(remote).consumers.inspect('mailer', place))
      return [JSON.stringify(read), JSON.stringify(letters), inspected, copied]
    } finally {
      await remote.close()
    }
  }
  const [read, letters, inspected, copied] = await of(reader)
  expect([read, letters, inspected].map((text) => text.includes('ann.smith'))).toEqual([false, false, false])
  expect(copied).toBe('FORBIDDEN')
  const seen = await of(seer)
  expect(seen.map((text) => text.includes(EMAIL) || text === 'copied')).toEqual([true, true, true, true])
  await server.close()
})
