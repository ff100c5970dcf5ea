import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { z } from 'zod'
import { connect, consumer, event, stream } from '../../src/index.ts'
import { MAIN, type Ran, runMillrace } from './command-line.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-cli-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const millrace = (...args: string[]): Promise<Ran> => runMillrace(args)

test('`publish` takes arguments and files, prints receipts, and `tail` shows the events', async () => {
  const data = join(folder, 'one')
  const first = await millrace(
    'publish',
    'carts',
    '--data',
    data,
    '--create',
    '--type',
    'cart.item.added',
    '--payload',
    '{"sku":"tea"}',
    '--id',
    'e-1',
  )
  expect(first).toMatchObject({ code: 0, out: 'carts/0 e-1\n' })
  expect(first.err).toContain('published 1 event(s)')
  const lines = join(folder, 'lines.jsonl')
  writeFileSync(
    lines,
    '{"type":"cart.item.added","id":"e-1"}\n\n{"type":"cart.item.added","id":"e-2","data":{"sku":"milk"}}\n',
  )
  const second = await millrace('publish', 'carts', '--data', data, '--file', lines, '--json')
  expect(
    second.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    { channel: 'carts', offset: 0, id: 'e-1', duplicate: true },
    { channel: 'carts', offset: 1, id: 'e-2', duplicate: false },
    { channel: 'carts', stored: 1, duplicates: 1 },
  ])
  const tail = await millrace('tail', 'carts', '--data', data, '--json', '--where', '{"data":{"sku":["milk"]}}')
  expect(
    tail.out
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { id: string }).id),
  ).toEqual(['e-2'])
  expect(JSON.parse((await millrace('channels', '--data', data, '--json')).out)).toMatchObject([
    { name: 'carts', next: 2 },
  ])
})

test('`publish` uses the key and the schema that an application declared, and --create keeps both', async () => {
  const data = join(folder, 'declared')
  const Ordered = event('ordered', z.object({ order: z.string(), n: z.int().min(1) }))
  const app = await connect(`file:${data}`)
  const orders = stream('orders', { events: [Ordered], key: 'data.order', retain: { age: '30d' } })
  await app.declare(orders, stream('keyed', { events: [Ordered], key: ({ data: { order } }) => order }))
  const publish = (channel: string, payload: string, ...more: string[]): Promise<Ran> =>
    millrace('publish', channel, '--data', data, '--create', '--type', 'ordered', '--payload', payload, ...more)
  expect(await publish('orders', '{"order":"o-1","n":1}')).toMatchObject({ code: 0 })
  expect(await publish('orders', '{"n":1}')).toMatchObject({ code: 1, err: expect.stringContaining('data.order') })
  expect(await publish('orders', '{"order":"o-1","n":0}')).toMatchObject({
    code: 1,
    err: expect.stringContaining('n: must be at least 1'),
  })
  expect(await publish('keyed', '{"order":"o-1","n":1}')).toMatchObject({
    code: 1,
    err: expect.stringContaining('partitionkey'),
  })
  expect(await publish('keyed', '{"order":"o-1","n":1}', '--key', 'o-1')).toMatchObject({ code: 0 })
  const keys: (string | null)[] = []
  await app.start(consumer('keys', orders).onAny((_, { key }) => void keys.push(key)))
  await expect.poll(() => keys, { timeout: 15_000 }).toEqual(['o-1'])
  await app.close()
})

test('`tail` reads and follows a directory that another process has open', async () => {
  const data = join(folder, 'two')
  const broker = await connect(`file:${data}`)
  const Noted = event('noted')
  const notes = stream('notes', { events: [Noted] })
  await broker.publish(notes, Noted({ n: 0 }))
  const follower = spawn(process.execPath, [
    MAIN,
    'tail',
    'notes',
    '--data',
    data,
    '--from',
    'beginning',
    '--follow',
    '--limit',
    '3',
    '--json',
  ])
  let out = ''
  follower.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
  })
  const ended = new Promise((resolve) => follower.on('exit', resolve))
  await expect.poll(() => out, { timeout: 10_000 }).toContain('"n":0')
  await broker.publish(notes, Noted({ n: 1 }))
  await broker.publish(notes, Noted({ n: 2 }))
  expect(await ended).toBe(0)
  expect(out.trim().split('\n')).toHaveLength(3)
  await broker.close()
})

