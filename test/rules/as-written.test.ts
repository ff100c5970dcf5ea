/**
 * Rules match the text that was published, digit for digit. Live rules, tests on stored events and explanations agree.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { engineOf } from '../../src/broker/engine-of.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { type RuleDefinition, rulesOf, startRules } from '../../src/rules/index.ts'
import { eventually, published } from './support.ts'

let broker: Broker
beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('carts'), stream('alerts'))
})
afterEach(() => broker.close())

async function publish(id: string, members: string, key: string | null = null): Promise<void> {
  const text = `{"specversion":"1.0","id":"${id}","source":"/s","type":"noted"${members}}`
  await engineOf(broker).publish('carts', { id, type: 'noted', key, text }, null)
}

const emitting = (when: unknown): RuleDefinition =>
  ({
    name: 'r',
    on: 'carts',
    when,
    then: { emit: { channel: 'alerts', type: 'alert', data: '{{ id }}', subject: '{{ $key }}' } },
  }) as RuleDefinition

describe.each([
  ['numbers beyond 2^53', { data: { n: [9007199254740992] } }, ['even']],
  ['binary data', { data_base64: [{ exists: true }] }, ['binary']],
  ['no data', { data: { n: [{ exists: false }] } }, ['binary', 'own', 'keyed']],
  ['an attribute named offset', { offset: ['mine'] }, ['own']],
  ['an attribute named offset, in SQL', "offset = 'mine'", ['own']],
  ['no such attribute, in SQL', 'NOT EXISTS offset', ['odd', 'even', 'binary', 'keyed']],
  ['one key twice', { data: { twice: ['b'] } }, ['keyed']],
])('%s', (_what, when, ids) => {
  it('gives the same result live, in a test on stored events and in an explanation', async () => {
    const rules = await startRules(broker)
    await rules.put(emitting(when))
    await publish('odd', ',"data":{"n":9007199254740993}')
    await publish('even', ',"data":{"n":9007199254740992}')
    await publish('binary', ',"data_base64":"AAEC"')
    await publish('own', ',"offset":"mine"')
    await publish('keyed', ',"data":{"twice":"a","twice":"b"}', 'k-1')
    await eventually(async () =>
      expect((await broker.describe()).consumers.find(({ name }) => name === 'rules.carts')?.channels[0]?.floor).toBe(
        5,
      ),
    )
    const live = await published(broker, 'alerts', ids.length)
    expect(live.map(({ data }) => data).sort()).toEqual([...ids].sort())

    const tried = await rules.test('r', { show: 10 })
    expect(tried.matches.map(({ event }) => event.id).sort()).toEqual([...ids].sort())
    for (const { event, would } of tried.matches) {
      const [what] = would.map((each) => each.what as { readonly event: { readonly subject?: string } })
      expect(what?.event.subject, 'the key is the event’s own').toBe(event.id === 'keyed' ? 'k-1' : undefined)
    }
    for await (const { id, text } of textsOf())
      expect((await rules.explain('r', text)).matches, id).toBe(ids.includes(id))
    await rules.stop()
  })
})

async function* textsOf(): AsyncGenerator<{ readonly id: string; readonly text: string }> {
  const options = { from: { at: 'beginning' }, to: null, follow: false, signal: new AbortController().signal } as const
  for await (const batch of engineOf(broker).read('carts', options)) yield* batch
}

describe('an event of $rules that is not a change of a rule', () => {
  it('is ignored by processes that run rules, and changes nothing', async () => {
    const running = await startRules(broker)
    await running.put({
      name: 'r',
      on: 'carts',
      then: { emit: { channel: 'alerts', type: 'alert' } },
    } as RuleDefinition)
    const engine = engineOf(broker)
    const bad = [
      '"type":"rule.added"',
      '"type":"rule.changed","data":null',
      '"type":"rule.removed","data":{"name":7,"rule":null,"enabled":false,"author":"x"}',
      '"type":"rule.added","data":{"name":"__proto__","rule":{"on":1},"enabled":true,"author":"x"}',
      '"type":"rule.changed","data":{"name":"r2","rule":"text","enabled":"yes"}',
      '"type":"rules.effective"',
      '"type":"rules.effective","data":{"through":"x","offsets":null}',
      '"type":"rule.queued","data":[]',
      '"type":"rule.refused"',
    ]
    for (const [n, members] of bad.entries()) {
      const type = /"type":"([^"]+)"/.exec(members)?.[1] as string
      await engine.publish(
        '$rules',
        { id: `bad-${n}`, type, key: null, text: `{"specversion":"1.0","id":"bad-${n}","source":"/s",${members}}` },
        null,
      )
    }
    await broker.publish('carts', { type: 'x' })
    await published(broker, 'alerts', 1)
    expect((await rulesOf(broker).list()).map(({ name }) => name)).toContain('r')
    await running.put({ name: 'after', on: 'carts', then: 'drop' } as RuleDefinition)
    await running.stop()
    const again = await startRules(broker)
    expect((await again.list()).map(({ name }) => name)).toContain('after')
    await again.stop()
  })
})
