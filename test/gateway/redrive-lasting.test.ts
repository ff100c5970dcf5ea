/** Redrives survive the gateway that began them: it closes, or its process is killed, and another one goes on. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { RedriveBook, redriveKey } from '../../src/gateway/letters/redrive-book.ts'
import type { RedriveProgress, RedriveState } from '../../src/gateway/letters/redrive-state.ts'
import { type Broker, connect, consumer, type StoredEvent, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from '../external-log/memory-backend.ts'

const mail = stream('mail')
const cleanup: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const clean of cleanup.splice(0).reverse()) await clean()
})

async function call<T>(gateway: Pick<Gateway, 'fetch'>, path: string, body?: object): Promise<T> {
  const init =
    body === undefined
      ? {}
      : { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
  return (await (await gateway.fetch(new Request(`http://localhost/api/consumers/mailer/${path}`, init))).json()) as T
}

async function jobsOf(gateway: Pick<Gateway, 'fetch'>): Promise<readonly RedriveProgress[]> {
  return (await call<{ redrives: RedriveProgress[] }>(gateway, 'redrives')).redrives
}

/** Publish events that the consumer gives up on at once. */
async function die(broker: Broker, count: number): Promise<void> {
  const running = await broker.start(
    consumer('mailer', mail, { retry: { attempts: 1 }, onDead: 'skip' }).onAny(() => {
      throw new TypeError('the provider is down')
    }),
  )
  await broker.publish(
    mail,
    Array.from({ length: count }, (_, n) => ({ type: 'mail.requested', data: { n }, partitionkey: `k${n % 5}` })),
  )
  await expect
    .poll(async () => (await broker.consumer('mailer').describe()).deadLetters, { timeout: 15_000 })
    .toBe(count)
  await running.stop()
}

async function heal(broker: Broker): Promise<number[]> {
  const handled: number[] = []
  const running = await broker.start(
    consumer('mailer', mail, { retry: { attempts: 1 }, onDead: 'skip' }).onAny(({ data }) => {
      handled.push((data as { n: number }).n)
    }),
  )
  cleanup.push(async () => void (await running.stop()))
  return handled
}

