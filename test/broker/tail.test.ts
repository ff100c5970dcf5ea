/** Several channels read as one: named ones, and those that a wildcard matches. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import type { TailedEvent } from '../../src/broker/reading.ts'
import { type Broker, connect, event, stream } from '../../src/index.ts'

let broker: Broker
beforeEach(async () => {
  broker = await connect('memory:')
})
afterEach(() => broker.close())

const at = (second: number): string => `2026-01-01T00:00:0${second}Z`
const note = (id: string, second = 0): { readonly type: string; readonly id: string; readonly time: string } => ({
  type: 'noted',
  id,
  time: at(second),
})

async function shown(tail: AsyncIterable<TailedEvent>): Promise<string[]> {
  const found: string[] = []
  for await (const { channel, event: each } of tail) found.push(`${channel} ${each.id}`)
  return found
}

/** What a tail has given so far, while it goes on. */
function following(tail: AsyncIterable<TailedEvent>): { readonly found: string[]; readonly ended: Promise<unknown> } {
  const found: string[] = []
  const follow = async (): Promise<void> => {
    for await (const { channel, event: each } of tail) found.push(`${channel} ${each.id}`)
  }
  return { found, ended: follow().catch((error: unknown) => error) }
}

test('what is there comes in the order of its times, and within a channel in its own order', async () => {
  await broker.publish(stream('a.one'), [note('1', 1), note('4', 4)])
  await broker.publish(stream('a.two'), [note('3', 3), note('2', 2), note('5', 5)])
  await broker.publish(stream('b'), note('0', 0))
  expect(await shown(broker.tail(['a.*']))).toEqual(['a.one 1', 'a.two 3', 'a.two 2', 'a.one 4', 'a.two 5'])
  expect(await shown(broker.tail(['b', 'a.one', 'b']))).toEqual(['b 0', 'a.one 1', 'a.one 4'])
  expect(await shown(broker.tail('a.two', { from: { offset: 1 }, to: { offset: 2 } }))).toEqual(['a.two 2'])
  expect(await shown(broker.tail('none.*'))).toEqual([])
})

test('data is decoded by a channel that is given, and is as it is stored by a name', async () => {
  const Counted = event('counted', z.object({ at: z.coerce.date() }))
  const counts = stream('counts', { events: [Counted] })
  await broker.publish(counts, Counted({ at: '2026-01-01' as never }))
  for await (const { event: each } of broker.tail(counts))
    expect((each.data as { at: unknown }).at).toBeInstanceOf(Date)
  for await (const { event: each } of broker.tail('counts'))
    expect((each.data as { at: unknown }).at).toBeTypeOf('string')
})

test('a tail that follows takes channels that come, and goes on when one goes', async () => {
  await broker.publish(stream('a.one'), note('1'))
  const { found, ended } = following(broker.tail('a.*', { follow: true }))
  await expect.poll(() => found).toEqual(['a.one 1'])
  await broker.publish(stream('a.two'), note('2'))
  await expect.poll(() => found, { timeout: 5000 }).toEqual(['a.one 1', 'a.two 2'])
  await broker.channel('a.one').remove()
  await broker.publish('a.two', note('3'))
  await expect.poll(() => found).toEqual(['a.one 1', 'a.two 2', 'a.two 3'])
  await broker.publish(stream('a.one'), note('4'))
  await expect.poll(() => found, { timeout: 5000 }).toEqual(['a.one 1', 'a.two 2', 'a.two 3', 'a.one 4'])
  await broker.close()
  expect(await ended).toBe(undefined)
})

test('named channels: they must be there, and when all were removed the tail ends, as a read does', async () => {
  await broker.publish(stream('a'), note('1'))
  const { found, ended } = following(broker.tail(['a'], { follow: true }))
  await expect.poll(() => found).toEqual(['a 1'])
  await broker.channel('a').remove()
  expect(await ended).toBe(undefined)
  expect(await following(broker.tail(['a', 'b.*'], { follow: true })).ended).toMatchObject({ code: 'UNKNOWN_CHANNEL' })
  await expect(shown(broker.tail(['a', 'b']))).rejects.toMatchObject({ code: 'UNKNOWN_CHANNEL' })
})

test('it ends by its signal, by leaving the loop, and at its `to`', async () => {
  await broker.publish(stream('a'), [note('1'), note('2')])
  const stop = new AbortController()
  const { found, ended } = following(broker.tail(['a'], { follow: true, signal: stop.signal }))
  await expect.poll(() => found.length).toBe(2)
  stop.abort()
  expect(await ended).toBe(undefined)
  for await (const _ of broker.tail(['a', 'b.*'], { follow: true })) break
  await broker.publish(stream('b'), note('3'))
  expect(await shown(broker.tail(['a', 'b'], { follow: true, to: { offset: 1 } }))).toEqual(
    expect.arrayContaining(['a 1', 'b 3']),
  )
})

test.each([[['a.**']], [[5]], [[null]], ['a b']])('%j is refused when it is called', (channels) => {
  expect(() => broker.tail(channels as never)).toThrow(
    expect.objectContaining({ code: expect.stringMatching(/^INVALID_/) }),
  )
})