test('`publish` writes to a directory that another process has open', async () => {
  const data = join(folder, 'beside')
  const broker = await connect(`file:${data}`)
  const Noted = event('noted')
  const notes = stream('notes', { events: [Noted] })
  const handled: unknown[] = []
  let lucky = false
  const worker = consumer('worker', notes, { retry: { attempts: 1 } }).on(Noted, (noted) => {
    if (!lucky) throw new Error('no luck')
    handled.push((noted.data as { n: number }).n)
  })
  await broker.start(worker)
  const first = await millrace('publish', 'notes', '--data', data, '--type', 'noted', '--payload', '{"n":1}')
  expect(first).toMatchObject({ code: 0 })
  await broker.publish(notes, Noted({ n: 2 }))
  await expect.poll(async () => (await broker.deadLetters(worker).list()).length).toBe(2)
  lucky = true
  expect(
    JSON.parse((await millrace('dead', 'redrive', 'worker', '--data', data, '--offset', '0', '--json')).out),
  ).toMatchObject({ redriven: 1 })
  await expect.poll(() => handled).toEqual([1])
  expect(JSON.parse((await millrace('dead', 'drop', 'worker', '--data', data, '--all', '--json')).out)).toMatchObject({
    dropped: 1,
  })
  await broker.close()
  expect(handled).toEqual([1])
})

test('`dead` lists, shows, redrives and drops dead letters', async () => {
  const data = join(folder, 'three')
  const Noted = event('noted')
  const notes = stream('notes', { events: [Noted] })
  const open = await connect(`file:${data}`)
  const worker = consumer('worker', notes, { retry: { attempts: 1 } }).on(Noted, () => {
    throw new Error('no luck')
  })
  const running = await open.start(worker)
  await open.publish(notes, [Noted({ n: 0 }), Noted({ n: 1 }), Noted({ n: 2 })])
  await expect.poll(async () => (await open.deadLetters(worker).list()).length).toBe(3)
  await running.stop()
  await open.close()
  const later = await connect(`file:${data}`)
  await later.publish(notes, Noted({ n: 9 }, { id: 'later' }), { delay: '1h' })
  await later.close()
  expect((await millrace('delayed', 'list', 'notes', '--data', data)).out).toContain('later')
  expect((await millrace('delayed', 'cancel', 'notes', '--data', data)).code).toBe(2)
  for (const cancelled of [true, false])
    expect(
      JSON.parse((await millrace('delayed', 'cancel', 'notes', '--data', data, '--id', 'later', '--json')).out),
    ).toMatchObject({ cancelled })
  expect((await millrace('dead', 'list', 'worker', '--data', data)).out).toContain('no luck')
  expect((await millrace('dead', 'show', 'worker', '--data', data, '--offset', '1')).out).toContain('"n": 1')
  expect((await millrace('dead', 'redrive', 'worker', '--data', data)).code).toBe(2)
  expect(
    JSON.parse((await millrace('dead', 'redrive', 'worker', '--data', data, '--offset', '0', '--json')).out),
  ).toEqual({ consumer: 'worker', redriven: 1 })
  expect(JSON.parse((await millrace('dead', 'drop', 'worker', '--data', data, '--all', '--json')).out)).toEqual({
    consumer: 'worker',
    dropped: 2,
  })
  const [described] = JSON.parse((await millrace('consumers', '--data', data, '--json')).out) as [
    { deadLetters: number; parked: number },
  ]
  expect(described).toMatchObject({ deadLetters: 0 })
})

test('the commands work on a broker by its URL, also one from the environment', async () => {
  const data = join(folder, 'served')
  const server = spawn(process.execPath, [MAIN, 'serve', '--data', data, '--port', '0', '--json'])
  const line = await new Promise<string>((resolve) =>
    server.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())),
  )
  const url = (JSON.parse(line) as { url: string }).url.replace('http:', 'ws:')
  const published = await millrace(
    'publish',
    'carts',
    '--url',
    url,
    '--create',
    '--type',
    't',
    '--payload',
    '{"n":1}',
    '--id',
    'e-1',
  )
  expect(published).toMatchObject({ code: 0, out: 'carts/0 e-1\n' })
  expect(JSON.parse((await millrace('tail', 'carts', '--url', url, '--json')).out)).toMatchObject({
    id: 'e-1',
    data: { n: 1 },
  })
  const secret = url.replace('ws://', 'ws://somebody:secret@')
  expect((await millrace('channels', '--url', secret)).err).toContain(`1 channel(s) in ${url}`)
  // The directory has priority over the environment.
  process.env['BROKER_URL'] = 'nowhere:'
  try {
    expect((await millrace('channels', '--json')).code).toBe(2)
    expect((await millrace('channels', '--data', data, '--json')).code).toBe(0)
    expect((await millrace('tokens', 'list')).code).toBe(2)
  } finally {
    delete process.env['BROKER_URL']
  }
  const ended = new Promise((resolve) => server.once('exit', resolve))
  server.kill('SIGTERM')
  expect(await ended).toBe(0)
}, 60_000)

