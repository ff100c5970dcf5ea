/** The application's own API object, its faults, and metrics. */
import * as api from '@opentelemetry/api'
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import type { SpanExporter } from '@opentelemetry/sdk-trace-base'
import { afterEach, describe, expect, test } from 'vitest'
import { newId } from '../../src/event/identity.ts'
import { type Broker, connect, consumer, isMillraceError, stream } from '../../src/index.ts'
import { type OtelApi, openTelemetry } from '../../src/telemetry/index.ts'
import { isChosen } from '../../src/telemetry/sampling.ts'
import { Sdk } from './sdk.ts'

const eventually = { timeout: 15_000 }
const opened: Broker[] = []
const lines: string[] = []

async function open(given: OtelApi): Promise<Broker> {
  const logger = { info: () => undefined, warn: (line: unknown) => lines.push(String(line)), error: () => undefined }
  const broker = await connect('memory:', { logger, telemetry: openTelemetry(given) })
  opened.push(broker)
  await broker.declare(stream('orders'), stream('mails'))
  return broker
}
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
  lines.length = 0
  api.trace.disable()
  api.context.disable()
  api.metrics.disable()
})

/** An event through two consumers; resolves with how many events the second handled. */
async function run(broker: Broker, events = 3): Promise<number> {
  let handled = 0
  await broker.start(consumer('work', 'orders').onAny((_, ctx) => ctx.emit('mails', { type: 'mail' })))
  await broker.start(consumer('send', 'mails').onAny(() => void handled++))
  for (let n = 0; n < events; n++) await broker.publish('orders', { type: 'order' })
  await expect.poll(() => handled, eventually).toBe(events)
  return handled
}

test('without an SDK all goes on as without telemetry', async () => {
  expect(await run(await open(api))).toBe(3)
  expect(lines).toEqual([])
})

describe('an SDK that throws harms nothing', () => {
  const fail = (): never => {
    throw new Error('the SDK is broken')
  }
  const span = { spanContext: fail, setAttribute: fail, setStatus: fail, end: fail }
  const plain = { traceId: '0'.repeat(31).concat('1'), spanId: '0'.repeat(15).concat('1'), traceFlags: 1 }
  const faults: Readonly<Record<string, (broken: { -readonly [Name in keyof OtelApi]: OtelApi[Name] }) => void>> = {
    'when a tracer is asked for': (broken) => Object.assign(broken, { trace: { ...traceOf(), getTracer: fail } }),
    'when a span begins': (broken) => Object.assign(broken, { trace: traceOf({ startSpan: fail }) }),
    'when a span is asked for its context': (broken) =>
      Object.assign(broken, { trace: traceOf({ startSpan: () => span }) }),
    'when a span ends': (broken) =>
      Object.assign(broken, { trace: traceOf({ startSpan: () => ({ ...span, spanContext: () => plain }) }) }),
    'when the context is entered': (broken) =>
      Object.assign(broken, { context: { active: () => api.ROOT_CONTEXT, with: fail } }),
    'when the current context is asked for': (broken) =>
      Object.assign(broken, { context: { active: fail, with: fail } }),
    'when a meter is asked for': (broken) => Object.assign(broken, { metrics: { getMeter: fail } }),
  }
  function traceOf(tracer: object = { startSpan: () => span }): object {
    return {
      getTracer: () => tracer,
      getSpan: () => undefined,
      setSpan: () => api.ROOT_CONTEXT,
      setSpanContext: () => api.ROOT_CONTEXT,
    }
  }
  test.each(Object.entries(faults))('%s', async (_, breaks) => {
    new Sdk()
    const broken = { ...api } as { -readonly [Name in keyof OtelApi]: OtelApi[Name] }
    breaks(broken)
    expect(await run(await open(broken))).toBe(3)
    expect(lines.some((line) => line.includes('the SDK is broken'))).toBe(true)
  })
  test('and what a handler throws in its context is the handler’s', async () => {
    new Sdk()
    const broker = await open({ ...api, context: { active: () => api.ROOT_CONTEXT, with: fail } } as OtelApi)
    let calls = 0
    await broker.start(
      consumer('work', 'orders', { retry: { attempts: 1 } }).onAny(() => {
        calls++
        throw new Error('mine')
      }),
    )
    await broker.publish('orders', { type: 'order' })
    await expect.poll(async () => (await broker.deadLetters('work').list()).length, eventually).toBe(1)
    const [letter] = await broker.deadLetters('work').list()
    expect([calls, letter?.failure.message]).toEqual([1, 'mine'])
  })
})

test('an exporter that never answers holds nothing up', async () => {
  const hanging: SpanExporter = { export: () => undefined, shutdown: () => new Promise(() => undefined) }
  new Sdk(api, hanging)
  expect(await run(await open(api), 50)).toBe(50)
})

test('metrics are read when the SDK exports', async () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  api.metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
  const broker = await open(api)
  await run(broker)
  await expect
    .poll(
      async () => (await broker.describe()).consumers.every(({ channels }) => channels.every(({ lag }) => lag === 0)),
      eventually,
    )
    .toBe(true)
  const { resourceMetrics, errors } = await reader.collect()
  expect(errors).toEqual([])
  const found = new Map(
    resourceMetrics.scopeMetrics
      .flatMap(({ metrics }) => metrics)
      .flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ attributes, value }) => {
          const of = [attributes['messaging.destination.name'], attributes['messaging.consumer.group.name']]
          return [[descriptor.name, ...of].filter((each) => each !== undefined).join(' '), value] as const
        }),
      ),
  )
  expect(Object.fromEntries(found)).toMatchObject({
    'messaging.client.sent.messages orders': 3,
    'messaging.client.sent.messages mails': 3,
    'messaging.client.consumed.messages orders work': 3,
    'millrace.consumer.retries orders work': 0,
    'millrace.consumer.dead_lettered orders work': 0,
    'millrace.consumer.in_flight orders work': 0,
    'millrace.consumer.lag orders work': 0,
    'millrace.consumer.lag.time mails send': 0,
    'millrace.consumer.dead_letters work': 0,
  })
  await reader.shutdown()
})

