/**
 * Clause 20 over several processes on one directory, of which one after the other is killed: each second of each
 * schedule has one event.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { type Broker, connect } from '../../src/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-schedules-'))
const data = join(folder, 'data')
const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

async function start(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'schedule-child.mjs'), data], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  await once(child.stdout as NodeJS.ReadableStream, 'data')
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}

async function secondsOf(broker: Broker, schedule: string): Promise<number[]> {
  const seconds: number[] = []
  for await (const { id } of broker.read('ticks'))
    if (id.startsWith(`${schedule}/`)) seconds.push(Date.parse(id.slice(schedule.length + 1)) / 1000)
  return seconds.sort((a, b) => a - b)
}

test('killed processes lose no time and repeat none', async () => {
  const running = [await start(), await start(), await start()]
  const reader = await connect(`file:${data}`)
  const reach = async (count: number): Promise<void> => {
    while ((await secondsOf(reader, 'data')).length < count || (await secondsOf(reader, 'function')).length < count)
      await new Promise((resolve) => setTimeout(resolve, 100))
  }
  for (let round = 1; round <= 3; round++) {
    await reach(2 * round)
    await kill(running.shift() as ChildProcess)
    running.push(await start())
  }
  await reach(8)
  for (const child of running) await kill(child)
  for (const schedule of ['data', 'function']) {
    const seconds = await secondsOf(reader, schedule)
    expect(seconds).toEqual(seconds.map((_, index) => (seconds[0] as number) + index))
  }
  await reader.close()
}, 120_000)