test('each wrong call prints what is wrong and exits with its code', async () => {
  expect(await millrace('tail', 'nothing', '--data', join(folder, 'nowhere'))).toMatchObject({ code: 1, out: '' })
  expect((await millrace('no-such-command')).code).toBe(2)
  expect(
    (await millrace('publish', 'carts', '--data', join(folder, 'one'), '--type', 'x', '--payload', '{')).code,
  ).toBe(2)
  expect((await millrace('--help')).out).toContain('tail')
})

test('`tokens` makes a token, shows it once, lists and removes it, and `serve` asks for it', async () => {
  const data = join(folder, 'guarded')
  const made = await millrace(
    'tokens',
    'add',
    'shop',
    '--publish',
    'orders.*',
    'carts',
    '--read',
    '>',
    '--expires',
    '90d',
    '--rate',
    '50',
    '--data',
    data,
  )
  expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/^millrace_[\w-]{43}\n$/) })
  const list = await millrace('tokens', 'list', '--data', data, '--json')
  expect(JSON.parse(list.out)).toMatchObject([
    { name: 'shop', permissions: { publish: ['orders.*', 'carts'], read: ['>'] }, limits: { requestsPerSecond: 50 } },
  ])
  expect(list.out).not.toMatch(/sha256|millrace_/)
  expect((await millrace('tokens', 'add', 'idle', '--data', data)).code).toBe(2)
  expect((await millrace('tokens', 'add', 'bad', '--read', 'a.>.b', '--data', data)).code).toBe(2)
  // Tokens may exist before the data directory has data.
  expect((await millrace('publish', 'carts', '--data', data, '--create', '--type', 't', '--payload', '{}')).code).toBe(
    0,
  )
  const server = spawn(process.execPath, [MAIN, 'serve', '--data', data, '--port', '0', '--json'])
  const line = await new Promise<string>((resolve) =>
    server.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())),
  )
  const { url, notice } = JSON.parse(line) as { url: string; notice: string }
  expect(notice).toBe('loopback only, with access control')
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await fetch(`${url}/api/describe`, { headers })).status
  const authorization = `Bearer ${made.out.trim()}`
  expect([await status({}), await status({ authorization })]).toEqual([401, 200])
  expect((await millrace('tokens', 'remove', 'shop', '--data', data)).err).toContain('(shop)')
  await expect.poll(() => status({ authorization }), { timeout: 15_000 }).toBe(401)
  expect((await millrace('tokens', 'remove', 'shop', '--data', data)).code).toBe(2)
  const ended = new Promise((resolve) => server.once('exit', resolve))
  server.kill('SIGTERM')
  expect(await ended).toBe(0)
}, 60_000)

test('`check` prints what is damaged and lost in a directory, and repairs it', async () => {
  const data = join(folder, 'damaged')
  for (const id of ['a', 'b'])
    await millrace('publish', 'notes', '--data', data, '--create', '--type', 'noted', '--payload', '{}', '--id', id)
  expect(await millrace('check', data)).toMatchObject({
    code: 0,
    err: expect.stringContaining('nothing is damaged') as string,
  })
  const segment = join(data, 'segment-00000001')
  const bytes = readFileSync(segment)
  bytes.fill(0xa5, 40, 60)
  writeFileSync(segment, bytes)
  const found = await millrace('check', data)
  expect(found.code).toBe(1)
  expect(found.out).toContain('segment-00000001: the events at byte 0 cannot be read')
  expect(found.err).toContain('1 problem(s), 1 event(s) lost')
  expect(JSON.parse((await millrace('check', '--data', data, '--json')).out)).toMatchObject({
    channels: [{ name: 'notes', next: 2, lost: [[0, 1]] }],
  })
  const repaired = await millrace('check', data, '--repair')
  expect(repaired.code).toBe(0)
  expect(repaired.err).toMatch(/repaired: .* the old files are kept in .*damaged\.damaged-/)
  expect((await millrace('tail', 'notes', '--data', data, '--json')).out).toContain('"id":"b"')
  expect(await millrace('check', join(folder, 'nowhere'))).toMatchObject({
    code: 1,
    err: expect.stringContaining('DATA_MISSING') as string,
  })
})

