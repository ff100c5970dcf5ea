/** Every public function with valid arguments, from which the test makes invalid ones. */
import { expect } from 'vitest'
import * as main from '../../src/index.ts'
import * as pattern from '../../src/pattern/index.ts'
import * as rules from '../../src/rules/index.ts'
import * as testing from '../../src/testing/index.ts'
import type { Sample } from './hostile.ts'

const {
  attribute,
  bytes,
  connect,
  consumer,
  decodeHttp,
  duration,
  encodeHttp,
  event,
  instances,
  isMillraceError,
  process: processOf,
  queue,
  stream,
  to,
  validateCloudEvent,
} = main

export const Happened = event('it.happened')
export const CLOUD_EVENT = {
  specversion: '1.0',
  id: '1',
  source: '/test',
  type: 'it.happened',
  data: { n: 1 },
} as const
export const PATTERN = { type: ['it.happened'], data: { n: [{ numeric: ['>', 0] }] } }
export const [RULE = expect.unreachable()] = rules.parseRuleFile(
  '{ name: rule, on: happenings, when: { data: { n: [1] } }, then: drop }',
  'rule.yaml',
)

export const nothing = (): undefined => undefined
export const channelOptions = {
  events: [Happened],
  key: () => 'k',
  dedupe: { age: '1m', count: 10 },
  maxEventBytes: '1KiB',
} as const
export const consumerOptions = {
  concurrency: 2,
  retry: { attempts: 2, backoff: 'fixed', min: '1s', max: '2s' },
  onDead: 'skip',
  from: 'end',
  timeout: '1s',
  lease: '1s',
  drain: '1s',
  stall: '1s',
} as const
export const happenings = stream('happenings')
const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const
const checkout = processOf('checkout', happenings, { state: anything }).start(Happened, { id: () => 'one' }, () => ({
  state: {},
}))

export const PURE: readonly Sample[] = [
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
    name: 'process',
    call: processOf as Sample['call'],
    args: () => ['k', happenings, { state: anything, version: 1 }],
    bags: [2],
  },
  { name: 'to', call: to as Sample['call'], args: () => [happenings, Happened(1)] },
  { name: 'instances', call: instances as Sample['call'], args: () => [{}, checkout] },
  { name: 'given', call: testing.given as Sample['call'], args: () => [checkout, {}, ['unpaid']] },
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

export function ruleIndex(): pattern.RuleIndex {
  const index = new pattern.RuleIndex()
  index.add('rule', PATTERN)
  return index
}

export function brokerSamples(broker: main.Broker): readonly Sample[] {
  const letters = broker.deadLetters('worker')
  const delayed = broker.channel('happenings').delayed
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
      call: ((name: string) => broker.channel(name).delayed.list()) as Sample['call'],
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
      call: (async (name: string, ...rest: Parameters<main.ConsumerHandle['rewind']>) =>
        broker.consumer(name).rewind(...rest)) as Sample['call'],
      args: () => ['worker', 'end', { channel: 'happenings' }],
      bags: [2],
    },
    {
      name: 'pause',
      call: (async (name: string, ...rest: Parameters<main.ConsumerHandle['pause']>) =>
        broker.consumer(name).pause(...rest)) as Sample['call'],
      args: () => ['nobody', { reason: 'x' }],
      bags: [1],
    },
    {
      name: 'consumer',
      call: (async (name: string) => broker.consumer(name).describe()) as Sample['call'],
      args: () => ['worker'],
    },
    {
      name: 'channel',
      call: (async (name: string) => broker.channel(name).describe()) as Sample['call'],
      args: () => ['happenings'],
    },
    {
      name: 'remove a consumer',
      call: (async (name: string) => broker.consumer(name).remove()) as Sample['call'],
      args: () => ['nobody'],
    },
    {
      name: 'remove a channel',
      call: (async (name: string) => broker.channel(name).remove()) as Sample['call'],
      args: () => ['nothing'],
    },
    {
      name: 'connect',
      call: connect as Sample['call'],
      args: () => ['memory:', { source: '/x', onAlarm: nothing }],
      bags: [1],
    },
  ]
}
