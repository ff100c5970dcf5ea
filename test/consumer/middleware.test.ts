/** Middleware around handlers and batches: order, what it may change, and every odd way to call `next`. */
import { describe, expect, test } from 'vitest'
import type { DeliveryContext } from '../../src/consumer/handler-context.ts'
import { within } from '../../src/consumer/middleware.ts'
import { consumer, type Middleware, type Running, type StoredEvent } from '../../src/index.ts'
import { Gate, Noted, notes, Other, open, turns } from './fixture.ts'

const FIXED = { attempts: 2, backoff: 'fixed', min: 10 } as const

async function summaryOf(
  middleware: Middleware,
  handler: () => unknown = () => undefined,
): Promise<{ readonly summary: object; readonly message: string | undefined }> {
  const { broker, clock } = open()
  const running = await broker.start(
    consumer('worker', notes, { retry: FIXED })
      .use(middleware as never)
      .on(Noted, handler),
  )
  await broker.publish(notes, Noted(1))
  await clock.pass(100)
  const [letter] = await broker.deadLetters('worker').list()
  return { summary: await running.stop(), message: letter?.failure.message }
}

const DONE = { completed: 1, retried: 0, deadLettered: 0, released: 0 }
const FAILED = { completed: 0, retried: 1, deadLettered: 1, released: 0 }

test('the first middleware is the outermost, also around handlers that were added before it', async () => {
  const { broker, clock } = open()
  const ran: string[] = []
  const named =
    (name: string): Middleware =>
    async (event, ctx, next) => {
      ran.push(`${name} begins ${event.type} ${ctx.attempt} ${ctx.batch}`)
      await next()
      ran.push(`${name} ends`)
    }
  const worker = consumer('worker', notes)
    .on(Noted, () => void ran.push('first handler'))
    .use(named('outer'))
    .use(named('inner'))
    .on(Noted, async () => void ran.push('second handler'))
    .onAny(() => void ran.push('any'))
  await broker.start(worker)
  await broker.publish(notes, Noted(1))
  await clock.pass(10)
  expect(ran).toEqual([
    'outer begins noted 1 null',
    'inner begins noted 1 null',
    'first handler',
    'second handler',
    'inner ends',
    'outer ends',
  ])
})

test('if handlers and middleware are synchronous, an event is settled before the next one is handled', () => {
  const ctx = { consumer: 'worker', layers: null } as DeliveryContext
  const pass: Middleware = (_event, _ctx, next) => void next()
  const work = { event: {} as StoredEvent, ctx, contexts: [ctx], handle: () => 'answer' }
  expect(within([pass, pass], work)).toBe('answer')
  expect(within([() => undefined], work)).toBe(undefined)
  expect(within([pass], { ...work, handle: async () => 'late' })).toBeInstanceOf(Promise)
})

test('a middleware runs once around a batch, with all of its events', async () => {
  const { broker, clock } = open()
  const seen: unknown[] = []
  const worker = consumer('worker', notes, { retry: FIXED })
    .use(async (event, ctx, next) => {
      seen.push([event.data, ctx.batch?.map((item) => [item.event.data, item.ctx.offset])])
      await next()
    })
    .onBatch(Noted, { size: 10 }, (events, contexts) =>
      events.map(({ data }, at) => (data === 2 && contexts[at]?.attempt === 1 ? new Error('once more') : 'done')),
    )
    .on(Other, () => undefined)
  const running = await broker.start(worker)
  await broker.publish(notes, [Noted(1), Noted(2), Other(3)])
  await clock.pass(100)
  expect(seen).toContainEqual([
    1,
    [
      [1, 0],
      [2, 1],
    ],
  ])
  expect(seen).toContainEqual([2, [[2, 1]]])
  expect(seen).toContainEqual([3, undefined])
  expect(await running.stop()).toMatchObject({ completed: 3, retried: 1 })
})

