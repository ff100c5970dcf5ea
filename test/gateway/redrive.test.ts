/** Dead letters grouped by what failed, and redriven carefully by the gateway. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { fingerprintOf } from '../../src/gateway/letters/fingerprint.ts'
import type { RedriveProgress } from '../../src/gateway/letters/redrive-state.ts'
import { type Broker, connect, consumer, type Running, stream } from '../../src/index.ts'

interface Groups {
  readonly groups: readonly {
    readonly fingerprint: string
    readonly name: string
    readonly count: number
    readonly frame: string | null
  }[]
}

let broker: Broker
let gateway: Gateway
let running: Running
let fails: (n: number) => Error | null
/** The handler of this event waits for it. */
let holds: { readonly n: number; readonly until: Promise<void> } | null
const handled: number[] = []

beforeEach(async () => {
  broker = await connect('memory:')
  gateway = createGateway(broker, { drain: 0 })
  handled.length = 0
  fails = () => new TypeError('the provider is down')
  holds = null
  const mailer = consumer('mailer', stream('mail'), { retry: { attempts: 1 } }).onAny(async ({ data }) => {
    const { n } = data as { n: number }
    if (holds?.n === n) await holds.until
    const error = fails(n)
    if (error !== null) throw error
    handled.push(n)
  })
  running = await broker.start(mailer)
})
afterEach(async () => {
  await gateway.close()
  await running.stop()
  await broker.close()
})

async function call<T>(path: string, body?: object): Promise<T> {
  const init =
    body === undefined
      ? {}
      : { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
  return (await (await gateway.fetch(new Request(`http://localhost/api/consumers/mailer/${path}`, init))).json()) as T
}

/** Let the handler of this event wait until it is released. */
function hold(n: number): () => void {
  let release = (): void => undefined
  holds = { n, until: new Promise((resolve) => (release = resolve)) }
  return () => release()
}

async function die(count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, n) => ({
    type: 'mail.requested',
    data: { n },
    partitionkey: `k${n % 3}`,
  }))
  await broker.publish('mail', events)
  const dead = async (): Promise<number> => {
    const { deadLetters = 0, parked = 0 } =
      (await broker.describe()).consumers.find(({ name }) => name === 'mailer') ?? {}
    return deadLetters + parked
  }
  await expect.poll(dead).toBe(count)
}

const redrive = async (plan: object): Promise<RedriveProgress> => {
  const { id } = await call<RedriveProgress>('redrives', { reason: 'mended', ...plan })
  const last = async (): Promise<RedriveProgress | undefined> =>
    (await call<{ redrives: RedriveProgress[] }>('redrives')).redrives.find((one) => one.id === id)
  await expect.poll(async () => (await last())?.endedMs ?? null, { timeout: 15_000 }).not.toBe(null)
  return (await last()) as RedriveProgress
}

describe('dead letters', () => {
  test('are grouped by the error and the frame of the application, whatever the message says', async () => {
    fails = (n) => (n % 2 === 0 ? new TypeError(`order ${n} is closed`) : new RangeError('no'))
    await die(3)
    const { groups } = await call<Groups>('dead-letter-groups')
    expect(groups.map(({ name }) => name).sort()).toEqual(['RangeError', 'TypeError'])
    for (const { frame } of groups) expect(frame).toMatch(/redrive\.test\.ts:\d+/)
  })

  test('a fingerprint does not depend on numbers in a message without a stack', () => {
    const of = (message: string): string => fingerprintOf({ name: 'Error', kind: 'error', message }).fingerprint
    expect(of('order 17 of "ada" failed')).toBe(of('order 4 of "bob" failed'))
    expect(of('order 17 failed')).not.toBe(of('mail 17 failed'))
  })

  test('a careful redrive stops by itself after one event if the error occurs again', async () => {
    await die(12)
    const [group] = (await call<Groups>('dead-letter-groups')).groups
    expect(await redrive({ fingerprint: group?.fingerprint, reason: 'try' })).toMatchObject({
      phase: 'returned',
      redriven: 1,
      back: 1,
    })
    expect(handled).toEqual([])
  })

  test('a careful redrive continues with all events if no error occurs, and keeps the order of keys', {
    timeout: 30_000,
  }, async () => {
    await die(12)
    fails = () => null
    const [group] = (await call<Groups>('dead-letter-groups')).groups
    expect(await redrive({ fingerprint: group?.fingerprint, perSecond: 1000 })).toMatchObject({
      phase: 'done',
      back: 0,
      left: 0,
    })
    await expect.poll(() => handled.length).toBe(12)
    for (const key of [0, 1, 2]) expect(handled.filter((n) => n % 3 === key)).toEqual([0, 3, 6, 9].map((n) => n + key))
  })

  test('a careful redrive continues while the consumer works on other events', { timeout: 20_000 }, async () => {
    await die(12)
    fails = () => null
    const release = hold(100)
    await broker.publish('mail', { type: 'mail.requested', data: { n: 100 }, partitionkey: 'busy' })
    await expect.poll(async () => (await broker.consumer('mailer').describe()).inFlight).toBe(1)
    expect(await redrive({ perSecond: 1000 })).toMatchObject({ phase: 'done', back: 0, left: 0 })
    release()
  })

  test('a careful redrive waits for the first event that it gave back', { timeout: 20_000 }, async () => {
    await die(12)
    fails = () => null
    const release = hold(0)
    const { id } = await call<RedriveProgress>('redrives', { reason: 'mended' })
    const last = async (): Promise<RedriveProgress | undefined> =>
      (await call<{ redrives: RedriveProgress[] }>('redrives')).redrives.find((one) => one.id === id)
    await expect.poll(async () => (await broker.consumer('mailer').describe()).inFlight).toBe(1)
    await new Promise((later) => setTimeout(later, 700))
    expect(await last()).toMatchObject({ phase: 'one', redriven: 1, back: 0 })
    release()
    await expect.poll(async () => (await last())?.phase, { timeout: 10_000 }).toBe('done')
  })

  test('two redrives of a consumer do not run at once, and wrong plans are refused', async () => {
    await die(3)
    const post = (body: object): Promise<{ status?: number; id?: string }> => call('redrives', body)
    expect(await post({ perSecond: 0 })).toMatchObject({ status: 400 })
    expect(await post({ canary: 'yes' })).toMatchObject({ status: 400 })
    expect(await post({ other: 1 })).toMatchObject({ status: 400 })
    expect(await post({})).toMatchObject({ status: 400 })
    const first = await post({ reason: 'mended' })
    expect(await post({ reason: 'mended' })).toMatchObject({ status: 409 })
    await call(`redrives/${first.id}/stop`, {})
  })
})
