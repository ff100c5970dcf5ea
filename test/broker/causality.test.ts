/** What caused an event, and what it caused: `broker.causes()` and `broker.effects()`. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { newId } from '../../src/event/identity.ts'
import {
  type Broker,
  connect,
  isMillraceError,
  type RelatedEvents,
  type RelatedOptions,
  stream,
} from '../../src/index.ts'

let broker: Broker
beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('a'), stream('b'), stream('c'))
})
afterEach(() => broker.close())

const publish = async (channel: string, id: string, causationid?: string, more: object = {}): Promise<number> => {
  const { offset } = await broker.publish(channel, {
    ...{ type: 't', id, ...more },
    ...(causationid !== undefined && { causationid }),
  })
  return offset ?? -1
}
const texts = async (events: RelatedEvents): Promise<string[]> => {
  const found: string[] = []
  for await (const { channel, event, distance, relation } of events)
    found.push(`${channel} ${event.id} ${distance}${relation === 'copy' ? ' copy' : ''}`)
  return found
}
const effects = async (channel: string, offset: number, options?: RelatedOptions): Promise<string[]> =>
  (await texts(broker.effects(channel, offset, options))).sort()

describe('effects', () => {
  test('are found over all channels, also where an effect stands before its cause', async () => {
    const root = await publish('b', 'root', undefined, { correlationid: 'story' })
    await publish('b', 'sibling', 'elder', { correlationid: 'story' })
    // Channel a is read before channel c, in which its cause is.
    await publish('a', 'grandchild', 'child', { correlationid: 'story' })
    await publish('c', 'child', 'root', { correlationid: 'story' })
    await publish('c', 'stranger', 'another', { data: { root: 'root', story: 'story' } })
    expect(await effects('b', root)).toEqual(['a grandchild 2', 'c child 1'])
  })
  test('come after their causes', async () => {
    const root = await publish('c', 'e-0')
    for (let n = 1; n <= 50; n++)
      await publish(n % 2 === 0 ? 'a' : 'b', `e-${n}`, `e-${n - 1}`, { correlationid: 'e-0' })
    const found = await texts(broker.effects('c', root))
    expect(found.map((each) => each.split(' ')[1])).toEqual(Array.from({ length: 50 }, (_, n) => `e-${n + 1}`))
  })
  test('are found where thousands wait for the first of them, which is read last', async () => {
    const root = await publish('c', 'e-0', undefined, { correlationid: 'chain' })
    const links = Array.from({ length: 9000 }, (_, n) => ({
      ...{ type: 't', id: `e-${n + 2}`, causationid: `e-${n + 1}`, correlationid: 'chain' },
    }))
    for (let at = 0; at < links.length; at += 500) await broker.publish('a', links.slice(at, at + 500))
    await publish('c', 'e-1', 'e-0', { correlationid: 'chain' })
    const found = await texts(broker.effects('c', root, { limit: 10_000 }))
    expect(found.map((each) => each.split(' ')[1])).toEqual(Array.from({ length: 9001 }, (_, n) => `e-${n + 1}`))
  })
  test('are followed into a chain with a correlation id of its own', async () => {
    await publish('a', 'late', 'middle', { correlationid: 'other' })
    const root = await publish('a', 'root')
    await publish('b', 'middle', 'root', { correlationid: 'other' })
    await publish('c', 'end', 'late', { correlationid: 'other' })
    await publish('c', 'plain', 'root', { correlationid: 'else' })
    await publish('c', 'plainer', 'plain')
    expect(await effects('a', root)).toEqual(['a late 2', 'b middle 1', 'c end 3', 'c plain 1'])
  })
  test('have the copies that were forwarded, and what these caused', async () => {
    const root = await publish('a', 'root')
    await publish('b', 'root')
    await publish('c', 'child', 'root', { correlationid: 'root' })
    expect(await effects('a', root)).toEqual(['b root 0 copy', 'c child 1'])
  })
  test('that cause each other, or themselves, end', async () => {
    const root = await publish('a', 'x', 'y', { correlationid: 's' })
    await publish('b', 'y', 'x', { correlationid: 's' })
    await publish('b', 'z', 'z', { correlationid: 's' })
    expect(await effects('a', root)).toEqual(['b y 1'])
    expect(await texts(broker.causes('a', root))).toEqual(['b y 1'])
  })
  test('of ids with quotes and other letters are found', async () => {
    const root = await publish('a', 'a "quoted" id \\ ü')
    await publish('b', 'child', 'a "quoted" id \\ ü')
    expect(await effects('a', root)).toEqual(['b child 1'])
  })
  test('leave out Millrace’s own channels, and those that are not asked for', async () => {
    const root = await publish('a', 'root')
    await publish('b', 'one', 'root')
    await publish('c', 'two', 'root')
    expect(await effects('a', root, { channels: ['b'] })).toEqual(['b one 1'])
    expect(await effects('a', root, { channels: '*' })).toEqual(['b one 1', 'c two 1'])
  })
})

describe('a walk says how far it came', () => {
  test('when it has seen all', async () => {
    const root = await publish('a', 'root')
    const walk = broker.effects('a', root)
    expect(walk.progress).toMatchObject({ looked: 0, complete: false, ended: null })
    expect(await texts(walk)).toEqual([])
    expect(walk.progress).toEqual({ looked: 1, channels: 3, complete: true, ended: null })
  })
  test('when its budget of events ends, of which a large channel does not take the others’ share', async () => {
    const root = await publish('a', 'root')
    const many = Array.from({ length: 5000 }, () => ({ type: 't' }))
    await broker.publish('a', many)
    await publish('c', 'child', 'root')
    const walk = broker.effects('a', root, { scan: 2000 })
    expect(await texts(walk)).toEqual(['c child 1'])
    expect(walk.progress).toMatchObject({ complete: false, ended: 'budget', looked: 2000 })
    const smallest = broker.effects('a', root, { scan: 1 })
    expect(await texts(smallest)).toEqual([])
    expect(smallest.progress).toMatchObject({ complete: false, ended: 'budget', looked: 1 })
  })
  test('when it found as many as it may', async () => {
    const root = await publish('a', 'root')
    for (const id of ['1', '2', '3']) await publish('b', id, 'root')
    const walk = broker.effects('a', root, { limit: 2 })
    expect(await texts(walk)).toHaveLength(2)
    expect(walk.progress).toMatchObject({ complete: false, ended: 'limit' })
    const exact = broker.effects('a', root, { limit: 3 })
    expect(await texts(exact)).toHaveLength(3)
    expect(exact.progress.complete).toBe(true)
  })
  test('when a cause is not there any more', async () => {
    const offset = await publish('a', 'child', 'gone')
    const walk = broker.causes('a', offset)
    expect(await texts(walk)).toEqual([])
    expect(walk.progress).toMatchObject({ complete: false, ended: 'missing cause' })
  })
  test('when it is stopped', async () => {
    const root = await publish('a', 'root')
    const stopping = new AbortController()
    for (const id of ['1', '2']) await publish('b', id, 'root')
    const walk = broker.effects('a', root, { signal: stopping.signal })
    await walk.next()
    stopping.abort()
    await texts(walk)
    expect(walk.progress.complete || walk.progress.ended === 'stopped').toBe(true)
    const never = broker.effects('a', root, { signal: AbortSignal.abort() })
    await texts(never).catch(() => undefined)
    expect(never.progress.complete).toBe(false)
  })
  test('when it is left', async () => {
    const root = await publish('a', 'root')
    for (let n = 0; n < 10; n++) await publish('b', `${n}`, 'root')
    const walk = broker.effects('a', root)
    for await (const _ of walk) break
    expect(walk.progress.complete).toBe(false)
    expect(await walk.next()).toMatchObject({ done: true })
  })
})

describe('causes', () => {
  test('are found up to the beginning, by ids that say their time and by others', async () => {
    const id = newId()
    await publish('c', id)
    await publish('b', 'second', id)
    const third = newId()
    await publish('a', third, 'second')
    const offset = await publish('c', 'fourth', third)
    const walk = broker.causes('c', offset)
    expect(await texts(walk)).toEqual([`a ${third} 1`, 'b second 2', `c ${id} 3`])
    expect(walk.progress.complete).toBe(true)
  })
  test('are found by an id that says a time which is not so', async () => {
    const future = newId(Date.now() + 3_600_000)
    await publish('a', future)
    const offset = await publish('b', 'effect', future)
    expect(await texts(broker.causes('b', offset))).toEqual([`a ${future} 1`])
  })
})

test('what is asked wrongly is refused', async () => {
  const refusal = async (ask: () => RelatedEvents): Promise<unknown> => {
    try {
      await ask().next()
    } catch (error) {
      return isMillraceError(error) ? error.code : error
    }
    return null
  }
  expect(await refusal(() => broker.effects('a', 7))).toBe('OFFSET_OUT_OF_RANGE')
  expect(await refusal(() => broker.effects('nowhere', 0))).toBe('UNKNOWN_CHANNEL')
  expect(await refusal(() => broker.effects('a', -1))).toBe('INVALID_OPTION')
  expect(await refusal(() => broker.causes('a', 0, { scan: 0 }))).toBe('INVALID_OPTION')
  expect(await refusal(() => broker.causes('a', 0, { limits: 1 } as never))).toBe('INVALID_OPTION')
  expect(await refusal(() => broker.causes('a', 0, { channels: 'x..*' }))).toBe('INVALID_NAME')
})
