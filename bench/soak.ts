/**
 * `npm run soak [-- --minutes 30] [--rate 2000]`: a mixed load on a data directory whose channels keep by age, bytes,
 * count and key, with a queue, emissions, delays, retries and dead letters. Each minute it prints what the process and
 * the directory use.
 *
 * It fails if one of these grows. Values are taken every second: the median of the last third of the run is compared
 * with the median of the first third. The beginning is left out (a third of the run, at most three minutes). The last
 * median may be a fifth greater, plus what `SLACK` allows. It also fails if a channel keeps twice what it may, or an
 * alarm lasts.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Broker, connect, consumer, event, queue, stream } from 'millrace'

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '30' }, rate: { type: 'string', default: '2000' } },
})
const MINUTES = Number(values.minutes)
const RATE = Number(values.rate)
const TICK_MS = 50
const GROWTH_MAX = 1.2
const SLACK: Readonly<Record<Measured, number>> = { rssMib: 32, heapMib: 16, fds: 8, directoryMib: 32, indexMib: 4 }
type Measured = 'rssMib' | 'heapMib' | 'fds' | 'directoryMib' | 'indexMib'

const Noted = event('noted')
const window = { dedupe: { age: '30s', count: 20_000 } } as const
const key = (each: { readonly data: unknown }): string => (each.data as { readonly k: string }).k
const aged = stream('aged', { events: [Noted], key, retain: { age: '30s' }, ...window })
const sized = stream('sized', { events: [Noted], retain: { bytes: '8MiB' }, ...window })
const counted = stream('counted', { events: [Noted], key, retain: { count: 20_000 }, ...window })
const latest = stream('latest', { events: [Noted], key, retain: { latestByKey: true }, ...window })
const jobs = queue('jobs', { events: [Noted], key, ...window })
const all = [aged, sized, counted, latest, jobs]

const MIB = 1024 * 1024
const folder = mkdtempSync(join(process.env['MILLRACE_BENCH_DIR'] ?? tmpdir(), 'millrace-soak-'))
const data = join(folder, 'data')
const alarms = new Map<string, string>()

function bytesOf(directory: string, only = ''): number {
  const sizes = readdirSync(directory).map((name) =>
    name.startsWith(only) ? (statSync(join(directory, name), { throwIfNoEntry: false })?.blocks ?? 0) * 512 : 0,
  )
  return sizes.reduce((sum, bytes) => sum + bytes, 0)
}

function measure(): Record<Measured, number> {
  const { rss, heapUsed } = process.memoryUsage()
  const fds = existsSync('/proc/self/fd') ? readdirSync('/proc/self/fd').length : 0
  return {
    rssMib: rss / MIB,
    heapMib: heapUsed / MIB,
    fds,
    directoryMib: bytesOf(data) / MIB,
    indexMib: bytesOf(data, 'index.mdb') / MIB,
  }
}

async function consume(broker: Broker): Promise<void> {
  const number = ({ data: { n } }: { readonly data: { readonly n: number } }): number => n
  const emitter = consumer('emitter', aged, { concurrency: 50, retry: { attempts: 2, backoff: 'fixed', min: 50 } }).on(
    Noted,
    async (each, ctx) => {
      // The channels take turns, so this is the number of the event within the first channel. Each rejected event has
      // another key.
      const n = number(each as never) / all.length
      if (n % 499 === 0) ctx.reject('one of some')
      if (n % 40 === 1 && ctx.attempt === 1) throw new Error('once more')
      if (n % 10 === 2) await ctx.emit(counted, Noted({ n, k: `k${n % 1000}`, pad: 'x'.repeat(150) }))
    },
  )
  await broker.start(emitter)
  await broker.start(consumer('watcher', [counted, latest, sized], { concurrency: 50 }).on(Noted, () => undefined))
  await broker.start(consumer('worker', jobs, { concurrency: 50 }).on(Noted, () => undefined))
}

let [made, refused] = [0, 0]
async function load(broker: Broker, untilMs: number): Promise<void> {
  const under = new Set<Promise<void>>()
  for (let nextMs = performance.now(); nextMs < untilMs; nextMs += TICK_MS) {
    await sleep(Math.max(0, nextMs - performance.now()))
    for (let left = (RATE * TICK_MS) / 1000; left > 0; left--) {
      const n = made++
      const each = Noted({ n, k: `k${n % 2000}`, pad: 'x'.repeat(100 + (n % 200)) })
      const channel = all[n % all.length] as typeof jobs
      const publishing: Promise<unknown> =
        n % 100 === 99 ? broker.publish(channel, each, { delay: 5000 }) : broker.publish(channel, each)
      const done = publishing.then(
        () => undefined,
        () => void refused++,
      )
      under.add(done)
      void done.then(() => under.delete(done))
    }
    // If the machine does not keep up, wait for the publishes in flight.
    if (under.size > 20_000) await Promise.all(under)
  }
  await Promise.all(under)
}

const seconds: Record<Measured, number>[] = []

function median(of: readonly number[]): number {
  return [...of].sort((a, b) => a - b)[of.length >>> 1] ?? Number.NaN
}

function row(cells: readonly (string | number)[]): void {
  console.log(cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(1) : cell).padStart(15)).join(''))
}

async function watch(broker: Broker, running: () => boolean): Promise<void> {
  row(['minute', 'published', 'rss MiB', 'heap MiB', 'descriptors', 'directory MiB', 'index MiB', 'lag', 'kept'])
  for (let second = 1; running(); second++) {
    await sleep(1000)
    seconds.push(measure())
    if (second % 60 !== 0) continue
    const { channels, consumers } = await broker.describe()
    const lag = consumers.flatMap((each) => each.channels).reduce((sum, each) => sum + each.lag, 0)
    const kept = channels.reduce((sum, { first, next }) => sum + next - first, 0)
    const of = (what: Measured): number => median(seconds.slice(-60).map((each) => each[what]))
    row([
      String(second / 60),
      String(made),
      of('rssMib'),
      of('heapMib'),
      String(of('fds')),
      of('directoryMib'),
      of('indexMib'),
      String(lag),
      String(kept),
    ])
    await broker.deadLetters('emitter').drop()
  }
}

function growths(): string[] {
  const judged = seconds.slice(Math.min(180, Math.floor(seconds.length / 3)))
  const third = Math.floor(judged.length / 3)
  return (Object.keys(SLACK) as Measured[]).flatMap((what) => {
    const [first, last] = [judged.slice(0, third), judged.slice(-third)].map((part) =>
      median(part.map((each) => each[what])),
    ) as [number, number]
    const most = first * GROWTH_MAX + SLACK[what]
    console.log(`${what}: ${first.toFixed(1)} at first, ${last.toFixed(1)} at last (at most ${most.toFixed(1)})`)
    return last <= most ? [] : [`${what} is not flat`]
  })
}

/** Twice the limits of retention: events are removed some time after there are too many. */
async function beyond(broker: Broker): Promise<string[]> {
  const { channels, alarms: lasting } = await broker.describe()
  const most: Readonly<Record<string, number>> = { aged: 2 * 30 * RATE, counted: 40_000, jobs: 2 * 30 * RATE }
  const over = channels.filter(({ name, first, next }) => next - first > (most[name] ?? Number.POSITIVE_INFINITY))
  return [
    ...over.map(({ name, first, next }) => `"${name}" keeps ${next - first} events`),
    ...lasting.map(({ code, message }) => `${code}: ${message}`),
  ]
}

const broker = await connect(`file:${data}`, { onAlarm: ({ code, message }) => alarms.set(code, message) })
await broker.declare(...all)
await consume(broker)
let running = true
const watching = watch(broker, () => running)
await load(broker, performance.now() + MINUTES * 60_000)
const failures = await beyond(broker)
running = false
await watching
failures.push(...growths())
if (refused > 0) failures.push(`${refused} publishes were refused`)
for (const [code, message] of alarms) console.log(`alarm ${code}: ${message}`)
await broker.close()
rmSync(folder, { recursive: true, force: true })
console.log(failures.length === 0 ? 'flat' : `not flat: ${failures.join('; ')}`)
process.exitCode = failures.length === 0 ? 0 : 1
