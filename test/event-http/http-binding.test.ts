import { HTTP, CloudEvent as SdkEvent } from 'cloudevents'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../src/base/errors.ts'
import type { CloudEvent, StoredEvent } from '../../src/event/cloud-event.ts'
import { decodeHttp, httpModeOf } from '../../src/event/http/decode-http.ts'
import { encodeHttp } from '../../src/event/http/encode-http.ts'
import { encodeHeaderValue } from '../../src/event/http/header-value.ts'
import { validateCloudEvent } from '../../src/event/validate-cloud-event.ts'
import { type FormatSuite, loadSuite } from './suites.ts'

const format = loadSuite<FormatSuite>('cloudevents-format-json.json')
const conformance = loadSuite<{ features: Record<string, string> }>('cloudevents-conformance.json')
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const structured = { 'content-type': 'application/cloudevents+json' }
const batched = { 'content-type': 'application/cloudevents-batch+json' }
const ce = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/shop', 'ce-type': 'cart.item.added' }
const base: CloudEvent = { specversion: '1.0', id: '1', source: '/shop', type: 'cart.item.added', data: undefined }

function refusal(run: () => unknown): { message: string; details: Readonly<Record<string, unknown>> } {
  try {
    run()
  } catch (error) {
    if (isMillraceError(error, 'INVALID_EVENT')) return error
    throw error
  }
  throw new Error('it was not refused')
}

describe('the official JSON format suite over HTTP', () => {
  for (const { id, event } of format.validEvents) {
    test(`structured: ${id} goes in, without its nulls`, () => {
      const expected = Object.fromEntries(Object.entries(event).filter(([, value]) => value !== null))
      expect(decodeHttp(structured, bytes(JSON.stringify(event)))).toEqual([expected])
    })
  }
  for (const { id, event } of format.invalidEvents) {
    test(`structured: ${id} is refused`, () => {
      expect(refusal(() => decodeHttp(structured, bytes(JSON.stringify(event)))).details['reasons']).not.toEqual([])
    })
  }
  for (const { id, batch } of format.validBatches) {
    test(`batched: ${id}`, () => expect(decodeHttp(batched, bytes(JSON.stringify(batch)))).toEqual(batch))
  }
  for (const { id, batch } of format.invalidBatches) {
    test(`batched: ${id} is refused as a whole`, () => {
      expect(refusal(() => decodeHttp(batched, bytes(JSON.stringify(batch)))).details['index']).toBeTypeOf('number')
    })
  }
})

/** The scenarios of the feature file: request text, expected attributes, expected data, content types. */
function scenarios(
  feature: string,
): { name: string; request: string; attributes: Record<string, string>; data: unknown }[] {
  return feature
    .split('Scenario Outline:')
    .slice(1)
    .flatMap((text) => {
      const blocks = [...text.matchAll(/"""\n([\s\S]*?)"""/g)].map((match) =>
        (match[1] as string).replace(/^ {8}/gm, ''),
      )
      const rows = [...text.matchAll(/^\s*\|(.+)\|\s*$/gm)].map((match) =>
        (match[1] as string).split('|').map((cell) => cell.trim()),
      )
      const types = rows.filter((row) => row.length === 1).slice(1)
      return types.map(([type]) => ({
        name: (text.split('\n')[0] as string).trim().replace('<contentType>', type as string),
        request: (blocks[0] as string).replace('<contentType>', type as string),
        attributes: Object.fromEntries(
          rows
            .filter((row) => row.length === 2 && row[0] !== 'key')
            .map(([key, value]) => [key, value === '<contentType>' ? type : value]),
        ),
        data: JSON.parse(blocks[1] as string),
      }))
    })
}

