/** Rules that change while events are published, run by several brokers. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type Broker, connect, type StoredEvent, stream } from '../../src/index.ts'
import { type RuleDefinition, type RunningRules, rulesOf, startRules } from '../../src/rules/index.ts'
import { brokersOf, eventually, offsetsOf, published } from './support.ts'

let brokers: Broker[] = []
afterEach(async () => {
  await Promise.all(brokers.map((broker) => broker.close()))
  brokers = []
})

async function open(count: number, ...channels: string[]): Promise<Broker[]> {
  brokers = brokersOf(count)
  await brokers[0]?.declare(...channels.map((name) => stream(name)))
  return brokers
}

const keyed = (key: string): { readonly type: string; readonly partitionkey: string; readonly data: object } => ({
  type: 'x',
  partitionkey: key,
  data: { key },
})

const emitting = (name: string, type: string, more: Partial<RuleDefinition> = {}): RuleDefinition => ({
  name,
  on: 'carts',
  then: { emit: { channel: 'alerts', type, data: '{{ $offset }}' } },
  ...more,
})

describe('rules that change', () => {
  it('are in force at every broker within a second, and the brokers share the work', async () => {
    const [one, two, changer] = (await open(3, 'carts', 'alerts')) as [Broker, Broker, Broker]
    const first = await startRules(one)
    const second = await startRules(two)
    await rulesOf(changer).put(emitting('r', 'a'))
    const begin = Date.now()
    await eventually(async () => {
      expect((await first.list()).map(({ name }) => name)).toEqual(['r'])
      expect((await second.list()).map(({ name }) => name)).toEqual(['r'])
      const { consumers } = await changer.describe()
      expect(consumers.find(({ name }) => name === 'rules.carts')?.instances).toBe(2)
    })
    expect(Date.now() - begin).toBeLessThan(1000)
    await Promise.all(Array.from({ length: 500 }, (_, n) => changer.publish('carts', keyed(String(n % 7)))))
    const alerts = await published(changer, 'alerts', 500)
    expect(alerts.map(({ data }) => data as number).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 500 }, (_, n) => n),
    )
  })

  it('apply from the offset in the receipt: every event is matched by the rules in force at its offset, at every broker', async () => {
    const [one, two, changer, producer] = (await open(4, 'carts', 'alerts')) as [Broker, Broker, Broker, Broker]
    await startRules(one)
    await startRules(two)
    const rules = rulesOf(changer)
    let producing = true
    let count = 0
    const flow = (async () => {
      while (producing) {
        await Promise.all(Array.from({ length: 20 }, () => producer.publish('carts', keyed(String(count++ % 5)))))
      }
    })()
    const changes: { from: number; type: string | null }[] = []
    for (let round = 0; round < 12; round++) {
      const off = round % 4 === 3
      const { from } = off ? await rules.disable('r') : await rules.put(emitting('r', `t${round}`, { enabled: true }))
      changes.push({ from: from['carts'] as number, type: off ? null : `t${round}` })
    }
    producing = false
    await flow
    await eventually(async () => expect(await offsetsOf(one, 'rules.carts', 'carts')).toBe(count))
    const alerts: StoredEvent[] = []
    for await (const alert of one.read('alerts')) alerts.push(alert)
    const byOffset = new Map(alerts.map(({ data, type }) => [data as number, type]))
    expect(byOffset.size).toBe(alerts.length)
    const expected = new Map<number, string>()
    for (let offset = 0; offset < count; offset++) {
      const type = changes.findLast(({ from }) => from <= offset)?.type
      if (typeof type === 'string') expected.set(offset, type)
    }
    expect(new Set(changes.map(({ from }) => from)).size).toBeGreaterThan(6)
    expect(byOffset).toEqual(expected)
  })

  it('do not match events from before they were added', async () => {
    const [one] = (await open(1, 'carts', 'alerts')) as [Broker]
    for (let n = 0; n < 5; n++) await one.publish('carts', { type: 'x' })
    const rules = await startRules(one)
    expect((await rules.put(emitting('r', 'a'))).from).toEqual({ carts: 5 })
    await one.publish('carts', { type: 'x' })
    expect((await published(one, 'alerts', 1)).map(({ data }) => data)).toEqual([5])
  })

  it('keep their history, with authors and reasons', async () => {
    const [one] = (await open(1, 'carts', 'alerts')) as [Broker]
    const rules = rulesOf(one, { author: 'ann' })
    await rules.put(emitting('r', 'a'))
    expect(await rules.put(emitting('r', 'a'))).toMatchObject({ revision: 1, changed: false })
    await rules.put(emitting('r', 'b'), { author: 'bob', reason: 'b is better' })
    await rules.disable('r', { reason: 'too loud' })
    expect(await rules.get('r')).toMatchObject({ enabled: false, revision: 3, author: 'ann' })
    // A change without `enabled` leaves the rule disabled or enabled.
    await rules.put(emitting('r', 'c'))
    expect(await rules.get('r')).toMatchObject({ enabled: false, revision: 4 })
    await rules.enable('r')
    await rules.remove('r')
    expect(
      (await rules.history('r')).map(({ type, author, reason, enabled }) => [type, author, reason, enabled]),
    ).toEqual([
      ['rule.added', 'ann', null, true],
      ['rule.changed', 'bob', 'b is better', true],
      ['rule.disabled', 'ann', 'too loud', false],
      ['rule.changed', 'ann', null, false],
      ['rule.enabled', 'ann', null, true],
      ['rule.removed', 'ann', null, false],
    ])
    await expect(rules.get('r')).rejects.toMatchObject({ code: 'UNKNOWN_RULE' })
    await expect(rules.enable('r')).rejects.toMatchObject({ code: 'UNKNOWN_RULE' })
    await expect(rules.history('s')).rejects.toMatchObject({ code: 'UNKNOWN_RULE' })
    expect(await rules.list()).toEqual([])
  })

  it('keep the events in their queues while they are disabled, and lose them when they are removed', async () => {
    const [one, two] = (await open(2, 'carts')) as [Broker, Broker]
    const called: number[] = []
    const rules = await startRules(one, { functions: { note: (_event, { offset }) => void called.push(offset) } })
    const calling: RuleDefinition = { name: 'r', on: 'carts', then: { call: { function: 'note', rate: '1/h' } } }
    await rules.put(calling)
    for (let n = 0; n < 3; n++) await one.publish('carts', keyed('k'))
    await eventually(async () => {
      expect(called).toEqual([0])
      expect((await two.describe()).channels.find(({ name }) => name === '$rule.r.call')?.next).toBe(3)
    })
    await rules.disable('r')
    await one.publish('carts', keyed('k'))
    await eventually(async () =>
      expect((await two.describe()).consumers.find(({ name }) => name === 'rule.r.call')?.paused).toBe(true),
    )
    await rules.put({ ...calling, then: { call: 'note' } })
    expect(called).toEqual([0])
    await rules.enable('r')
    await eventually(() => expect(called).toEqual([0, 1, 2]))
    await rules.remove('r')
    await eventually(async () =>
      expect((await two.describe()).channels.map(({ name }) => name)).not.toContain('$rule.r.call'),
    )
    // Added again, the rule starts with empty queues.
    await rules.put({ ...calling, then: { call: 'note' } })
    await one.publish('carts', keyed('k'))
    await eventually(() => expect(called).toEqual([0, 1, 2, 4]))
  })

  it('continue after a restart, and so do the events in their queues', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-rules-'))
    try {
      const first = await connect(`file:${folder}`)
      await first.declare(stream('carts'), stream('alerts'))
      const rules = await startRules(first, {
        functions: {
          note: () => {
            throw new Error('not yet')
          },
        },
      })
      await rules.putAll([
        emitting('r', 'a'),
        {
          name: 'c',
          on: 'carts',
          then: { call: { function: 'note', retry: { min: '1ms', max: '5ms', attempts: 1000 } } },
        },
      ])
      await first.publish('carts', { type: 'x' })
      await published(first, 'alerts', 1)
      await first.close()
      await rules.done

      const second = await connect(`file:${folder}`)
      brokers = [second]
      const called: number[] = []
      await startRules(second, { functions: { note: (_event, { offset }) => void called.push(offset) } })
      await second.publish('carts', { type: 'x' })
      expect((await published(second, 'alerts', 2)).map(({ data }) => data)).toEqual([0, 1])
      await eventually(() => expect(called.toSorted()).toEqual([0, 1]))
    } finally {
      await Promise.all(brokers.splice(0).map((broker) => broker.close()))
      await rm(folder, { recursive: true, force: true })
    }
  })

  it('match again by the rules in force at each offset, when their router is rewound', async () => {
    const [one, two] = (await open(2, 'carts', 'alerts')) as [Broker, Broker]
    let rules: RunningRules = await startRules(one)
    await rules.put(emitting('r', 'a'))
    await one.publish('carts', keyed('k'))
    await rules.put(emitting('r', 'b'))
    await one.publish('carts', keyed('k'))
    await published(one, 'alerts', 2)
    await rules.stop()
    // After the restart, versions that no event needs are forgotten. After the rewind they are read again.
    rules = await startRules(two)
    await two.consumer('rules.carts').rewind({ offset: 0 })
    expect((await published(two, 'alerts', 4)).map(({ type, data }) => [type, data])).toEqual([
      ['a', 0],
      ['b', 1],
      ['a', 0],
      ['b', 1],
    ])
  })

  it('become effective also if the process that changed them died before it published the start offsets', async () => {
    const [one] = (await open(1, 'carts', 'alerts')) as [Broker]
    await startRules(one)
    const { rulesChannel } = await import('../../src/rules/live/rule-events.ts')
    const rule = { name: 'r', on: ['carts'], then: { emit: { channel: 'alerts', type: 'a' } } }
    await one.publish(rulesChannel, { type: 'rule.added', data: { name: 'r', rule, enabled: true, author: 'gone' } })
    await rulesOf(one).put(emitting('other', 'b', { on: 'alerts', then: 'drop' }))
    await one.publish('carts', { type: 'x' })
    expect(await published(one, 'alerts', 1)).toHaveLength(1)
  })

  it('can be added by the thousand in one call', async () => {
    const [one] = (await open(1, 'carts', 'alerts')) as [Broker]
    const rules = await startRules(one)
    const many = Array.from({ length: 3000 }, (_, n) =>
      emitting(`r-${n}`, `t-${n}`, { when: { data: { key: [`k-${n}`] } } }),
    )
    expect(await rules.putAll(many)).toHaveLength(3000)
    await one.publish('carts', keyed('k-2718'))
    expect((await published(one, 'alerts', 1)).map(({ type }) => type)).toEqual(['t-2718'])
    expect(await rules.list()).toHaveLength(3000)
  })
})
