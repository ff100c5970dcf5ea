/**
 * Any damage to any file of a directory, then `check --repair`, then further use, compared with a ledger of what was
 * acknowledged.
 *
 * Rules: no event comes back changed or at another offset; losses are reported; no offset is assigned again; later
 * publishes reach every consumer; a redrive ends. `MILLRACE_SEEDS=N` runs more. A failure names its seed.
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { openFileEngine } from '../../src/engines/embedded/open.ts'
import { type CheckReport, checkDirectory } from '../../src/engines/embedded/repair.ts'
import type { LostThing } from '../../src/engines/embedded/repair-records.ts'
import { type Broker, consumer, event, isMillraceError, queue, stream } from '../../src/index.ts'
import { randomFrom } from './world.ts'

const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'millrace-going-on-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const SEEDS = Number(process.env['MILLRACE_SEEDS'] ?? 75)
const FIRST = Number(process.env['MILLRACE_SEED'] ?? 0)
const TOGETHER = 15

const Placed = event('placed')
type Data = { readonly n: number; readonly k: string }
const keyed = { events: [Placed], key: (each: { readonly data: unknown }) => (each.data as Data).k }
const orders = stream('orders', keyed)
const jobs = queue('jobs', keyed)
const late = stream('late', keyed)
const prices = stream('prices', { ...keyed, retain: { latestByKey: true }, dedupe: false })
const channels = { orders, jobs, late, prices }
const CONSUMER = 'worker'

interface Ledger {
  /** What was acknowledged: ids by offset. */
  readonly events: Map<string, Map<number, string>>
  readonly delayed: Set<string>
  letters: number
}
const ledger: Ledger = { events: new Map(), delayed: new Set(), letters: 0 }
const intact = join(root, 'intact')
const older = join(root, 'older')

async function open(directory: string, applyIntervalMs: number): Promise<Broker> {
  const storage = { applyIntervalMs, journalFileBytes: 64 * 1024, journalFiles: 3, segmentFileBytes: 32 * 1024 }
  return new ConnectedBroker(await openFileEngine(`file:${directory}`, {}, storage), {
    source: '/test',
    random: Math.random,
  })
}

let made = 0
async function publish(broker: Broker, channel: keyof typeof channels): Promise<void> {
  const n = made++
  const { offset, id } = await broker.publish(
    channels[channel],
    Placed({ n, k: `k${n % 7}`, pad: 'x'.repeat(n % 300) }),
  )
  const its = ledger.events.get(channel) ?? new Map<number, string>()
  its.set(offset as number, id)
  ledger.events.set(channel, its)
}

/** One use of the directory with data of every kind. Every fifth order is dead-lettered, so that its key waits. */
async function life(broker: Broker, orderCount: number): Promise<void> {
  const handled = new Set<number>()
  const worker = consumer(CONSUMER, orders, { concurrency: 4 }).on(Placed, ({ data }, ctx) => {
    handled.add(ctx.offset)
    if ((data as Data).n % 5 === 0) ctx.reject('not this one')
  })
  const running = await broker.start(worker)
  const working = await broker.start(consumer('jobber', jobs).on(Placed, () => undefined))
  for (let n = 0; n < orderCount; n++) {
    for (const channel of ['orders', 'jobs', 'prices'] as const) await publish(broker, channel)
    if (n % 3 !== 0) continue
    const { id } = await broker.publish(late, Placed({ n, k: 'late' }), { delay: '1h' })
    ledger.delayed.add(id)
  }
  await vi.waitFor(
    async () =>
      expect((await broker.describe()).consumers.find(({ name }) => name === CONSUMER)?.channels[0]?.lag).toBe(0),
    { timeout: 10_000 },
  )
  ledger.letters = (await broker.deadLetters(CONSUMER).list({ limit: 10_000 })).length
  await running.stop()
  await working.stop()
}

