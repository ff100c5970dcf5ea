/**
 * Processes (fault-child.ts) that are killed one after the other while they publish, handle and emit. A last process
 * finishes their work, and the history is checked.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { connect, consumer } from '../../src/index.ts'
import type { Operation } from '../../src/testing/history/operation.ts'
import { HistoryRecorder, readHistory } from '../../src/testing/history/recorder.ts'
import { drain, expectSound } from './fault-load.ts'
import { machineMs } from './machine-clock.ts'

const CHILD = fileURLToPath(new URL('./fault-child.ts', import.meta.url))

export async function processesKilled(url: string, names: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-ledger-'))
  const ledger = join(folder, 'ledger')
  const history = (): Operation[] => readHistory(existsSync(ledger) ? readFileSync(ledger, 'utf8') : '')
  const handledBy = (name: string): number =>
    history().filter((each) => each.action === 'done' && each.outcome === 'ok' && each.process === name).length
  const children = new Map<string, ChildProcess>()
  try {
    for (const name of names) {
      children.set(name, fork(CHILD, [url, ledger, name], { execArgv: ['--import', 'tsx'], stdio: 'inherit' }))
      await expect.poll(() => handledBy(name), { timeout: 40_000, interval: 100 }).toBeGreaterThan(100)
      const [oldest = ''] = children.size > 1 ? children.keys() : []
      if (oldest !== '') await killed(children, oldest, ledger)
    }
    for (const name of [...children.keys()]) await killed(children, name, ledger)
    const recorder = new HistoryRecorder({ clock: machineMs })
    const broker = await connect(url)
    await broker.start(lastWorker(recorder))
    await drain(broker, recorder, 60_000)
    await broker.close()
    expectSound([...history(), ...recorder.operations])
  } finally {
    for (const each of children.values()) each.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  }
}

function lastWorker(recorder: HistoryRecorder): ReturnType<typeof consumer> {
  return consumer('worker', 'orders', { lease: 1500 }).onAny(async ({ data }, ctx) => {
    const { value } = data as { readonly value: string }
    const { channel, key, offset, attempt } = ctx
    const emitted = `${value}>last/${attempt}`
    const emission = {
      action: 'emit',
      process: 'last',
      consumer: 'worker',
      cause: value,
      attempt,
      channel: 'out',
      key: null,
      value: emitted,
      slot: 'only',
    } as const
    await recorder.handle({ process: 'last', consumer: 'worker', channel, key, offset, value, attempt }, async () => {
      recorder.note(emission)
      await ctx.emit('out', { type: 'step', data: { value: emitted } })
    })
  })
}

async function killed(children: Map<string, ChildProcess>, name: string, ledger: string): Promise<void> {
  const child = children.get(name)
  children.delete(name)
  const ended = new Promise((resolve) => child?.once('exit', resolve))
  child?.kill('SIGKILL')
  await ended
  // Behind a line that it may not have finished.
  appendFileSync(ledger, `\n${JSON.stringify({ action: 'end', process: name, time: machineMs() })}\n`)
}
