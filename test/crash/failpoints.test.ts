/**
 * A process dies at each named point around the commit, in the journal, and in its application to the index. What it
 * acknowledged is stored, once and at its offset, and what is stored was sent. One directory goes through all the
 * deaths.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { checkDirectory } from '../../src/engines/embedded/repair.ts'
import { FAILPOINTS, type Failpoint } from '../../src/engines/embedded/storage/disk-store.ts'
import { connect } from '../../src/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-failpoints-'))
const data = join(folder, 'data')
const ledger = join(folder, 'ledger.jsonl')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Entry {
  readonly what: 'sent' | 'acked'
  readonly id: string
  readonly offset?: number
}

function dieAt(point: Failpoint, count: number, how: 'kill' | 'exit'): Promise<string> {
  return new Promise((resolve) => {
    const args = [join(import.meta.dirname, 'failpoint-child.mjs'), data, ledger, point, String(count), how]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let errors = ''
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString()
    })
    child.on('exit', (code, signal) => resolve(signal ?? `${code}${errors}`))
  })
}

/** Compare the ledger with what is stored. */
async function compare(): Promise<number> {
  const entries = readFileSync(ledger, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Entry)
  const broker = await connect(`file:${data}`)
  const offsets = new Map<string, number>()
  const twice: string[] = []
  try {
    // The first deaths happen before there is a channel.
    const { channels } = await broker.describe()
    if (channels.length > 0) {
      for await (const { id, offset } of broker.read('notes')) {
        if (offsets.has(id)) twice.push(id)
        offsets.set(id, offset)
      }
    }
  } finally {
    await broker.close()
  }
  const sent = new Set(entries.filter((entry) => entry.what === 'sent').map((entry) => entry.id))
  const acked = entries.filter((entry) => entry.what === 'acked')
  expect(twice).toEqual([])
  expect(acked.filter((entry) => offsets.get(entry.id) !== entry.offset)).toEqual([])
  expect([...offsets.keys()].filter((id) => !sent.has(id))).toEqual([])
  return acked.length
}

/**
 * New journal files are created only at the beginning of a directory, and every opening passes its points once.
 * Rewrites by key retention do not occur during a publish.
 */
const ONCE: readonly Failpoint[] = ['journal.after-create', 'open.after-index', 'open.after-journal']
const points = [...ONCE, ...FAILPOINTS.filter((point) => !ONCE.includes(point) && !point.startsWith('rewrite'))]

test.each(points)('at %s', { timeout: 60_000 }, async (point) => {
  if (!existsSync(join(import.meta.dirname, '../../dist/index.js')))
    throw new Error('the crash test runs the built package: npm run build')
  const count = (): number =>
    ONCE.includes(point)
      ? 1
      : 1 + Math.floor(Math.random() * (point.startsWith('apply') ? 4 : point.endsWith('turn') ? 3 : 60))
  expect(await dieAt(point, count(), 'kill')).toBe('SIGKILL')
  expect(await dieAt(point, count(), 'exit')).toBe('9')
  if (existsSync(ledger)) await compare()
})

test('enough was acknowledged to mean something, and nothing is damaged after all this', async () => {
  expect(await compare()).toBeGreaterThan(200)
  expect((await checkDirectory(data, false)).problems).toEqual([])
})