describe('histograms', () => {
  /** What the reader of the SDK collects, by metric, channel and consumer. */
  async function collected(reader: PeriodicExportingMetricReader): Promise<Map<string, DataPoint<Histogram>>> {
    const { resourceMetrics, errors } = await reader.collect()
    expect(errors).toEqual([])
    return new Map(
      resourceMetrics.scopeMetrics
        .flatMap(({ metrics }) => metrics)
        .flatMap((metric) =>
          metric.dataPointType !== DataPointType.HISTOGRAM
            ? []
            : metric.dataPoints.map((point) => {
                const { 'messaging.destination.name': channel, 'messaging.consumer.group.name': group } =
                  point.attributes
                return [[metric.descriptor.name, channel, group].filter(Boolean).join(' '), point] as const
              }),
        ),
    )
  }
  const exported = (found: Map<string, DataPoint<Histogram>>): Record<string, number> =>
    Object.fromEntries([...found].map(([name, { value }]) => [name, value.count]))

  test.each(['cumulative', 'delta'] as const)('go to the reader of the SDK, %s', async (temporality) => {
    const telemetry = openTelemetry(api)
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    const metricProducers = [telemetry.metricProducer({ temporality })]
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000, metricProducers })
    api.metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
    expect(await collected(reader)).toEqual(new Map())
    const broker = await connect('memory:', { logger: false, telemetry })
    opened.push(broker)
    await broker.declare(stream('orders'), stream('mails'))
    let handled = 0
    const worker = await broker.start(consumer('work', 'orders').onAny(() => void handled++))
    for (let n = 0; n < 3; n++) await broker.publish('orders', { type: 'order' })
    await broker.publish('orders', [{ type: 'order' }, { type: 'order' }])
    await expect.poll(() => handled, eventually).toBe(5)
    await worker.stop()
    const first = await collected(reader)
    expect(exported(first)).toEqual({
      'messaging.client.operation.duration orders': 4,
      'millrace.commit.duration orders': 5,
      'messaging.process.duration orders work': 5,
      'millrace.consumer.latency orders work': 5,
    })
    const point = first.get('messaging.client.operation.duration orders')
    expect(point?.attributes).toEqual({
      'messaging.system': 'millrace',
      'messaging.operation.name': 'publish',
      'messaging.destination.name': 'orders',
    })
    expect(point?.value.buckets.counts).toHaveLength((point?.value.buckets.boundaries.length ?? 0) + 1)
    expect(point?.value.buckets.counts.reduce((sum, count) => sum + count, 0)).toBe(4)
    expect(point?.value.sum).toBeGreaterThan(0)
    await broker.publish('orders', { type: 'order' })
    expect((await collected(reader)).get('messaging.client.operation.duration orders')?.value.count).toBe(
      temporality === 'delta' ? 1 : 5,
    )
    await broker.close()
    expect(await collected(reader)).toEqual(new Map())
    await reader.shutdown()
  })
})

test('options are checked', async () => {
  const codeOf = async (make: () => unknown): Promise<unknown> => {
    try {
      await make()
    } catch (error) {
      return isMillraceError(error) ? error.code : error
    }
    return null
  }
  const given = [
    () => openTelemetry({} as never),
    () => openTelemetry(null as never),
    ...[
      { sample: 2 },
      { sample: Number.NaN },
      { sample: '1' },
      { parent: 'always' },
      { metrics: 1 },
      { samples: 1 },
    ].map((options) => () => openTelemetry(api, options as never)),
    () => openTelemetry(api, { metrics: false }).metricProducer(),
    () => openTelemetry(api).metricProducer({ temporality: 'up' as never }),
    () => connect('memory:', { telemetry: api as never }),
    () => connect('memory:', { telemetry: null as never }),
  ]
  for (const make of given) expect(await codeOf(make)).toBe('INVALID_OPTION')
})

test('chains are chosen by their ids, alike in every process, at about the rate', () => {
  const kinds: readonly ((n: number) => string)[] = [
    (n) => `order-${n}`,
    (n) => `order-${String(n).padStart(8, '0')}`,
    (n) => `https://shop.example/orders/${n}/placed`,
    () => crypto.randomUUID(),
    () => newId(),
    // A UUID of version 1: its last group is the machine's.
    (n) => `${n.toString(16).padStart(8, '0')}-7a3c-11ef-8000-0242ac120002`,
  ]
  for (const idOf of kinds) {
    const ids = Array.from({ length: 10_000 }, (_, n) => idOf(n))
    expect(ids.filter((id) => isChosen(id, 0.1)).length, idOf(1)).toBeGreaterThan(800)
    expect(ids.filter((id) => isChosen(id, 0.1)).length, idOf(1)).toBeLessThan(1200)
    expect(ids.filter((id) => isChosen(id, 0.1) && !isChosen(id, 0.2))).toEqual([])
  }
  expect([isChosen('x', 0), isChosen('x', 1)]).toEqual([false, true])
})
