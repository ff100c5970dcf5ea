/** Sensitive fields: what a schema marks, in which places, and that everything else keeps its bytes. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { z } from 'zod'
import type { JsonObject } from '../../src/base/json-object.ts'
import { LIMITS } from '../../src/base/limits.ts'
import { stream } from '../../src/channel/channel.ts'
import { ChannelMask } from '../../src/channel/channel-mask.ts'
import { mergedSpec } from '../../src/channel/merged-spec.ts'
import { event } from '../../src/event/event.ts'
import { SensitiveFields } from '../../src/event/sensitive/masked-event.ts'

const M = '{"a":"[masked]"}'
const secret = { type: 'string', 'x-sensitive': true }

function maskedData(schema: JsonObject, data: string): string {
  const fields = SensitiveFields.of(schema)
  if (fields === null) return data
  const { text } = fields.mask(`{"id":"1","type":"t","data":${data}}`)
  return text.slice('{"id":"1","type":"t","data":'.length, -1)
}

it.each<[name: string, schema: JsonObject, data: string, masked: string]>([
  ['a member', { properties: { a: secret } }, '{"a":"x","b":1.10}', '{"a":"[masked]","b":1.10}'],
  ['a member that is an object', { properties: { a: { 'x-sensitive': true } } }, '{"a":{"b":[1]}}', '{"a":"[masked]"}'],
  ['a name written with escapes', { properties: { a: secret } }, '{"\\u0061":"x"}', '{"\\u0061":"[masked]"}'],
  ['a name given twice', { properties: { a: secret } }, '{"a":1,"a":2}', '{"a":"[masked]","a":"[masked]"}'],
  ['items', { properties: { a: { items: secret } } }, '{"a":[ "x", "y" ]}', '{"a":[ "[masked]", "[masked]" ]}'],
  ['an item by its place', { prefixItems: [{}, secret] }, '["x","y","z"]', '["x","[masked]","z"]'],
  [
    'members of other names',
    { properties: { a: {} }, additionalProperties: secret },
    '{"a":1,"b":2}',
    '{"a":1,"b":"[masked]"}',
  ],
  ['members by a pattern', { patternProperties: { '^s': secret } }, '{"s1":1,"b":2}', '{"s1":"[masked]","b":2}'],
  [
    'a branch that the data does not satisfy',
    { anyOf: [{ properties: { a: secret } }, {}] },
    '{"a":7}',
    '{"a":"[masked]"}',
  ],
  ['what a condition adds', { if: {}, else: { properties: { a: secret } } }, '{"a":7}', '{"a":"[masked]"}'],
  ['a reference', { $ref: '#/$defs/p', $defs: { p: { properties: { a: secret } } } }, '{"a":7}', '{"a":"[masked]"}'],
  [
    'a schema that refers to itself',
    { $defs: { n: { properties: { v: secret, next: { $ref: '#/$defs/n' } } } }, $ref: '#/$defs/n' },
    '{"v":1,"next":{"v":2,"next":{"v":3}}}',
    '{"v":"[masked]","next":{"v":"[masked]","next":{"v":"[masked]"}}}',
  ],
  ['the whole data', secret, '"x"', '"[masked]"'],
  ['text where the schema has members', { properties: { a: secret } }, '"{\\"a\\":1}"', '"[masked]"'],
  [
    'numbers beyond a double keep their digits',
    { properties: { a: secret } },
    '{"n":12345678901234567890,"a":0}',
    '{"n":12345678901234567890,"a":"[masked]"}',
  ],
  ['an empty object', { properties: { a: secret } }, '{}', '{}'],
  ['a mark that is not true', { properties: { a: { 'x-sensitive': false } } }, '{"a":1}', '{"a":1}'],
  ['text where a member should have members', { properties: { a: { properties: { s: secret } } } }, '{"a":"x"}', M],
  ['a list where a member should have members', { properties: { a: { properties: { s: secret } } } }, '{"a":["x"]}', M],
  ['text where items are marked', { properties: { a: { type: 'array', items: secret } } }, '{"a":"x"}', M],
  ['a number where items are marked', { properties: { a: { items: secret } } }, '{"a":5}', M],
  ['not null where items are marked', { properties: { a: { items: secret } } }, '{"a":null}', '{"a":null}'],
  [
    'not text that a branch allows',
    { properties: { a: { anyOf: [{ type: 'string' }, { properties: { s: secret } }] } } },
    '{"a":"x"}',
    '{"a":"x"}',
  ],
  ['items of an earlier draft', { items: [{}, secret] }, '["x","y","z"]', '["x","[masked]","z"]'],
  [
    'further items of an earlier draft',
    { items: [{}], additionalItems: secret },
    '["x","y","z"]',
    '["x","[masked]","[masked]"]',
  ],
  [
    'what a member brings in an earlier draft',
    { dependencies: { b: { properties: { a: secret } } } },
    '{"a":"x"}',
    '{"a":"[masked]"}',
  ],
  [
    'a reference by anchor',
    { $ref: '#p', $defs: { p: { $anchor: 'p', properties: { a: secret } } } },
    '{"a":7}',
    '{"a":"[masked]"}',
  ],
  [
    'a reference by id',
    { properties: { a: { $ref: 'Email' } }, $defs: { x: { $id: 'Email', ...secret } } },
    '{"a":"x"}',
    '{"a":"[masked]"}',
  ],
  [
    'a dynamic reference',
    { $dynamicAnchor: 'n', properties: { s: secret, next: { $dynamicRef: '#n' } } },
    '{"next":{"s":"x"}}',
    '{"next":{"s":"[masked]"}}',
  ],
  [
    'what a reference leads to that cannot be followed',
    { properties: { s: secret, a: { $ref: 'https://example.com/email.json' }, b: {} } },
    '{"a":"x","b":"y"}',
    '{"a":"[masked]","b":"y"}',
  ],
  [
    'members of other names where a pattern cannot be decided',
    { patternProperties: { '^(a+)+(a+)+(a+)+(a+)+$': {} }, additionalProperties: secret },
    `{"${'a'.repeat(60)}b":"x"}`,
    `{"${'a'.repeat(60)}b":"[masked]"}`,
  ],
  [
    'a name of an object prototype',
    { properties: { a: secret } },
    '{"__proto__":1,"constructor":2}',
    '{"__proto__":1,"constructor":2}',
  ],
])('masks %s', (_name, schema, data, masked) => {
  expect(maskedData(schema, data)).toBe(masked)
})

it('masks binary data, and attributes that have the value of a masked field, but not the id', () => {
  const fields = SensitiveFields.of({ properties: { email: secret, age: { 'x-sensitive': true } } }) as SensitiveFields
  const { text, masked } = fields.mask(
    '{"id":"a@b.c","subject":"a@b.c","partitionkey":"7","other":"b","data":{"email":"a@b.c","age":7}}',
  )
  expect(masked).toBe(true)
  expect(JSON.parse(text)).toEqual({
    id: 'a@b.c',
    subject: '[masked]',
    partitionkey: '[masked]',
    other: 'b',
    data: { email: '[masked]', age: '[masked]' },
  })
  expect(fields.mask('{"id":"1","data_base64":"AAAA"}').text).toBe('{"id":"1","data_base64":"[masked]"}')
})

it('masks values where another text quotes them, also only their beginning', () => {
  const fields = SensitiveFields.of({ properties: { email: secret } }) as SensitiveFields
  const { redact } = fields.mask('{"id":"1","data":{"email":"ann.smith@example.com"}}')
  expect(redact('no mailbox ann.smith@example.com: 550')).toBe('no mailbox [masked]: 550')
  expect(redact('must be an address; it is "ann.smith@exa…"')).toBe('must be an address; it is "[masked]…"')
  expect(redact('ann')).toBe('ann')
  expect(redact(null)).toBe(null)
})

it('masks attributes that contain a masked value, a short one only as a word', () => {
  const fields = SensitiveFields.of({ properties: { email: secret, name: secret } }) as SensitiveFields
  const data = '"data":{"email":"ann.smith@example.com","name":"Ann"}'
  const attributes =
    '"subject":"users/ann.smith@example.com","partitionkey":"users/Ann","tenant":"Annual","correlationid":"for/Ann"'
  const { text } = fields.mask(`{"id":"1","type":"t",${attributes},${data}}`)
  expect(JSON.parse(text)).toMatchObject({
    subject: '[masked]',
    partitionkey: '[masked]',
    tenant: 'Annual',
    correlationid: 'for/Ann',
  })
})

it('masks values that are quoted as JSON, or in a URL', () => {
  const fields = SensitiveFields.of({ properties: { note: secret } }) as SensitiveFields
  const note = 'see "ann"\nor bob@example.com'
  const { redact } = fields.mask(JSON.stringify({ id: '1', data: { note } }))
  expect(redact(`bad data ${JSON.stringify({ note })}`)).toBe('bad data {"note":"[masked]"}')
  expect(redact(`GET /notes/${encodeURIComponent(note)} failed`)).toBe('GET /notes/[masked] failed')
})

it('masks each of several values with the same beginning', () => {
  const fields = SensitiveFields.of({ properties: { a: secret, b: secret } }) as SensitiveFields
  const { redact } = fields.mask('{"id":"1","data":{"a":"ann.smith@a.org","b":"ann.smith@work.example"}}')
  expect(redact('neither ann.smith@a.org nor ann.smith@work.example')).toBe('neither [masked] nor [masked]')
})

it('where there are more masked values than are remembered, no text about the event is shown', () => {
  const fields = SensitiveFields.of({ properties: { list: { items: secret } } }) as SensitiveFields
  const list = Array.from({ length: LIMITS.sensitiveValuesMax + 1 }, (_, at) => `value-${at}`)
  const { text, redact } = fields.mask(JSON.stringify({ id: '1', subject: list.at(-1), data: { list } }))
  expect(JSON.parse(text).subject).toBe('[masked]')
  expect(redact(`cannot send ${list.at(-1)}`)).toBe('[masked]')
})

it('shows nothing of a text that is not JSON', () => {
  const fields = SensitiveFields.of(secret) as SensitiveFields
  expect(fields.mask('{"data":"x').text).toBe('{"data":"[masked]"}')
})

it('leaves no masked value in the text, and changes nothing else', () => {
  const fields = SensitiveFields.of({
    properties: { s: secret, list: { items: { properties: { s: secret } } } },
  }) as SensitiveFields
  const hidden = fc.uuid()
  const data = fc.record({
    s: hidden,
    n: fc.double({ noNaN: true, noDefaultInfinity: true }),
    t: fc.string(),
    list: fc.array(fc.record({ s: hidden, o: fc.jsonValue() })),
  })
  fc.assert(
    fc.property(data, (value) => {
      const { text } = fields.mask(JSON.stringify({ id: '1', type: 't', data: value }))
      const expected = JSON.parse(JSON.stringify(value)) as typeof value
      const all = [expected, ...expected.list]
      const values = all.map(({ s }) => s)
      for (const each of all) each.s = '[masked]'
      expect(JSON.parse(text).data).toEqual(expected)
      for (const each of values) expect(text).not.toContain(each)
    }),
  )
})

it('a hostile schema costs a bounded time', () => {
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`p${at}`, { $ref: '#' }]))
  const schema = {
    anyOf: [{ properties: { ...many, s: secret } }, { additionalProperties: { $ref: '#' } }],
    properties: many,
    patternProperties: { '(a+)+$': { $ref: '#' } },
  }
  const deep = `${'{"p1":'.repeat(100)}{"s":1}${'}'.repeat(100)}`
  expect(maskedData(schema, deep)).toContain('"s":"[masked]"')
})

it('a channel masks by the type of the event, with marks from zod', () => {
  const Registered = event(
    'user.registered',
    z.object({ name: z.string(), email: z.string().meta({ 'x-sensitive': true }) }),
  )
  const users = stream('users', { events: [Registered, event('user.left')] })
  const mask = ChannelMask.of(users.spec) as ChannelMask
  const text = '{"id":"1","type":"user.registered","data":{"name":"ann","email":"a@b.c"}}'
  expect(mask.event('user.registered', text).text).toContain('"email":"[masked]"')
  expect(mask.event('user.left', text).text).toBe(text)
  expect(ChannelMask.of(stream('plain').spec)).toBe(null)
})

it('of a schema with sensitive fields that is too large to keep, it is kept that all data is sensitive', () => {
  const fields = Object.fromEntries(Array.from({ length: 3000 }, (_, at) => [`field-number-${at}`, z.string()]))
  const Large = event('large', z.object({ ...fields, email: z.string().meta({ 'x-sensitive': true }) }))
  const mask = ChannelMask.of(stream('large', { events: [Large] }).spec)
  expect(mask?.event('large', '{"id":"1","type":"large","data":{"a":1}}').text).toContain('"data":"[masked]"')
})

it('the schemas of earlier versions mask too', () => {
  const schemas = { t: { properties: { email: secret } } }
  const versions = { t: { version: 2, earlier: { 1: { properties: { mail: secret } } } } }
  const mask = ChannelMask.of({ schemas, versions }) as ChannelMask
  const { text, redact } = mask.event(
    't',
    '{"id":"1","type":"t","data":{"mail":"a@old.example","email":"b@new.example"}}',
  )
  expect(JSON.parse(text).data).toEqual({ mail: '[masked]', email: '[masked]' })
  expect(redact('a@old.example, b@new.example')).toBe('[masked], [masked]')
})

it('a declaration that names a type without its schema does not unmask it', () => {
  const schema = { properties: { email: secret } }
  const existing = { ...stream('users', { events: [event('registered')] }).spec, schemas: { registered: schema } }
  const { spec } = stream('users', { events: [event('registered')] })
  expect(mergedSpec(existing, spec).schemas).toEqual({ registered: schema })
  const other = { ...spec, schemas: { registered: { type: 'object' } } }
  expect(mergedSpec(existing, other).schemas).toEqual(other.schemas)
})
