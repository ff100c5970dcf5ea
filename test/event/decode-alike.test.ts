/**
 * The decoder reuses what an event has in common with the previous one: whatever came before, the result is the same as
 * parsing the event's text.
 */
import { expect, it } from 'vitest'
import { decodeAlike } from '../../src/event/decode-alike.ts'
import { decodeEvent } from '../../src/event/encode.ts'

const middle = ',"source":"/s","type":"a.b","time":"2026-01-31T12:00:00Z"'
const plain = `{"specversion":"1.0","id":"x"${middle},"data":{"n":1}}`

const TEXTS = [
  plain,
  `{"specversion":"1.0","id":"y"${middle},"data":[1,{"__proto__":{"a":1}}]}`,
  `{"specversion":"1.0","id":"y"${middle},"data":null}`,
  `{"specversion":"1.0","id":"y"${middle},"data":"text }"}`,
  `{"specversion":"1.0","id":"y"${middle},"data":1}`,
  `{"specversion":"1.0","id":"y"${middle},"data":{"n":1},"subject":"behind the data"}`,
  `{"specversion":"1.0","id":"y"${middle},"data":{"n":1},"data":{"n":2}}`,
  `{"specversion":"1.0","id":"y"${middle},"data":{"n":1},"id":"twice"}`,
  `{"specversion":"1.0","id":"y\\"z"${middle},"data":{"n":1}}`,
  `{"specversion":"1.0","id":"\\u00e9"${middle},"data":{"n":1}}`,
  `{"specversion":"1.0","id":"é😀"${middle},"data":{"n":1}}`,
  `{"specversion":"1.0","id":""${middle},"data":{"n":1}}`,
  `{"specversion":"1.0","id":"y"${middle},"data":{"n":1}} `,
  `{"specversion":"1.0","id":"y"${middle}, "data": {"n":1}}`,
  `{"specversion":"1.0","id":"y"${middle},"data_base64":"AQI="}`,
  `{"specversion":"1.0","id":"y"${middle}}`,
  `{"specversion":"1.0","id":"y","source":"/s \\"q\\"","type":"a.b","time":"2026-01-31T12:00:00Z","data":2}`,
  `{"specversion":"1.0","id":"y","source":"/other","type":"a.b","data":2}`,
  `{"specversion":"1.0","id":"y","type":"a.b","source":"/s","time":"2026-01-31T12:00:00Z","data":2}`,
  '{"id":"y","specversion":"1.0","source":"/s","type":"a.b"}',
  '{}',
  '[]',
]

it('after any other event, each is what parsing its text gives', () => {
  for (const before of TEXTS) {
    for (const text of TEXTS) {
      decodeAlike(plain, 1)
      decodeAlike(before, 2)
      const decoded = decodeAlike(text, 42)
      const expected = decodeEvent(text, 42)
      expect(decoded).toStrictEqual(expected)
      expect(JSON.stringify(decoded)).toBe(JSON.stringify(expected))
    }
  }
})

it.each([
  '',
  'no JSON',
  `{"specversion":"1.0","id":"y"${middle},"data":{"n":1`,
  `{"specversion":"1.0","id":"y"${middle},"data":}`,
  `{"specversion":"1.0","id":"y"${middle},"data":1,}`,
])('what is not JSON is refused: %s', (text) => {
  decodeAlike(plain, 1)
  expect(() => decodeAlike(text, 1)).toThrow(SyntaxError)
})
