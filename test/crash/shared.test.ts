/**
 * Several processes on one directory, with SIGKILL at random moments, mostly to the owner, compared with a ledger that
 * they share. `MILLRACE_KILLS` is the number of kills (300 in the full run).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, type StoredEvent } from '../../src/index.ts'

const KILLS = Number(process.env['MILLRACE_KILLS'] ?? 24)
const PROCESSES = 3
/**
 * A takeover ends within two seconds of running time. The processes measure for how long a busy machine kept them from
 * running.
 */
const TAKEOVER_MS = 2000
/**
 * A process that is silent for about `sharedClaimsMs` after a takeover is treated as hung, and others get its events.
 */
const HUNG_MS = 500

interface Entry {
  readonly by: string
  readonly what: 'open' | 'sent' | 'acked' | 'refused' | 'begin' | 'failed' | 'aborted' | 'done' | 'closed' | 'late'
  readonly at: number
  readonly id: string
  readonly key: string
  readonly offset: number
  readonly attempt: number
  /** `late`: for how long the process did nothing, and for how much of that it got no processor. */
  readonly gapMs: number
  readonly starvedMs: number
}

const folder = mkdtempSync(join(tmpdir(), 'millrace-shared-'))
const ledger = join(folder, 'ledger.jsonl')
const data = join(folder, 'data')
/** When each process was killed, by its name. */
const killed = new Map<string, number>()
/** When owners were killed while others lived. */
const ownersKilled: number[] = []
const faults: string[] = []
let named = 0

interface Child {
  readonly name: string
  readonly process: ChildProcess
  readonly ended: Promise<void>
}

