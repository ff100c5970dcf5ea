import { describe, expect, test } from 'vitest'
import { validateCloudEvent } from '../../src/event/validate-cloud-event.ts'
import { type FormatSuite, loadSuite } from './suites.ts'

const suite = loadSuite<FormatSuite>('cloudevents-format-json.json')

describe('the official JSON format suite', () => {
  test('has all its cases', () => {
    expect([
      suite.validEvents.length,
      suite.invalidEvents.length,
      suite.validBatches.length,
      suite.invalidBatches.length,
    ]).toEqual([10, 25, 5, 3])
  })
  for (const { id, event } of suite.validEvents)
    test(`valid: ${id}`, () => expect(validateCloudEvent(event)).toEqual([]))
  for (const { id, event } of suite.invalidEvents)
    test(`invalid: ${id}`, () => expect(validateCloudEvent(event)).not.toEqual([]))
})

const good = { specversion: '1.0', id: '1', source: '/shop', type: 'cart.item.added' }

describe('validateCloudEvent', () => {
  test.each<[string, Record<string, unknown>]>([
    ['null data', { data: null }],
    [
      'null for every optional attribute',
      { time: null, subject: null, datacontenttype: null, dataschema: null, anything: null, data_base64: null },
    ],
    ['non-ASCII text', { subject: 'Euro € 😀' }],
    ['extension integers at both ends', { ext1: 2147483647, ext2: -2147483648 }],
    ['media type with parameters', { datacontenttype: 'text/plain; charset="utf-8"; format=flowed' }],
    ['a leap day', { time: '2024-02-29T00:00:00z' }],
    ['a leap second', { time: '2016-12-31T23:59:60Z' }],
    ['empty binary data', { data_base64: '' }],
    ['an extension named as a property of Object', { constructor: 'x' }],
  ])('takes %s', (_, more) => expect(validateCloudEvent({ ...good, ...more })).toEqual([]))

  test.each<[string, Record<string, unknown>, string]>([
    [
      'a control character',
      { subject: 'a\u0007b' },
      'subject holds control characters, noncharacters or half a surrogate pair',
    ],
    [
      'half a surrogate pair',
      { subject: 'a\ud800b' },
      'subject holds control characters, noncharacters or half a surrogate pair',
    ],
    ['a noncharacter', { id: '\u{1fffe}' }, 'id holds control characters, noncharacters or half a surrogate pair'],
    ['a source with a space', { source: 'my shop' }, 'source must be a URI reference (RFC 3986)'],
    ['a relative dataschema', { dataschema: '/schema' }, 'dataschema must be an absolute URI'],
    [
      '30 February',
      { time: '2026-02-30T12:00:00Z' },
      'time must be an RFC 3339 time with seconds and offset, such as 2026-01-31T12:00:00Z',
    ],
    ['an integer of 33 bits', { ext: 2147483648 }, 'ext must be a whole number of 32 bits'],
    ['an object as an extension', { ext: {} }, 'ext must be a string, a boolean or a whole number of 32 bits'],
    ['an empty extension', { ext: '' }, 'ext must not be empty'],
    ['a numeric partition key', { partitionkey: 7 }, 'partitionkey must be a string'],
    ['a number as base64', { data_base64: 7 }, 'data_base64 must be base64 text (RFC 4648)'],
    ['misplaced padding', { data_base64: 'TQ=a' }, 'data_base64 must be base64 text (RFC 4648)'],
    ['null data beside binary data', { data: null, data_base64: 'TWE=' }, 'data and data_base64 cannot both be there'],
    ['null for what is required', { id: null }, 'id is required'],
  ])('refuses %s', (_, more, reason) => expect(validateCloudEvent({ ...good, ...more })).toEqual([reason]))

  test.each([null, undefined, 7, 'text', [], [good]])('refuses what is no object: %j', (value) => {
    expect(validateCloudEvent(value)).toEqual(['an event must be a JSON object'])
  })
  test('does not take inherited attributes', () => {
    expect(validateCloudEvent(Object.create(good))).not.toEqual([])
  })
  test('judges 16 MiB of base64', () => {
    expect(validateCloudEvent({ ...good, data_base64: 'AAAA'.repeat(4 << 20) })).toEqual([])
  })
  test('a __proto__ member of parsed JSON is refused by its name', () => {
    expect(
      validateCloudEvent(JSON.parse('{"specversion":"1.0","id":"1","source":"/","type":"t","__proto__":{"x":1}}')),
    ).toEqual(['__proto__ is not an attribute name: use lower-case letters and digits only'])
  })
})
