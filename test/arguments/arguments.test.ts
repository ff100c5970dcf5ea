/**
 * Public calls with wrong arguments: each function and method that is exported, with one argument or one option that is hostile. It is accepted, or refused with
 * a `MillraceError`; what is refused changes nothing.
 */
import { describe, expect, it } from 'vitest'
import * as gateway from '../../src/gateway/index.ts'
import * as main from '../../src/index.ts'
import * as pattern from '../../src/pattern/index.ts'
import * as rules from '../../src/rules/index.ts'
import * as testing from '../../src/testing/index.ts'
import { answerOf, callsOf, type Sample } from './hostile.ts'

const {
  attribute,
  bytes,
  connect,
  consumer,
  decodeHttp,
  duration,
  encodeHttp,
  event,
  isMillraceError,
  queue,
  stream,
  validateCloudEvent,
} = main

const Happened = event('it.happened')
const CLOUD_EVENT = { specversion: '1.0', id: '1', source: '/test', type: 'it.happened', data: { n: 1 } } as const
const PATTERN = { type: ['it.happened'], data: { n: [{ numeric: ['>', 0] }] } }
const [RULE = expect.unreachable()] = rules.parseRuleFile(
  '{ name: rule, on: happenings, when: { data: { n: [1] } }, then: drop }',
  'rule.yaml',
)

const nothing = (): undefined => undefined
const channelOptions = {
  events: [Happened],
  key: () => 'k',
  dedupe: { age: '1m', count: 10 },
  maxEventBytes: '1KiB',
} as const
const consumerOptions = {
  concurrency: 2,
  retry: { attempts: 2, backoff: 'fixed', min: '1s', max: '2s' },
  onDead: 'skip',
  from: 'end',
  timeout: '1s',
  lease: '1s',
  drain: '1s',
  stall: '1s',
} as const
const happenings = stream('happenings')

const PURE: readonly Sample[] = [
  {
    name: 'event',
    call: event as Sample['call'],
    args: () => ['a.b', undefined, { source: '/x', dataschema: 'urn:x' }],
    bags: [2],
  },
  {
    name: 'definition',
    call: Happened as Sample['call'],
    args: () => [1, { id: '1', source: '/s', time: new Date(0), subject: 's', extensions: { a: 1 } }],
    free: [0],
  },
  { name: 'is', call: Happened.is as Sample['call'], args: () => [CLOUD_EVENT] },
  {
    name: 'stream',
    call: stream as Sample['call'],
    args: () => ['s', { ...channelOptions, retain: { age: '1d', bytes: '1MiB', count: 5, latestByKey: true } }],
    bags: [1],
  },
  {
    name: 'retain',
    call: (retain: object) => stream('s', { retain }),
    args: () => [{ age: '1d', bytes: '1MiB', count: 5, latestByKey: true }],
    bags: [0],
  },
  {
    name: 'dedupe',
    call: (dedupe: object) => stream('s', { dedupe }),
    args: () => [{ age: '1d', count: 5 }],
    bags: [0],
  },
  { name: 'queue', call: queue as Sample['call'], args: () => ['q', { ...channelOptions }], bags: [1] },
  {
    name: 'consumer',
    call: consumer as Sample['call'],
    args: () => ['k', happenings, { ...consumerOptions }],
    bags: [2],
  },
  {
    name: 'retry',
    call: (retry: object) => consumer('k', happenings, { retry }),
    args: () => [{ ...consumerOptions.retry }],
    bags: [0],
  },
  {
    name: 'on',
    call: (of: never, handler: never) => consumer('k', happenings).on(of, handler),
    args: () => [Happened, nothing],
  },
  {
    name: 'where',
    call: (where: never) => consumer('k', happenings).on(Happened.where(where), nothing),
    args: () => [PATTERN.data],
  },
  { name: 'onAny', call: (handler: never) => consumer('k', happenings).onAny(handler), args: () => [nothing] },
  {
    name: 'onBatch',
    call: (of: never, options: never, handler: never) => consumer('k', happenings).onBatch(of, options, handler),
    args: () => [Happened, { size: 2, wait: '1s' }, nothing],
    bags: [1],
  },
  { name: 'duration', call: duration as Sample['call'], args: () => ['1s', 'T'], free: [1] },
  { name: 'bytes', call: bytes as Sample['call'], args: () => ['1KiB', 'S'], free: [1] },
  { name: 'attribute', call: attribute as Sample['call'], args: () => [CLOUD_EVENT, 'id'] },
  { name: 'isMillraceError', call: isMillraceError as Sample['call'], args: () => [new Error('x'), 'CLOSED'] },
  { name: 'validateCloudEvent', call: validateCloudEvent as Sample['call'], args: () => [CLOUD_EVENT] },
  {
    name: 'validateCloudEvent of',
    call: validateCloudEvent as Sample['call'],
    args: () => [{ ...CLOUD_EVENT }],
    bags: [0],
  },
  { name: 'encodeHttp', call: encodeHttp as Sample['call'], args: () => [[CLOUD_EVENT], 'binary'] },
  {
    name: 'decodeHttp',
    call: decodeHttp as Sample['call'],
    args: () => [{ 'content-type': 'application/cloudevents+json' }, Buffer.from(JSON.stringify(CLOUD_EVENT))],
  },
  { name: 'compilePattern', call: pattern.compilePattern as Sample['call'], args: () => [PATTERN] },
  {
    name: 'pattern.matches',
    call: (of: never) => pattern.compilePattern(PATTERN).matches(of),
    args: () => [CLOUD_EVENT],
  },
  { name: 'explainPattern', call: pattern.explainPattern as Sample['call'], args: () => [PATTERN, CLOUD_EVENT] },
  { name: 'compileExpression', call: pattern.compileExpression as Sample['call'], args: () => ["type = 'a'"] },
  {
    name: 'expression.matches',
    call: (of: never) => pattern.compileExpression("type = 'a'").matches(of),
    args: () => [CLOUD_EVENT],
  },
  {
    name: 'expression.evaluate',
    call: (of: never) => pattern.compileExpression("type = 'a'").evaluate(of),
    args: () => [CLOUD_EVENT],
  },
  { name: 'compileFilter', call: pattern.compileFilter as Sample['call'], args: () => [{ exact: { type: 'a' } }] },
  {
    name: 'RuleIndex.add',
    call: (...args: never[]) => new pattern.RuleIndex().add(...(args as unknown as [string, string])),
    args: () => ['rule', PATTERN],
  },
  {
    name: 'RuleIndex.remove',
    call: (...args: never[]) => new pattern.RuleIndex().remove(...(args as unknown as [string])),
    args: () => ['rule'],
  },
  { name: 'RuleIndex.match', call: (of: never) => ruleIndex().match(of), args: () => [CLOUD_EVENT] },
  {
    name: 'parseRuleFile',
    call: rules.parseRuleFile as Sample['call'],
    args: () => ['name: a\non: b\nthen: drop', 'a.yaml'],
  },
  { name: 'checkHistory', call: testing.checkHistory as Sample['call'], args: () => [[], { exactlyOnce: false }] },
  { name: 'readHistory', call: testing.readHistory as Sample['call'], args: () => ['{}\n'] },
  {
    name: 'testBroker',
    call: testing.testBroker as Sample['call'],
    args: () => [{ seed: 1, start: new Date(0), faults: { redeliver: 0.5 } }],
    bags: [0],
  },
]

