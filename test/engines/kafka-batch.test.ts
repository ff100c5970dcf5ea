/**
 * Parts of the Kafka engine that need no server: batches that are written from an event's parts, and the window of
 * known ids.
 */
import { describe, expect, it } from 'vitest'
import { stream } from '../../src/channel/channel.ts'
import { encodeEvents, eventsOf } from '../../src/engines/kafka/event-batch.ts'
import { toRecord } from '../../src/engines/kafka/event-record.ts'
import { IdWindow } from '../../src/engines/kafka/id-window.ts'
import { decodeBatches, encodeBatch, NO_PRODUCER } from '../../src/engines/kafka/record-batch.ts'
import { type Encodable, encodeEvent } from '../../src/event/encode.ts'
import { newId } from '../../src/event/identity.ts'
import { CHANNEL_FORMAT } from '../../src/external-log/channel-entry.ts'
import type { AppendItem, ChannelEntry } from '../../src/external-log/log-backend.ts'

const entry: ChannelEntry = { format: CHANNEL_FORMAT, incarnation: 'i', spec: stream('carts').spec, partitions: 16 }
const tools = { crc32c: (): number => 0, decompress: (_: number, bytes: Buffer): Buffer => bytes }

const EVENTS: readonly [what: string, event: Encodable, key: string | null][] = [
  ['plain', { type: 'cart.item.added', data: { sku: 'tea' } }, 'c-1'],
  ['without a key', { type: 'cart.item.added', data: [1, 2] }, null],
  ['with text of many bytes', { type: 'cart.item.added', data: { text: 'grün – 茶 🫖' } }, 'schlüssel'],
  ['with a long key and much data', { type: 'cart.item.added', data: { text: 'x'.repeat(20_000) } }, 'k'.repeat(200)],
  ['with an id that JSON escapes', { type: 'cart.item.added', id: 'a"b\\c', data: 1 }, 'c'],
  ['with an id of many bytes', { type: 'cart.item.added', id: 'ä', data: 1 }, 'c'],
  [
    'with a long id and source',
    { type: 'cart.item.added', id: 'i'.repeat(100), source: `/${'s'.repeat(300)}`, data: 1 },
    'c',
  ],
  ['with an extension that JSON escapes', { type: 'cart.item.added', data: 1, extensions: { note: 'a"b' } }, 'c'],
  ['with an extension', { type: 'cart.item.added', data: 1, extensions: { tenant: 'one' } }, 'c'],
  ['without data', { type: 'cart.item.added' }, 'c'],
  ['of text', { type: 'cart.item.added', data: 'tea' }, 'c'],
  ['of bytes', { type: 'cart.item.added', data: new Uint8Array([1, 2]) }, 'c'],
  ['without a time', { type: 'cart.item.added', time: null, data: 1 }, 'c'],
]

describe('events in a batch', () => {
  const item = (event: Encodable, key: string | null, dedupes = true): AppendItem => {
    const encoded = encodeEvent(event, key, '/shop', 1_000_000)
    return { partition: 3, event: encoded, dedupeId: dedupes ? encoded.id : null }
  }
  // Copies are no longer what was just encoded: they are taken apart.
  const bare = ({ event: { id, type, key, text }, ...rest }: AppendItem): AppendItem => ({
    ...rest,
    event: { id, type, key, text },
  })
  const recordsOf = (items: readonly AppendItem[]): unknown[] =>
    decodeBatches(encodeEvents(items, entry, 70, NO_PRODUCER, tools), 0, tools).records.map(
      ({ key, value, headers }) => ({
        key: key?.toString(),
        value: value?.toString(),
        headers: headers.map(([name, text]) => [name, text?.toString()]),
      }),
    )

  // In the event's text, this text looks like an attribute, so the event is written in the structured mode.
  it.each(EVENTS.filter(([what]) => what !== 'of text'))('%s: from its parts as from its text', (_, event, key) => {
    for (const dedupes of [true, false]) {
      const one = item({ id: newId(), ...event }, key, dedupes)
      expect(recordsOf([one])).toEqual(recordsOf([bare(one)]))
    }
  })

  it('all together are read back as they were, at their offsets', () => {
    const items = EVENTS.map(([, event, key]) => item(event, key))
    const read = eventsOf(encodeEvents(items, entry, 70, NO_PRODUCER, tools), 1000, 5, entry)
    expect(read).toEqual(
      items.map((each, at) => ({ offset: 1000 + at, timeMs: 5, partition: 3, event: bare(each).event })),
    )
  })

  it.each([0, 1, 63, 64, 127, 128, 8191, 8192, 70_000])(
    'a record with a value of %d bytes begins with its length',
    (length) => {
      const value = Buffer.alloc(length, 7)
      const batch = encodeBatch(
        [
          { key: null, value, headers: [] },
          toRecord(item({ type: 't', data: 1 }, 'k').event, { partition: 0, partitions: 1, seen: null }, false),
        ],
        1,
        NO_PRODUCER,
        tools,
      )
      const { records, end } = decodeBatches(batch, 0, tools)
      expect(records[0]?.value).toEqual(value)
      expect(records[1]?.key?.toString()).toBe('k')
      expect(end).toBe(2)
    },
  )
})

/** Numbers that a seed decides. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const ORDERS: Record<string, (at: number, random: () => number) => string> = {
  'growing ids': () => newId(),
  'random ids': (_, random) => random().toString(36).slice(2),
  'falling ids': (at) => String(1_000_000 - at),
  'few ids that come again': (_, random) => `id-${Math.floor(random() * 900)}`,
}

describe.each(Object.entries(ORDERS))('the window of known ids: %s', (_, idOf) => {
  it.each([1, 2, 3])('seed %d', (seed) => {
    const random = numbers(seed)
    const size = { count: 50 + Math.floor(random() * 1500), ageMs: 1000 }
    const window = new IdWindow(size)
    const there: { readonly id: string; readonly timeMs: number }[] = []
    let timeMs = 0
    const expected = (id: string): number | undefined => {
      const at = there.findLastIndex((one) => one.id === id)
      const known = there[at]
      return known === undefined || there.length - at > size.count || timeMs - known.timeMs > size.ageMs
        ? undefined
        : at
    }
    while (there.length < 4000) {
      timeMs += random() < 0.01 ? 700 : random() * 2
      window.expire(timeMs)
      const first = there.length
      for (let count = 1 + Math.floor(random() * 40); count > 0; count--)
        there.push({ id: idOf(there.length, random), timeMs })
      window.add(
        there.slice(first).map(({ id }, at) => ({
          offset: first + at,
          timeMs,
          partition: 0,
          event: { id, type: 't', key: null, text: '' },
        })),
      )
      if (random() < 0.5) continue
      for (let tries = 0; tries < 5; tries++) {
        const { id } = there[Math.floor(random() * there.length)] as { id: string }
        expect(window.find(id, timeMs), id).toBe(expected(id))
      }
      expect(window.find(`new-${there.length}`, timeMs)).toBeUndefined()
    }
  })
})