test('`consumer` pauses, resumes, rewinds and removes a consumer that another process runs', async () => {
  const data = join(folder, 'operated')
  const broker = await connect(`file:${data}`)
  const Noted = event('noted', z.object({ n: z.number() }))
  const notes = stream('notes', { events: [Noted] })
  const handled: number[] = []
  const running = await broker.start(consumer('worker', notes).on(Noted, ({ data: { n } }) => void handled.push(n)))
  const described = async (): Promise<unknown> => (await broker.describe()).consumers[0]
  expect((await millrace('consumer', 'pause', 'worker', '--data', data, '--reason', 'a look')).code).toBe(0)
  expect(await described()).toMatchObject({ paused: true, pause: { reason: 'a look' } })
  await broker.publish(notes, Noted({ n: 0 }))
  expect(JSON.parse((await millrace('consumer', 'resume', 'worker', '--data', data, '--json')).out)).toEqual({
    consumer: 'worker',
    paused: false,
  })
  await expect.poll(() => handled, { timeout: 10_000 }).toEqual([0])
  expect((await millrace('consumer', 'rewind', 'worker', '--data', data)).code).toBe(2)
  expect((await millrace('consumer', 'rewind', 'worker', '--data', data, '--to', 'beginning')).code).toBe(0)
  await expect.poll(() => handled, { timeout: 10_000 }).toEqual([0, 0])
  expect(await millrace('consumer', 'remove', 'worker', '--data', data)).toMatchObject({
    code: 2,
    err: expect.stringContaining('is running'),
  })
  await running.stop()
  expect((await millrace('consumer', 'remove', 'worker', '--data', data)).code).toBe(0)
  expect((await broker.describe()).consumers).toEqual([])
  expect(await millrace('consumer', 'pause', 'nobody', '--data', data)).toMatchObject({
    code: 1,
    err: expect.stringContaining('UNKNOWN_CONSUMER'),
  })
  await broker.close()
})

test('`tail` shows several channels in the order of time, and follows all that a wildcard matches, also new ones', async () => {
  const data = join(folder, 'several')
  const broker = await connect(`file:${data}`)
  const [paid, placed] = [stream('orders.paid'), stream('orders.placed')]
  await broker.publish(placed, { type: 'placed', id: '1', time: '2026-01-01T00:00:01Z' })
  await broker.publish(paid, { type: 'paid', id: '2', time: '2026-01-01T00:00:02Z' })
  await broker.publish(placed, { type: 'placed', id: '3', time: '2026-01-01T00:00:03Z' })
  const { out } = await millrace('tail', 'orders.paid', 'orders.placed', '--data', data, '--json')
  const shown = (text: string): [string, string][] =>
    text
      .trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { readonly channel: string; readonly id: string })
      .map(({ channel, id }) => [channel, id])
  expect(shown(out)).toEqual([
    ['orders.placed', '1'],
    ['orders.paid', '2'],
    ['orders.placed', '3'],
  ])
  const follower = spawn(process.execPath, [
    MAIN,
    'tail',
    'orders.>',
    '--data',
    data,
    '--from',
    'beginning',
    '--follow',
    '--limit',
    '4',
    '--json',
  ])
  let followed = ''
  follower.stdout.on('data', (chunk: Buffer) => {
    followed += chunk.toString()
  })
  const ended = new Promise((resolve) => follower.on('exit', resolve))
  await expect.poll(() => shown(followed).length, { timeout: 15_000 }).toBe(3)
  await broker.publish(stream('orders.sent'), { type: 'sent', id: '4' })
  expect(await ended).toBe(0)
  expect(
    shown(followed)
      .map(([, id]) => id)
      .sort(),
  ).toEqual(['1', '2', '3', '4'])
  await broker.close()
})

test('`backup` copies a directory in use, and the copy can be checked and opened', async () => {
  const data = join(folder, 'live')
  const broker = await connect(`file:${data}`)
  await broker.publish(
    stream('notes'),
    [1, 2, 3].map((n) => ({ type: 'noted', data: n })),
  )
  const copy = join(folder, 'copy')
  expect(JSON.parse((await millrace('backup', copy, '--data', data, '--json')).out)).toMatchObject({ directory: copy })
  await broker.publish('notes', { type: 'noted', data: 4 })
  await broker.close()
  expect((await millrace('check', copy)).code).toBe(0)
  expect(JSON.parse((await millrace('channels', '--data', copy, '--json')).out)).toMatchObject([
    { name: 'notes', next: 3 },
  ])
  expect(await millrace('backup', copy, '--data', data)).toMatchObject({
    code: 2,
    err: expect.stringContaining('not empty'),
  })
})