beforeAll(async () => {
  const live = join(root, 'live')
  const first = await open(live, 5)
  await life(first, 60)
  await first.close()
  cpSync(live, older, { recursive: true })
  const second = await open(live, 5)
  await life(second, 30)
  await second.close()
  // The last events are only in the journal.
  const third = await open(live, 3_600_000)
  await life(third, 20)
  cpSync(live, intact, { recursive: true, filter: (path) => !path.endsWith('.sock') })
  await third.close()
}, 60_000)

/**
 * One kind of damage to one file. Returns the file's name, for the failure's message. A file that was reset to an older
 * state is only noticed through the others, so that damage comes alone.
 */
function damage(directory: string, random: () => number, alone: boolean): string {
  const files = readdirSync(directory).filter((name) =>
    /^(?:index\.mdb|journal-\d+|segment-\d+|millrace\.json)$/.test(name),
  )
  // The index is what most depends on.
  const file =
    random() < 0.4 && files.includes('index.mdb') ? 'index.mdb' : (files[Math.floor(random() * files.length)] as string)
  const path = join(directory, file)
  const bytes = readFileSync(path)
  const at = (): number => Math.floor(random() * bytes.length)
  const kinds = [
    'flip',
    'flips',
    'zeros',
    'page',
    'cut',
    'gone',
    ...(alone && !file.startsWith('journal') ? ['older'] : []),
  ]
  const kind = kinds[Math.floor(random() * kinds.length)] as string
  if (kind === 'gone') rmSync(path)
  else if (kind === 'older') {
    if (existsSync(join(older, file))) cpSync(join(older, file), path)
    else rmSync(path)
  } else if (kind === 'cut') writeFileSync(path, bytes.subarray(0, at()))
  else {
    const count = kind === 'flips' ? 20 : 1
    const text = bytes.indexOf('specversion', at())
    for (let flip = 0; flip < count && kind.startsWith('flip'); flip++) {
      const place = flip === 0 && text >= 0 && random() < 0.7 ? text : at()
      bytes[place] = (bytes[place] as number) ^ (1 << Math.floor(random() * 8))
    }
    const from = kind === 'zeros' ? at() : Math.floor(at() / 4096) * 4096
    if (kind === 'zeros') bytes.fill(0, from, Math.min(bytes.length, from + 200))
    if (kind === 'page') bytes.fill(0xa5, from, Math.min(bytes.length, from + 4096))
    writeFileSync(path, bytes)
  }
  return `${kind} of ${file} (${statSync(path, { throwIfNoEntry: false })?.size ?? 0} bytes)`
}

/** Whether the report says that this many of something are lost, or may be. */
function tells(report: CheckReport, what: LostThing, lost: number): boolean {
  let certain = 0
  for (const loss of report.losses) {
    if (loss.what === 'commit' || (loss.what === what && !loss.certain)) return true
    if (loss.what === what || (what === 'dead letter' && loss.what === 'event behind a dead letter'))
      certain += loss.count ?? 0
  }
  return certain >= lost
}

async function eventsMatch(broker: Broker, report: CheckReport, name: string): Promise<void> {
  const its = ledger.events.get(name) as Map<number, string>
  const found = new Map<number, string>()
  for await (const { offset, id } of broker.read(name)) found.set(offset, id)
  for (const [offset, id] of found) expect(its.get(offset), `the event of ${name} at ${offset}`).toBe(id)
  // Superseded events, and those that workers have handled, are removed anyway.
  if (name !== 'orders') return
  const channel = report.channels.find((each) => each.name === name)
  const missing = [...its.keys()].filter((offset) => !found.has(offset))
  const told = (offset: number): boolean =>
    channel === undefined ||
    channel.lost.some(([from, to]) => offset >= from && offset < to) ||
    offset >= channel.next - channel.skipped
  expect(
    missing.filter((offset) => !told(offset) && !tells(report, 'commit', 1)),
    'lost, and not told',
  ).toEqual([])
}

