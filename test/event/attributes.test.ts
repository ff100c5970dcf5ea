/**
 * Publishing checks an event as `validateCloudEvent` does: everything stored is a valid CloudEvent, and every valid one
 * can be stored.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isMillraceError } from '../../src/base/errors.ts'
import { attribute } from '../../src/event/cloud-event.ts'
import { decodeEvent, type Encodable, encodeEvent } from '../../src/event/encode.ts'
import { decodeForPublish } from '../../src/event/http/decode-for-publish.ts'
import { decodeHttp } from '../../src/event/http/decode-http.ts'
import { encodeHttp } from '../../src/event/http/encode-http.ts'
import { validateCloudEvent } from '../../src/event/validate-cloud-event.ts'

const time = '2026-01-31T12:00:00Z'

function textOf(event: object): string {
  return encodeEvent({ type: 'a.b', time, data: 1, ...event }, null, '/test', 1_000_000).text
}

/** The reason of the refusal, or null. */
function refusal(event: object): string | null {
  try {
    textOf(event)
    return null
  } catch (error) {
    if (isMillraceError(error, 'INVALID_EVENT')) return error.message
    throw error
  }
}

describe('attributes of an event', () => {
  const value = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.webUrl(),
    fc.constantFrom(
      'has spaces',
      'relative',
      'http://ex.com/é',
      'a/b',
      'nonsense',
      'application/json; charset="u"',
      '\uffff',
      '\ufffe',
      '\ud800',
      '',
    ),
    fc.date({ noInvalidDate: false, min: new Date(-8.64e15), max: new Date(8.64e15) }),
    fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
    fc.constantFrom(
      '2026-02-31T00:00:00Z',
      '2024-02-29T00:00:00Z',
      '2023-02-29T00:00:00Z',
      '0000-01-01T00:00:00Z',
      '2026-01-31',
    ),
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constantFrom(null, undefined, {}, [], Symbol('s'), 1n, Number.NaN, 2 ** 31, -(2 ** 31)),
  )
  const names = [
    'id',
    'source',
    'type',
    'time',
    'subject',
    'datacontenttype',
    'dataschema',
    'partitionkey',
    'traceparent',
    'specversion',
    'region',
    'user-id',
    'userId',
  ]

  it('are stored exactly when they are valid', () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), value, (name, given) => {
        const json =
          given instanceof Date && name === 'time' && Number.isFinite(given.getTime()) ? given.toISOString() : given
        const valid = validateCloudEvent({
          specversion: '1.0',
          id: '1',
          source: '/test',
          type: 'a.b',
          time,
          [name]: json ?? undefined,
        })
        // An attribute that is left out gets its default, except the type.
        const reasons = given === null || given === undefined ? (name === 'type' ? ['type is required'] : []) : valid
        expect({ given, refused: refusal({ [name]: given }) !== null }).toEqual({ given, refused: reasons.length > 0 })
        if (reasons.length === 0) expect(validateCloudEvent(JSON.parse(textOf({ [name]: given })))).toEqual([])
      }),
      { numRuns: 2000 },
    )
  })

  it.each([
    [{ time: new Date(8.64e15) }, 'time'],
    [{ time: new Date('-000001-01-01T00:00:00Z') }, 'time'],
    [{ time: new Date(Number.NaN) }, 'time is an invalid Date'],
    [{ time: 5 }, 'time'],
    [{ source: 'has spaces' }, 'source must be a URI reference'],
    [{ extensions: 'ab' }, 'extensions must be an object'],
    [{ extensions: ['x'] }, 'extensions must be an object'],
    [{ extensions: null }, 'extensions must be an object'],
    [{ extensions: { source: '/x' } }, 'has the name of another attribute'],
    [{ subject: 's', extensions: { subject: 't' } }, 'has the name of another attribute'],
    [{ data_base64: 'AQI', data: undefined }, 'data_base64'],
    [{ data_base64: 7, data: undefined }, 'data_base64'],
    [{ data_base64: 'AQI=', data: 1 }, 'data_base64 cannot be used together with data'],
    [{ data_base64: 'AQI=', data: null }, 'data_base64 cannot be used together with data'],
    [{ data_base64: 'AQI=', data: new Uint8Array(1) }, 'data_base64 cannot be used together with data'],
    [{ id: 'x'.repeat(100_000) }, 'longer than'],
  ])('%o is refused by name', (event, named) => {
    expect(refusal(event)).toContain(named)
  })

  it('that are absent are not named in a message', () => {
    expect(refusal({ source: 'a b' })).toBe('event "a.b": source must be a URI reference (RFC 3986)')
    expect(refusal({ id: 'x"y', source: 'a b' })).toBe(
      'event "a.b" (id x\\"y): source must be a URI reference (RFC 3986)',
    )
  })
})

describe('attributes that are named like members of an event', () => {
  const shadowed = { offset: 'page 7', extensions: 'jpg' }

  it('are kept when it is read, copied and published again', () => {
    const stored = decodeEvent(textOf({ extensions: shadowed }), 42)
    expect(stored.offset).toBe(42)
    expect([attribute(stored, 'offset'), attribute(stored, 'extensions')]).toEqual(['page 7', 'jpg'])
    expect(JSON.parse(textOf({ ...stored }))).toMatchObject(shadowed)
    expect(attribute(decodeEvent(textOf({}), 42), 'offset')).toBeUndefined()
    // Values in `extensions` have priority.
    expect(JSON.parse(textOf({ ...stored, extensions: { offset: 'page 8' } }))).toMatchObject({
      offset: 'page 8',
      extensions: 'jpg',
    })
  })

  it.each(['binary', 'structured', 'batched'] as const)('pass through HTTP in %s mode', (mode) => {
    const stored = decodeEvent(textOf({ id: '1', extensions: shadowed }), 42)
    const { headers, body } = encodeHttp([stored], mode)
    const [decoded] = decodeHttp(headers, body)
    expect([attribute(decoded as never, 'offset'), attribute(decoded as never, 'extensions')]).toEqual([
      'page 7',
      'jpg',
    ])
    expect(JSON.parse(textOf(decodeForPublish(headers, body)[0] as Encodable))).toMatchObject(shadowed)
  })
})
