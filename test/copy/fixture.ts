/** A broker with data of every kind that a copy has to carry. */
import { expect } from 'vitest'
import { z } from 'zod'
import type { Engine } from '../../src/broker/engine.ts'
import { eventsOf, lettersOf, scheduledOf } from '../../src/copy/source-events.ts'
import { type Broker, consumer, event, type HandlerContext, queue, stream } from '../../src/index.ts'

const noting = z.object({ n: z.int(), key: z.string() })
export const Noted = event('noted', noting)
export const Job = event('job', noting)
const key = (each: { readonly data: z.infer<typeof noting> }): string => each.data.key

export const carts = stream('carts', { events: [Noted], key })
export const latest = stream('latest', { events: [Noted], key, retain: { latestByKey: true } })
export const short = stream('short', { events: [Noted], key, retain: { count: 5 } })
export const twice = stream('twice', { events: [Noted], dedupe: false })
export const jobs = queue('jobs', { events: [Job], key })

export const EVENTS = 120
/** The failed event, and the later events of its key. */
const WAITING = 12
export const keyOf = (n: number): string => `k-${n % 9}`

async function until(check: () => Promise<boolean>): Promise<void> {
  await expect.poll(check, { timeout: 15_000 }).toBe(true)
}

/** Wait until the handler is told to stop. */
function hang({ signal }: HandlerContext): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve()))
}

export async function fill(broker: Broker): Promise<void> {
  await broker.declare(carts, latest, short, twice, jobs)
  const made = Array.from({ length: EVENTS }, (_, n) =>
    Noted({ n, key: keyOf(n) }, { id: `cart-${n}`, subject: 'é☃𝄞' }),
  )
  await broker.publish(carts, made.slice(0, 70))
  for (const each of made.slice(70)) await broker.publish(carts, each)
  for (let n = 0; n < 20; n++) await broker.publish(latest, Noted({ n, key: keyOf(n % 4) }, { id: `latest-${n}` }))
  for (let n = 0; n < 3; n++)
    await broker.publish(twice, Noted({ n: 0, key: '' }, { id: 'same', time: '2026-01-01T00:00:00Z' }))
  for (let n = 0; n < 30; n++) await broker.publish(jobs, Job({ n, key: keyOf(n) }, { id: `job-${n}` }))
  await broker.publish(carts, Noted({ n: 1000, key: 'far' }, { id: 'far' }), { delay: '1h' })
  await broker.publish(jobs, Job({ n: 1000, key: 'far' }, { id: 'far-job' }), { delay: '2h' })
  await settleSome(broker)
  await loseSome(broker)
}

/** Consumers that have settled some events, failed at some, given up on some, and stopped. */
async function settleSome(broker: Broker): Promise<void> {
  const retry = { attempts: 5, min: '1h', max: '2h' } as const
  const half = consumer('half', carts, { concurrency: 16, drain: '10ms', retry }).on(
    Noted,
    async ({ data: { n } }, ctx) => {
      if (n === 10) ctx.reject('a bad one')
      if (n === 20) throw new Error('not yet')
      if (n > 60) await hang(ctx)
    },
  )
  const running = await broker.start(half)
  await until(async () => {
    const described = (await broker.describe()).consumers.find(({ name }) => name === 'half')
    return described !== undefined && described.deadLetters === 1 && described.retrying >= 1 && described.inFlight >= 5
  })
  const all = await broker.start(consumer('all', [carts, latest]).on(Noted, () => undefined))
  await until(
    async () =>
      (await broker.describe()).consumers.find(({ name }) => name === 'all')?.channels.every(({ lag }) => lag === 0) ===
      true,
  )
  await all.stop()
  const work = consumer('worker', jobs, { concurrency: 4, drain: '10ms' }).on(Job, async ({ data: { n } }, ctx) => {
    if (n === 3) ctx.reject('no such job')
    if (n > 11) await hang(ctx)
  })
  const worker = await broker.start(work)
  await until(async () => {
    const described = (await broker.describe()).consumers.find(({ name }) => name === 'worker')
    return described?.deadLetters === 1 && described.inFlight >= 3
  })
  await Promise.all([running.stop(), worker.stop()])
}

