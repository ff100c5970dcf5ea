/**
 * Every route with unusual parameters, queries, headers and bodies: each answer is one that the route documents, or a
 * problem document with a code. No request causes a server error, an answer without a body, or no answer.
 *
 * MILLRACE_FUZZ=10 multiplies the number of tries. A failure names its seed and request.
 */
import { expect, onTestFinished, test } from 'vitest'
import { createGateway } from '../../src/gateway/index.ts'
import { connect, consumer, event, queue, stream } from '../../src/index.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'

const TIMES = Number(process.env['MILLRACE_FUZZ'] ?? 1)
const TRIES = 1500 * TIMES

const ODD_TEXTS = [
  ...[
    '',
    ' ',
    '0',
    '-1',
    '1.5',
    '1e308',
    'NaN',
    'null',
    'true',
    '[]',
    '{}',
    '{',
    '"',
    '*',
    '>',
    '.',
    '..',
    '$rules',
    '$push',
    '~x',
    'rules.x',
    'push.x',
  ],
  ...[
    'é',
    '😀',
    '\u0000',
    '\u0001',
    '\ud800',
    '%',
    '%00',
    '%zz',
    '__proto__',
    'constructor',
    'a/b',
    '../etc/passwd',
    'x'.repeat(300),
    '9'.repeat(400),
  ],
  ...[
    'orders',
    'jobs',
    'worker',
    'beginning',
    'end',
    'latest',
    '1s',
    '10d',
    '2026-01-01T00:00:00Z',
    'offset:3',
    'type=order',
    "type = 'a'",
    '{"type":["a"]}',
    '(a+)+$',
  ],
]
const MEMBERS = [
  ...[
    'channels',
    'channel',
    'name',
    'on',
    'when',
    'then',
    'to',
    'from',
    'limit',
    'offset',
    'id',
    'key',
    'wait',
    'max',
    'lease',
    'leases',
    'deliveries',
    'reason',
  ],
  ...[
    'outcomes',
    'sink',
    'types',
    'filters',
    'config',
    'source',
    'protocol',
    'data',
    'type',
    'specversion',
    'rules',
    'event',
    'enabled',
    'more',
    '__proto__',
    'options',
  ],
]

function odd(random: () => number) {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const text = (): string => pick(ODD_TEXTS)
  const value = (depth: number): unknown => {
    const kind = random()
    if (kind < 0.45 || depth > 3) return text()
    if (kind < 0.65) return pick([null, true, false, 0, -1, 1.5, 1e308, 2 ** 53, 3])
    if (kind < 0.8) return Array.from({ length: Math.floor(random() * 3) }, () => value(depth + 1))
    return Object.fromEntries(
      Array.from({ length: 1 + Math.floor(random() * 4) }, () => [pick(MEMBERS), value(depth + 1)]),
    )
  }
  return { pick, text, value }
}

interface Operation {
  readonly method: string
  readonly path: string
  readonly queries: readonly string[]
}

test('each route answers odd input with a problem document', async () => {
  const broker = await connect('memory:')
  onTestFinished(() => broker.close())
  const Order = event('order')
  const orders = stream('orders', { events: [Order] })
  await broker.declare(orders, queue('jobs'))
  const running = await broker.start(consumer('worker', orders).onAny((_, ctx) => ctx.reject('no')))
  for (let n = 0; n < 5; n++) await broker.publish(orders, Order({ n }))
  await expect.poll(async () => (await broker.deadLetters('worker').list()).length).toBe(5)
  await running.stop()
  const failures: unknown[] = []
  const gateway = createGateway(broker, {
    push: {},
    webhooks: { shop: { scheme: 'github', secret: 'secret', channel: 'orders' } },
    heartbeat: '1s',
    onError: (error) => failures.push(error),
  })
  onTestFinished(() => gateway.close())
  const operations = await operationsOf(gateway)
  expect(operations.length).toBeGreaterThan(25)
  const wrong: string[] = []
  for (let seed = 1; seed <= TRIES && wrong.length < 5; seed++) {
    const { request, shown } = made(operations, seededRandom(seed))
    const said = await judged(gateway, request)
    if (said !== null) wrong.push(`seed ${seed}: ${shown}: ${said}`)
  }
  expect(wrong).toEqual([])
  expect(failures).toEqual([])
}, 120_000)

