/** Every odd thing that a handler throws or returns: an attempt has failed or is done, and the consumer goes on. */
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { messageOf } from '../../src/base/thrown.ts'
import { failureOf } from '../../src/consumer/failure.ts'
import { consumer, type HandlerContext } from '../../src/index.ts'
import { Noted, notes, open, turns } from './fixture.ts'

const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}
const trap = (): never => {
  throw new Error('trap')
}
const hostile: ProxyHandler<object> = {
  get: trap,
  has: trap,
  getPrototypeOf: trap,
  ownKeys: trap,
  getOwnPropertyDescriptor: trap,
}

/** What is thrown, and what the dead letter's message says of it. */
const THROWN: readonly (readonly [name: string, make: () => unknown, message: string | RegExp])[] = [
  ['undefined', () => undefined, 'undefined'],
  ['null', () => null, 'null'],
  ['a string', () => 'no more', 'no more'],
  ['a long string', () => 'x'.repeat(5_000_000), /^x{2000}$/],
  ['a number', () => 7, '7'],
  ['a bigint', () => 5n, '5n'],
  ['a symbol', () => Symbol('s'), 'Symbol(s)'],
  ['a function', () => () => undefined, /Function/],
  ['an object of an API', () => ({ status: 500, message: 'from an API' }), "{ status: 500, message: 'from an API' }"],
  ['a large object', () => Array.from({ length: 100_000 }, (_, n) => ({ n })), /^\[.{100,2000}$/s],
  ['an object that contains itself', () => Object.assign({ a: 1 }, { get self() { return this } }), /a: 1/], // biome-ignore format: a line each
  ['an object without a prototype', () => Object.create(null), /null prototype/],
  ['an object that cannot be text', () => ({ toString: trap, [Symbol.toPrimitive]: trap }), /toString/],
  ['an object whose toJSON throws', () => ({ toJSON: trap }), /toJSON/],
  ['a revoked proxy', revoked, /Revoked/],
  ['a proxy whose traps throw', () => new Proxy({}, hostile), /./],
  ['an error in a proxy whose traps throw', () => new Proxy(new Error('x'), hostile), /./],
  [
    'an error whose message is an object',
    () => Object.assign(new Error('x'), { message: { code: 42 } }),
    '{ code: 42 }',
  ],
  [
    'an error whose message is undefined',
    () => Object.assign(new Error('x'), { message: undefined }),
    'an error without a message',
  ],
  [
    'an error whose message throws',
    () => Object.defineProperty(new Error('x'), 'message', { get: trap }),
    'an error without a message',
  ],
  ['an error whose name is a symbol', () => Object.assign(new Error('x'), { name: Symbol('q') }), 'x'],
  ['an error whose name is an object', () => Object.assign(new Error('x'), { name: { a: 1n } }), 'x'],
  ['an error whose name throws', () => Object.defineProperty(new Error('x'), 'name', { get: trap }), 'x'],
  ['an error whose stack is an array', () => Object.assign(new Error('x'), { stack: [1, 2] }), 'x'],
  ['an error whose stack throws', () => Object.defineProperty(new Error('x'), 'stack', { get: trap }), 'x'],
  ['an error whose code throws', () => Object.defineProperty(new Error('x'), 'code', { get: trap }), 'x'],
  ['an error whose cause is itself', () => { const error = new Error('x'); error.cause = error; return error }, 'x'], // biome-ignore format: a line each
  ['an error of another realm', () => runInNewContext('new TypeError("elsewhere")'), 'elsewhere'],
  [
    'an error that claims to be of Millrace',
    () => Object.assign(new Error('x'), { name: 'MillraceError', code: 'NO_SUCH' }),
    'x',
  ],
  ['a lone surrogate', () => new Error('\ud800'), /./],
  ['an aggregate', () => new AggregateError([new Error('a')], 'all failed'), 'all failed'],
  ['a promise that rejects', () => Promise.reject(new Error('unseen')), /Promise/],
  ['a thenable', () => withThen({}, () => undefined), /then/],
]

const unhandled: unknown[] = []
const note = (reason: unknown): void => void unhandled.push(reason)
beforeEach(() => {
  unhandled.length = 0
  process.on('unhandledRejection', note)
})
afterEach(() => {
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

/** An object with a `then`, whatever that is. */
function withThen(object: object, then: unknown): object {
  return Object.defineProperty(object, 'then', { value: then, enumerable: true })
}

type Work = (ctx: HandlerContext) => unknown

/**
 * What becomes of an event whose handler does this at each of two attempts. Another event shows that the consumer
 * continues.
 */
async function outcome(work: Work): Promise<{
  readonly calls: number
  readonly failure: Awaited<ReturnType<typeof letters>>[number]['failure'] | undefined
}> {
  const { broker, clock } = open()
  const letters_ = (): ReturnType<typeof letters> => letters(broker)
  let calls = 0
  let others = 0
  const worker = consumer('worker', notes, { retry: { attempts: 2, backoff: 'fixed', min: 5 } }).on(
    Noted,
    ({ data }, ctx) => {
      if (data === 0) return void others++
      calls++
      return work(ctx)
    },
  )
  const started = await broker.start(worker)
  await broker.publish(notes, Noted(1))
  await clock.pass(100)
  await broker.publish(notes, Noted(0))
  await clock.pass(100)
  expect(others).toBe(1)
  const [letter] = await letters_()
  const { completed, deadLettered } = await started.stop()
  expect(completed + deadLettered).toBe(2)
  return { calls, failure: letter?.failure }
}

const letters = (
  broker: ReturnType<typeof open>['broker'],
): ReturnType<ReturnType<typeof broker.deadLetters>['list']> => broker.deadLetters('worker').list()

describe('a handler throws', () => {
  test.each(THROWN)('%s', async (_name, make, message) => {
    const sync = await outcome(() => {
      throw make()
    })
    const later = await outcome(async () => {
      await Promise.resolve()
      throw make()
    })
    for (const { calls, failure } of [sync, later]) {
      expect(calls).toBe(2)
      expect(failure?.message).toEqual(typeof message === 'string' ? message : expect.stringMatching(message))
      expect(failure?.name).toMatch(/^[A-Za-z]+$/)
      expect(failure?.kind).toBe('error')
    }
  })

  test.each(THROWN)('%s from a batch', async (_name, make, message) => {
    const { broker, clock } = open()
    const worker = consumer('worker', notes, { retry: { attempts: 2, backoff: 'fixed', min: 5 } }).onBatch(
      Noted,
      { size: 5 },
      () => {
        throw make()
      },
    )
    const started = await broker.start(worker)
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(100)
    const messages = (await letters(broker)).map(({ failure }) => failure.message)
    expect(messages).toEqual([0, 1].map(() => (typeof message === 'string' ? message : expect.stringMatching(message))))
    expect(await started.stop()).toMatchObject({ completed: 0, retried: 2, deadLettered: 2 })
  })
})

describe('a handler rejects the event, or asks for another attempt, with', () => {
  test.each(THROWN)('%s', async (_name, make, message) => {
    const { calls, failure } = await outcome((ctx) => ctx.reject(make()))
    expect(calls).toBe(1)
    expect(failure?.kind).toBe('rejected')
    const given = _name === 'undefined' || _name === 'null' ? /no reason/ : message
    expect(failure?.message).toEqual(typeof given === 'string' ? given : expect.stringMatching(given))
    const again = await outcome((ctx) => ctx.retryAfter(5, make()))
    expect(again.calls).toBe(2)
    expect(again.failure?.kind).toBe('error')
  })

  test('a delay beyond ten years counts as ten years', async () => {
    const { broker, clock } = open()
    const worker = consumer('worker', notes).on(Noted, (_, ctx) => ctx.retryAfter('900000d'))
    const started = await broker.start(worker)
    await broker.publish(notes, Noted(1))
    await clock.pass(100)
    expect(await started.stop()).toMatchObject({ retried: 1 })
  })

  test('a wrong delay fails the attempt with INVALID_OPTION', async () => {
    const { calls, failure } = await outcome((ctx) => ctx.retryAfter('soon' as never))
    expect([calls, failure?.code]).toEqual([2, 'INVALID_OPTION'])
  })
})

describe('a handler returns', () => {
  const thenable = (then: (resolve: (value?: unknown) => void, reject: (reason: unknown) => void) => void): unknown =>
    withThen({}, then)

  test.each<readonly [string, Work]>([
    ['a value', () => 42],
    ['false', () => false],
    ['an error, which is not thrown', () => new Error('returned')],
    ['an object whose `then` is no function', () => withThen({}, 7)],
    ['a resolved thenable', () => thenable((resolve) => resolve())],
    [
      'a thenable that is a function',
      () =>
        withThen(
          () => undefined,
          (resolve: () => void) => resolve(),
        ),
    ],
    ['a thenable that resolves twice, and then rejects', () => thenable((resolve, reject) => { resolve(); resolve(); reject(new Error('late')) })], // biome-ignore format: a line each
    ['a thenable that resolves, and then throws', () => thenable((resolve) => { resolve(); throw new Error('late') })], // biome-ignore format: a line each
    ['a thenable of a thenable', () => thenable((resolve) => resolve(thenable((inner) => inner())))],
    ['a promise of another realm', () => runInNewContext('Promise.resolve(1)')],
  ])('%s: the event is done', async (_name, work) => {
    expect(await outcome(work)).toEqual({ calls: 1, failure: undefined })
  })

  test.each<readonly [string, Work, string]>([
    ['a thenable that rejects', () => thenable((_, reject) => reject(new Error('no'))), 'no'],
    ['a thenable whose `then` throws', () => thenable(trap), 'trap'],
    ['an object whose `then` cannot be read', () => Object.defineProperty({}, 'then', { get: trap }), 'trap'],
    [
      'a promise of another realm that rejects',
      () => runInNewContext('Promise.reject(new Error("elsewhere"))'),
      'elsewhere',
    ],
  ])('%s: the attempt fails', async (_name, work, message) => {
    const { calls, failure } = await outcome(work)
    expect([calls, failure?.message]).toEqual([2, message])
  })

  test('a revoked proxy fails the attempt', async () => {
    expect((await outcome(revoked)).failure?.message).toContain('revoked')
  })
})

describe('a batch handler answers', () => {
  async function batch(
    answer: (count: number) => unknown,
  ): Promise<{ readonly done: number[]; readonly messages: string[] }> {
    const { broker, clock } = open()
    const worker = consumer('worker', notes, { retry: { attempts: 1 } }).onBatch(
      Noted,
      { size: 2 },
      (events) => answer(events.length) as undefined,
    )
    const started = await broker.start(worker)
    await broker.publish(notes, [Noted(1), Noted(2)])
    await clock.pass(100)
    const dead = await letters(broker)
    const { completed } = await started.stop()
    expect(completed + dead.length).toBe(2)
    return {
      done: [0, 1].filter((offset) => !dead.some((letter) => letter.offset === offset)),
      messages: dead.map(({ failure }) => failure.message),
    }
  }

  test.each<readonly [string, () => unknown]>([
    ['nothing', () => undefined],
    ['null', () => null],
    ['done for each', () => ['done', 'done']],
    ['undefined for each', () => [undefined, null]],
    ['an array with holes', () => new Array(2)],
    ['a promise of outcomes', async () => ['done', undefined]],
  ])('%s: all events are done', async (_name, answer) => {
    expect((await batch(answer)).done).toEqual([0, 1])
  })

  test.each<readonly [string, unknown]>([
    ['what Promise.allSettled gives for a failure', { status: 'rejected', reason: new Error('x') }],
    ['what Promise.allSettled gives for a success', { status: 'fulfilled', value: 1 }],
    ['a string', 'failed'],
    ['false', false],
    ['true', true],
    ['a number', 0],
    ['a symbol', Symbol('s')],
    ['an object', { error: new Error('x') }],
    ['a revoked proxy', revoked()],
  ])('%s as the outcome of one event: that event fails with a message', async (_name, outcome) => {
    const { done, messages } = await batch(() => [outcome, 'done'])
    expect(done).toEqual([1])
    expect(messages[0]).toContain('an outcome is undefined or')
  })

  test('an error of another realm, or in a proxy, for one event: this event fails with it', async () => {
    expect(await batch(() => ['done', runInNewContext('new Error("elsewhere")')])).toEqual({
      done: [0],
      messages: ['elsewhere'],
    })
    expect(await batch(() => ['done', new Proxy(new Error('wrapped'), {})])).toEqual({
      done: [0],
      messages: ['wrapped'],
    })
  })

  test.each<readonly [string, () => unknown]>([
    ['too few', () => ['done']],
    ['too many', () => ['done', 'done', 'done']],
    ['a string as long as the batch', () => 'ab'],
    ['an object', () => ({ length: 2 })],
    ['a map', () => new Map([[0, 'done']])],
    ['true', () => true],
    ['a revoked proxy', () => revoked()],
  ])('%s: all attempts fail with a message', async (_name, answer) => {
    const { done, messages } = await batch(answer)
    expect(done).toEqual([])
    expect(new Set(messages).size).toBe(1)
  })
})

test('the text of any thrown value is short, and is made without calling the value', async () => {
  let called = 0
  const nosy = {
    [Symbol.for('nodejs.util.inspect.custom')]: () => String(called++),
    toString: () => String(called++),
    toJSON: () => called++,
  }
  expect(messageOf(nosy).length).toBeLessThan(2001)
  expect(called).toBe(0)
  for (const [, make] of THROWN) {
    const failure = failureOf(make())
    expect(JSON.stringify(failure).length).toBeLessThan(30_000)
    expect(Object.values(failure).every((value) => typeof value === 'string')).toBe(true)
  }
  await turns()
})