function ruleIndex(): pattern.RuleIndex {
  const index = new pattern.RuleIndex()
  index.add('rule', PATTERN)
  return index
}

function brokerSamples(broker: main.Broker): readonly Sample[] {
  const letters = broker.deadLetters('worker')
  const delayed = broker.delayed('happenings')
  const query = { channel: 'happenings', offset: 0, id: 'x', key: 'k', limit: 1 }
  return [
    {
      name: 'publish',
      call: broker.publish.bind(broker) as Sample['call'],
      args: () => [happenings, Happened(1), { delay: '1h' }],
      bags: [1, 2],
    },
    {
      name: 'publish at',
      call: broker.publish.bind(broker) as Sample['call'],
      args: () => [happenings, Happened(1), { at: new Date() }],
      bags: [2],
    },
    {
      name: 'publish several',
      call: (one: never) => broker.publish(happenings, [Happened(1), one]),
      args: () => [Happened(2)],
    },
    { name: 'publish data', call: (data: never) => broker.publish(happenings, Happened(data)), args: () => [1] },
    { name: 'declare', call: broker.declare.bind(broker) as Sample['call'], args: () => [happenings] },
    {
      name: 'start',
      call: broker.start.bind(broker) as Sample['call'],
      args: () => [consumer('other', happenings).onAny(nothing)],
    },
    {
      name: 'read',
      call: broker.read.bind(broker) as Sample['call'],
      args: () => [
        happenings,
        { from: 'beginning', to: 'end', where: PATTERN, follow: false, signal: new AbortController().signal },
      ],
      bags: [1],
    },
    {
      name: 'tail',
      call: broker.tail.bind(broker) as Sample['call'],
      args: () => [
        ['happenings'],
        { from: 'beginning', to: 'end', where: PATTERN, follow: false, signal: new AbortController().signal },
      ],
      bags: [1],
    },
    { name: 'tail of one', call: broker.tail.bind(broker) as Sample['call'], args: () => ['happenings'] },
    {
      name: 'deadLetters',
      call: ((name: string) => broker.deadLetters(name).list()) as Sample['call'],
      args: () => ['worker'],
    },
    { name: 'list', call: letters.list.bind(letters) as Sample['call'], args: () => [{ ...query }], bags: [0] },
    { name: 'redrive', call: letters.redrive.bind(letters) as Sample['call'], args: () => [{ ...query }], bags: [0] },
    { name: 'drop', call: letters.drop.bind(letters) as Sample['call'], args: () => [{ ...query }], bags: [0] },
    {
      name: 'delayed',
      call: ((name: string) => broker.delayed(name).list()) as Sample['call'],
      args: () => ['happenings'],
    },
    {
      name: 'delayed list',
      call: delayed.list.bind(delayed) as Sample['call'],
      args: () => [{ id: 'x', key: 'k', limit: 1, after: { id: 'x', dueAtMs: 1 } }],
      bags: [0],
    },
    { name: 'delayed cancel', call: delayed.cancel.bind(delayed) as Sample['call'], args: () => ['x'] },
    {
      name: 'rewind',
      call: broker.rewind.bind(broker) as Sample['call'],
      args: () => ['worker', 'end', { channel: 'happenings' }],
      bags: [2],
    },
    { name: 'removeConsumer', call: broker.removeConsumer.bind(broker) as Sample['call'], args: () => ['nobody'] },
    { name: 'removeChannel', call: broker.removeChannel.bind(broker) as Sample['call'], args: () => ['nothing'] },
    {
      name: 'connect',
      call: connect as Sample['call'],
      args: () => ['memory:', { source: '/x', onAlarm: nothing }],
      bags: [1],
    },
  ]
}

/** Stored and settled, as far as it can be seen from outside. */
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

/** Called by the other tests of this file, or a class whose methods are; the browser's client is measured by its size and runs in pages. */
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
