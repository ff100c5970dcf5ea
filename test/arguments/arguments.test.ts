/**
 * Public calls with wrong arguments: each exported function and method, with one hostile argument or option. The call
 * succeeds, or is refused with a `MillraceError` and changes nothing.
 */
import { describe, expect, it } from 'vitest'
import * as gateway from '../../src/gateway/index.ts'
import * as main from '../../src/index.ts'
import * as pattern from '../../src/pattern/index.ts'
import * as rules from '../../src/rules/index.ts'
import * as testing from '../../src/testing/index.ts'
import { answerOf, callsOf, type Sample } from './hostile.ts'

import { brokerSamples, CLOUD_EVENT, Happened, happenings, nothing, PURE, RULE } from './samples.ts'

const { connect, consumer } = main

/** What is stored and settled, as far as it is visible from outside. */
async function stateOf(broker: main.Broker): Promise<unknown> {
  const { channels, consumers } = await broker.describe()
  return {
    channels: channels.map(({ name, first, next, scheduled }) => ({ name, first, next, scheduled })),
    consumers: consumers.map(({ name, channels: positions, deadLetters }) => ({
      name,
      floors: positions.map(({ floor }) => floor),
      deadLetters,
    })),
  }
}

/** A broker with a channel, a consumer and two dead letters. */
async function used(): Promise<main.Broker> {
  const broker = await connect('memory:')
  const running = await broker.start(consumer('worker', happenings).on(Happened, (_, ctx) => ctx.reject('no')))
  await broker.publish(happenings, [Happened(1), Happened(2)])
  await expect.poll(async () => (await broker.deadLetters('worker').list()).length).toBe(2)
  await running.stop()
  return broker
}

async function judge(
  samples: readonly Sample[],
  state: () => Promise<unknown> = async () => null,
): Promise<{ raw: string[]; changed: string[]; calls: number }> {
  const raw: string[] = []
  const changed: string[] = []
  let calls = 0
  for (const sample of samples) {
    let before = JSON.stringify(await state())
    for (const call of callsOf(sample)) {
      calls++
      const answer = await answerOf(call)
      if (answer.kind === 'raw') raw.push(`${call.title}: ${answer.message}`)
      const after = JSON.stringify(await state())
      if (answer.kind === 'refused' && after !== before) changed.push(`${call.title}: ${answer.message}`)
      before = after
    }
  }
  return { raw, changed, calls }
}

/**
 * Called by other tests of this file, or a class whose methods are. The browser's client is limited in size and runs in
 * pages.
 */
const ELSEWHERE = [
  'connect',
  'rulesOf',
  'startRules',
  'createGateway',
  'serveGateway',
  'RuleIndex',
  'MillraceError',
  'HistoryRecorder',
  'conformance',
]

