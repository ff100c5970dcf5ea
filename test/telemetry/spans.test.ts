/** Spans by the messaging conventions, made with the real SDK. */
import * as api from '@opentelemetry/api'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Broker, connect, consumer, event, isMillraceError, stream } from '../../src/index.ts'
import { type OpenTelemetryOptions, openTelemetry } from '../../src/telemetry/index.ts'
import { Sdk } from './sdk.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SAMPLED = `00-${TRACE}-b7ad6b7169203331-01`
const UNSAMPLED = `00-${TRACE}-b7ad6b7169203331-00`
const Order = event('order')
const eventually = { timeout: 15_000 }

let sdk: Sdk
let broker: Broker
const opened: Broker[] = []

async function open(options: OpenTelemetryOptions = {}): Promise<Broker> {
  const made = await connect('memory:', { logger: false, telemetry: openTelemetry(api, options) })
  opened.push(made)
  await made.declare(stream('orders'), stream('mails'))
  return made
}
beforeEach(async () => {
  sdk = new Sdk()
  broker = await open()
})
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
  sdk.unregister()
})

/** The event as it is stored. */
async function stored(of: Broker, channel: string, id: string): Promise<{ traceparent?: string; tracestate?: string }> {
  for await (const event of of.read(channel)) if (event.id === id) return event
  throw new Error(`${id} is not in ${channel}`)
}

describe('a chain of events', () => {
  test('is one trace: publish, process, create, process', async () => {
    await broker.start(
      consumer('work', 'orders').onAny((_, ctx) => ctx.emit('mails', { type: 'mail', id: 'm-1', source: '/mail' })),
    )
    await broker.start(consumer('send', 'mails').onAny(() => undefined))
    await broker.publish('orders', { type: 'order', id: 'o-1', source: '/shop', subject: 's', correlationid: 'story' })
    await expect.poll(() => sdk.named('process mails').length, eventually).toBe(1)
    const [publish, process, create, last] = ['publish orders', 'process orders', 'create mails', 'process mails'].map(
      (name) => sdk.named(name)[0],
    )
    expect(new Set(sdk.spans.map(({ traceId }) => traceId)).size).toBe(1)
    expect([publish?.kind, process?.kind, create?.kind]).toEqual(['PRODUCER', 'CONSUMER', 'PRODUCER'])
    expect([process?.parent, process?.links]).toEqual([publish?.spanId, [publish?.spanId]])
    expect([create?.parent, last?.parent]).toEqual([process?.spanId, create?.spanId])
    expect(publish?.attributes).toEqual({
      'messaging.system': 'millrace',
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'orders',
      'messaging.message.id': 'o-1',
      'messaging.message.conversation_id': 'story',
      'cloudevents.event_id': 'o-1',
      'cloudevents.event_source': '/shop',
      'cloudevents.event_type': 'order',
      'cloudevents.event_subject': 's',
    })
    expect(process?.attributes).toMatchObject({
      'messaging.operation.type': 'process',
      'messaging.consumer.group.name': 'work',
      'messaging.message.id': 'o-1',
      'millrace.attempt': 1,
    })
    expect((await stored(broker, 'mails', 'm-1')).traceparent).toBe(`00-${create?.traceId}-${create?.spanId}-01`)
  })
  test('runs its handlers in their spans', async () => {
    let current: string | undefined
    await broker.start(
      consumer('work', 'orders').onAny(async () => {
        await Promise.resolve()
        current = api.trace.getActiveSpan()?.spanContext().spanId
      }),
    )
    await broker.publish('orders', { type: 'order' })
    await expect.poll(() => sdk.named('process orders')[0]?.spanId, eventually).toBeDefined()
    expect(current).toBe(sdk.named('process orders')[0]?.spanId)
  })
  test('continues the span in which it is published, or is not traced with it', async () => {
    const tracer = api.trace.getTracer('test')
    await tracer.startActiveSpan('request', async (span) => {
      await broker.publish('orders', { type: 'order' })
      span.end()
    })
    expect(sdk.named('publish orders')[0]?.parent).toBe(sdk.named('request')[0]?.spanId)
    const off = api.trace.setSpanContext(api.ROOT_CONTEXT, {
      traceId: TRACE,
      spanId: 'b7ad6b7169203331',
      traceFlags: 0,
    })
    await api.context.with(off, () => broker.publish('orders', { type: 'order', id: 'off' }))
    expect(sdk.named('publish orders')).toHaveLength(1)
    expect((await stored(broker, 'orders', 'off')).traceparent).toBe(UNSAMPLED)
  })
})

