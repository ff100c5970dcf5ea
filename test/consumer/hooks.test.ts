/** Hooks of a consumer: what they are told, and that nothing they do harms the delivery. */
import { expect, test } from 'vitest'
import { Log } from '../../src/broker/log.ts'
import { type ConsumerHooks, consumer } from '../../src/index.ts'
import { Gate, Noted, notes, open } from './fixture.ts'

const FIXED = { backoff: 'fixed', min: 10 } as const

test('`failed` is called, then `retried` or `dead`, with the event and the error', async () => {
  const { broker, clock } = open()
  const told: unknown[] = []
  const on: ConsumerHooks = {
    failed: ({ attempt, error }) => told.push(['failed', attempt, error]),
    retried: ({ attempt, delayMs, nextAttemptAt }) =>
      told.push(['retried', attempt, delayMs, nextAttemptAt.getTime() - clock.now()]),
    dead: ({ error: _, ...about }) => told.push(['dead', about]),
  }
  await broker.start(
    consumer('worker', notes, { retry: { ...FIXED, attempts: 2 }, on }).on(Noted, () => {
      throw 'no more'
    }),
  )
  await broker.publish(notes, Noted(1, { id: 'n-1' }))
  await clock.pass(100)
  const failure = { name: 'Error', message: 'no more', kind: 'error' }
  expect(told).toEqual([
    ['failed', 1, 'no more'],
    ['retried', 1, 10, 10],
    ['failed', 2, 'no more'],
    [
      'dead',
      { consumer: 'worker', channel: 'notes', offset: 0, key: null, id: 'n-1', type: 'noted', attempt: 2, failure },
    ],
  ])
})

test('after a time limit `failed` is called at once, and `retried` or `dead` when the handler has ended', async () => {
  const { broker, clock } = open()
  const told: string[] = []
  const gate = new Gate()
  const on: ConsumerHooks = {
    failed: ({ failure }) => told.push(`failed ${failure.code}`),
    retried: () => told.push('retried'),
    dead: () => told.push('dead'),
  }
  await broker.start(
    consumer('worker', notes, { timeout: '1s', retry: { ...FIXED, attempts: 1 }, on }).on(Noted, () => gate.opened),
  )
  await broker.publish(notes, Noted(1))
  await clock.pass(2000)
  expect(told).toEqual(['failed HANDLER_TIMEOUT'])
  gate.open()
  await clock.pass(10)
  expect(told).toEqual(['failed HANDLER_TIMEOUT', 'dead'])
})

test('`stalled` is called again as long as the stall lasts', async () => {
  const { broker, clock } = open()
  const told: string[] = []
  const gate = new Gate()
  const stalled: ConsumerHooks['stalled'] = ({ consumer: name, since, reason }) =>
    told.push(`${name} ${since instanceof Date} ${reason}`)
  await broker.start(consumer('worker', notes, { stall: '10s', on: { stalled } }).on(Noted, () => gate.opened))
  await broker.publish(notes, Noted(1))
  await clock.pass(35_000)
  expect(told.length).toBeGreaterThan(1)
  expect(told[0]).toBe('worker true 1 handler(s) have been running since then and none has finished')
  gate.open()
  await clock.pass(20_000)
  const before = told.length
  await clock.pass(60_000)
  expect(told).toHaveLength(before)
})

test('a hook that throws or rejects causes a line of the log, and the delivery continues', async () => {
  const lines: string[] = []
  const { broker, clock } = open({
    log: new Log((_level, message, fields) => lines.push(`${message} ${fields['hook'] ?? ''}`)),
  })
  const on: ConsumerHooks = {
    failed: () => {
      throw Symbol('odd')
    },
    retried: async () => {
      throw new Error('later')
    },
    dead: () => {
      throw new Error('now')
    },
  }
  let calls = 0
  const worker = consumer('worker', notes, { retry: { ...FIXED, attempts: 2 }, on }).on(Noted, ({ data }) => {
    calls++
    if (data === 1) throw new Error('no')
  })
  const running = await broker.start(worker)
  await broker.publish(notes, [Noted(1), Noted(2)])
  await clock.pass(100)
  expect(calls).toBe(3)
  expect(await running.stop()).toEqual({ completed: 1, retried: 1, deadLettered: 1, released: 0 })
  for (const hook of ['failed', 'retried', 'dead']) expect(lines).toContain(`a hook of a consumer failed ${hook}`)
})

test('no hook is called for an event that is handed back or lost to another instance', async () => {
  const { broker, clock } = open()
  const told: unknown[] = []
  const on: ConsumerHooks = { failed: (attempt) => told.push(attempt), dead: (attempt) => told.push(attempt) }
  const gate = new Gate()
  const worker = consumer('worker', notes, { drain: '1s', on }).on(Noted, async ({ data }) => {
    await gate.opened
    if (data === 2) return
    throw new Error('too late')
  })
  const running = await broker.start(worker)
  await broker.publish(notes, Noted(1))
  await clock.pass(10)
  await broker.consumer('worker').rewind('end')
  gate.open()
  await clock.pass(10)
  expect(await running.stop()).toMatchObject({ completed: 0, retried: 0 })
  expect(told).toEqual([])
})

test.each([[{ fail: () => undefined }], [{ failed: 'yes' }], [{ dead: null }]])('%j is refused', (on) => {
  expect(() => consumer('worker', notes, { on: on as never })).toThrow(
    expect.objectContaining({ code: 'INVALID_OPTION' }),
  )
})
