/** `GET /metrics`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import parse from 'parse-prometheus-text-format'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, stream } from '../../src/index.ts'

let broker: Broker
let gateway: Gateway
let folder: string
const orders = stream('orders')

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-metrics-'))
  broker = await connect('memory:', { logger: false })
  await broker.declare(orders, stream('mails'), stream('secrets'))
  gateway = createGateway(broker, { drain: 0 })
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
  rmSync(folder, { recursive: true })
})

const scrape = async (query = '', headers: Record<string, string> = {}, of = gateway): Promise<string> => {
  const answer = await of.fetch(new Request(`http://localhost/metrics${query}`, { headers }))
  const text = await answer.text()
  expect(answer.status, text).toBe(200)
  return text
}

/**
 * What a parser reads: `name channel consumer error` of each sample. Of histograms the counts, which it reads as
 * numbers of their own.
 */
function samples(text: string): Record<string, string | undefined> {
  const plain = text.replace(/^# TYPE \w+ histogram$/gm, '').replace(/^\w+_(bucket|sum)\{.*$/gm, '')
  return Object.fromEntries(
    parse(plain).flatMap(({ name, metrics }) =>
      metrics.map(({ labels = {}, value }) => {
        const of = [
          labels['messaging_destination_name'],
          labels['messaging_consumer_group_name'],
          labels['error_type'],
        ].filter((each) => each !== undefined)
        return [[name, ...of].join(' '), value]
      }),
    ),
  )
}

test('metrics count what this process publishes and handles, from the first request on', async () => {
  await broker.publish(orders, { type: 'before' })
  expect(samples(await scrape())).not.toHaveProperty('messaging_client_sent_messages_total orders')
  const worker = await broker.start(
    consumer('work', orders, { retry: { attempts: 2, min: 1, max: 1 } }).onAny(async (event, ctx) => {
      if (event.type === 'bad') throw Object.assign(new Error('no'), { code: 'E_NO' })
      await ctx.emit('mails', { type: 'mail' })
    }),
  )
  await broker.publish(orders, [{ type: 'good' }, { type: 'bad' }])
  await broker.publish(orders, { type: '' }).catch(() => undefined)
  await expect.poll(async () => (await broker.deadLetters('work').list()).length, { timeout: 15_000 }).toBe(1)
  await worker.stop()
  expect(samples(await scrape())).toMatchObject({
    'messaging_client_sent_messages_total orders': '2',
    'messaging_client_sent_messages_total orders INVALID_EVENT': '1',
    'messaging_client_sent_messages_total mails': '2',
    'messaging_client_operation_duration_seconds_count orders': '1',
    'millrace_commit_duration_seconds_count orders': '2',
    'messaging_client_consumed_messages_total orders work': '4',
    'messaging_client_consumed_messages_total orders work E_NO': '2',
    'messaging_process_duration_seconds_count orders work': '4',
    'millrace_consumer_retries_total orders work': '1',
    'millrace_consumer_dead_lettered_total orders work': '1',
    'millrace_consumer_in_flight orders work': '0',
    'millrace_consumer_lag orders work': '0',
    'millrace_consumer_lag_time_seconds orders work': '0',
    'millrace_consumer_dead_letters work': '1',
    'millrace_channel_events orders': '3',
    millrace_build: '1',
  })
})

test('metrics show the running attempts', async () => {
  await scrape()
  let end = (): void => undefined
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  await broker.start(consumer('slow', orders).onAny(() => ended))
  await broker.publish(orders, { type: 'x' })
  const inFlight = async (): Promise<string | undefined> =>
    samples(await scrape())['millrace_consumer_in_flight orders slow']
  await expect.poll(inFlight, { timeout: 15_000 }).toBe('1')
  end()
  await expect.poll(inFlight, { timeout: 15_000 }).toBe('0')
})

test('metrics are in OpenMetrics form if the request asks for it', async () => {
  const answer = await gateway.fetch(
    new Request('http://localhost/metrics', {
      headers: { accept: 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5' },
    }),
  )
  expect(answer.headers.get('content-type')).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8')
  const text = await answer.text()
  expect(text.endsWith('# EOF\n')).toBe(true)
  if (process.env['MILLRACE_METRICS_FILE'] !== undefined) writeFileSync(process.env['MILLRACE_METRICS_FILE'], text)
})

describe('the permission `metrics`', () => {
  test('decides of which channels a caller sees metrics', async () => {
    const tokens = join(folder, 'tokens.json')
    const bearer = (name: string, permissions: object): Record<string, string> => ({
      authorization: `Bearer ${addToken(tokens, { name, permissions }).token}`,
    })
    const [all, some, none] = [
      bearer('all', { metrics: ['>'] }),
      bearer('some', { metrics: ['orders'] }),
      bearer('none', { read: ['>'], manage: ['>'] }),
    ]
    const guarded = createGateway(broker, { access: { tokens }, drain: 0 })
    const channels = (text: string): string[] =>
      Object.keys(samples(text)).filter((name) => name.startsWith('millrace_channel_events'))
    expect(channels(await scrape('', all, guarded))).toHaveLength(3)
    expect(channels(await scrape('', some, guarded))).toEqual(['millrace_channel_events orders'])
    for (const [headers, status] of [
      [none, 403],
      [{}, 401],
    ] as const)
      expect((await guarded.fetch(new Request('http://localhost/metrics', { headers }))).status).toBe(status)
    await guarded.close()
  })
})

describe('the page is bounded', () => {
  test('by a number of channels; the other channels are one series', async () => {
    await scrape()
    const names = Array.from({ length: LIMITS.metricSeriesMax + 5 }, (_, n) => `many.${n}`)
    for (const name of names) await broker.publish(stream(name), { type: 'x' })
    const text = await scrape()
    const sent = Object.keys(samples(text)).filter((name) => name.startsWith('messaging_client_sent_messages_total'))
    expect(sent).toHaveLength(LIMITS.metricSeriesMax + 1)
    expect(samples(text)['messaging_client_sent_messages_total other']).toBe('5')
    const kept = Object.keys(samples(text)).filter((name) => name.startsWith('millrace_channel_events '))
    expect(kept).toHaveLength(LIMITS.metricSeriesMax + 1)
  })
  test('by a wildcard in the request', async () => {
    await broker.publish(stream('many.1'), { type: 'x' })
    const names = Object.keys(samples(await scrape('?match=many.*')))
    expect(names.filter((name) => name.startsWith('millrace_channel_events'))).toEqual([
      'millrace_channel_events many.1',
    ])
    const answer = await gateway.fetch(new Request('http://localhost/metrics?match=a..*'))
    expect(answer.status).toBe(400)
  })
})
