/** Data is stored as JSON: what JSON would silently lose is refused with its path, and what JSON changes is noticed. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isMillraceError } from '../../src/base/errors.ts'
import { encodeEvent } from '../../src/event/encode.ts'
import { isAltered, jsonOf } from '../../src/event/json-data.ts'

const EVENT = { type: 'a.b', id: '1' }

class Gone {
  toJSON(): undefined {
    return undefined
  }
}
class Angry {
  toJSON(): never {
    throw new Error('not now')
  }
}
class Wrapped {
  readonly #value: unknown
  constructor(value: unknown) {
    this.#value = value
  }
  toJSON(): unknown {
    return this.#value
  }
}
function cycle(): object {
  const one: Record<string, unknown> = {}
  one['o'] = one
  return one
}
function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

const LOST: Record<string, readonly [data: unknown, path: string]> = {
  NaN: [{ n: Number.NaN }, 'data.n'],
  infinity: [[Number.NEGATIVE_INFINITY], 'data[0]'],
  'a bigint': [{ a: { b: 1n } }, 'data.a.b'],
  'a boxed bigint': [Object(1n), 'data'],
  'a boxed symbol': [[Object(Symbol('x'))], 'data[0]'],
  'a boxed NaN': [[Object(Number.NaN)], 'data[0]'],
  'a function': [{ f: () => 1 }, 'data.f'],
  'a symbol': [{ s: Symbol('x') }, 'data.s'],
  'undefined in an array': [['a', undefined], 'data[1]'],
  'a hole in an array': [new Array(2), 'data[0]'],
  'a map': [{ m: new Map() }, 'data.m'],
  'a set': [new Set([1]), 'data'],
  headers: [{ h: new Headers({ a: 'b' }) }, 'data.h'],
  'query parameters': [new URLSearchParams('a=b'), 'data'],
  'a generator': [(function* () {})(), 'data'],
  'bytes inside': [{ b: new Uint8Array(2) }, 'data.b'],
  'a buffer inside': [{ b: Buffer.from('x') }, 'data.b'],
  'an error': [{ e: new Error('x') }, 'data.e'],
  'an invalid date': [{ d: new Date(Number.NaN) }, 'data.d'],
  'nothing, by toJSON': [new Gone(), 'data'],
  'an array that is nothing, by toJSON': [{ list: Object.assign([1], { toJSON: () => undefined }) }, 'data.list'],
  'nothing, by toJSON, inside': [{ a: [new Gone()] }, 'data.a[0]'],
  'a bigint, by toJSON': [{ a: new Wrapped({ n: 1n }) }, 'data.a.n'],
  'NaN, by toJSON': [{ a: new Wrapped(Number.NaN) }, 'data.a'],
  'a toJSON that throws': [{ a: new Angry() }, 'data'],
  'a getter that throws': [
    {
      get a(): never {
        throw new Error('not now')
      },
    },
    'data',
  ],
  'a revoked proxy': [{ p: revoked() }, 'data'],
  'a cycle': [cycle(), 'data.o.o'],
}

describe('data that JSON cannot carry', () => {
  it.each(Object.entries(LOST))('%s is refused', (_, [data, path]) => {
    try {
      encodeEvent({ ...EVENT, data }, null, '/test', 1_000_000)
      expect.unreachable()
    } catch (error) {
      if (!isMillraceError(error, 'INVALID_EVENT')) throw error
      expect(String(error.details['path']).startsWith(path)).toBe(true)
      expect(error.message).toContain('event "a.b" (id 1)')
      expect(error.message.length).toBeLessThan(300)
    }
  })

  it('is all that is refused: what is stored reads back equal, or is known to be altered', () => {
    fc.assert(
      fc.property(
        fc.anything({
          withDate: true,
          withBoxedValues: true,
          withSparseArray: true,
          withTypedArray: true,
          withBigInt: true,
          withNullPrototype: true,
        }),
        (data) => {
          fc.pre(data !== undefined && !(data instanceof Uint8Array))
          let text: string
          try {
            text = jsonOf(data, EVENT)
          } catch (error) {
            if (isMillraceError(error, 'INVALID_EVENT')) return
            throw error
          }
          const back: unknown = JSON.parse(text)
          if (!isAltered()) expect(plain(data)).toEqual(back)
        },
      ),
      { numRuns: 3000 },
    )
  })
})

/** -0 is 0 in JSON; prototypes are not compared. */
function plain(value: unknown): unknown {
  if (Object.is(value, -0)) return 0
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]))
}