describe('public calls with wrong arguments', () => {
  it('are made of every function that is exported', () => {
    const functions = [main, pattern, rules, gateway, testing]
      .flatMap((entry) => Object.entries(entry))
      .filter(([, value]) => typeof value === 'function')
    const called = new Set<unknown>(PURE.map(({ call }) => call))
    expect(
      functions.filter(([name, value]) => !called.has(value) && !ELSEWHERE.includes(name)).map(([name]) => name),
    ).toEqual([])
  })

  it.each(PURE.map((sample) => [sample.name, sample] as const))('%s', async (_, sample) => {
    const { raw, calls } = await judge([sample])
    expect(raw).toEqual([])
    expect(calls).toBeGreaterThan(20)
  })

  it('a broker', async () => {
    const broker = await used()
    const { raw, changed, calls } = await judge(brokerSamples(broker), () => stateOf(broker))
    expect(raw).toEqual([])
    expect(changed).toEqual([])
    expect(calls).toBeGreaterThan(500)
    await broker.close()
  })

  it('a query of dead letters that names none of them, in any way, touches none', async () => {
    const broker = await used()
    const letters = broker.deadLetters('worker')
    class Query {
      get id(): string {
        return 'none of them'
      }
    }
    const others = [Object.create({ id: 'none of them' }), new Query()]
    for (const query of others) {
      expect(await letters.list(query)).toEqual([])
      for (const verb of ['redrive', 'drop'] as const)
        await expect(letters[verb](query)).rejects.toMatchObject({ code: 'UNKNOWN_DEAD_LETTER' })
    }
    const noQueries = [
      Promise.resolve({ id: 'none of them' }),
      new Map([['id', 'none of them']]),
      new Date(),
      Object.create({ ids: ['x'] }),
    ]
    for (const query of [...noQueries, Object.create({ id: undefined })]) {
      for (const verb of ['list', 'redrive', 'drop'] as const)
        await expect(letters[verb](query as object)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    }
    expect(await letters.list()).toHaveLength(2)
    await broker.close()
  })

  it.each([Number.NaN, -1, 1.5])('an offset of %d is refused when the consumer is made', (from) => {
    expect(() => consumer('k', happenings, { from: { offset: from } })).toThrow(/from.offset must be a whole number/)
  })

  it('rules', async () => {
    const broker = await used()
    const book = rules.rulesOf(broker)
    await book.put(RULE)
    const { raw, changed } = await judge(
      [
        {
          name: 'rulesOf',
          call: ((given: main.Broker, options: object) => rules.rulesOf(given, options).list()) as Sample['call'],
          args: () => [broker, { author: 'ann' }],
          bags: [1],
        },
        {
          name: 'startRules',
          call: rules.startRules as Sample['call'],
          args: () => [broker, { functions: {}, author: 'ann', http: {}, onProblem: nothing }],
          bags: [1],
        },
        {
          name: 'http',
          call: ((http: object) => rules.startRules(broker, { http })) as Sample['call'],
          args: () => [{ allow: [], secret: () => 'x' }],
          bags: [0],
        },
        {
          name: 'put',
          call: book.put.bind(book) as Sample['call'],
          args: () => [{ ...RULE }, { author: 'ann', reason: 'why' }],
          bags: [0, 1],
        },
        {
          name: 'putAll',
          call: book.putAll.bind(book) as Sample['call'],
          args: () => [[RULE], { author: 'ann' }],
          bags: [1],
        },
        {
          name: 'enable',
          call: book.enable.bind(book) as Sample['call'],
          args: () => ['rule', { author: 'ann' }],
          bags: [1],
        },
        {
          name: 'disable',
          call: book.disable.bind(book) as Sample['call'],
          args: () => ['rule', { author: 'ann' }],
          bags: [1],
        },
        { name: 'get', call: book.get.bind(book) as Sample['call'], args: () => ['rule'] },
        { name: 'history', call: book.history.bind(book) as Sample['call'], args: () => ['rule'] },
        {
          name: 'test',
          call: book.test.bind(book) as Sample['call'],
          args: () => ['rule', { on: 'happenings', from: 'beginning', to: 'end', show: 1 }],
          bags: [1],
        },
        { name: 'explain', call: book.explain.bind(book) as Sample['call'], args: () => ['rule', CLOUD_EVENT] },
        {
          name: 'remove',
          call: book.remove.bind(book) as Sample['call'],
          args: () => ['nobody', { author: 'ann' }],
          bags: [1],
        },
      ],
      () => stateOf(broker),
    )
    expect(raw).toEqual([])
    expect(changed).toEqual([])
    await broker.close()
  })

  it('a gateway', async () => {
    const broker = await connect('memory:')
    const options = {
      hosts: ['localhost'],
      cors: ['http://localhost'],
      limits: {
        requestsPerSecond: 5,
        open: 5,
        bytes: '1MiB',
        caller: { requestsPerSecond: 5, open: 5, bytes: '1MiB' },
      },
      webhooks: {},
      push: {},
      maxBodyBytes: '1MiB',
      heartbeat: '1s',
      stall: '1s',
      maxStreams: 1,
      drain: '1s',
      fallback: () => new Response(null),
      onError: nothing,
    }
    const served = { port: 0, host: '127.0.0.1', requestTimeout: '1s', idle: '1s', maxConnections: 1, tls: undefined }
    const { raw } = await judge([
      {
        name: 'createGateway',
        call: gateway.createGateway as Sample['call'],
        args: () => [broker, { ...options }],
        bags: [1],
      },
      {
        name: 'limits',
        call: ((limits: object) => gateway.createGateway(broker, { limits })) as Sample['call'],
        args: () => [{ ...options.limits }],
        bags: [0],
      },
      {
        name: 'serveGateway',
        call: gateway.serveGateway as Sample['call'],
        args: () => [broker, { ...served }],
        bags: [1],
      },
    ])
    expect(raw).toEqual([])
    await broker.close()
  })

  it('a test broker', async () => {
    const broker = testing.testBroker()
    await broker.declare(happenings)
    const { raw } = await judge([
      { name: 'published', call: broker.published.bind(broker) as Sample['call'], args: () => [happenings] },
      { name: 'handled', call: broker.handled.bind(broker) as Sample['call'], args: () => ['worker'] },
      { name: 'advance', call: ((by: never) => broker.advance(by)) as Sample['call'], args: () => ['1s'] },
      {
        name: 'inject',
        call: broker.inject.bind(broker) as Sample['call'],
        args: () => [{ redeliver: 0, crash: 0 }],
        bags: [0],
      },
    ])
    expect(raw).toEqual([])
    await broker.close()
  })
})
