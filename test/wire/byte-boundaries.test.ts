/**
 * A small exchange over a socket that is cut after each number of bytes, in each direction: nothing is lost and nothing
 * happens twice.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { Delivery } from '../../src/broker/engine.ts'
import { stream } from '../../src/channel/channel.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { encoded, failure } from '../../src/testing/conformance/port.ts'
import { localAccess } from '../../src/wire/access.ts'
import { RemoteEngine } from '../../src/wire/client/remote-engine.ts'
import { SessionServer } from '../../src/wire/server/session-server.ts'
import { dialSocket, SocketTransport } from '../../src/wire/socket-transport.ts'
import { CutTransport } from './cut-transport.ts'
import { workerSpec } from './worker-spec.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-wire-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let sockets = 0

interface Seen {
  /** Bytes in each direction before the exchange was over. */
  readonly sent: number
  readonly taken: number
}

/**
 * Publish, handle, emit, fail once and read back, over several connections; the first one is cut after the given bytes.
 */
async function exchange(cut: Seen): Promise<Seen> {
  const engine = openMemoryEngine()
  const sessions = new SessionServer(engine)
  const path = join(folder, `${sockets++}.sock`)
  const server = createServer((socket) => {
    socket.write('{}\n')
    sessions.accept(new SocketTransport(socket), () => localAccess)
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  let first: CutTransport | null = null
  const remote = await RemoteEngine.open({
    name: 'remote',
    reconnectMsMax: 5,
    dial: async () => {
      const { transport } = await dialSocket(path, 1000)
      if (first !== null) return transport
      first = new CutTransport(transport, cut)
      return first
    },
  })
  const [orders, out] = [stream('orders'), stream('out')]
  await remote.declare(orders.spec)
  await remote.declare(out.spec)
  const failed = new Set<number>()
  const handled: number[] = []
  const emitted = encoded('e', null, 100)
  const subscription = await remote.subscribe(workerSpec, {
    deliver: (deliveries) => queueMicrotask(() => deliveries.forEach(settle)),
    passesOn: false,
    revoked: () => handled.push(Number.NaN),
  })
  function settle(delivery: Delivery): void {
    if (delivery.offset === 1 && !failed.has(1)) {
      failed.add(1)
      subscription.retry(delivery, 0, failure('once'))
      return
    }
    handled.push(delivery.offset)
    subscription.complete(delivery, delivery.offset === 0 ? [{ channel: 'out', event: emitted, dueAtMs: null }] : null)
  }
  const receipts = await Promise.all(
    Array.from({ length: 3 }, (_, n) => remote.publish('orders', encoded('a', 'a', n), null)),
  )
  await remote.publishBatch('orders', [encoded('b', 'b', 3), encoded('b', 'b', 4)], null)
  await expect.poll(() => handled.length, { interval: 1, timeout: 5000 }).toBe(5)
  await subscription.flushed()
  const read: number[] = []
  for await (const batch of remote.read('orders', {
    from: { at: 'beginning' },
    to: null,
    follow: false,
    signal: new AbortController().signal,
  })) {
    for (const { offset } of batch) read.push(offset)
  }
  const { consumers } = await remote.describe()
  const { sent, taken } = first as unknown as CutTransport
  await remote.close()
  sessions.close()
  const emissions = (await engine.describe()).channels.find(({ name }) => name === 'out')?.next
  await engine.close()
  await new Promise((resolve) => server.close(resolve))
  expect(receipts.map((receipt) => [receipt.offset, receipt.duplicate])).toEqual([
    [0, false],
    [1, false],
    [2, false],
  ])
  expect(handled.sort()).toEqual([0, 1, 2, 3, 4])
  expect(read).toEqual([0, 1, 2, 3, 4])
  expect(emissions).toBe(1)
  expect(consumers[0]?.channels[0]?.lag).toBe(0)
  return { sent, taken }
}

/** Every byte with MILLRACE_CUTS=all; otherwise every seventh, starting at a random byte. */
const STEP = process.env['MILLRACE_CUTS'] === 'all' ? 1 : 7
const FIRST = Math.floor(Math.random() * STEP)
const NEVER = Number.POSITIVE_INFINITY
/** The whole hello and welcome: a cut before their end makes `connect` fail. */
const HELLO_BYTES = 120

test('a connection that breaks after any byte from the client loses nothing', async () => {
  const whole = await exchange({ sent: NEVER, taken: NEVER })
  for (let sent = HELLO_BYTES + FIRST; sent <= whole.sent; sent += STEP) await exchange({ sent, taken: NEVER })
}, 300_000)

test('a connection that breaks after any byte from the server loses nothing', async () => {
  const whole = await exchange({ sent: NEVER, taken: NEVER })
  // The welcome contains the capabilities.
  for (let taken = whole.taken - FIRST; taken > 2500; taken -= STEP) await exchange({ sent: NEVER, taken })
}, 300_000)