async function operationsOf(gateway: { fetch(request: Request): Promise<Response> | Response }): Promise<Operation[]> {
  const document = (await (await gateway.fetch(new Request('http://localhost/openapi.json'))).json()) as {
    readonly paths: Readonly<
      Record<
        string,
        Readonly<Record<string, { readonly parameters?: readonly { readonly in: string; readonly name: string }[] }>>
      >
    >
  }
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { parameters = [] }]) =>
      // Removing a channel would disturb all other requests.
      path === '/ws' || method === 'delete'
        ? []
        : [
            {
              method: method.toUpperCase(),
              path,
              queries: parameters.filter((each) => each.in === 'query').map(({ name }) => name),
            },
          ],
    ),
  )
}

function made(operations: readonly Operation[], random: () => number): { request: Request; shown: string } {
  const { pick, text, value } = odd(random)
  const { method, path, queries } = pick(operations)
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    if (random() < 0.6) return { channel: 'orders', consumer: 'worker', rule: 'r', webhook: 'shop' }[name] ?? 'x'
    return encodeURIComponent(text().toWellFormed()) || 'x'
  })
  const query = [...queries, 'odd']
    .filter(() => random() < 0.3)
    .map((name) => `${name}=${encodeURIComponent(text().toWellFormed())}`)
  const url = `http://localhost${filled}${query.length > 0 ? `?${query.join('&')}` : ''}`
  const types = [
    'application/json',
    'application/cloudevents+json',
    'application/cloudevents-batch+json',
    'text/plain',
    'application/json; charset=utf-16',
    '/',
    '',
  ]
  const headers: Record<string, string> = { 'content-type': pick(types) }
  for (const name of [
    'ce-id',
    'ce-type',
    'ce-specversion',
    'last-event-id',
    'accept',
    'idempotency-key',
    'webhook-request-origin',
    'x-hub-signature-256',
    'if-match',
  ])
    if (random() < 0.15)
      headers[name] = text()
        .replace(/[^\x20-\x7e]/g, '?')
        .slice(0, 200)
  const bare = method === 'GET' || method === 'HEAD' || random() < 0.1
  const body = random() < 0.8 ? JSON.stringify(value(0)) : text()
  const signal = AbortSignal.timeout(2000)
  const request = new Request(
    url,
    bare ? { method, headers, signal } : { method, headers, body: body.toWellFormed(), signal },
  )
  return { request, shown: `${method} ${url} ${JSON.stringify(headers)} ${bare ? '' : body.slice(0, 300)}` }
}

/** What is wrong with the answer; null if nothing is. */
async function judged(
  gateway: { fetch(request: Request): Promise<Response> | Response },
  request: Request,
): Promise<string | null> {
  const late = Symbol('late')
  let timer: NodeJS.Timeout | undefined
  const waited = new Promise<typeof late>((resolve) => {
    timer = setTimeout(() => resolve(late), 10_000)
  })
  const answer = await Promise.race([gateway.fetch(request), waited])
  clearTimeout(timer)
  if (answer === late) return 'no answer'
  const { status } = answer
  if (status < 400) {
    await answer.body?.cancel()
    return null
  }
  const text = await answer.text()
  if (status >= 500) return `${status} ${text.slice(0, 300)}`
  if (request.method === 'HEAD') return null
  if (answer.headers.get('content-type')?.startsWith('application/problem+json') !== true)
    return `${status} without a problem document: ${text.slice(0, 300)}`
  const { code, detail } = JSON.parse(text) as { readonly code?: unknown; readonly detail?: unknown }
  return typeof code === 'string' && typeof detail === 'string' && detail !== ''
    ? null
    : `a problem without words: ${text.slice(0, 300)}`
}
