/** Processes on one directory, each publishing its share, 1,000 in flight in all, and handling what comes: two are to do more than one. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Case, Figures, Params } from '../case.ts'
import { rate, Tally } from '../load.ts'
import type { OpenSystem, Place } from '../system.ts'

const CHILD = fileURLToPath(new URL('../processes-child.js', import.meta.url))

function answer<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    child.once('message', resolve as (message: unknown) => void)
    child.once('exit', (code) => reject(new Error(`a process ended with ${code}`)))
  })
}

async function ask<T>(child: ChildProcess, message: string): Promise<T> {
  const answered = answer<T>(child)
  child.send(message)
  return answered
}

async function measure(_: OpenSystem, { directory }: Place, { events = 0, processes = 1 }: Params): Promise<Figures> {
  const children: ChildProcess[] = []
  for (let at = 0; at < processes; at++) {
    const share = {
      directory,
      from: Math.floor((events * at) / processes),
      to: Math.floor((events * (at + 1)) / processes),
      inFlight: Math.floor(1000 / processes),
    }
    const child = fork(CHILD, [JSON.stringify(share)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    child.setMaxListeners(100)
    await answer(child)
    children.push(child)
  }
  const start = performance.now()
  await Promise.all(children.map((child) => ask(child, 'publish')))
  for (;;) {
    const counts = await Promise.all(children.map((child) => ask<number>(child, 'tell')))
    if (counts.reduce((sum, count) => sum + count, 0) >= events) break
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  const figures = { rate: rate(events, start) }
  const tally = new Tally(events)
  // The owner was first, and goes last.
  for (const child of children.reverse()) for (const line of await ask<number[]>(child, 'stop')) tally.add(line)
  tally.check()
  return figures
}

export const processes: Case = {
  name: 'processes',
  title: 'Processes on one directory: publish → synced → handler → completion, 1,000 in flight in all',
  measure,
  async run(bench) {
    const events = bench.events(150_000)
    const one = await bench.compare('processes', [['millrace', { events, processes: 1 }]])
    const two = await bench.compare('processes', [['millrace', { events, processes: 2 }]])
    const rates = [one, two].map((measured) => measured.get('millrace')?.figure('rate') ?? Number.NaN) as [number, number]
    const row = (load: string, at: 0 | 1) => ({
      load,
      subject: 'millrace',
      value: rates[at],
      unit: 'events/s',
      rounds: (at === 0 ? one : two).get('millrace')?.all('rate') ?? [],
    })
    return [
      row('1 process', 0),
      { ...row('2 processes', 1), checks: [{ of: '× 1 process', measured: rates[1] / rates[0], required: 1, sense: 'at least' as const }] },
    ]
  },
}