describe('the official HTTP binding feature', () => {
  const all = scenarios(conformance.features['http-protocol-binding.feature'] ?? '')
  test('has four rows', () => expect(all.length).toBe(4))
  for (const { name, request, attributes, data } of all) {
    test(name, () => {
      const [head, body] = [request.slice(0, request.indexOf('\n\n')), request.slice(request.indexOf('\n\n') + 2)]
      const headers = Object.fromEntries(
        head
          .split('\n')
          .slice(1)
          .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
      )
      const [event] = decodeHttp(headers, bytes(body))
      expect(event).toEqual({ ...attributes, data })
    })
  }
})

describe('binary mode', () => {
  const decode = (type: string | undefined, body: Uint8Array): CloudEvent =>
    decodeHttp({ ...ce, ...(type !== undefined && { 'content-type': type }) }, body)[0] as CloudEvent

  test('JSON, text, other bytes, none', () => {
    expect(decode('application/json', bytes('{"a":1}')).data).toEqual({ a: 1 })
    expect(decode('application/vnd.x+json; charset=utf-8', bytes('[1]')).data).toEqual([1])
    expect(decode('application/json', bytes('null')).data).toBeNull()
    expect(decode('text/plain', bytes('"quoted"')).data).toBe('"quoted"')
    expect(decode('application/xml', bytes('<a>é</a>')).data).toBe('<a>é</a>')
    expect(decode('image/png', new Uint8Array([0x89, 0x50])).data_base64).toBe('iVA=')
    expect(decode('text/plain; charset=iso-8859-1', new Uint8Array([0xe9])).data_base64).toBe('6Q==')
    expect(decode('text/plain', new Uint8Array([0xe9])).data_base64).toBe('6Q==')
    expect('data' in decode('application/json', new Uint8Array(0))).toBe(false)
    expect(decode(undefined, bytes('{"a":1}')).data).toEqual({ a: 1 })
    expect(decode(undefined, new Uint8Array([0xff])).data_base64).toBe('/w==')
  })

  test("the specification's header example, both ways", () => {
    expect(encodeHeaderValue('Euro € 😀')).toBe('Euro%20%E2%82%AC%20%F0%9F%98%80')
    const [event] = decodeHttp({ ...ce, 'ce-subject': 'Euro%20%E2%82%AC%20%F0%9F%98%80' }, new Uint8Array(0))
    expect(event?.subject).toBe('Euro € 😀')
  })

  test('decodes once, undoes quotes, leaves a lone percent', () => {
    const subject = (value: string): string | undefined =>
      decodeHttp({ ...ce, 'ce-subject': value }, new Uint8Array(0))[0]?.subject
    expect(subject('100%2541')).toBe('100%41')
    expect(subject('"a \\"b\\" c"')).toBe('a "b" c')
    expect(subject('100% sure')).toBe('100% sure')
  })

  test.each(['%C0%A0', '%E0%80%80', '%FF', '%ED%A0%80'])('refuses %s, which is not UTF-8', (value) => {
    expect(refusal(() => decodeHttp({ ...ce, 'ce-subject': value }, new Uint8Array(0))).message).toContain(
      'not percent-encoded UTF-8',
    )
  })

  test.each([
    ['a control character', { 'ce-subject': '%07' }],
    ['an empty attribute', { 'ce-subject': '' }],
    ['an attribute that is the body', { 'ce-data': 'x' }],
    ['the content type twice', { 'ce-datacontenttype': 'text/plain' }],
    ['a bad extension name', { 'ce-my_extension': 'x' }],
    ['another version', { 'ce-specversion': '0.3' }],
  ])('refuses %s', (_, more) => {
    refusal(() => decodeHttp({ ...ce, ...more }, new Uint8Array(0)))
  })

  test('any extension, in any case of header', () => {
    const [event] = decodeHttp(
      { 'CE-SpecVersion': '1.0', 'Ce-Id': '1', 'ce-source': '/', 'CE-TYPE': 't', 'ce-myext': 'yes' },
      new Uint8Array(0),
    )
    expect(event).toEqual({ specversion: '1.0', id: '1', source: '/', type: 't', myext: 'yes' })
  })
})

