import { afterEach, describe, expect, it } from 'vitest'
import { type Broker, connect, stream } from '../../src/index.ts'
import { startRules } from '../../src/rules/index.ts'
import { eventually, offsetsOf, published } from './support.ts'

const open: Broker[] = []
async function broker(...channels: string[]): Promise<Broker> {
  const made = await connect('memory:')
  open.push(made)
  await made.declare(
    ...channels.map((name) => stream(name, { key: (event) => (event.data as { key?: string } | undefined)?.key })),
  )
  return made
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()))
})

describe('a rule', () => {
  it('emits the event of its template, once, with the causing event', async () => {
    const here = await broker('carts', 'alerts')
    const rules = await startRules(here)
    const { from, revision } = await rules.put({
      name: 'large',
      on: 'carts',
      when: { type: ['added'], data: { quantity: [{ numeric: ['>', 100] }] } },
      then: {
        emit: {
          channel: 'alerts',
          type: 'alert.{{ type }}',
          key: '{{ $key }}',
          data: { cart: '{{ data.key }}', at: '{{ $channel }}/{{ $offset }}' },
        },
      },
    })
    expect({ from, revision }).toEqual({ from: { carts: 0 }, revision: 1 })
    const receipt = await here.publish('carts', { type: 'added', id: 'e-1', data: { key: 'c-1', quantity: 200 } })
    await here.publish('carts', { type: 'added', data: { key: 'c-1', quantity: 2 } })
    const [alert] = await published(here, 'alerts', 1)
    expect(alert).toMatchObject({
      type: 'alert.added',
      partitionkey: 'c-1',
      causationid: 'e-1',
      data: { cart: 'c-1', at: `carts/${receipt.offset}` },
    })
    await eventually(async () => expect(await offsetsOf(here, 'rules.carts', 'carts')).toBe(2))
    expect(await published(here, 'alerts', 1)).toHaveLength(1)
  })

  it('forwards the event unchanged', async () => {
    const here = await broker('carts', 'copies')
    const rules = await startRules(here)
    await rules.put({ name: 'copy', on: 'carts', then: { forward: 'copies' } })
    await here.publish('carts', {
      type: 'added',
      id: 'e-1',
      source: '/x',
      subject: 's',
      time: '2026-01-01T00:00:00Z',
      extensions: { severity: 3 },
      data: { n: 1 },
    })
    const [original] = await published(here, 'carts', 1)
    const [copy] = await published(here, 'copies', 1)
    expect(copy).toEqual({ ...original, rulehops: 1 })
  })

  it('takes a CloudEvents SQL condition', async () => {
    const here = await broker('carts', 'alerts')
    const rules = await startRules(here)
    await rules.put({
      name: 'sql',
      on: 'carts',
      when: "type LIKE 'cart.%' AND hop > 2",
      then: { emit: { channel: 'alerts', type: 'alert' } },
    })
    await rules.put({ name: 'any', on: 'carts', when: 'hop = 9', then: { emit: { channel: 'alerts', type: 'nine' } } })
    for (const hop of [1, 3, 9]) await here.publish('carts', { type: 'cart.added', extensions: { hop } })
    await here.publish('carts', { type: 'other', extensions: { hop: 5 } })
    await eventually(async () => expect(await offsetsOf(here, 'rules.carts', 'carts')).toBe(4))
    expect((await published(here, 'alerts', 3)).map(({ type }) => type)).toEqual(['alert', 'nine', 'alert'])
  })

  it('drops an event for all rules of the channel', async () => {
    const here = await broker('carts', 'alerts')
    const rules = await startRules(here)
    await rules.putAll([
      { name: 'all', on: 'carts', then: { emit: { channel: 'alerts', type: 'alert', data: '{{ data.who }}' } } },
      { name: 'muted', on: 'carts', when: { data: { who: ['test'] } }, then: 'drop' },
    ])
    for (const who of ['test', 'real', 'test']) await here.publish('carts', { type: 'added', data: { who } })
    await eventually(async () => expect(await offsetsOf(here, 'rules.carts', 'carts')).toBe(3))
    expect((await published(here, 'alerts', 1)).map(({ data }) => data)).toEqual(['real'])
  })

  it('calls a function of the application, in order, with its own retries and dead letters', async () => {
    const here = await broker('carts', 'alerts')
    const calls: unknown[] = []
    const rules = await startRules(here, {
      functions: {
        flag: (event, { args, attempt, rule, channel }) => {
          calls.push([event.data, args, attempt, rule, channel])
          if ((event.data as { bad?: boolean }).bad) throw new Error('not this one')
        },
      },
    })
    await rules.put({
      name: 'flag',
      on: 'carts',
      then: [
        { emit: { channel: 'alerts', type: 'alert' } },
        { call: { function: 'flag', with: { k: '{{ data.key }}' }, retry: { attempts: 2, min: '1ms', max: '1ms' } } },
      ],
    })
    await here.publish('carts', { type: 'added', id: 'e-0', data: { key: 'a', bad: true } })
    await here.publish('carts', { type: 'added', id: 'e-1', data: { key: 'b' } })
    await eventually(() => expect(calls).toHaveLength(3))
    expect(calls).toContainEqual([{ key: 'a', bad: true }, { k: 'a' }, 2, 'flag', 'carts'])
    await eventually(async () => expect(await here.deadLetters('rule.flag.call').list()).toHaveLength(1))
    const [letter] = await here.deadLetters('rule.flag.call').list()
    expect(letter).toMatchObject({
      id: 'e-0',
      type: 'added',
      attempts: 2,
      key: 'a',
      failure: { message: 'not this one' },
    })
    // The other action of the rule was not repeated.
    expect(await published(here, 'alerts', 2)).toHaveLength(2)
  })

  it('fails and is retried without delaying another rule', async () => {
    const here = await broker('carts', 'alerts')
    await here.declare(stream('narrow', { events: [(await import('../../src/index.ts')).event('only.this')] }))
    const rules = await startRules(here)
    await rules.putAll([
      {
        name: 'a-bad',
        on: 'carts',
        then: [{ emit: { channel: 'narrow', type: 'not.this' } }, { emit: { channel: 'alerts', type: 'second' } }],
      },
      { name: 'b-good', on: 'carts', then: { emit: { channel: 'alerts', type: 'good' } } },
    ])
    await here.publish('carts', { type: 'added' })
    expect((await published(here, 'alerts', 2)).map(({ type }) => type)).toEqual(['second', 'good'])
    await eventually(async () =>
      expect((await here.deadLetters('rule.a-bad.emit').list()).map(({ failure }) => failure.code)).toEqual([
        'TYPE_NOT_CARRIED',
      ]),
    )
    // The rule is corrected. The redriven dead letter is handled by the corrected rule.
    await rules.put({ name: 'a-bad', on: 'carts', then: [{ emit: { channel: 'narrow', type: 'only.this' } }] })
    await here.deadLetters('rule.a-bad.emit').redrive()
    expect(await published(here, 'narrow', 1)).toHaveLength(1)
  })

  it('ends if it triggers itself', async () => {
    const here = await broker('carts')
    const rules = await startRules(here)
    await rules.put({ name: 'loop', on: 'carts', then: { emit: { channel: 'carts', type: 'again' } } })
    await here.publish('carts', { type: 'added' })
    await eventually(async () => expect(await here.deadLetters('rule.loop.emit').list()).toHaveLength(1))
    expect(await published(here, 'carts', 17)).toHaveLength(17)
  })

  it('with a wildcard includes channels that are declared later', async () => {
    const here = await broker('alerts', 'orders.eu')
    const rules = await startRules(here)
    await rules.put({
      name: 'wide',
      on: 'orders.*',
      then: { emit: { channel: 'alerts', type: 'alert', data: '{{ $channel }}' } },
    })
    await here.publish('orders.eu', { type: 'placed' })
    await here.declare(stream('orders.us'))
    await here.publish('orders.us', { type: 'placed' })
    expect((await published(here, 'alerts', 2)).map(({ data }) => data).sort()).toEqual(['orders.eu', 'orders.us'])
  })

  it.each([
    [{ name: 'x', on: 'carts', then: [] }, 'then'],
    [{ name: 'x y', on: 'carts', then: 'drop' }, 'name'],
    [{ name: 'x', on: 'carts', then: 'drop', if: 1 }, 'if'],
    [{ name: 'x', on: ['carts', 'carts'], then: 'drop' }, 'on'],
    [{ name: 'x', on: ['c*ts'], then: 'drop' }, 'on[0]'],
    [{ name: 'x', on: ['orders.*', 'orders.eu'], then: 'drop' }, 'on'],
    [{ name: 'x', on: 'carts', when: { type: 'a' }, then: 'drop' }, 'when.type'],
    [{ name: 'x', on: 'carts', when: 'type =', then: 'drop' }, 'when'],
    [{ name: 'x', on: 'carts', then: { emit: { channel: 'alerts', type: '{{ data. }}' } } }, 'then.emit.type'],
    [
      { name: 'x', on: 'carts', then: { emit: { channel: 'alerts', type: 'a', data: { b: ['{{ x | no }}'] } } } },
      'then.emit.data.b[0]',
    ],
    [{ name: 'x', on: 'carts', then: { http: 'https://{{ data.host }}/' } }, 'then.http.url'],
    [{ name: 'x', on: 'carts', then: { http: 'https://a.example{{ data.host }}/' } }, 'then.http.url'],
    [{ name: 'x', on: 'carts', then: { http: { url: 'https://u:p@a.example/' } } }, 'then.http.url'],
    [{ name: 'x', on: 'carts', then: { http: { url: 'ftp://a.example/' } } }, 'then.http.url'],
    [
      { name: 'x', on: 'carts', then: { http: { url: 'https://a.example/', secret: 'whsec_abc' } } },
      'then.http.secret[0]',
    ],
    [{ name: 'x', on: 'carts', then: { http: { url: 'https://a.example/', rate: 'often' } } }, 'then.http.rate'],
    [
      { name: 'x', on: 'carts', then: { http: { url: 'https://a.example/', headers: { 'webhook-id': 'x' } } } },
      'then.http.headers',
    ],
    [{ name: 'x', on: '$rules', then: 'drop' }, 'on'],
    [{ name: 'x', on: 'carts', then: { forward: '$rules' } }, 'then.forward.channel'],
    [{ name: 'x', on: 'carts', then: ['drop', { forward: 'alerts' }] }, 'then'],
  ])('is refused with the path of the malformed part: %j', async (rule, path) => {
    const here = await broker('carts', 'alerts')
    const rules = await startRules(here)
    await expect(rules.put(rule as never)).rejects.toMatchObject({ code: 'INVALID_RULE', details: { path } })
    expect(await rules.list()).toEqual([])
  })

  it('reads only declared streams, and writes only to channels that exist or that it may create', async () => {
    const here = await broker('carts')
    const { queue } = await import('../../src/index.ts')
    await here.declare(queue('jobs'))
    const rules = await startRules(here)
    await expect(rules.put({ name: 'x', on: 'nowhere', then: 'drop' })).rejects.toMatchObject({
      code: 'UNKNOWN_CHANNEL',
    })
    await expect(rules.put({ name: 'x', on: 'jobs', then: 'drop' })).rejects.toMatchObject({ code: 'INVALID_RULE' })
    await expect(rules.put({ name: 'x', on: 'carts', then: { forward: 'made' } })).rejects.toMatchObject({
      code: 'UNKNOWN_CHANNEL',
    })
    await rules.put({ name: 'x', on: 'carts', then: { forward: { channel: 'made', create: 'stream' } } })
    await here.publish('carts', { type: 'added' })
    expect(await published(here, 'made', 1)).toHaveLength(1)
  })
})