async function goesOn(broker: Broker, report: CheckReport): Promise<void> {
  const there = new Set((await broker.describe()).channels.map(({ name }) => name))
  for (const name of ['orders', 'prices']) if (there.has(name)) await eventsMatch(broker, report, name)
  const scheduled = (await broker.describe()).channels.reduce((sum, each) => sum + each.scheduled, 0)
  expect(scheduled).toBeLessThanOrEqual(ledger.delayed.size)
  expect(
    tells(report, 'delayed event', ledger.delayed.size - scheduled),
    `${ledger.delayed.size - scheduled} delayed events are lost`,
  ).toBe(true)
  const letters = await broker
    .deadLetters(CONSUMER)
    .list({ limit: 10_000 })
    .catch((error: unknown) => {
      if (isMillraceError(error, 'UNKNOWN_CONSUMER')) return []
      throw error
    })
  expect(
    tells(report, 'dead letter', ledger.letters - letters.length),
    `${ledger.letters - letters.length} dead letters are lost`,
  ).toBe(true)
  // Publish, consume, redrive.
  const [seen, again] = [new Set<string>(), new Set<number>()]
  const note = (each: { readonly id: string }, ctx: { readonly redriven: boolean; readonly offset: number }): void => {
    seen.add(each.id)
    if (ctx.redriven) again.add(ctx.offset)
  }
  const running = [
    await broker.start(consumer(CONSUMER, orders, { concurrency: 4 }).on(Placed, note)),
    await broker.start(consumer('jobber', jobs).on(Placed, note)),
  ]
  const fresh: string[] = []
  for (const [name, channel] of [
    ['orders', orders],
    ['jobs', jobs],
  ] as const) {
    const receipts = await broker.publish(
      channel,
      Array.from({ length: 5 }, (_, n) => Placed({ n: n * 5 + 1, k: `new${n}` })),
    )
    fresh.push(...receipts.map(({ id }) => id))
    // Under another name it is another channel.
    if (!there.has(name)) continue
    const last = Math.max(...(ledger.events.get(name) as Map<number, string>).keys())
    expect(receipts[0]?.offset, `offsets of ${name}`).toBeGreaterThan(last)
  }
  await expect
    .poll(() => fresh.filter((id) => !seen.has(id)), { timeout: 5000, message: 'new events that reach no consumer' })
    .toEqual([])
  if (letters.length > 0) expect(await broker.deadLetters(CONSUMER).redrive()).toBe(letters.length)
  // No consumer takes those of a channel that lost its name.
  const own = letters.filter(({ channel }) => channel === 'orders')
  await expect
    .poll(() => own.filter(({ offset }) => !again.has(offset)).length, {
      timeout: 5000,
      message: 'redriven, and not handled',
    })
    .toBe(0)
  for (const each of running) await each.stop()
}

async function run(seed: number): Promise<void> {
  const random = randomFrom(seed * 7919 + 3)
  const directory = join(root, `d${seed}`)
  cpSync(intact, directory, { recursive: true })
  let what = ''
  const count = random() < 0.8 ? 1 : 2
  for (let at = 0; at < count; at++) what += `${damage(directory, random, count === 1)} `
  try {
    const told = await checkDirectory(directory, false)
    const report = await checkDirectory(directory, true)
    expect({ ...report, keptAs: undefined }).toEqual({ ...told, keptAs: undefined })
    const broker = await open(directory, 50)
    try {
      await goesOn(broker, report)
    } finally {
      await broker.close()
    }
    expect((await checkDirectory(directory, false)).problems).toEqual([])
  } catch (error) {
    throw new Error(`seed ${seed}, ${what}: ${(error as Error).message}`, { cause: error })
  } finally {
    for (const name of readdirSync(root).filter((each) => each.startsWith(`d${seed}`)))
      rmSync(join(root, name), { recursive: true, force: true })
  }
}

const seeds = Math.max(1, Math.ceil(SEEDS / 5))
test.each(Array.from({ length: Math.ceil(seeds / TOGETHER) }, (_, group) => FIRST + group * TOGETHER))(
  'seeds from %d',
  { timeout: 120_000 },
  async (first) => {
    for (let seed = first; seed < Math.min(first + TOGETHER, FIRST + seeds); seed++) await run(seed)
  },
)