describe('a redrive', () => {
  test('goes on in another gateway when its own closes, and is shown there', { timeout: 30_000 }, async () => {
    const broker = await connect('memory:')
    cleanup.push(() => broker.close())
    await die(broker, 60)
    const handled = await heal(broker)
    const first = createGateway(broker, { drain: 0 })
    const { id } = await call<RedriveProgress>(first, 'redrives', { perSecond: 20, reason: 'it is back' })
    await expect.poll(async () => (await jobsOf(first))[0]?.redriven ?? 0).toBeGreaterThan(11)
    await first.close()
    // The channel keeps the latest event of each key. Nothing else is needed to go on.
    const kept = new Map<string, StoredEvent>()
    for await (const one of broker.read('$redrives', { from: 'beginning' })) {
      const key = redriveKey(one)
      kept.delete(key)
      kept.set(key, one)
    }
    const copy = await connect('memory:')
    cleanup.push(() => copy.close())
    const same = stream('$redrives', { retain: { latestByKey: true, age: '30d' }, dedupe: false })
    for (const [partitionkey, { type, data }] of kept) await copy.publish(same, { type, data, partitionkey })
    const book = new RedriveBook(copy)
    await book.take({ ...(book.states.get(id) as RedriveState), id })
    expect(book.states.get(id)).toMatchObject({ total: 60, runs: 1 })
    const before = handled.length
    expect(before).toBeLessThan(60)
    const second = createGateway(broker, { drain: 0 })
    cleanup.push(() => second.close())
    await expect.poll(async () => (await jobsOf(second))[0]?.phase, { timeout: 15_000 }).toBe('done')
    const [job] = await jobsOf(second)
    expect(job).toMatchObject({ id, total: 60, done: 60, back: 0, left: 0, gone: 0, runs: 2, reason: 'it is back' })
    expect(handled).toHaveLength(60)
    for (const key of [0, 1, 2, 3, 4])
      expect(handled.filter((n) => n % 5 === key)).toEqual(Array.from({ length: 12 }, (_, at) => at * 5 + key))
  })

  test('is ordered once if two gateways are asked at the same time', { timeout: 30_000 }, async () => {
    const broker = await connect('memory:')
    cleanup.push(() => broker.close())
    await die(broker, 5)
    await heal(broker)
    const gateways = [createGateway(broker, { drain: 0 }), createGateway(broker, { drain: 0 })]
    for (const gateway of gateways) cleanup.push(() => gateway.close())
    type Ordered = { readonly status?: number; readonly id?: string }
    const order = (): Promise<Ordered[]> =>
      Promise.all(gateways.map((gateway) => call<Ordered>(gateway, 'redrives', { action: 'drop', reason: 'old' })))
    for (let round = 0; round < 3; round++) {
      const answers = await order()
      expect(answers.filter(({ status }) => status === 409)).toHaveLength(1)
      const [ordered] = answers.filter(({ id }) => id !== undefined)
      const ended = async (): Promise<unknown> =>
        (await jobsOf(gateways[0] as Gateway)).find(({ id }) => id === ordered?.id)?.phase
      await expect.poll(ended, { timeout: 10_000 }).toBe('done')
      await expect.poll(async () => (await jobsOf(gateways[1] as Gateway)).length).toBe(round + 1)
    }
  })

  test('is run by one of two gateways, is seen in both, and is stopped from either', { timeout: 30_000 }, async () => {
    const broker = await connect('memory:')
    cleanup.push(() => broker.close())
    await die(broker, 40)
    const handled = await heal(broker)
    const [one, other] = [createGateway(broker, { drain: 0 }), createGateway(broker, { drain: 0 })]
    cleanup.push(
      () => one.close(),
      () => other.close(),
    )
    await call(one, 'redrives', { perSecond: 1, canary: false, reason: 'mended' })
    await expect.poll(async () => (await jobsOf(other))[0]?.redriven ?? 0).toBeGreaterThan(0)
    const [job] = await jobsOf(other)
    expect(await call(other, 'redrives', { reason: 'mended' })).toMatchObject({ status: 409 })
    expect(await call(other, `redrives/${job?.id}/stop`, {})).toMatchObject({ phase: 'stopped', runs: 1 })
    expect((await jobsOf(one))[0]).toMatchObject({ phase: 'stopped', done: handled.length })
  })

  test('of two processes over one server is run by one, and goes on in the other', { timeout: 60_000 }, async () => {
    const server = new MemoryServer()
    const open = async (): Promise<Broker> => {
      const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(server), partitions: 4 })
      const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
      cleanup.push(() => broker.close())
      return broker
    }
    const [mine, yours] = [await open(), await open()]
    await die(mine, 40)
    const handled = await heal(yours)
    const [one, other] = [createGateway(mine, { drain: 0 }), createGateway(yours, { drain: 0 })]
    cleanup.push(() => other.close())
    const { id } = await call<RedriveProgress>(one, 'redrives', { perSecond: 10, reason: 'mended' })
    await expect.poll(async () => (await jobsOf(other))[0]?.redriven ?? 0, { timeout: 15_000 }).toBeGreaterThan(11)
    expect((await jobsOf(other))[0]).toMatchObject({ id, runs: 1 })
    await one.close()
    await expect.poll(async () => (await jobsOf(other))[0]?.phase, { timeout: 30_000 }).toBe('done')
    expect((await jobsOf(other))[0]).toMatchObject({ total: 40, done: 40, back: 0, left: 0, gone: 0 })
    for (const key of [0, 1, 2, 3, 4])
      expect(handled.filter((n) => n % 5 === key)).toEqual(Array.from({ length: 8 }, (_, at) => at * 5 + key))
  })

  test('covers all letters, however many there are, and counts them all by failure', { timeout: 60_000 }, async () => {
    const broker = await connect('memory:')
    cleanup.push(() => broker.close())
    await die(broker, 2500)
    const gateway = createGateway(broker, { drain: 0 })
    cleanup.push(() => gateway.close())
    let counted = 0
    for (let after: string | null = ''; after !== null; ) {
      const query: string = after === '' ? '' : `?after=${after}`
      const answer: { groups: { count: number }[]; looked: number; deadLetters: number; next: string | null } =
        await call(gateway, `dead-letter-groups${query}`)
      expect(answer.deadLetters).toBe(2500)
      expect(answer.groups.reduce((sum, { count }) => sum + count, 0)).toBe(answer.looked)
      counted += answer.looked
      after = answer.next
    }
    expect(counted).toBe(2500)
    await heal(broker)
    await call(gateway, 'redrives', { canary: false, perSecond: 1000, reason: 'mended' })
    await expect.poll(async () => (await jobsOf(gateway))[0]?.phase, { timeout: 30_000 }).toBe('done')
    expect((await jobsOf(gateway))[0]).toMatchObject({ total: 2500, done: 2500, back: 0, left: 0 })
  })

  test('of a killed process is finished by the next', { timeout: 90_000 }, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-redrive-'))
    cleanup.push(() => rmSync(directory, { recursive: true, force: true }))
    const letters = 80
    const broker = await connect(`file:${directory}`)
    await die(broker, letters)
    await broker.close()
    // Each process is killed somewhere in the job; the last one may finish.
    for (const lifeMs of [150, 700, 1300]) {
      const child = start(directory)
      cleanup.push(() => void child.kill('SIGKILL'))
      await said(child, 'running')
      await new Promise((later) => setTimeout(later, lifeMs))
      const exited = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await exited
    }
    const last = await connect(`file:${directory}`)
    cleanup.push(() => last.close())
    await heal(last)
    const gateway = createGateway(last, { drain: 0 })
    cleanup.push(() => gateway.close())
    await expect.poll(async () => (await jobsOf(gateway))[0]?.phase, { timeout: 45_000 }).toBe('done')
    const [job] = await jobsOf(gateway)
    expect(job).toMatchObject({ total: letters, done: letters, back: 0, left: 0, gone: 0 })
    expect(job?.runs).toBeGreaterThan(1)
    expect((await last.consumer('mailer').describe()).deadLetters).toBe(0)
  })
})

/** A process with a gateway that begins the redrive, or goes on with it. */
function start(directory: string): ChildProcess {
  const script = fileURLToPath(new URL('./redrive-child.mjs', import.meta.url))
  return spawn(process.execPath, [script, `file:${directory}`], { stdio: ['ignore', 'pipe', 'inherit'] })
}

function said(child: ChildProcess, word: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.on('data', (text: Buffer) => text.toString().includes(word) && resolve())
    child.once('exit', () => reject(new Error('the process ended early')))
  })
}
