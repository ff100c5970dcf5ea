/**
 * Functions of the application whose result is not awaited. They may return a promise that rejects, also one of another
 * realm. That neither ends the process nor is lost without a message.
 */
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connect, consumer, event, stream } from '../../src/index.ts'
import { Noted, notes, open, turns } from './fixture.ts'

const unhandled: unknown[] = []
const note = (reason: unknown): void => void unhandled.push(reason)
beforeEach(() => {
  unhandled.length = 0
  process.on('unhandledRejection', note)
  process.on('uncaughtException', note)
})
afterEach(async () => {
  await new Promise((resolve) => setTimeout(resolve, 5))
  process.off('unhandledRejection', note)
  process.off('uncaughtException', note)
  expect(unhandled).toEqual([])
})

/** A query builder: its work begins when somebody calls `then`. */
function lazily(work: () => unknown): object {
  const then = (resolve: (value: unknown) => void, reject: (error: unknown) => void): void => {
    try {
      resolve(work())
    } catch (error) {
      reject(error)
    }
  }
  return Object.defineProperty({}, 'then', { value: then })
}

const fail = (): never => {
  throw Object.create(null)
}
/** Each fails in its way. */
const FAILING: readonly (readonly [name: string, run: () => unknown])[] = [
  ['throws an object without a prototype', fail],
  ['is asynchronous and rejects', async () => fail()],
  ['answers a rejected promise of another realm', () => runInNewContext('Promise.reject(new Error("elsewhere"))')],
  ['answers a thenable that rejects', () => lazily(fail)],
  ['answers an object whose then throws', () => Object.defineProperty({}, 'then', { get: fail })],
]

describe.each(FAILING)('a function that %s', (_, run) => {
  test('as onAlarm causes a line of the log', async () => {
    const lines: string[] = []
    const logger = { info: () => 0, warn: () => 0, error: (line: unknown) => lines.push(String(line)) }
    const broker = await connect('memory:', { logger, onAlarm: run })
    // Two instances that differ are an alarm.
    for (const lease of ['1s', '2s'] as const)
      await broker.start(consumer('worker', notes, { lease }).on(Noted, () => undefined))
    await expect.poll(() => lines.join('\n')).toContain('onAlarm failed')
    await broker.close()
  })

  test('as a hook causes a line of the log, and the event continues', async () => {
    const lines: string[] = []
    const logger = { info: () => 0, warn: () => 0, error: (line: unknown) => lines.push(String(line)) }
    const broker = await connect('memory:', { logger })
    const on = { failed: run, retried: run, dead: run }
    await broker.start(
      consumer('worker', notes, { retry: { attempts: 2, backoff: 'fixed', min: 1 }, on }).on(Noted, () => fail()),
    )
    await broker.publish(notes, Noted(1))
    await expect.poll(async () => (await broker.deadLetters('worker').list()).length).toBe(1)
    for (const hook of ['failed', 'retried', 'dead'])
      await expect.poll(() => lines.join('\n')).toContain(`hook=${hook}`)
    await broker.close()
  })

  test('as a logger changes nothing', async () => {
    const broker = await connect('memory:', { logger: { info: run, warn: run, error: run } })
    const handled: number[] = []
    await broker.start(
      consumer('worker', notes, { retry: { attempts: 2, backoff: 'fixed', min: 1 } }).on(Noted, ({ data }, ctx) => {
        ctx.log.info('here')
        handled.push(data)
        fail()
      }),
    )
    await broker.publish(notes, Noted(1))
    await expect.poll(async () => (await broker.deadLetters('worker').list()).length).toBe(1)
    expect(handled).toEqual([1, 1])
    await broker.close()
  })

  test('as a backoff leaves the event its default backoff', async () => {
    const { broker, clock } = open()
    await broker.start(
      consumer('worker', notes, { retry: { attempts: 2, backoff: run as () => number, min: 10, max: 10 } }).on(
        Noted,
        () => fail(),
      ),
    )
    await broker.publish(notes, Noted(1))
    await clock.pass(100)
    expect(await broker.deadLetters('worker').list()).toHaveLength(1)
  })

  test('as a key causes the event to be refused', async () => {
    const { broker } = open()
    const odd = stream('odd', { events: [event('odd')], key: run as () => string })
    await expect(
      broker.publish(odd, { type: 'odd', id: 'o', time: new Date().toISOString(), data: 1 }),
    ).rejects.toMatchObject({ code: 'INVALID_EVENT' })
  })

  test('as a schema causes the event to be refused, when it is published and when it is read', async () => {
    const { broker } = open()
    const Odd = event('odd', { '~standard': { version: 1, vendor: 'test', validate: run as never } })
    const odd = stream('odd', { events: [Odd] })
    await expect(broker.publish(odd, Odd(1 as never))).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH' })
    await broker.publish(stream('odd', { events: [event('odd')] }), {
      type: 'odd',
      id: 'o',
      time: new Date().toISOString(),
      data: 1,
    })
    const reading = async (): Promise<void> => {
      for await (const _event of broker.read(odd)) expect.unreachable()
    }
    await expect(reading()).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH' })
  })

  test('as an outcome of a batch that nobody awaits fails its event', async () => {
    const { broker, clock } = open()
    await broker.start(
      consumer('worker', notes, { retry: { attempts: 1 } }).onBatch(Noted, { size: 2 }, (events) => {
        return events.map(({ data }) => (data === 1 ? run() : undefined)) as undefined[]
      }),
    )
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(10)
    expect((await broker.deadLetters('worker').list()).map(({ offset }) => offset)).toContain(0)
  })
})

test('a hook, an onAlarm and a logger that return a query builder run its query', async () => {
  const ran: string[] = []
  const query = (name: string) => () => lazily(() => ran.push(name))
  const broker = await connect('memory:', {
    logger: { info: () => 0, warn: query('warn'), error: () => 0 },
    onAlarm: query('alarm'),
  })
  for (const lease of ['1s', '2s'] as const) {
    const on = { failed: query('failed'), dead: query('dead') }
    await broker.start(consumer('worker', notes, { lease, retry: { attempts: 1 }, on }).on(Noted, () => fail()))
  }
  await broker.publish(notes, Noted(1))
  for (const name of ['failed', 'dead', 'alarm']) await expect.poll(() => ran).toContain(name)
  await broker.close()
})

test('a schema of another realm can be asynchronous', async () => {
  const { broker } = open()
  const validate = (data: unknown): never => {
    const promise = runInNewContext('Promise.resolve()')
    return promise.then(() => (data === 1 ? { value: 'one' } : { issues: [{ message: 'not one' }] })) as never
  }
  const One = event('one', { '~standard': { version: 1, vendor: 'test', validate } })
  const ones = stream('ones', { events: [One] })
  await expect(broker.publish(ones, One(2 as never))).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH' })
  await broker.publish(ones, One(1 as never))
  const read: unknown[] = []
  for await (const { data } of broker.read(ones)) read.push(data)
  expect(read).toEqual(['one'])
  await turns()
})
