/**
 * A provider that was registered with API 1.10. The test has its own file, because API 1.9 cannot register anything
 * after 1.10 was loaded.
 */
import type * as api from '@opentelemetry/api'
import * as newer from 'opentelemetry-api-next'
import { expect, test } from 'vitest'
import { connect, consumer, stream } from '../../src/index.ts'
import { openTelemetry } from '../../src/telemetry/index.ts'
import { Sdk } from './sdk.ts'

test('gets the spans: the application passes the object', async () => {
  const sdk = new Sdk(newer as unknown as typeof api)
  const broker = await connect('memory:', { logger: false, telemetry: openTelemetry(newer) })
  await broker.declare(stream('orders'), stream('mails'))
  await broker.start(consumer('work', 'orders').onAny((_, ctx) => ctx.emit('mails', { type: 'mail' })))
  await broker.start(consumer('send', 'mails').onAny(() => undefined))
  await broker.publish('orders', { type: 'order' })
  await expect.poll(() => sdk.named('process mails').length, { timeout: 15_000 }).toBe(1)
  expect(new Set(sdk.spans.map(({ traceId }) => traceId)).size).toBe(1)
  await broker.close()
})