describe('next', () => {
  test.each<readonly [string, Middleware]>([
    ['awaited', async (_event, _ctx, next) => void (await next())],
    ['returned', (_event, _ctx, next) => next()],
    ['not awaited', (_event, _ctx, next) => void next()],
    ['called later', async (_event, _ctx, next) => { await turns(); await next() }], // biome-ignore format: a line each
    ['not called', () => undefined],
  ])('%s: the event is done', async (_name, middleware) => {
    expect((await summaryOf(middleware, async () => turns())).summary).toEqual(DONE)
  })

  test.each<readonly [string, Middleware]>([
    ['awaited', async (_event, _ctx, next) => void (await next())],
    ['returned', (_event, _ctx, next) => next()],
    ['not awaited', (_event, _ctx, next) => void next()],
    ['not awaited, by one that goes on', async (_event, _ctx, next) => { void next(); await turns() }], // biome-ignore format: a line each
  ])('%s, and the handler throws: the attempt fails with its error', async (_name, middleware) => {
    const fails = async (): Promise<never> => {
      await Promise.resolve()
      throw new Error('no')
    }
    const failsAtOnce = (): never => {
      throw new Error('at once')
    }
    expect(await summaryOf(middleware, fails)).toEqual({ summary: FAILED, message: 'no' })
    expect(await summaryOf(middleware, failsAtOnce)).toEqual({ summary: FAILED, message: 'at once' })
  })

  test.each<[string, Middleware]>([
    ['with others, by Promise.all', async (_event, _ctx, next) => void (await Promise.all([next(), turns()]))],
    ['by then', (_event, _ctx, next) => next().then(() => 'ignored')],
    ['by finally', (_event, _ctx, next) => next().finally(() => undefined)],
    ['later, when the handler has ended', async (_event, _ctx, next) => { const ended = next(); await turns(); await ended }], // biome-ignore format: a line each
  ])('awaited %s: the attempt ends as the handler does', async (_name, middleware) => {
    const fails = async (): Promise<never> => {
      await Promise.resolve()
      throw new Error('no')
    }
    expect(await summaryOf(middleware, fails)).toEqual({ summary: FAILED, message: 'no' })
    expect((await summaryOf(middleware, async () => undefined)).summary).toEqual(DONE)
    expect((await summaryOf(middleware)).summary).toEqual(DONE)
  })

  test('completes the event if the middleware catches its error', async () => {
    const caught: unknown[] = []
    const middleware: Middleware = (_event, _ctx, next) => next().catch((error: unknown) => caught.push(error))
    const { summary } = await summaryOf(middleware, () => {
      throw new Error('no')
    })
    expect(summary).toEqual(DONE)
    expect(caught).toHaveLength(1)
  })

  test('fails or rejects the event if the middleware replaces its error', async () => {
    const fails = (): never => {
      throw new Error('no')
    }
    const replaced = await summaryOf(
      (_event, _ctx, next) => next().catch(() => Promise.reject(new Error('another'))),
      fails,
    )
    expect(replaced).toEqual({ summary: FAILED, message: 'another' })
    const rejected = await summaryOf((_event, ctx, next) => next().catch((error: unknown) => ctx.reject(error)), fails)
    expect(rejected).toEqual({ summary: { completed: 0, retried: 0, deadLettered: 1, released: 0 }, message: 'no' })
  })

  test('fails the attempt if it is called twice, and the handler runs once', async () => {
    let calls = 0
    const { summary, message } = await summaryOf(
      async (_event, _ctx, next) => {
        await next()
        await next()
      },
      () => calls++,
    )
    expect(summary).toEqual(FAILED)
    expect(message).toContain('next() twice')
    expect(calls).toBe(2)
  })

  test('fails the attempt if the middleware throws before it, after it, or synchronously', async () => {
    const fail = (): never => {
      throw new Error('no')
    }
    for (const middleware of [
      fail,
      async () => fail(),
      async (_event, _ctx, next) => {
        await next()
        fail()
      },
    ] satisfies Middleware[]) {
      // biome-ignore format: a line each
      expect(await summaryOf(middleware)).toEqual({ summary: FAILED, message: 'no' })
    }
  })
})

test('the time of a middleware counts for the time limit, and a handler that it does not await is waited for', async () => {
  const { broker, clock } = open()
  const gate = new Gate()
  let running = 0
  let together = 0
  const worker = consumer('worker', notes, { timeout: '1s', concurrency: 1, retry: FIXED })
    .use((_event, _ctx, next) => void next())
    .on(Noted, async () => {
      together = Math.max(together, ++running)
      await gate.opened
      running--
    })
  const started = await broker.start(worker)
  await broker.publish(notes, [Noted(1), Noted(2)])
  await clock.pass(5000)
  expect([running, together]).toEqual([1, 1])
  gate.open()
  await clock.pass(5000)
  expect(together).toBe(1)
  expect(await started.stop()).toMatchObject({ completed: 2, retried: 1 })
})

test.each(['in the middleware', 'in the handler', 'in a batch'] as const)(
  'stopping %s does not wait for that middleware',
  async (where) => {
    const { broker, clock } = open()
    let running: Running | null = null
    const stop = async (): Promise<void> => {
      await turns()
      await running?.stop()
    }
    const worker = consumer('worker', notes, { drain: '1h' })
      .use(async (_event, _ctx, next) => {
        await turns()
        await next()
      })
      .use(async (_event, _ctx, next) => {
        if (where === 'in the middleware') await stop()
        await next()
      })
      .use((_event, _ctx, next) => next())
    if (where === 'in a batch') worker.onBatch(Noted, { size: 2 }, () => stop())
    else worker.on(Noted, () => (where === 'in the handler' ? stop() : undefined))
    running = await broker.start(worker)
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(0)
    expect(await running.done).toMatchObject({ completed: 2 })
  },
)

test('a middleware is refused after the start, and if it is not a function', async () => {
  const { broker } = open()
  const worker = consumer('worker', notes).on(Noted, () => undefined)
  expect(() => worker.use('logging' as never)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
  await broker.start(worker)
  expect(() => worker.use(() => undefined)).toThrow(/was started before this middleware/)
})

test("the event of a middleware has the type of the channels' events", () => {
  consumer('worker', notes).use((event, _ctx, next) => {
    const type: 'noted' | 'other' = event.type
    const data: number = event.data
    return [type, data, next()]
  })
  consumer('worker', 'anything').use((event, ctx) => [event.type satisfies string, ctx.log, ctx.batch])
})
