/**
 * A command whose reader stops reading or cannot read: a command that only shows ends, and one that changes something
 * finishes its work.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, stream } from '../../src/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-reader-'))
const data = join(folder, 'data')
const main = join(import.meta.dirname, '../../dist/cli/main.js')
const EVENTS = 4000

beforeAll(async () => {
  const broker = await connect(`file:${data}`, { logger: false })
  await broker.declare(stream('c'))
  await broker.close()
  writeFileSync(
    join(folder, 'lines.jsonl'),
    Array.from({ length: EVENTS }, (_, n) => `{"type":"t","id":"${n}","data":"${'x'.repeat(100)}"}\n`).join(''),
  )
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Run it, read the first output, and close the pipe. Returns the exit code. */
async function headOf(...args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
  child.stdout.once('data', () => child.stdout.destroy())
  const [code] = (await once(child, 'exit')) as [number]
  return code
}

test('`publish` continues when the reader of its output leaves, and `tail --follow` ends', {
  timeout: 60_000,
}, async () => {
  expect(await headOf('publish', 'c', '--data', data, '--file', join(folder, 'lines.jsonl'), '--json')).toBe(0)
  const broker = await connect(`file:${data}`, { readOnly: true })
  expect((await broker.describe()).channels).toMatchObject([{ name: 'c', next: EVENTS }])
  await broker.close()
  expect(await headOf('tail', 'c', '--data', data, '--follow', '--from', 'beginning')).toBe(0)
})

test.runIf(existsSync('/dev/full'))(
  'output that cannot be written is a failure, told in a line',
  { timeout: 60_000 },
  async () => {
    const full = openSync('/dev/full', 'w')
    const child = spawn(process.execPath, [main, 'channels', '--data', data], { stdio: ['ignore', full, 'pipe'] })
    let said = ''
    child.stderr?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
    const [code] = (await once(child, 'close')) as [number]
    closeSync(full)
    expect([code, said]).toEqual([1, expect.stringContaining('nothing can be printed: ENOSPC')])
    expect(said).not.toContain('\n    at ')
  },
)