function start(mode: 'work' | 'drain'): Promise<Child> {
  const name = `p${named++}`
  const child = spawn(process.execPath, [join(import.meta.dirname, 'shared-child.mjs'), data, ledger, name, mode], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  const ended = new Promise<void>((resolve) => {
    child.on('exit', (code, signal) => {
      if (signal !== 'SIGKILL' && code !== 0) faults.push(`${name} ended with ${code}: ${errors}`)
      resolve()
    })
  })
  return new Promise((resolve) => {
    child.stdout.once('data', () => resolve({ name, process: child, ended }))
    void ended.then(() => resolve({ name, process: child, ended }))
  })
}

/** The owner's process id, from its socket. */
function ownerPid(): Promise<number | null> {
  const sockets = readdirSync(data).flatMap((file) => /^owner\.(\d+)\.sock$/.exec(file)?.[1] ?? [])
  const highest = Math.max(0, ...sockets.map(Number))
  return new Promise((resolve) => {
    const socket = createConnection(join(data, `owner.${highest}.sock`))
    socket.on('error', () => resolve(null))
    socket.on('data', (chunk) => {
      socket.destroy()
      resolve((JSON.parse(chunk.toString()) as { readonly pid: number }).pid)
    })
  })
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

async function killOne(children: Child[]): Promise<void> {
  const pid = Math.random() < 0.7 ? await ownerPid() : null
  const at = children.findIndex((child) => child.process.pid === pid)
  const [victim] = children.splice(at < 0 ? Math.floor(Math.random() * children.length) : at, 1) as [Child]
  const gracefully = Math.random() < 0.15
  if (!gracefully) {
    killed.set(victim.name, Date.now())
    if (at >= 0) ownersKilled.push(Date.now())
  }
  victim.process.kill(gracefully ? 'SIGTERM' : 'SIGKILL')
  await victim.ended
}

let entries: Entry[] = []
const stored: StoredEvent[] = []
const emitted: StoredEvent[] = []

beforeAll(async () => {
  if (!existsSync(join(import.meta.dirname, '../../dist/index.js')))
    throw new Error('the crash test runs the built package: npm run build')
  const children: Child[] = []
  while (children.length < PROCESSES) children.push(await start('work'))
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(50 + Math.random() * 500)
    await killOne(children)
    children.push(await start('work'))
  }
  for (const child of children) child.process.kill('SIGTERM')
  await Promise.all(children.map((child) => child.ended))
  await (await start('drain')).ended
  entries = readFileSync(ledger, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Entry)
  const broker = await connect(`file:${data}`)
  for await (const event of broker.read('work')) stored.push(event)
  for await (const event of broker.read('out')) emitted.push(event)
  await broker.close()
}, 1_200_000)

afterAll(() => {
  if (process.env['MILLRACE_KEEP'] === undefined) rmSync(folder, { recursive: true, force: true })
  else console.log(folder)
})

test('enough happened to mean something, and nobody fell', () => {
  expect(faults).toEqual([])
  expect(ownersKilled.length).toBeGreaterThan(KILLS / 4)
  expect(entries.filter((entry) => entry.what === 'acked').length).toBeGreaterThan(KILLS * 10)
  expect(entries.filter((entry) => entry.what === 'done').length).toBeGreaterThan(KILLS * 10)
  expect(entries.filter((entry) => entry.what === 'refused')).toEqual([])
})

test('no acknowledged event is lost, none is stored twice, none is at another offset, none was made up', () => {
  const offsets = new Map<string, number>()
  const twice = stored.filter((event) => offsets.size === offsets.set(event.id, event.offset).size)
  expect(twice.map((event) => event.id)).toEqual([])
  const acked = entries.filter((entry) => entry.what === 'acked')
  expect(acked.filter((entry) => offsets.get(entry.id) !== entry.offset)).toEqual([])
  const sent = new Set(entries.filter((entry) => entry.what === 'sent').map((entry) => entry.id))
  expect(stored.filter((event) => !sent.has(event.id))).toEqual([])
})

test('every stored event is handled, and what it emitted is there once', () => {
  const done = new Set(entries.filter((entry) => entry.what === 'done').map((entry) => entry.id))
  expect(stored.filter((event) => !done.has(event.id)).map((event) => event.offset)).toEqual([])
  const counts = new Map<string, number>()
  for (const event of emitted) {
    const { of } = event.data as { of: string }
    counts.set(of, (counts.get(of) ?? 0) + 1)
  }
  expect([...counts].filter(([, count]) => count !== 1)).toEqual([])
  expect(stored.filter((event) => !counts.has(event.id)).map((event) => event.offset)).toEqual([])
})

test('order by key holds: an event is begun only when those of its key before it are done', () => {
  const before = new Map<string, number[]>()
  for (const event of stored) {
    const { key } = event.data as { key: string }
    before.set(key, [...(before.get(key) ?? []), event.offset])
  }
  const done = new Set<number>()
  const broken: Entry[] = []
  for (const entry of entries) {
    if (
      entry.what === 'begin' &&
      (before.get(entry.key) ?? []).some((offset) => offset < entry.offset && !done.has(offset))
    )
      broken.push(entry)
    if (entry.what === 'done') done.add(entry.offset)
  }
  expect(broken).toEqual([])
})

/** Whether a process was held up shortly before a time, long enough for a new owner to treat it as hung. */
function wasHung(by: string, atMs: number): boolean {
  return entries.some(
    (entry) =>
      entry.what === 'late' &&
      entry.by === by &&
      entry.gapMs >= HUNG_MS &&
      entry.at >= atMs - 2 * TAKEOVER_MS &&
      entry.at - entry.gapMs <= atMs,
  )
}

/** The longest time, in this interval, for which one process got no processor. */
function starvedMs(fromMs: number, toMs: number): number {
  const sums = new Map<string, number>()
  for (const { what, by, at, starvedMs: ms } of entries) {
    if (what !== 'late' || at < fromMs || at - ms > toMs) continue
    sums.set(by, (sums.get(by) ?? 0) + Math.min(at, toMs) - Math.max(at - ms, fromMs))
  }
  return Math.max(0, ...sums.values())
}

test('of a key one event is handled at a time, in whichever process, and who lives keeps what it has in hand', () => {
  const running = new Map<string, Entry>()
  const both: (readonly [Entry, Entry])[] = []
  for (const entry of entries) {
    if (entry.what === 'begin') {
      const other = running.get(entry.key)
      const dead = other !== undefined && (killed.get(other.by) ?? Number.POSITIVE_INFINITY) <= entry.at
      if (other !== undefined && !dead && !wasHung(other.by, entry.at)) both.push([other, entry])
      running.set(entry.key, entry)
    } else if (entry.what === 'done' || entry.what === 'failed' || entry.what === 'aborted') {
      if (running.get(entry.key)?.by === entry.by) running.delete(entry.key)
    }
  }
  expect(both).toEqual([])
})

test('when the owner is killed, another acknowledges', () => {
  const took = ownersKilled.flatMap((at) => {
    const next = entries.find((entry) => entry.what === 'acked' && entry.at > at)
    return next === undefined ? [] : [{ ms: next.at - at, starvedMs: Math.round(starvedMs(at, next.at)) }]
  })
  const worst = took.reduce((most, each) => (each.ms > most.ms ? each : most), { ms: 0, starvedMs: 0 })
  console.log(
    `owners killed: ${took.length}; from the kill to another's acknowledgement: ${worst.ms} ms at most, of which ${worst.starvedMs} without a processor`,
  )
  expect(took.filter((each) => each.ms - each.starvedMs > TAKEOVER_MS)).toEqual([])
})
