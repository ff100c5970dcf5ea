/**
 * What the tests of all engines over servers share: an event with a schema, its collector, and the faults that every
 * server can have under load.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Server, ServerKind } from '../../scripts/engines/server.ts'
import { type Broker, consumer, event, type StoredEvent } from '../../src/index.ts'
import type { Unkindness } from '../conformance/unkind-proxy.ts'
import { type LoadState, underFaults } from './fault-load.ts'
import { withServer } from './servers.ts'

/** A schema that takes what has a `sku` of text. */
const skuSchema = {
  '~standard': {
    version: 1 as const,
    vendor: 'test',
    validate: (value: unknown) => {
      const { sku } = (value ?? {}) as { readonly sku?: unknown }
      return typeof sku === 'string' ? { value: { sku } } : { issues: [{ message: 'sku must be text', path: ['sku'] }] }
    },
    types: undefined as unknown as { readonly input: { sku: string }; readonly output: { sku: string } },
  },
}

export const ItemAdded = event('cart.item.added', skuSchema)

/** A consumer that collects its events, and gives up on events that its schema refuses. */
export async function collecting(broker: Broker, channel: string): Promise<StoredEvent[]> {
  const given: StoredEvent[] = []
  await broker.start(
    consumer('worker', channel, { retry: { attempts: 1 } })
      .on(ItemAdded, (each) => void given.push(each))
      .onAny((each) => void given.push(each)),
  )
  return given
}

/** A network that is slow, and cuts connections again and again. */
export const SLOW_AND_CUT: Unkindness = {
  seed: 5,
  livesMs: 1200,
  graceMs: 400,
  pieceBytes: 2000,
  delayMs: 3,
  delayed: 0.05,
}

export interface FaultyServers {
  readonly kind: () => ServerKind
  /** What follows the server's URL: another prefix each time. */
  readonly query: () => string
  readonly limitMs: number
}

/** A test in which a server has a fault under load, is missed, and is well in the end. */
export function faulty(
  { kind, query, limitMs }: FaultyServers,
  name: string,
  fault: (server: Server, load: LoadState) => Promise<void>,
): void {
  it(
    name,
    () =>
      withServer(kind(), async (server) => {
        const url = `${server.url}${query()}`
        const { alarms } = await underFaults({
          urls: [url, url],
          faults: (load) => fault(server, load),
          endsWell: true,
        })
        expect(alarms.map(({ code }) => code)).toContain('UNAVAILABLE')
      }),
    limitMs,
  )
}

export async function restarted(server: Server, times: number): Promise<void> {
  for (let round = 0; round < times; round++) {
    await server.halt()
    await sleep(300)
    await server.start()
    await sleep(700)
  }
}

export async function killed(server: Server, times: number, restMs: number): Promise<void> {
  for (let round = 0; round < times; round++) {
    await server.kill()
    await server.start()
    await sleep(restMs)
  }
}

export async function hung(server: Server, ms: number): Promise<void> {
  server.pause()
  await sleep(ms)
  server.resume()
}

/** A test in which a server hangs for longer than the lease, which may go unnoticed but by whose lease it was. */
export function hanging(
  { kind, query, limitMs }: FaultyServers,
  faults: (server: Server, load: LoadState) => Promise<void>,
): void {
  it(
    'a server that hangs for longer than the lease',
    () =>
      withServer(kind(), async (server) => {
        const url = `${server.url}${query()}`
        await underFaults({ urls: [url, url], faults: (load) => faults(server, load) })
      }),
    limitMs,
  )
}
