/** A newly published event is decoded from its parts: the result is the same as parsing its text, member by member. */
import { describe, expect, it } from 'vitest'
import { DATA_TEXT, decodeEvent, type Encodable, encodeEvent } from '../../src/event/encode.ts'

const time = '2026-01-31T12:00:00Z'
const data = { cart: 'c-1', list: [1, 'ä', null, { deep: '\u2028"\\' }], __proto__: { inherited: true } }

const EVENTS: Record<string, Encodable> = {
  plain: { type: 'a.b', data },
  'with its own id, source and time': { id: 'x"y', type: 'a.b', source: '/s?q=a+b', time, data },
  'with a Date': { type: 'a.b', time: new Date(1), data },
  'without a time': { type: 'a.b', time: null, data },
  'without data': { type: 'a.b', time },
  'with null': { type: 'a.b', time, data: null },
  'with a text': { type: 'a.b', time, data: 'text' },
  'with false': { type: 'a.b', time, data: false },
  'with binary data': { type: 'a.b', time, data: Uint8Array.of(1, 2, 255) },
  'with base64': { type: 'a.b', time, data_base64: 'AQI=' },
  'with data as text': { type: 'a.b', time, data: { n: 1 }, [DATA_TEXT]: '{ "n" : 1.0, "__proto__": 2 }' },
  'with an attribute': { type: 'a.b', time, data, subject: 's' } as Encodable,
  'with an extension': { type: 'a.b', time, data, extensions: { tenant: 'ä', level: 3 } },
  'that was stored before': { type: 'a.b', time, data, offset: 7 } as Encodable,
}

describe('an event of a moment ago', () => {
  it.each(Object.entries(EVENTS))('%s', (_, event) => {
    const encoded = encodeEvent(event, null, '/default', 1_000_000)
    const decoded = encoded.decode(42)
    const parsed = decodeEvent(encoded.text, 42)
    expect(decoded).toStrictEqual(parsed)
    expect(JSON.stringify(decoded)).toBe(JSON.stringify(parsed))
    expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype)
  })

  it('gives each who asks an event of its own', () => {
    const encoded = encodeEvent({ type: 'a.b', data: { n: 1 } }, null, '/default', 1_000_000)
    const first = encoded.decode(1) as { data: { n: number } }
    first.data.n = 2
    expect(encoded.decode(1)).toMatchObject({ data: { n: 1 } })
  })
})
