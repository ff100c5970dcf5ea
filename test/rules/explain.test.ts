/** Tests of rules on stored events, and explanations of why an event matches or not. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, connect, stream } from '../../src/index.ts'
import { explainExpression } from '../../src/pattern/expression/explain-expression.ts'
import { explainPattern } from '../../src/pattern/index.ts'
import { type RuleDefinition, rulesOf } from '../../src/rules/index.ts'

const event = {
  specversion: '1.0',
  id: '1',
  source: '/s',
  type: 'cart.item.added',
  subject: 'c-1',
  data: {
    n: 7,
    sku: 'tea',
    ip: '10.0.0.1',
    items: [
      { a: 1, b: 2 },
      { a: 3, b: 4 },
    ],
    tags: [],
  },
}

describe('explaining a pattern', () => {
  it.each([
    [{ type: ['cart.item.added'] }, 'all 1 condition(s) hold'],
    [{ type: ['cart.item.added'], data: { n: [{ numeric: ['>', 100] }] } }, 'data.n must be > 100; it is 7'],
    [
      { data: { n: [{ numeric: ['>=', 8, '<', 9] }, 'x', null] } },
      'data.n must be >= 8 and < 9 or "x" or null; it is 7',
    ],
    [{ data: { gone: ['x'] } }, 'data.gone must be "x"; it is missing'],
    [{ data: { sku: [{ exists: false }] } }, 'data.sku must be absent; it is "tea"'],
    [{ data: { tags: [{ exists: true }] } }, 'data.tags must be there; it is missing'],
    [
      { data: { sku: [{ 'anything-but': ['tea', 'cup'] }] } },
      'data.sku must be anything but "tea", "cup"; it is "tea"',
    ],
    [
      { data: { sku: [{ 'anything-but': { prefix: 't' } }] } },
      'data.sku must be anything but a text that begins with "t"; it is "tea"',
    ],
    [{ data: { n: [{ 'anything-but': 7 }] } }, 'data.n must be anything but 7; it is 7'],
    [{ data: { ip: [{ cidr: '10.1.0.0/16' }] } }, 'data.ip must be an address in 10.1.0.0/16; it is "10.0.0.1"'],
    [{ data: { ip: ['10.1.0.1'] } }, 'data.ip must be the address 10.1.0.1; it is "10.0.0.1"'],
    [{ data: { ip: [{ cidr: 'fd00::/8' }] } }, 'data.ip must be an address in fd00:0:0:0:0:0:0:0/8; it is "10.0.0.1"'],
    [
      { subject: [{ suffix: { 'equals-ignore-case': '-2' } }, { wildcard: 'x*' }, { 'equals-ignore-case': 'C-9' }] },
      'subject must be a text that ends with "-2" in any case or a text like "x*" or "C-9" in any case; it is "c-1"',
    ],
    [
      { data: { items: { a: [1], b: [4] } } },
      'each condition holds, but not all within one element of the array that they share',
    ],
    [{ data: { items: { a: [2] } } }, 'data.items.a must be 2; it is 1, 3'],
    [
      { $or: [{ type: ['no'] }, { type: ['cart.item.added'], data: { n: [8] } }] },
      'data.n must be 8; it is 7 (the closest of 2 alternatives of "$or")',
    ],
    [{ $or: [{ type: ['no'] }, { data: { n: [7] } }] }, 'all 1 condition(s) hold'],
  ])('%j: %s', (pattern, reason) => {
    for (const form of [event, JSON.stringify(event)])
      expect(explainPattern(pattern as never, form).reason).toBe(reason)
  })
})

describe('explaining an expression', () => {
  it.each([
    ["type LIKE 'cart.%'", 'the expression is true'],
    ["type LIKE 'cart.%' AND subject = 'c-2' AND hop > 2", 'subject = \'c-2\' is false; subject is "c-1"'],
    ["type = 'cart.item.added' AND hop > 2", 'hop > 2 is an error: '],
    [
      "(subject = 'x' OR subject IN ('y', 'z')) AND TRUE",
      "(subject = 'x') OR subject IN ('y', 'z') is false; subject is \"c-1\"",
    ],
    ['NOT EXISTS subject AND LENGTH(type) > -1', 'NOT EXISTS subject is false; subject is "c-1"'],
    ["CONCAT(subject, 'it\\'s') NOT LIKE 'c%'", "CONCAT(subject, 'it\\'s') NOT LIKE 'c%' is false"],
  ])('%s: %s', (cesql, reason) => expect(explainExpression(cesql, event).reason).toContain(reason))
})

describe('a test on stored events', () => {
  let broker: Broker
  beforeEach(async () => {
    broker = await connect('memory:')
    await broker.declare(stream('carts'), stream('alerts'), stream('orders.eu'))
  })
  afterEach(() => broker.close())

  const rule: RuleDefinition = {
    name: 'large',
    on: 'carts',
    when: { data: { n: [{ numeric: ['>', 5] }] } },
    then: [
      {
        emit: {
          channel: 'alerts',
          type: 'alert',
          key: '{{ data.who }}',
          data: { n: '{{ data.n }}', by: '{{ data.who | required }}' },
        },
      },
      { http: { url: 'https://ops.example/{{ data.n }}', secret: 'env:X' } },
      { call: { function: 'flag', with: ['{{ $offset }}'] } },
      { forward: 'alerts' },
    ],
  }

  it('counts the events, shows the first matches and what the actions would do, and performs none', async () => {
    for (let n = 0; n < 10; n++)
      await broker.publish('carts', {
        type: 'added',
        id: `e-${n}`,
        source: '/s',
        data: { n, ...(n !== 7 && { who: 'ann' }) },
      })
    const before = await broker.describe()
    const result = await rulesOf(broker).test(rule, { show: 2 })
    expect(result).toMatchObject({
      events: 10,
      matched: 4,
      failed: 1,
      firstMiss: { channel: 'carts', offset: 0, reason: 'data.n must be > 5; it is 0' },
    })
    expect(result.matches.map(({ offset }) => offset)).toEqual([6, 7])
    expect(result.matches[0]?.would).toEqual([
      {
        action: 'emit',
        what: {
          channel: 'alerts',
          event: { type: 'alert', rulehops: 1, partitionkey: 'ann', data: { n: 6, by: 'ann' } },
        },
      },
      {
        action: 'http',
        what: {
          method: 'POST',
          url: 'https://ops.example/6',
          headers: { 'user-agent': 'millrace', 'content-type': 'application/cloudevents+json; charset=utf-8' },
          body: expect.stringContaining('"id":"e-6"'),
        },
      },
      { action: 'call', what: { function: 'flag', with: [6] } },
      { action: 'forward', what: { channel: 'alerts', event: { id: 'e-6', type: 'added' } } },
    ])
    expect(result.matches[1]?.would[0]).toEqual({ action: 'emit', failure: 'a value that is required is missing' })
    expect(await broker.describe()).toMatchObject({
      channels: before.channels.map(({ name, next }) => ({ name, next })),
      consumers: [],
    })
  })

  it('reads the given channels from the given position to the given end', async () => {
    for (let n = 0; n < 10; n++)
      await broker.publish(n % 2 === 0 ? 'carts' : 'orders.eu', { type: 'added', data: { n } })
    const rules = rulesOf(broker)
    expect(await rules.test(rule, { from: { offset: 4 } })).toMatchObject({ events: 1, matched: 1 })
    expect(await rules.test(rule, { on: 'orders.*' })).toMatchObject({ events: 5, matched: 2 })
    expect(await rules.test({ ...rule, on: ['orders.*', 'carts'] }, { to: { offset: 4 } })).toMatchObject({
      events: 8,
      matched: 2,
    })
    expect(await rules.test({ ...rule, when: "type = 'added'" })).toMatchObject({ events: 5, matched: 5 })
    await expect(rules.test(rule, { on: 'nowhere' })).rejects.toMatchObject({ code: 'UNKNOWN_CHANNEL' })
    await expect(rules.test('large')).rejects.toMatchObject({ code: 'UNKNOWN_RULE' })
    await rules.put({ ...rule, then: 'drop' })
    expect(await rules.test('large')).toMatchObject({ matched: 2 })
    expect(await rules.explain('large', { type: 'added', data: { n: 1 } })).toMatchObject({
      matches: false,
      reason: 'data.n must be > 5; it is 1',
    })
  })
})
