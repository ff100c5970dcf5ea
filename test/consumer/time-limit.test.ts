/** Clause 4 and 11: what a handler's time limit counts, and what waits for a handler that has passed it. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describe, expect, test } from 'vitest'
import { TimeLimits } from '../../src/consumer/time-limits.ts'
import { consumer, type EventDefinition, event, isMillraceError, stream } from '../../src/index.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { Gate, keyed, Noted, notes, open } from './fixture.ts'

const QUICK = { attempts: 3, backoff: 'fixed', min: 10 } as const

describe('after the limit', () => {
  test('the attempt has failed, and the next one waits until the handler has ended', async () => {
    const { broker, clock } = open()
    const [calls, gate] = [[] as string[], new Gate()]
    let running = 0
    const worker = consumer('worker', keyed, { timeout: '1s', retry: QUICK }).on(Noted, async ({ data }, ctx) => {
      calls.push(`${data}#${ctx.attempt} beside ${running}`)
      running++
      if (data === 10 && ctx.attempt === 1) await gate.opened
      running--
    })
    const started = await broker.start(worker)
    await broker.publish(keyed, [Noted(10), Noted(11)])
    await clock.pass(60_000)
    expect(calls).toEqual(['10#1 beside 0'])
    gate.open()
    await clock.pass(1000)
    expect(calls).toEqual(['10#1 beside 0', '10#2 beside 0', '11#1 beside 0'])
    expect(await started.stop()).toEqual({ completed: 2, retried: 1, deadLettered: 0, released: 0 })
  })

  test('a handler keeps its slot of the concurrency', async () => {
    const { broker, clock } = open()
    const [began, gate] = [[] as number[], new Gate()]
    const worker = consumer('worker', notes, { timeout: '1s', concurrency: 2, retry: QUICK }).on(
      Noted,
      async ({ data }, ctx) => {
        if (ctx.attempt === 1) began.push(data)
        await gate.opened
      },
    )
    await broker.start(worker)
    await broker.publish(notes, [Noted(0), Noted(1), Noted(2), Noted(3)])
    await clock.pass(600_000)
    expect(began).toEqual([0, 1])
    gate.open()
    await clock.pass(1000)
    expect(began).toEqual([0, 1, 2, 3])
  })

  test("the signal aborts with HANDLER_TIMEOUT, emissions are refused, and the handler's return completes nothing", async () => {
    const { broker, clock } = open()
    const reasons: unknown[] = []
    const refusals: unknown[] = []
    const worker = consumer('worker', notes, { timeout: '1s', retry: { ...QUICK, attempts: 1 } }).on(
      Noted,
      async (_, ctx) => {
        await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve))
        reasons.push(ctx.signal.reason)
        await ctx.emit(notes, Noted(7)).catch((error: unknown) => refusals.push(error))
      },
    )
    const started = await broker.start(worker)
    await broker.publish(notes, Noted(1))
    await clock.pass(999)
    expect(reasons).toEqual([])
    await clock.pass(1)
    expect(reasons.every((reason) => isMillraceError(reason, 'HANDLER_TIMEOUT'))).toBe(true)
    expect(refusals).toHaveLength(1)
    const [letter] = await broker.deadLetters('worker').list()
    expect(letter?.failure).toMatchObject({
      kind: 'timeout',
      code: 'HANDLER_TIMEOUT',
      message: 'the handler took longer than 1000 ms',
    })
    expect(await started.stop()).toMatchObject({ completed: 0, deadLettered: 1 })
  })

  test.each(['single', 'batch'])('an asynchronous schema that never answers has failed, too: %s', async (how) => {
    const { broker, clock, alarms } = open()
    let answer: (() => void) | null = null
    let hangs = false
    const validate = (value: unknown): { value: number } | Promise<{ value: number }> =>
      hangs
        ? new Promise((resolve) => (answer = () => resolve({ value: value as number })))
        : { value: value as number }
    const schema: StandardSchemaV1<number, number> = { '~standard': { version: 1, vendor: 'test', validate } }
    const Late: EventDefinition<'late', number, number> = event('late', schema)
    const lates = stream('lates', { events: [Late] })
    await broker.publish(lates, Late(1))
    hangs = true
    const handled: unknown[] = []
    const worker = consumer('worker', lates, { timeout: '1s', retry: { ...QUICK, attempts: 1 } })
    if (how === 'single') worker.on(Late, ({ data }) => void handled.push(data))
    else worker.onBatch(Late, { size: 10 }, (events) => void handled.push(...events))
    await broker.start(worker)
    await clock.pass(60_000)
    expect(alarms.map(({ code }) => code)).toEqual(['HANDLER_TIMEOUT'])
    const respond = answer as (() => void) | null
    respond?.()
    await clock.pass(1000)
    expect(handled).toEqual([])
    expect(await broker.deadLetters('worker').list()).toMatchObject([{ failure: { code: 'HANDLER_TIMEOUT' } }])
  })

  test('a handler that continues raises an alarm that names it, until it ends', async () => {
    const { broker, clock, alarms } = open()
    const gate = new Gate()
    const worker = consumer('worker', keyed, { timeout: '1s', stall: '10s', retry: QUICK }).on(Noted, (_, ctx) =>
      ctx.attempt === 1 ? gate.opened : undefined,
    )
    await broker.start(worker)
    await broker.publish(keyed, Noted(42))
    await clock.pass(10_999)
    expect(alarms).toEqual([])
    await clock.pass(1)
    expect(alarms.map(({ code }) => code)).toEqual(['HANDLER_TIMEOUT'])
    expect(alarms[0]?.message).toContain('consumer "worker"')
    expect(alarms[0]?.message).toContain('the event at offset 0 of "keyed"')
    expect(alarms[0]?.message).toContain('key "4"')
    expect((await broker.describe()).alarms).toEqual(alarms)
    gate.open()
    await clock.pass(1000)
    expect((await broker.describe()).alarms).toEqual([])
  })

  test('stopping counts the attempt of a handler that has passed its limit, and hands others back uncounted', async () => {
    const { broker, clock } = open()
    const gate = new Gate()
    const worker = consumer('worker', notes, { timeout: '1s', drain: '10s', retry: QUICK }).on(Noted, () => gate.opened)
    const started = await broker.start(worker)
    await broker.publish(notes, Noted(1))
    await clock.pass(1000)
    const stopped = started.stop()
    await clock.pass(9500)
    await broker.publish(notes, Noted(2))
    await clock.pass(500)
    expect(await stopped).toEqual({ completed: 0, retried: 1, deadLettered: 0, released: 0 })
    const attempts: number[] = []
    await broker.start(consumer('worker', notes).on(Noted, (_, ctx) => void attempts.push(ctx.attempt)))
    await clock.pass(1000)
    expect(attempts.sort()).toEqual([1, 2])
  })
})

describe('the limit counts', () => {
  test('only the handler, and not the wait of its batch', async () => {
    const { broker, clock } = open()
    const batches: string[][] = []
    const worker = consumer('worker', notes, { timeout: '1s', retry: QUICK }).onBatch(
      Noted,
      { size: 10, wait: '3s' },
      (events, contexts) => {
        batches.push(events.map(({ data }, at) => `${data}#${contexts[at]?.attempt} ${contexts[at]?.signal.aborted}`))
      },
    )
    const started = await broker.start(worker)
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(2999)
    expect(batches).toEqual([])
    await clock.pass(8000)
    expect(batches).toEqual([['1#1 false', '2#1 false']])
    expect(await started.stop()).toMatchObject({ completed: 2, retried: 0 })
  })

  test('only the handler, and not the batch before it', async () => {
    const { broker, clock } = open()
    const worker = consumer('worker', notes, { timeout: '1s', retry: QUICK }).onBatch(Noted, { size: 10 }, async () => {
      await new Promise<void>((resolve) => void clock.after(700, resolve))
    })
    const started = await broker.start(worker)
    await broker.publish(
      notes,
      Array.from({ length: 40 }, (_, n) => Noted(n)),
    )
    await clock.pass(10_000)
    expect(await started.stop()).toEqual({ completed: 40, retried: 0, deadLettered: 0, released: 0 })
  })

  test('for each batch: a batch that takes too long fails as a whole', async () => {
    const { broker, clock } = open()
    const batches: number[][] = []
    const worker = consumer('worker', notes, { timeout: '1s', retry: { ...QUICK, attempts: 2 } }).onBatch(
      Noted,
      { size: 2 },
      async (events, contexts) => {
        batches.push(events.map(({ data }) => data))
        if (contexts[0]?.attempt === 1) await new Promise<void>((resolve) => void clock.after(1500, resolve))
      },
    )
    const started = await broker.start(worker)
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(1400)
    expect(batches).toEqual([[1, 2]])
    await clock.pass(2000)
    expect(batches).toEqual([
      [1, 2],
      [1, 2],
    ])
    expect(await started.stop()).toMatchObject({ completed: 2, retried: 2 })
  })

  test.each([3_600_000, -3_600_000, 400 * 86_400_000])(
    'elapsed time, and not a jump of the wall clock by %d ms',
    async (jumpMs) => {
      const { broker, clock } = open()
      let aborted: boolean | null = null
      const worker = consumer('worker', notes, { timeout: '30s', retry: { attempts: 1 } }).on(
        Noted,
        async ({ data }, ctx) => {
          await new Promise<void>((resolve) => void clock.after(data, resolve))
          aborted = ctx.signal.aborted
        },
      )
      const started = await broker.start(worker)
      await broker.publish(notes, Noted(29_000))
      await clock.pass(1000)
      clock.skewMs += jumpMs
      await clock.pass(28_000)
      expect(aborted).toBe(false)
      await broker.publish(notes, Noted(31_000))
      await clock.pass(1000)
      clock.skewMs -= jumpMs
      await clock.pass(29_000)
      await clock.pass(1000)
      expect(aborted).toBe(true)
      expect(await started.stop()).toMatchObject({ completed: 1, deadLettered: 1 })
    },
  )

  test('300 days exactly, with one timer for all handlers', () => {
    const DAY = 86_400_000
    const clock = new VirtualClock(0)
    const expired: string[] = []
    const limits = new TimeLimits<string>(300 * DAY, clock, (run) => expired.push(run))
    limits.begin('first')
    clock.step(DAY)
    limits.begin('second')
    limits.begin('ended')
    limits.end('ended')
    for (let day = 0; day < 299; day++) clock.step((day + 1) * DAY)
    expect(expired).toEqual([])
    clock.step(300 * DAY)
    expect(expired).toEqual(['first'])
    clock.step(301 * DAY)
    expect(expired).toEqual(['first', 'second'])
    expect(clock.nextMs).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('waits of more than a minute', () => {
  test('stop() waits for a handler as long as `drain` says', async () => {
    const { broker, clock } = open()
    const gate = new Gate()
    const started = await broker.start(consumer('worker', notes, { drain: '2h' }).on(Noted, () => gate.opened))
    await broker.publish(notes, Noted(1))
    await clock.pass(10)
    let summary: unknown = null
    void started.stop().then((all) => {
      summary = all
    })
    await clock.pass(7_199_000)
    expect(summary).toBeNull()
    gate.open()
    await clock.pass(10)
    expect(summary).toEqual({ completed: 1, retried: 0, deadLettered: 0, released: 0 })
  })

  test('a batch waits exactly for `wait`, also behind another one that runs meanwhile', async () => {
    const { broker, clock } = open()
    const batches: number[][] = []
    const gate = new Gate()
    const worker = consumer('worker', notes).onBatch(Noted, { size: 2, wait: '90s' }, async (events) => {
      batches.push(events.map(({ data }) => data))
      if (events[0]?.data === 1) await gate.opened
    })
    await broker.start(worker)
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(0)
    await broker.publish(notes, Noted(3))
    await clock.pass(80_000)
    gate.open()
    await clock.pass(9_999)
    expect(batches).toEqual([[1, 2]])
    await clock.pass(1)
    expect(batches).toEqual([[1, 2], [3]])
  })
})