/** A dead letter whose event retention has removed, with another event waiting behind it. */
async function loseSome(broker: Broker): Promise<void> {
  await broker.publish(short, Noted({ n: -1, key: 'x' }, { id: 'lost' }))
  const losing = consumer('loser', short).on(Noted, ({ data }, ctx) => (data.n < 0 ? ctx.reject('lost') : undefined))
  const running = await broker.start(losing)
  await until(async () => (await broker.deadLetters('loser').list()).length === 1)
  for (let n = 0; n < 12; n++) await broker.publish(short, Noted({ n, key: n === 5 ? 'x' : 'y' }, { id: `short-${n}` }))
  await until(async () => ((await broker.describe()).channels.find(({ name }) => name === 'short')?.first ?? 0) > 0)
  await until(async () => {
    const described = (await broker.describe()).consumers.find(({ name }) => name === 'loser')
    return described?.parked === 1 && described.channels[0]?.lag === 0
  })
  await running.stop()
}

/** What consumers receive from now on: event ids with their attempts, in order. */
export async function rest(broker: Broker): Promise<Record<string, string[]>> {
  const seen: Record<string, string[]> = { half: [], all: [], worker: [], loser: [] }
  const note = (name: string) => (each: { readonly id: string }, ctx: HandlerContext) => {
    ;(seen[name] as string[]).push(`${each.id}/${ctx.attempt}`)
  }
  const running = [
    await broker.start(consumer('half', carts, { concurrency: 1 }).on(Noted, note('half'))),
    await broker.start(consumer('all', [carts, latest], { concurrency: 1 }).on(Noted, note('all'))),
    await broker.start(consumer('worker', jobs, { concurrency: 1 }).on(Job, note('worker'))),
    await broker.start(consumer('loser', short, { concurrency: 1 }).on(Noted, note('loser'))),
  ]
  for (const name of ['half', 'worker', 'loser']) await broker.deadLetters(name).redrive()
  await until(async () => {
    const { consumers } = await broker.describe()
    const lagOf = ({ channels }: (typeof consumers)[number]): number => channels.reduce((sum, { lag }) => sum + lag, 0)
    return consumers.every((each) => each.parked === 0 && lagOf(each) === (each.name === 'half' ? WAITING : 0))
  })
  await Promise.all(running.map((each) => each.stop()))
  return seen
}

/** Everything stored, by ids instead of offsets. */
export async function contents(engine: Engine): Promise<unknown> {
  const found: Record<string, unknown> = {}
  for (const { name } of (await engine.describe()).channels) {
    if (name === '$copies' || name === '$audit' || name === '$flow' || name.startsWith('$metrics.')) continue
    let events = []
    const ids = new Map<number, string>()
    for await (const { offset, timeMs: _, ...event } of eventsOf(engine, name)) {
      events.push(event)
      ids.set(offset, event.id)
    }
    const consumers = []
    for (const { consumer, workers, floor, settled, retries } of await engine.carriage.consumers(name)) {
      const letters = []
      for await (const { offset: _, ...letter } of lettersOf(engine.carriage, name, consumer)) letters.push(letter)
      const open = [...ids]
        .filter(([offset]) => offset >= floor && !settled.some(([from, to]) => offset >= from && offset < to))
        .map(([, id]) => id)
      consumers.push({
        consumer,
        workers,
        open: open.sort(),
        retries: retries.map(({ offset, ...retry }) => ({ id: ids.get(offset), ...retry })),
        letters,
      })
    }
    const scheduled = []
    for await (const { event, dueAtMs } of scheduledOf(engine.carriage, name)) scheduled.push([event.id, dueAtMs])
    // Settled events of a queue are deleted sooner or later.
    const spec = await engine.channel(name)
    const [workers] = consumers
    if (spec?.kind === 'queue' && workers !== undefined) events = events.filter(({ id }) => workers.open.includes(id))
    const byKey: Record<string, string[]> = {}
    for (const { id, key } of events) byKey[String(key)] = [...(byKey[String(key)] ?? []), id]
    for (const list of [events, consumers]) list.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
    delete byKey['null']
    found[name] = { spec, events, byKey, consumers, scheduled }
  }
  return found
}
