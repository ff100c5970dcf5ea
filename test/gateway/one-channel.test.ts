/**
 * A caller with all permissions on one channel: no route of the OpenAPI document says anything about another channel,
 * its events, consumers, rules and subscriptions.
 */
import { beforeEach, expect, test } from 'vitest'
import type { Gateway } from '../../src/gateway/index.ts'
import { consumer, stream } from '../../src/index.ts'
import { accessWorld, call, eventually } from './access-world.ts'

interface Parameter {
  readonly name: string
  readonly in: string
}
type Operation = Readonly<{ operationId: string; parameters?: readonly Parameter[]; requestBody?: object }>

const OWN = 'orders.eu'
/** Part of every name and text of the other channel. */
const MARK = 'zebra'
const OTHER = 'zebra.stripes'
const world = accessWorld()
let gateway: Gateway
let all: string
let own: string

beforeEach(async () => {
  const { broker } = world
  await broker.declare(stream(OTHER))
  const every = ['>']
  const permissions = { publish: every, consume: every, read: every, manage: every, rules: every, metrics: every }
  all = world.make(permissions, { name: 'all' })
  const only = [OWN, 'mine.>']
  own = world.make(
    { publish: only, consume: only, read: only, manage: only, rules: only, metrics: only },
    { name: 'own' },
  )
  gateway = world.open({ access: { tokens: world.tokens } })
  await broker.publish(OWN, { type: 'opened', id: 'a1', partitionkey: 'k', correlationid: 'chain' })
  const caused = { type: 'zebra.seen', source: '/zebra/source', id: 'zebra-id', partitionkey: 'zebra-key' }
  await broker.publish(OTHER, { ...caused, causationid: 'a1', correlationid: 'chain', data: { text: 'zebra data' } })
  await broker.publish(OTHER, { ...caused, id: 'zebra-later' }, { delay: '1h' })
  await broker.publish(OWN, { type: 'closed', id: 'a2', causationid: 'unknown', correlationid: 'chain' })
  for (const [name, channels] of [
    ['zebra-worker', [OTHER]],
    ['shared', [OWN, OTHER]],
  ] as const)
    await broker.start(
      consumer(name, channels, { retry: { attempts: 1 } }).onAny((event) => {
        if (event.type === 'zebra.seen') throw new Error(`zebra failure of ${event.id}`)
      }),
    )
  for (const name of ['zebra-worker', 'shared'])
    await eventually(async () => (await broker.deadLetters(name).list()).length).toBe(1)
  const rule = { on: OTHER, when: { type: ['zebra.seen'] }, then: 'drop', enabled: false }
  expect((await call(gateway, '/api/rules/zebra-rule', all, 'PUT', rule)).status).toBe(200)
  expect((await call(gateway, '/api/consumers/zebra-worker/redrives', all, 'POST', { reason: 'mended' })).status).toBe(
    202,
  )
})

/** What the caller is answered within a moment; of an answer that goes on, its beginning. */
async function textOf(method: string, path: string, body?: object): Promise<string> {
  const leaving = new AbortController()
  const answer = await gateway.fetch(
    new Request(`http://events.example${path}`, {
      method,
      headers: { authorization: `Bearer ${own}`, 'content-type': 'application/json' },
      signal: leaving.signal,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }),
  )
  let text = `${answer.status} ${[...answer.headers].join('; ')}\n`
  const chunks = answer.body?.getReader()
  const silent = Symbol('silent')
  for (let read = 0; chunks !== undefined && read < 20; read++) {
    const waited = new Promise<typeof silent>((resolve) => void setTimeout(resolve, 300, silent))
    const next = await Promise.race([chunks.read(), waited])
    if (next === silent || next.done) break
    text += new TextDecoder().decode(next.value)
  }
  leaving.abort()
  await chunks?.cancel().catch(() => undefined)
  return text
}

const VALUES: Readonly<Record<string, readonly string[]>> = {
  channel: [OWN, OTHER, 'mine.unknown', 'mine.*', `${OWN},${OTHER}`, '>', 'zebra.*'],
  consumer: ['shared', 'zebra-worker'],
  rule: ['zebra-rule'],
  offset: ['0'],
  to: ['beginning'],
  id: ['a1'],
  path: ['x'],
}
const BODIES: Readonly<Record<string, object>> = {
  pull: { channels: ['>'], from: 'beginning', wait: 0 },
  testRule: { rule: { name: 'r', on: '>', then: 'drop' }, on: '>' },
}

interface Ask {
  readonly method: string
  readonly path: string
  /** What the caller says itself: it is no news. */
  readonly sent: readonly string[]
  readonly body: object | undefined
}

/** The requests for one operation: with each value of its first path parameter, and with each channel. */
function asksOf(path: string, method: string, { operationId, parameters = [], requestBody }: Operation): Ask[] {
  const inQuery = new Set(parameters.filter(({ in: place }) => place === 'query').map(({ name }) => name))
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
  const valuesOf = (name: string): readonly string[] => VALUES[name] ?? ['x']
  const asks: Ask[] = []
  for (const first of names.length === 0 ? [''] : valuesOf(names[0] ?? ''))
    for (const channel of inQuery.has('channel') ? ['', OWN, OTHER] : ['']) {
      const values = names.map((name, at) => (at === 0 ? first : (valuesOf(name)[0] ?? 'x')))
      let filled = path
      for (const [at, name] of names.entries())
        filled = filled.replace(`{${name}}`, encodeURIComponent(values[at] as string))
      const query = new URLSearchParams(channel === '' ? {} : { channel })
      for (const name of ['offset', 'to', 'all'])
        if (inQuery.has(name)) query.set(name, name === 'all' ? 'true' : (valuesOf(name)[0] as string))
      const sent = [...values.flatMap((value) => value.split(',')), channel].filter((each) => each.length > 1)
      const body = requestBody === undefined || method === 'get' ? undefined : (BODIES[operationId] ?? {})
      asks.push({ method: method.toUpperCase(), path: `${filled}?${query}`, sent, body })
    }
  return asks
}

test('no route says anything about a channel on which the caller has no permission', async () => {
  const document = (await call(gateway, '/openapi.json', all)).body as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  }
  const asks = Object.entries(document.paths)
    .flatMap(([path, methods]) => Object.entries(methods).flatMap(([method, each]) => asksOf(path, method, each)))
    // Nothing is removed before everything was read.
    .sort((a, b) => Number(a.method !== 'GET') - Number(b.method !== 'GET'))
  expect(asks.length).toBeGreaterThan(100)
  const leaks: string[] = []
  let answered = 0
  for (const { method, path, sent, body } of asks) {
    const text = await textOf(method, path, body)
    if (text.startsWith('20')) answered++
    const rest = sent.reduce((left, each) => left.replaceAll(each, '').replaceAll(encodeURIComponent(each), ''), text)
    const at = rest.toLowerCase().indexOf(MARK)
    if (at !== -1) leaks.push(`${method} ${path}: …${rest.slice(Math.max(0, at - 200), at + 80)}…`)
  }
  expect(leaks).toEqual([])
  expect(answered).toBeGreaterThan(25)
}, 60_000)