describe('a context in the event', () => {
  test('is never changed, and is linked to', async () => {
    await broker.start(consumer('work', 'orders').onAny(() => undefined))
    await broker.publish('orders', { type: 'order', id: 'o-1', traceparent: SAMPLED, tracestate: 'vendor=1' })
    await expect.poll(() => sdk.named('process orders').length, eventually).toBe(1)
    expect(await stored(broker, 'orders', 'o-1')).toMatchObject({ traceparent: SAMPLED, tracestate: 'vendor=1' })
    for (const name of ['publish orders', 'process orders'])
      expect(sdk.named(name)[0]).toMatchObject({
        traceId: TRACE,
        parent: 'b7ad6b7169203331',
        links: ['b7ad6b7169203331'],
      })
    expect(sdk.named('publish orders')[0]?.kind).toBe('CLIENT')
  })
  test('that is not sampled makes no span, also not of what is emitted', async () => {
    let emitted = 0
    await broker.start(consumer('work', 'orders').onAny((_, ctx) => ctx.emit('mails', { type: 'mail', id: 'm-1' })))
    await broker.start(consumer('send', 'mails').onAny(() => void emitted++))
    await broker.publish('orders', { type: 'order', traceparent: UNSAMPLED })
    await expect.poll(() => emitted, eventually).toBe(1)
    expect(sdk.spans).toEqual([])
    expect((await stored(broker, 'mails', 'm-1')).traceparent).toBe(UNSAMPLED)
  })
  test('is only linked to where its span is not to be the parent', async () => {
    const own = await open({ parent: 'never' })
    await own.start(consumer('work', 'orders').onAny(() => undefined))
    await own.publish('orders', { type: 'order', traceparent: SAMPLED })
    await expect.poll(() => sdk.named('process orders').length, eventually).toBe(1)
    expect(sdk.named('process orders')[0]).toMatchObject({ parent: undefined, links: ['b7ad6b7169203331'] })
  })
  test('that an emission of a process without telemetry made leaves the decision open', async () => {
    const plain = await connect('memory:', { logger: false })
    opened.push(plain)
    await plain.declare(stream('orders'), stream('mails'))
    await plain.start(consumer('work', 'orders').onAny((_, ctx) => ctx.emit('mails', { type: 'mail', id: 'm-1' })))
    await plain.publish('orders', { type: 'order', id: 'o-1' })
    await expect.poll(() => stored(plain, 'mails', 'm-1').catch(() => null), eventually).not.toBeNull()
    const { offset: _, ...mail } = (await stored(plain, 'mails', 'm-1')) as { offset?: number }
    await broker.start(consumer('send', 'mails').onAny(() => undefined))
    await broker.publish('mails', mail as never)
    await expect.poll(() => sdk.named('process mails').length, eventually).toBe(1)
  })
})

describe('several events', () => {
  test('published together have a span each, in the span of the call', async () => {
    await broker.publish('orders', [
      { type: 'order', id: '1' },
      { type: 'order', id: '2', traceparent: SAMPLED },
    ])
    const [publish] = sdk.named('publish orders')
    expect(publish).toMatchObject({ kind: 'CLIENT', attributes: { 'messaging.batch.message_count': 2 } })
    expect(publish?.links).toEqual(['b7ad6b7169203331'])
    expect(sdk.named('create orders').map(({ parent }) => parent)).toEqual([publish?.spanId])
    expect((await stored(broker, 'orders', '1')).traceparent).toContain(sdk.named('create orders')[0]?.spanId)
    expect((await stored(broker, 'orders', '2')).traceparent).toBe(SAMPLED)
  })
  test('handled together have one span, with a link to each', async () => {
    await broker.start(consumer('work', 'orders').onBatch(Order, { size: 3, wait: '10s' }, () => undefined))
    await broker.publish('orders', [{ type: 'order' }, { type: 'order' }, { type: 'order' }])
    await expect.poll(() => sdk.named('process orders').length, eventually).toBe(1)
    const [process] = sdk.named('process orders')
    expect(process?.links).toEqual(sdk.named('create orders').map(({ spanId }) => spanId))
    expect(process).toMatchObject({ parent: undefined, attributes: { 'messaging.batch.message_count': 3 } })
    expect(process?.attributes).not.toHaveProperty('messaging.message.id')
  })
})

