import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { z } from 'zod'
import { connect, consumer, event, stream } from '../../src/index.ts'
import { parseRuleFile } from '../../src/rules/folder/rule-file.ts'
import { rulesOf } from '../../src/rules/rules.ts'
import { type Ran, runMillrace } from './command-line.ts'

const ROOT = join(import.meta.dirname, '../..')
const folder = mkdtempSync(join(tmpdir(), 'millrace-check-events-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A module that exports a channel of payments. `paid` is the code of its event. */
function moduleOf(name: string, paid: string): string {
  const file = join(folder, name)
  const urls = [join(ROOT, 'dist/index.js'), join(ROOT, 'node_modules/zod/index.js')].map(
    (path) => pathToFileURL(path).href,
  )
  writeFileSync(
    file,
    `import { event, stream } from '${urls[0]}'\nimport { z } from '${urls[1]}'\nexport const Paid = ${paid}\nexport const payments = stream('payments', { events: [Paid] })\n`,
  )
  return file
}

interface Report {
  readonly compared: readonly Record<string, unknown>[]
  readonly retained: readonly Record<string, unknown>[]
  readonly lock: { readonly current: boolean }
}

async function checkEvents(...args: string[]): Promise<Ran & { json: Report }> {
  const ran = await runMillrace(['check-events', ...args])
  return { ...ran, json: (args.includes('--json') ? JSON.parse(ran.out) : {}) as Report }
}

const FIRST = `event('order.paid', z.object({ euros: z.number() }))`
const lock = join(folder, 'events.lock.json')

test('`check-events` compares code with the lock file, and fails until the file is written', async () => {
  const first = moduleOf('first.js', FIRST)
  const missing = await checkEvents(first, '--lock', lock)
  expect(missing).toMatchObject({ code: 1, err: expect.stringContaining('--update') })
  expect(await checkEvents(first, '--lock', lock, '--update')).toMatchObject({ code: 0 })
  expect(JSON.parse(readFileSync(lock, 'utf8'))).toMatchObject({
    format: 1,
    events: [{ channel: 'payments', type: 'order.paid', version: 1, schemas: { 1: { required: ['euros'] } } }],
  })
  expect(await checkEvents(first, '--lock', lock)).toMatchObject({ code: 0, out: '' })

  const optional = moduleOf(
    'optional.js',
    `event('order.paid', z.object({ euros: z.number(), note: z.string().optional() }))`,
  )
  const changed = await checkEvents(optional, '--lock', lock, '--mode', 'full')
  expect(changed).toMatchObject({ code: 1, out: expect.stringContaining('compatible') })

  const broken = moduleOf('broken.js', `event('order.paid', z.object({ euros: z.number(), by: z.string() }))`)
  const refused = await checkEvents(broken, '--lock', lock, '--update', '--json')
  expect(refused).toMatchObject({ code: 1, json: { lock: { current: false } } })
  expect(refused.json.compared).toMatchObject([
    { verdict: 'incompatible', breaks: [{ path: 'data.by', version: 1, example: { euros: expect.any(Number) } }] },
  ])
  expect(readFileSync(lock, 'utf8')).not.toContain('"by"')

  const version = moduleOf(
    'version.js',
    `${FIRST}.nextVersion(2, z.object({ cents: z.int() }), ({ euros }) => ({ cents: euros * 100 }))`,
  )
  expect(await checkEvents(version, '--lock', lock, '--update')).toMatchObject({ code: 0 })
  const dropped = moduleOf('dropped.js', `event('order.paid', z.object({ cents: z.int() }), { version: 2 })`)
  expect(await checkEvents(dropped, '--lock', lock)).toMatchObject({
    code: 1,
    out: expect.stringContaining('version 1'),
  })
  expect(await checkEvents(dropped, '--lock', lock, '--update', '--allow')).toMatchObject({ code: 0 })
}, 60_000)

test('`check-events` compares code with a broker, reads its events, and names who reads what breaks', async () => {
  const data = join(folder, 'data')
  const broker = await connect(`file:${data}`)
  const Paid = event('order.paid', z.object({ euros: z.number(), by: z.string().optional() }))
  const payments = stream('payments', { events: [Paid] })
  await broker.publish(payments, [Paid({ euros: 1, by: 'card' }), Paid({ euros: 2 }), Paid({ euros: 3 })])
  const running = await broker.start(consumer('ledger', payments).on(Paid, () => undefined))
  await rulesOf(broker).putAll(
    parseRuleFile(
      `
- { name: by-card, on: payments, when: { data: { by: [card] } }, then: { drop: true } }
- { name: large, on: payments, when: { data: { euros: [{ numeric: ['>', 5] }] } }, then: { drop: true } }
`,
      'rules.yaml',
    ),
  )
  await running.stop()
  await broker.close()

  const broken = moduleOf('by.js', `event('order.paid', z.object({ euros: z.number(), by: z.string() }))`)
  const found = await checkEvents(
    broken,
    '--lock',
    join(folder, 'other.json'),
    '--data',
    data,
    '--json',
    '--sample',
    '2',
  )
  expect(found.code).toBe(1)
  expect(found.json.compared).toMatchObject([
    { against: 'broker', verdict: 'incompatible', consumers: ['ledger'], rules: ['by-card'] },
  ])
  expect(found.json.retained).toMatchObject([
    {
      event: 'order.paid in payments',
      kept: 3,
      read: 2,
      ofType: 2,
      failed: 2,
      examples: [{ offset: 1 }, { offset: 2 }],
    },
  ])
  const text = await checkEvents(broken, '--lock', join(folder, 'other.json'), '--data', data)
  expect(text.out).toContain('2 event(s) cannot be read')
  expect(text.out).toContain('all 3 events')
}, 60_000)

test('`--register` declares the channels on a broker: code with that schema starts afterwards', async () => {
  const data = join(folder, 'registered')
  const broker = await connect(`file:${data}`)
  const Before = event('order.paid', z.object({ euros: z.number() }))
  await broker.declare(stream('payments', { events: [Before] }))
  const After = event('order.paid', z.object({ euros: z.number(), by: z.string() }))
  const payments = stream('payments', { events: [After] })
  await expect(broker.declare(payments)).rejects.toMatchObject({ code: 'INCOMPATIBLE_SCHEMA' })
  const broken = moduleOf('registered.js', `event('order.paid', z.object({ euros: z.number(), by: z.string() }))`)
  const file = join(folder, 'registered.json')
  const args = [broken, '--lock', file, '--update', '--register']
  expect(await checkEvents(...args)).toMatchObject({ code: 2, err: expect.stringContaining('--url') })
  const refused = await checkEvents(...args, '--data', data)
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('--register --allow') })
  await expect(broker.declare(payments)).rejects.toMatchObject({ code: 'INCOMPATIBLE_SCHEMA' })
  expect(await checkEvents(...args, '--allow', '--data', data)).toMatchObject({
    code: 0,
    err: expect.stringContaining('declared on'),
  })
  await broker.declare(payments)
  await broker.declare(stream('payments', { events: [Before] }))
  await broker.declare(payments)
  await broker.close()
}, 60_000)

test('`check-events` says what is wrong with a module, a mode or a lock file', async () => {
  const empty = join(folder, 'empty.js')
  writeFileSync(empty, 'export const nothing = 1\n')
  const cases: [string[], string][] = [
    [[empty], 'exports no channel'],
    [[join(folder, 'absent.js')], 'cannot be loaded'],
    [[empty, '--mode', 'sideways'], 'backward, forward, full'],
  ]
  for (const [args, message] of cases)
    expect(await checkEvents(...args)).toMatchObject({ code: 2, err: expect.stringContaining(message) })
  const damaged = join(folder, 'damaged.json')
  writeFileSync(damaged, '{"format":9}')
  expect(await checkEvents(moduleOf('ok.js', FIRST), '--lock', damaged)).toMatchObject({
    code: 2,
    err: expect.stringContaining('format 9'),
  })
}, 60_000)
