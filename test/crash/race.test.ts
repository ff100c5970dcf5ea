/**
 * Twenty processes open one directory at once, and some are killed meanwhile. At any time one process owns it. The
 * others attach, or are told who the owner is and since when. Whatever was acknowledged to any of them is stored once.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, stream } from '../../src/index.ts'

const PROCESSES = 20
const folder = mkdtempSync(join(tmpdir(), 'millrace-race-'))
const running = new Set<ChildProcess>()
afterAll(() => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})
beforeAll(() => {
  if (!existsSync(join(import.meta.dirname, '../../dist/index.js')))
    throw new Error('the crash test runs the built package: npm run build')
})

interface Child {
  readonly process: ChildProcess
  readonly said: Record<string, unknown>[]
  errors: string
  readonly ended: Promise<void>
}

function start(directory: string, name: string, mode: 'shared' | 'alone'): Child {
  const process_ = spawn(process.execPath, [join(import.meta.dirname, 'race-child.mjs'), directory, name, mode], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(process_)
  const child: Child = {
    process: process_,
    said: [],
    errors: '',
    ended: new Promise((resolve) => {
      process_.on('exit', () => {
        running.delete(process_)
        resolve()
      })
    }),
  }
  let text = ''
  process_.stdout.on('data', (chunk: Buffer) => {
    const lines = (text + chunk.toString()).split('\n')
    text = lines.pop() as string
    for (const line of lines) child.said.push(JSON.parse(line) as Record<string, unknown>)
  })
  process_.stderr.on('data', (chunk: Buffer) => {
    child.errors += chunk.toString()
  })
  return child
}

test('one has it for itself, and each other is told who, and since when', { timeout: 60_000 }, async () => {
  const directory = join(folder, 'alone')
  for (let round = 0; round < 2; round++) {
    const begun = Date.now()
    const children = Array.from({ length: PROCESSES }, (_, index) => start(directory, `p${index}`, 'alone'))
    await expect
      .poll(() => children.filter((child) => child.said.length > 0).length, { timeout: 40_000 })
      .toBe(PROCESSES)
    const owners = children.filter((child) => child.said[0]?.['owner'] === true)
    expect(owners.length).toBe(1)
    const pid = owners[0]?.process.pid
    for (const child of children) {
      if (child === owners[0]) continue
      expect(child.said[0]).toMatchObject({
        code: 'DIRECTORY_IN_USE',
        details: { pid },
        message: expect.stringContaining(`process ${pid} on`) as string,
      })
      const since = Date.parse((child.said[0] as { readonly details: { readonly since: string } }).details.since)
      expect(since).toBeGreaterThan(begun - 1000)
      expect(since).toBeLessThanOrEqual(Date.now())
    }
    // A killed owner leaves its socket behind, which must mislead nobody.
    owners[0]?.process.kill(round === 0 ? 'SIGKILL' : 'SIGUSR2')
    await Promise.all(children.map((child) => child.ended))
  }
})

test('all can publish, also when some are killed while they open it', { timeout: 90_000 }, async () => {
  const directory = join(folder, 'shared')
  const first = await connect(`file:${directory}`)
  await first.declare(stream('notes'))
  await first.close()
  const children = Array.from({ length: PROCESSES }, (_, index) => start(directory, `p${index}`, 'shared'))
  const doomed = children.filter((_, index) => index % 4 === 3)
  for (const child of doomed) setTimeout(() => child.process.kill('SIGKILL'), 300 + Math.random() * 3000)
  const living = children.filter((child) => !doomed.includes(child))
  await Promise.all(doomed.map((child) => child.ended))
  const after = living.map((child) => child.said.length)
  // A process that does not continue is shown with its standard error.
  const stuck = (): string[] =>
    living
      .filter((child, index) => child.said.length <= (after[index] as number) + 2)
      .map(({ process: { pid }, errors }) => `${pid}: ${errors}`)
  await expect.poll(stuck, { timeout: 60_000 }).toEqual([])
  for (const child of living) child.process.kill('SIGTERM')
  await Promise.all(children.map((child) => child.ended))
  expect(children.map((child) => child.errors).filter((errors) => errors !== '')).toEqual([])
  const broker = await connect(`file:${directory}`)
  const offsets = new Map<string, number>()
  let events = 0
  for await (const { id, offset } of broker.read('notes')) {
    events++
    offsets.set(id, offset)
  }
  await broker.close()
  expect(events).toBe(offsets.size)
  const told = children.flatMap((child) => child.said) as { readonly id: string; readonly offset: number }[]
  expect(told.length).toBeGreaterThan(PROCESSES)
  expect(told.filter(({ id, offset }) => offsets.get(id) !== offset)).toEqual([])
})
