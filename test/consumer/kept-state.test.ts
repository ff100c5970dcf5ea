/** States that are declared otherwise, and a table whose states are deleted while it is followed. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { z } from 'zod'
import type { StateOptions } from '../../src/consumer/state/state-types.ts'
import { type Broker, connect, consumer, event, stream } from '../../src/index.ts'

const Came = event('came', z.object({ sku: z.string() }))
const goods = stream('goods', { events: [Came], key: 'data.sku' })
const One = z.object({ left: z.int() })
const Two = z.object({ left: z.int(), reserved: z.int() })

let broker: Broker
beforeEach(async () => {
  broker = await connect('memory:')
})
afterEach(() => broker.close())

it('a state whose migration is dropped is refused, and the error says what helps', async () => {
  const of = (state: StateOptions) => consumer('stock', goods, { state }).on(Came, () => undefined)
  const first = await broker.start(of({ schema: One }))
  await first.stop()
  const second = await broker.start(
    of({ schema: Two, version: 2, migrate: { 1: (left) => ({ ...left, reserved: 0 }) } }),
  )
  await second.stop()
  const error = await broker.start(of({ schema: Two, version: 2 })).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'INCOMPATIBLE_SCHEMA' })
  const { message } = error as Error
  expect(message).toContain('keep the migrations')
  expect(message).toContain('broker.consumer("stock").remove()')
  for (const other of ['nextVersion', 'check-events', 'compatibility:']) expect(message).not.toContain(other)
  await broker.consumer('stock').remove()
  const third = await broker.start(of({ schema: Two, version: 2 }))
  await third.stop()
})

it('a table that is followed ends with an error when its states are reset, and is followed again', async () => {
  const stock = consumer('stock', goods, { state: { schema: One, initial: { left: 0 } } }).on(Came, (_, ctx) =>
    ctx.setState({ left: ctx.state.left + 1 }),
  )
  await broker.start(stock)
  await broker.publish(goods, Came({ sku: 'tea' }))
  const got: unknown[] = []
  const following = (async () => {
    for await (const { key, value } of broker.table(stock).follow()) got.push([key, value?.left])
  })().catch((error: unknown) => error)
  await vi.waitFor(() => expect(got).toEqual([['tea', 1]]))
  await broker.consumer(stock).rewind('end', { state: 'reset' })
  expect(await following).toMatchObject({
    code: 'UNKNOWN_CHANNEL',
    message: expect.stringContaining('follow it again'),
  })
  await broker.publish(goods, Came({ sku: 'milk' }))
  for await (const { key, value } of broker.table(stock).follow()) {
    expect([key, value?.left]).toEqual(['milk', 1])
    break
  }
})

it('a table that is followed ends quietly with its signal, and with its broker', async () => {
  const stock = consumer('stock', goods, { state: { schema: One, initial: { left: 0 } } }).on(Came, (_, ctx) =>
    ctx.setState({ left: ctx.state.left + 1 }),
  )
  await broker.start(stock)
  await broker.publish(goods, Came({ sku: 'tea' }))
  const left = new AbortController()
  const follow = async (signal?: AbortSignal): Promise<string> => {
    for await (const _ of broker.table(stock).follow({ ...(signal !== undefined && { signal }) })) left.abort()
    return 'ended'
  }
  expect(await follow(left.signal)).toBe('ended')
  const ended = follow().catch(({ code }: { readonly code: string }) => code)
  await broker.close()
  expect(['ended', 'CLOSED']).toContain(await ended)
})