describe('what goes wrong', () => {
  test('is in the spans: failed attempts, what became of them, and a link to the attempt before', async () => {
    const retry = { attempts: 2, min: 1, max: 1 }
    await broker.start(
      consumer('work', 'orders', { retry }).onAny(() => {
        throw Object.assign(new Error('no'), { code: 'E_NO' })
      }),
    )
    await broker.publish('orders', { type: 'order', id: 'o-1' })
    await expect.poll(() => sdk.named('process orders').length, eventually).toBe(2)
    const [first, second] = sdk.named('process orders')
    expect([first?.failed, first?.attributes['error.type']]).toEqual([true, 'E_NO'])
    expect(second?.links).toEqual([sdk.named('publish orders')[0]?.spanId, first?.spanId])
    expect(second?.attributes['millrace.attempt']).toBe(2)
    for (const [name, parent] of [
      ['retry orders', first],
      ['dead-letter orders', second],
    ] as const)
      expect(sdk.named(name)).toMatchObject([
        { kind: 'CLIENT', parent: parent?.spanId, attributes: { 'messaging.operation.type': 'settle' } },
      ])
  })
  test('is in the span of a publish that is refused', async () => {
    await broker.publish('orders', { type: '' }).catch(() => undefined)
    expect(sdk.named('publish orders')).toMatchObject([{ failed: true, attributes: { 'error.type': 'INVALID_EVENT' } }])
    for (const nonsense of [null, 7, [null]])
      await expect(broker.publish('orders', nonsense as never)).rejects.toSatisfy((error) => isMillraceError(error))
  })
})

describe('what is not sampled', () => {
  test('calls no SDK', async () => {
    let asked = 0
    const counted: typeof api.trace = Object.assign(Object.create(api.trace), {
      getTracer: () => ({ startSpan: () => asked++ }),
    })
    const none = await connect('memory:', {
      logger: false,
      telemetry: openTelemetry({ ...api, trace: counted }, { sample: 0 }),
    })
    opened.push(none)
    let handled = 0
    await none.start(consumer('work', stream('orders')).onAny(() => void handled++))
    await none.publish('orders', [{ type: 'order' }, { type: 'order', id: 'o-1' }])
    await expect.poll(() => handled, eventually).toBe(2)
    expect(asked).toBe(0)
    expect(await stored(none, 'orders', 'o-1')).not.toHaveProperty('traceparent')
  })
  const events: Readonly<Record<string, (n: number) => { type: string; id?: string }>> = {
    'with ids of the application': (n) => ({ type: 'order', id: `order ${n}` }),
    'without ids': () => ({ type: 'order' }),
    'of a definition': () => Order(null),
  }
  test.each(Object.entries(events))('is the same for publishing and for handling, %s', async (_, made) => {
    const some = await open({ sample: 0.25 })
    let handled = 0
    await some.start(consumer('work', 'orders').onAny(() => void handled++))
    for (let n = 0; n < 400; n++) await some.publish('orders', made(n))
    await expect.poll(() => handled, eventually).toBe(400)
    const ids = (name: string): unknown[] => sdk.named(name).map(({ attributes }) => attributes['messaging.message.id'])
    expect(ids('process orders').sort()).toEqual(ids('publish orders').sort())
    expect(ids('publish orders').length).toBeGreaterThan(50)
    expect(ids('publish orders').length).toBeLessThan(150)
  })
})
