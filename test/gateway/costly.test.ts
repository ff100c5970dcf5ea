/**
 * A client's text is scanned before any of it is parsed, because a parser takes seconds for a hostile text of some
 * megabytes. The test checks what `JSON.parse` is given and measures no time. An error does not repeat megabytes
 * either.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, isMillraceError, stream } from '../../src/index.ts'
import { FRAME, jsonFrame, numberedFrame } from '../../src/wire/frame.ts'
import { publishFrame } from '../../src/wire/publish-frame.ts'
import { SessionServer } from '../../src/wire/server/session-server.ts'
import { loopback } from '../../src/wire/transport.ts'
import { eventually } from '../rules/support.ts'

/** The longest text of a client that may be parsed. */
const PARSED_MAX = 65_536

let broker: Broker
let gateway: Gateway
let longest = 0

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('a', { maxEventBytes: '16MiB' }), stream('small'))
  gateway = createGateway(broker, { drain: 0 })
  await gateway.started
  longest = 0
  const parse = JSON.parse
  vi.spyOn(JSON, 'parse').mockImplementation(
    (text: string, reviver?: (this: unknown, key: string, value: unknown) => unknown) => {
      longest = Math.max(longest, text.length)
      return parse(text, reviver) as unknown
    },
  )
})
afterEach(async () => {
  vi.restoreAllMocks()
  await gateway.close()
  await broker.close()
})

async function post(
  body: string,
  contentType: string,
  path = '/channels/a/events',
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string }> {
  const answer = await gateway.fetch(
    new Request(`http://localhost${path}`, {
      method: 'POST',
      headers: { 'content-type': contentType, ...headers },
      body,
    }),
  )
  return { status: answer.status, text: await answer.text() }
}
const many = (count: number, each: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => each(index)).join(',')
const envelope = '"specversion":"1.0","id":"x","source":"/","type":"t"'
const STRUCTURED = 'application/cloudevents+json'
const BATCHED = 'application/cloudevents-batch+json'
const keys = (count: number): string => many(count, (index) => `"e${index}":1`)

describe('a costly body is refused without being parsed', () => {
  test.each<[string, string, string]>([
    ['400,000 attributes', `{${envelope},${keys(400_000)}}`, STRUCTURED],
    ['400,000 times one attribute', `{${envelope},${many(400_000, () => '"e":1')}}`, STRUCTURED],
    ['an attribute whose name is long', `{${envelope},"${'e'.repeat(3_000_000)}":1}`, STRUCTURED],
    ['an attribute that is an object', `{${envelope},"e":{${keys(200_000)}}}`, STRUCTURED],
    ['data of 800,000 names', `{${envelope},"data":{${keys(800_000)}}}`, STRUCTURED],
    ['data of 2,000,000 values', `{${envelope},"data":[${many(2_000_000, () => '{}')}]}`, STRUCTURED],
    ['data that is deep', `{${envelope},"data":${'['.repeat(200_000)}${']'.repeat(200_000)}}`, STRUCTURED],
    ['a batch of 100,000 events', `[${many(100_000, () => `{${envelope}}`)}]`, BATCHED],
    ['a batch with one such event', `[{${envelope}},{${envelope},${keys(300_000)}}]`, BATCHED],
    ['a batch that is no events', `[${many(1_000_000, () => '1')}]`, BATCHED],
  ])('%s', async (_what, body, contentType) => {
    const { status, text } = await post(body, contentType)
    expect([status, text.length < 10_000, longest < PARSED_MAX]).toEqual([400, true, true])
  })
  test('binary data of 800,000 names, and 300 attributes in headers', async () => {
    const ce = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/', 'ce-type': 't' }
    expect((await post(`{${keys(800_000)}}`, 'application/json', undefined, ce)).status).toBe(400)
    const more = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`ce-e${index}`, '1']))
    expect((await post('{}', 'application/json', undefined, { ...ce, ...more })).status).toBe(400)
    expect(longest).toBeLessThan(PARSED_MAX)
  })
  test.each(['/consumers/c/pull', '/api/consumers/c/rewind', '/leases/x/complete', '/api/rule-tests'])(
    'a body of a million values to %s',
    async (path) => {
      const { status } = await post(`{"a":[${many(1_000_000, () => '[]')}]}`, 'application/json', path)
      expect([status, longest < PARSED_MAX]).toEqual([400, true])
    },
  )
  test('an event of a type that its channel does not carry, or for an unknown channel, is not scanned', async () => {
    const body = `{${envelope},"data":{${keys(400_000)}}}`
    expect((await post(body, STRUCTURED, '/channels/small/events')).status).toBe(413)
    expect((await post(body, STRUCTURED, '/channels/none/events')).status).toBe(404)
    expect(longest).toBeLessThan(PARSED_MAX)
  })
})

