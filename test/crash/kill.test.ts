/**
 * Clauses 1, 3, 4, 5, 7 and 12 under SIGKILL at random moments, compared with an independent ledger. `MILLRACE_KILLS`
 * is the number of kills (300 in the full run).
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, type StoredEvent } from '../../src/index.ts'

const KILLS = Number(process.env['MILLRACE_KILLS'] ?? 24)
/** A completion is durable within some milliseconds. This is the time for a machine under load. */
const WINDOW_MS = 1000

interface Entry {
  readonly run: number
  readonly what: 'open' | 'sent' | 'acked' | 'begin' | 'done' | 'closed' | 'killed'
  readonly at: number
  readonly id: string
  readonly key: string
  readonly offset: number
}

const folder = mkdtempSync(join(tmpdir(), 'millrace-crash-'))
const ledger = join(folder, 'ledger.jsonl')
const data = join(folder, 'data')
const kills: number[] = []

function child(run: number, mode: 'work' | 'drain', liveMs: number | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const process_ = spawn(
      process.execPath,
      [join(import.meta.dirname, 'child.mjs'), data, ledger, String(run), mode],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let errors = ''
    process_.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString()
    })
    process_.stdout.once('data', () => {
      if (liveMs === null) return
      setTimeout(() => {
        kills[run] = Date.now()
        process_.kill('SIGKILL')
      }, liveMs)
    })
    process_.on('exit', (code, signal) => {
      if (signal === 'SIGKILL' || code === 0) resolve()
      else reject(new Error(`run ${run} ended with ${code}: ${errors}`))
    })
  })
}

let entries: Entry[] = []
const stored: StoredEvent[] = []
const emitted: StoredEvent[] = []

beforeAll(async () => {
  if (!existsSync(join(import.meta.dirname, '../../dist/index.js')))
    throw new Error('the crash test runs the built package: npm run build')
  for (let run = 0; run < KILLS; run++) await child(run, 'work', 20 + Math.random() * 250)
  await child(KILLS, 'drain', null)
  entries = readFileSync(ledger, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Entry)
  const broker = await connect(`file:${data}`)
  for await (const event of broker.read('work')) stored.push(event)
  for await (const event of broker.read('out')) emitted.push(event)
  await broker.close()
}, 600_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('enough happened to mean something', () => {
  expect(entries.filter((entry) => entry.what === 'acked').length).toBeGreaterThan(KILLS * 10)
  expect(entries.filter((entry) => entry.what === 'done').length).toBeGreaterThan(KILLS * 10)
})

test('no acknowledged event is lost, none is stored twice, none is at another offset, none was made up', () => {
  const offsets = new Map<string, number>()
  const twice = stored.filter((event) => offsets.size === offsets.set(event.id, event.offset).size)
  expect(twice.map((event) => event.id)).toEqual([])
  const acked = entries.filter((entry) => entry.what === 'acked')
  expect(acked.filter((entry) => !offsets.has(entry.id))).toEqual([])
  expect(acked.filter((entry) => entry.offset !== null && offsets.get(entry.id) !== entry.offset)).toEqual([])
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

test('what was completed is handled again only within the window before a kill', () => {
  const lastDone = new Map<string, Entry>()
  const late: { entry: Entry; doneAt: number }[] = []
  for (const entry of entries) {
    const earlier = entry.what === 'begin' ? lastDone.get(entry.id) : undefined
    if (earlier !== undefined && (earlier.run === entry.run || (kills[earlier.run] ?? 0) - earlier.at > WINDOW_MS))
      late.push({ entry, doneAt: earlier.at })
    if (entry.what === 'done') lastDone.set(entry.id, entry)
  }
  expect(late).toEqual([])
})
