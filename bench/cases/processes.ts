/**
 * Processes on one directory. Each publishes its share, with 1,000 in flight in total, and handles what arrives. Two
 * processes must do more than one.
 *
 * First the handlers do nothing, so that all the work is Millrace's own and an event for another process costs more
 * than one that stays. Then the handlers do work.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Bench, Measured } from '../bench.ts'
import type { Case, Figures, Params, Row } from '../case.ts'
import { rate, Tally } from '../load.ts'
import type { OpenSystem, Setting } from '../system.ts'

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

/** A process's share of a range of lines. */
function part(from: number, to: number, at: number, processes: number): [from: number, to: number] {
  return [from + Math.floor(((to - from) * at) / processes), from + Math.floor(((to - from) * (at + 1)) / processes)]
}

/** All publish, until this many events are handled. */
async function published(children: readonly ChildProcess[], what: 'warm' | 'publish', handled: number): Promise<void> {
  await Promise.all(children.map((child) => ask(child, what)))
  for (;;) {
    const counts = await Promise.all(children.map((child) => ask<number>(child, 'tell')))
    if (counts.reduce((sum, count) => sum + count, 0) >= handled) return
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

async function measure(
  _: OpenSystem,
  { directory }: Setting,
  { events = 0, warmup = 0, processes = 1, signs = 0 }: Params,
): Promise<Figures> {
  const children: ChildProcess[] = []
  for (let at = 0; at < processes; at++) {
    const share = {
      directory,
      warmup: part(0, warmup, at, processes),
      measured: part(warmup, warmup + events, at, processes),
      inFlight: Math.floor(1000 / processes),
      signs: signs === 1,
    }
    const child = fork(CHILD, [JSON.stringify(share)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    child.setMaxListeners(100)
    await answer(child)
    children.push(child)
  }
  await published(children, 'warm', warmup)
  const start = performance.now()
  await published(children, 'publish', warmup + events)
  const figures = { rate: rate(events, start) }
  const tally = new Tally(warmup + events)
  // The owner started first and stops last.
  for (const child of children.reverse()) for (const line of await ask<number[]>(child, 'stop')) tally.add(line)
  tally.check()
  return figures
}

export const processes: Case = {
  name: 'processes',
  title: 'Processes on one directory: publish → synced → handler → completion, 1,000 in flight in all',
  measure,
  async run(bench) {
    return [
      ...(await compared(bench, bench.events(150_000), 0, '')),
      ...(await compared(bench, bench.events(40_000), 1, ', handlers that sign each event ten times')),
    ]
  },
}

async function compared(bench: Bench, events: number, signs: number, handlers: string): Promise<Row[]> {
  const one = await bench.compare('processes', [['millrace', { events, warmup: events, signs, processes: 1 }]])
  const two = await bench.compare('processes', [['millrace', { events, warmup: events, signs, processes: 2 }]])
  const row = (load: string, measured: ReadonlyMap<string, Measured>): Row => ({
    load: load + handlers,
    subject: 'millrace',
    value: measured.get('millrace')?.figure('rate') ?? Number.NaN,
    unit: 'events/s',
    rounds: measured.get('millrace')?.all('rate') ?? [],
  })
  const [alone, both] = [row('1 process', one), row('2 processes', two)]
  return [
    alone,
    {
      ...both,
      checks: [{ of: '× 1 process', measured: both.value / alone.value, required: 1, sense: 'at least' as const }],
    },
  ]
}