test('large data that no code reads is stored as it was sent, without being parsed', async () => {
  const data = `[${many(300_000, (index) => `{"n":${index}}`)}]`
    .replaceAll('"n"', '0')
    .replaceAll('{0:', '[')
    .replaceAll('}', ']')
  expect((await post(`{${envelope},"data":${data}}`, STRUCTURED)).status).toBe(202)
  expect(longest).toBeLessThan(PARSED_MAX)
  const read = await gateway.fetch(new Request('http://localhost/channels/a/events'))
  expect(await read.text()).toContain(data)
})

test('one event is bounded by its channel, and not by the size of a batch', async () => {
  const data = 'x'.repeat(10_000_000)
  const own = stream('a', { maxEventBytes: '16MiB' })
  expect(await broker.publish(own, [{ type: 't', id: 'p0', source: '/', data } as never])).toMatchObject([
    { id: 'p0', duplicate: false },
  ])
  expect(
    (await post(JSON.stringify({ specversion: '1.0', id: 'p1', source: '/', type: 't', data }), STRUCTURED)).status,
  ).toBe(202)
  expect(
    (await post(JSON.stringify([{ specversion: '1.0', id: 'p2', source: '/', type: 't', data }]), BATCHED)).status,
  ).toBe(202)
})

describe('errors repeat only the beginning and the end of', () => {
  const long = 'i'.repeat(5_000_000)
  test.each<[string, object]>([
    ['an id', { id: long }],
    ['a type', { type: long }],
    ['a source', { source: long }],
    ['the name of an attribute', { [long]: 1 }],
    ['data with an id', { id: long, data: '['.repeat(10) }],
  ])('%s of 5 MB', async (_what, members) => {
    const { status, text } = await post(
      JSON.stringify({ specversion: '1.0', id: '1', source: '/', type: 't', ...members }),
      STRUCTURED,
    )
    expect([status, text.length < 10_000]).toEqual([400, true])
    const error: unknown = await broker
      .publish('a', { id: '1', source: '/', type: 't', ...members } as never)
      .catch((thrown: unknown) => thrown)
    expect(isMillraceError(error) && JSON.stringify(error).length < 20_000).toBe(true)
  })
})

test('oversized frames of a client are refused without being parsed', async () => {
  let engine: ConstructorParameters<typeof SessionServer>[0] | undefined
  await broker.start({
    start: async (host) => {
      engine = host.engine
      return { stop: async () => undefined, done: Promise.resolve() }
    },
  })
  const server = new SessionServer(engine as NonNullable<typeof engine>)
  const flood = `{"a":[${many(1_000_000, () => '{}')}]}`
  const text = `{${envelope},${keys(200_000)}}`
  const frames = [
    numberedFrame(FRAME.call, 1, { method: 'describe', args: [] }),
    Buffer.concat([numberedFrame(FRAME.call, 1, undefined), Buffer.from(flood)]),
    Buffer.concat([numberedFrame(FRAME.read, 2, undefined), Buffer.from(flood)]),
    publishFrame(3, 'a', [{ id: 'x', type: 't', key: null, text }], null, false),
  ]
  for (const frame of frames) {
    frame.writeUInt32LE(frame.length, 0)
    const [mine, theirs] = loopback()
    let answered = 0
    mine.open({ data: () => answered++, drain: () => undefined, closed: () => undefined })
    server.accept(theirs, () => ({ name: 'x', trusted: false, check: () => undefined }))
    mine.write([jsonFrame(FRAME.hello, { protocol: 1, session: null, received: 0, token: null })])
    await eventually(async () => expect(answered).toBeGreaterThan(0))
    answered = 0
    mine.write([frame])
    await eventually(async () => expect(answered).toBeGreaterThan(0))
    mine.destroy()
  }
  expect(longest).toBeLessThan(PARSED_MAX)
  server.close()
})