describe('bodies that are not what they say', () => {
  test.each([
    ['no JSON', structured, '{'],
    ['an array as one event', structured, '[]'],
    ['an object as a batch', batched, '{}'],
    ['a scalar', structured, '7'],
    ['an empty body', structured, ''],
  ])('%s', (_, headers, body) => {
    refusal(() => decodeHttp(headers, bytes(body)))
  })
  test('invalid UTF-8', () => {
    refusal(() => decodeHttp(structured, new Uint8Array([0x22, 0xff, 0x22])))
  })
  test('another charset', () => {
    refusal(() => decodeHttp({ 'content-type': 'application/cloudevents+json; charset=utf-16' }, bytes('{}')))
  })
  test('nesting that would exhaust a parser or a reader', () => {
    expect(
      refusal(() => decodeHttp({ ...ce, 'content-type': 'application/json' }, bytes('['.repeat(100_000)))).message,
    ).toContain('nested')
    expect(
      decodeHttp({ ...ce, 'content-type': 'application/json' }, bytes(JSON.stringify('[["\\"[['.repeat(100)))),
    ).toHaveLength(1)
  })
  test('modes by headers', () => {
    expect(httpModeOf({ ...ce, 'content-type': 'text/plain' })).toBe('binary')
    expect(httpModeOf({ 'content-type': 'Application/CloudEvents+JSON; charset=utf-8' })).toBe('structured')
    expect(httpModeOf({ 'content-type': 'application/cloudevents+avro' })).toBe('foreign')
    expect(httpModeOf(new Headers({ 'content-type': 'text/plain' }))).toBe('none')
  })
})

describe('encodeHttp', () => {
  test('binary and structured carry one event', () => {
    expect(() => encodeHttp([], 'binary')).toThrow('carries one event')
    expect(() => encodeHttp([base, base], 'structured')).toThrow("use 'batched'")
  })
  test("a stored event's binary data goes as bytes or base64, its offset stays", () => {
    const stored = { ...base, datacontenttype: 'image/png', data: new Uint8Array([1, 2]), offset: 7 } as StoredEvent
    const message = encodeHttp([stored], 'binary')
    expect([...message.body]).toEqual([1, 2])
    expect(message.headers['ce-offset']).toBeUndefined()
    const [event] = decodeHttp(structured, encodeHttp([stored], 'structured').body)
    expect(event).toEqual({
      specversion: '1.0',
      id: '1',
      source: '/shop',
      type: 'cart.item.added',
      datacontenttype: 'image/png',
      data_base64: 'AQI=',
    })
  })

  const text = fc
    .string({ minLength: 1, unit: 'grapheme' })
    .filter((value) => validateCloudEvent({ ...base, subject: value }).length === 0)
  const event = fc.record(
    {
      specversion: fc.constant('1.0' as const),
      id: text,
      source: fc.webUrl(),
      type: text,
      subject: text,
      myextension: text,
      time: fc.constant('2026-01-31T12:00:00.5+01:00'),
    },
    { requiredKeys: ['specversion', 'id', 'source', 'type'] },
  )
  const payload = fc.oneof(
    fc.record({ data: fc.jsonValue() }),
    fc.record({ datacontenttype: fc.constant('application/json'), data: fc.jsonValue() }),
    fc.record({ datacontenttype: fc.constant('text/plain'), data: fc.string({ minLength: 1, unit: 'grapheme' }) }),
    fc.record({
      datacontenttype: fc.constant('image/png'),
      data_base64: fc.uint8Array({ minLength: 1 }).map((value) => Buffer.from(value).toString('base64')),
    }),
    fc.constant({}),
  )
  const any = fc
    .tuple(event, payload)
    .map(([attributes, data]) => JSON.parse(JSON.stringify({ ...attributes, ...data })) as CloudEvent)

  test('what goes out in any mode comes in unchanged', () => {
    fc.assert(
      fc.property(any, (value) => {
        for (const mode of ['binary', 'structured', 'batched'] as const) {
          const { headers, body } = encodeHttp([value], mode)
          const [back] = decodeHttp(headers, body)
          // Binary mode states the content type that JSON data has by default.
          const expected =
            mode === 'binary' && 'data' in value ? { datacontenttype: 'application/json', ...value } : value
          expect(back).toEqual(expected)
        }
      }),
      { numRuns: 200 },
    )
  })
})

