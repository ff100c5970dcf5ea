/** Events published over HTTP come back unchanged: digits, attributes, absent data. */
import { HTTP, CloudEvent as SdkEvent } from 'cloudevents'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { itemTexts, memberText } from '../../src/event/http/json-text.ts'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, event, stream } from '../../src/index.ts'

let broker: Broker
let gateway: Gateway

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('anything'))
  gateway = createGateway(broker)
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
})

const EVENTS = 'http://localhost/channels/anything/events'
async function send(
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = { 'content-type': 'application/cloudevents+json' },
): Promise<Response> {
  const answer = await gateway.fetch(new Request(EVENTS, { method: 'POST', headers, body }))
  expect(answer.status).toBe(202)
  return answer
}
const readText = async (query = ''): Promise<string> => (await gateway.fetch(new Request(`${EVENTS}${query}`))).text()
const attributes = '"specversion":"1.0","id":"1","source":"/s","type":"t"'

test('numbers keep all digits and their form in structured, batched and binary mode', async () => {
  const data = '{"big":12345678901234567890,"cents":1.10,"tiny":1e-400,"minus":-0, "deep":[{"n":9007199254740993}]}'
  await send(`{${attributes},"data":${data}}`)
  await send(`[{${attributes.replace('"1"', '"2"')},"data" : ${data} }]`, {
    'content-type': 'application/cloudevents-batch+json',
  })
  await send(data, {
    'ce-specversion': '1.0',
    'ce-id': '3',
    'ce-source': '/s',
    'ce-type': 't',
    'content-type': 'application/json',
  })
  // Bytes have no content type of their own; for text, fetch adds one.
  await send(new TextEncoder().encode(data), {
    'ce-specversion': '1.0',
    'ce-id': '4',
    'ce-source': '/s',
    'ce-type': 't',
  })
  const text = await readText()
  expect(text.split(data)).toHaveLength(5)
})
test('an event without a time is served without one, and an extension with the name of a Millrace member stays', async () => {
  const sent = {
    specversion: '1.0',
    id: '1',
    source: '/s',
    type: 't',
    offset: 7,
    extensions: 'mine',
    low: -2147483648,
    data: null,
  }
  await send(JSON.stringify(sent))
  expect(JSON.parse(await readText())).toEqual([sent])
})
test('the last of two members of one name counts, for the parser and for the text, whatever its escapes', async () => {
  await send(`{${attributes},"data":1,"d\\u0061ta":{"n":2.0}}`)
  expect(await readText()).toContain('"data":{"n":2.0}')
})
test('line breaks within the data do not break an event stream', async () => {
  await send(`{${attributes},"data":{\r\n  "n":\n 1.0}}`)
  const answer = await gateway.fetch(new Request('http://localhost/channels/anything/stream?from=0'))
  let text = ''
  for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(chunk)
    if (text.includes('data:')) break
  }
  const line = /^data: (.*)$/m.exec(text)?.[1] ?? ''
  expect(JSON.parse(line)).toMatchObject({ id: '1', data: { n: 1 } })
  expect(line).toContain('1.0')
})
test("data that is nested too deep is refused, and so is data that the application's schema refuses", async () => {
  const nested = (depth: number): string => `{${attributes},"data":${'['.repeat(depth)}${']'.repeat(depth)}}`
  const status = async (body: string, channel = 'anything'): Promise<number> =>
    (
      await gateway.fetch(
        new Request(`http://localhost/channels/${channel}/events`, {
          method: 'POST',
          headers: { 'content-type': 'application/cloudevents+json' },
          body,
        }),
      )
    ).status
  expect(await status(nested(128))).toBe(202)
  for (const depth of [130, 131, 5000]) expect(await status(nested(depth))).toBe(400)
  await broker.declare(stream('typed', { events: [event('t', z.object({ n: z.int() }))] }))
  expect(await status(`{${attributes},"data":{"n":1.5}}`, 'typed')).toBe(422)
  expect(await status(`{${attributes},"data":{"n":9007199254740993}}`, 'typed')).toBe(422)
  expect(await status(`{${attributes},"data":{"n":7}}`, 'typed')).toBe(202)
})
test('events of the official SDK come back as the same events', async () => {
  const sent: SdkEvent<unknown>[] = [
    new SdkEvent({
      id: 'a',
      source: '/sdk',
      type: 't',
      data: { a: 1 },
      myext: 'x',
      time: '2026-01-31T12:00:00.000Z',
      subject: 'café "1"',
    }),
    new SdkEvent({
      id: 'b',
      source: '/sdk',
      type: 't',
      datacontenttype: 'text/plain',
      data: 'plain',
      time: '2026-01-31T12:00:00.000Z',
    }),
    new SdkEvent({ id: 'c', source: '/sdk', type: 't', time: '2026-01-31T12:00:00.000Z', flag: true, count: 3 }),
    new SdkEvent({
      id: 'd',
      source: '/sdk',
      type: 't',
      datacontenttype: 'application/json',
      data: [1, 'two', null],
      time: '2026-01-31T12:00:00.000Z',
    }),
  ]
  for (const one of sent) {
    const message = HTTP.structured(one)
    await send(message.body as string, message.headers as Record<string, string>)
  }
  const page = await gateway.fetch(new Request(EVENTS))
  const read = HTTP.toEvent({
    headers: Object.fromEntries(page.headers),
    body: await page.text(),
  }) as SdkEvent<unknown>[]
  expect(read.map((one) => one.toJSON())).toEqual(sent.map((one) => one.toJSON()))
})
test('the scanner finds the same members as the parser, for any JSON', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(3), (object, space) => {
      const text = JSON.stringify(object, null, space)
      for (const name of Object.keys(object))
        expect(JSON.parse(memberText(text, name) as string)).toEqual(JSON.parse(JSON.stringify(object[name])))
      expect(memberText(text, ' not there')).toBe(Object.hasOwn(object, ' not there') ? expect.anything() : undefined)
      const list = JSON.stringify(Object.values(object), null, space)
      expect(itemTexts(list).map((item) => JSON.parse(item) as unknown)).toEqual(JSON.parse(list))
    }),
  )
})