describe('the official SDK', () => {
  const events: SdkEvent<unknown>[] = [
    new SdkEvent({
      id: 'a',
      source: '/shop',
      type: 'cart.item.added',
      data: { sku: 'tea' },
      subject: 'tea',
      myext: 'yes',
    }),
    new SdkEvent({
      id: 'b',
      source: 'https://x.example/a?b=c#d',
      type: 't',
      datacontenttype: 'text/plain',
      data: 'hello',
    }),
    new SdkEvent({
      id: 'c',
      source: '/shop',
      type: 't',
      datacontenttype: 'application/octet-stream',
      data: new Uint8Array([0, 1, 254, 255]),
    }),
    new SdkEvent({ id: 'd', source: '/shop', type: 't' }),
  ]
  const asBytes = (body: unknown): Uint8Array =>
    body === undefined || body === null
      ? new Uint8Array(0)
      : body instanceof Uint8Array
        ? body
        : bytes(typeof body === 'string' ? body : JSON.stringify(body))
  const sdkHeaders = (headers: unknown): Record<string, string> => headers as Record<string, string>

  test.each(events)('writes binary, we read: $id', (event) => {
    const message = HTTP.binary(event as SdkEvent<object>)
    const [read] = decodeHttp(sdkHeaders(message.headers), asBytes(message.body))
    expect(read?.id).toBe(event.id)
    if (event.id === 'c') expect(read?.data_base64).toBe('AAH+/w==')
    else expect(read?.data).toEqual(event.data)
  })
  test.each(events)('writes structured, we read: $id', (event) => {
    const message = HTTP.structured(event as SdkEvent<object>)
    const [read] = decodeHttp(sdkHeaders(message.headers), asBytes(message.body))
    expect(read?.source).toBe(event.source)
    expect(read?.['data_base64' in (read ?? {}) ? 'data_base64' : 'data']).toEqual(
      event.id === 'c' ? 'AAH+/w==' : event.data,
    )
  })
  test.each(['binary', 'structured'] as const)('reads what we write: %s', (mode) => {
    for (const event of events) {
      const ours = JSON.parse(JSON.stringify(event)) as CloudEvent
      const { headers, body } = encodeHttp([ours], mode)
      // The form in which a server framework gives bodies to the SDK: text as a string, other bytes unchanged.
      const raw = mode === 'binary' && event.id === 'c' ? Buffer.from(body) : new TextDecoder().decode(body)
      const read = HTTP.toEvent({ headers: { ...headers }, body: raw === '' ? undefined : raw }) as SdkEvent<unknown>
      expect([read.id, read.type, read.source, read.subject]).toEqual([
        event.id,
        event.type,
        event.source,
        event.subject,
      ])
      if (event.id === 'c') expect(Buffer.from(read.data as Uint8Array).toString('hex')).toBe('0001feff')
      else expect(read.data).toEqual(event.data)
    }
  })
  test('reads our batches', () => {
    const { headers, body } = encodeHttp(
      events.map((event) => JSON.parse(JSON.stringify(event)) as CloudEvent),
      'batched',
    )
    const read = HTTP.toEvent({ headers: { ...headers }, body: new TextDecoder().decode(body) }) as SdkEvent<unknown>[]
    expect(read.map((event) => event.id)).toEqual(['a', 'b', 'c', 'd'])
  })
})
