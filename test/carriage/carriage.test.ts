/** Data taken out of one engine and put into another is the same there, on every engine that needs no server. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { CarriedConsumer, CarriedEvent, CarriedLetter } from '../../src/broker/carriage.ts'
import type { Delivery, Engine, StoredText } from '../../src/broker/engine.ts'
import { stream } from '../../src/channel/channel.ts'
import { openFileEngine, openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { localAccess } from '../../src/wire/access.ts'
import { RemoteEngine } from '../../src/wire/client/remote-engine.ts'
import { SessionServer } from '../../src/wire/server/session-server.ts'
import { loopback } from '../../src/wire/transport.ts'
import { MemoryBackend, MemoryServer } from '../external-log/memory-backend.ts'

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean()
})

async function file(): Promise<Engine> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-carriage-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  return openFileEngine(`file:${directory}`)
}

async function remote(): Promise<Engine> {
  const engine = openMemoryEngine()
  const sessions = new SessionServer(engine)
  cleanups.push(async () => {
    sessions.close()
    await engine.close()
  })
  return RemoteEngine.open({
    name: 'remote',
    dial: async () => {
      const [mine, served] = loopback()
      sessions.accept(served, () => localAccess)
      return mine
    },
  })
}

const ENGINES: Readonly<Record<string, () => Promise<Engine>>> = {
  memory: async () => openMemoryEngine(),
  file,
  remote,
  'over logs, one': () => ExternalLogEngine.open({ backend: new MemoryBackend(new MemoryServer()), partitions: 1 }),
  'over logs, five': () => ExternalLogEngine.open({ backend: new MemoryBackend(new MemoryServer()), partitions: 5 }),
}

const failure = { name: 'Error', message: 'no', kind: 'error' } as const
const T0 = Date.UTC(2024, 0, 1)
const events: CarriedEvent[] = Array.from({ length: 40 }, (_, at) => {
  const id = `e-${at}`
  return {
    id,
    type: 'noted',
    key: `k-${at % 7}`,
    text: JSON.stringify({ specversion: '1.0', id, source: '/t', type: 'noted', data: at }),
    timeMs: T0 + Math.floor(at / 3) * 1000,
  }
})

async function readAll(engine: Engine, channel: string): Promise<StoredText[]> {
  const found: StoredText[] = []
  for await (const batch of engine.read(channel, {
    from: { at: 'beginning' },
    to: null,
    follow: false,
    signal: new AbortController().signal,
  }))
    found.push(...batch)
  return found
}

const state: CarriedConsumer = {
  channel: 'notes',
  consumer: 'reader',
  workers: [],
  floor: 10,
  settled: [
    [12, 15],
    [20, 21],
  ],
  retries: [{ offset: 11, attempts: 3, dueAtMs: T0, failure }],
  inFlight: null,
}

const letters: CarriedLetter[] = [3, 10].map((offset) => {
  const event = events[offset] as CarriedEvent
  return {
    ...event,
    offset,
    consumer: 'reader',
    state: offset === 3 ? 'dead' : 'live',
    attempts: offset === 3 ? 8 : 0,
    failure: offset === 3 ? failure : null,
    deadAtMs: offset === 3 ? T0 + 5 : 0,
    chain: event.key,
    blocks: false,
  }
})

describe.each(Object.entries(ENGINES))('%s', (_name, open) => {
  async function filled(): Promise<Engine> {
    const engine = await open()
    cleanups.push(() => engine.close())
    await engine.declare(stream('notes', { dedupe: { age: '520w', count: 1000 } }).spec)
    await engine.carriage.putEvents('notes', events.slice(0, 25))
    await engine.carriage.putEvents('notes', events.slice(25))
    return engine
  }

  test('events keep their times, keys and order, and are found by time', async () => {
    const engine = await filled()
    const found = await readAll(engine, 'notes')
    expect(found.map(({ offset: _, ...event }) => event)).toEqual(events)
    const from = { timeMs: T0 + 5000 }
    const later: StoredText[] = []
    for await (const batch of engine.read('notes', {
      from,
      to: null,
      follow: false,
      signal: new AbortController().signal,
    }))
      later.push(...batch)
    expect(later[0]?.id).toBe('e-15')
  })

  test('ids of carried events are known to deduplication', async () => {
    const engine = await filled()
    const { timeMs: _, ...again } = events[39] as CarriedEvent
    expect(await engine.publish('notes', again, null)).toMatchObject({ duplicate: true })
  })

  test('events that have one id twice are both stored', async () => {
    const engine = await filled()
    await engine.carriage.putEvents('notes', [events[39] as CarriedEvent])
    expect((await readAll(engine, 'notes')).filter(({ id }) => id === 'e-39')).toHaveLength(2)
  })

  test('a consumer comes out as it was put in, and goes on there', async () => {
    const engine = await filled()
    const at = (await readAll(engine, 'notes')).map(({ offset }) => offset)
    expect(at).toEqual(events.map((_, index) => index))
    await engine.carriage.putConsumer(state)
    await engine.carriage.putLetters('notes', 'reader', letters)
    await engine.carriage.putConsumer(state)
    await engine.carriage.putLetters('notes', 'reader', letters)

    expect(await engine.carriage.consumers('notes')).toMatchObject([state])
    const page = await engine.carriage.letters('notes', 'reader', null)
    expect(page.items).toEqual(letters)
    expect((await engine.carriage.letters('notes', 'reader', page.next)).items).toEqual([])

    const seen: Delivery[] = []
    const subscription = await engine.subscribe(
      {
        name: 'reader',
        channels: ['notes'],
        wants: [{ type: null, pattern: null }],
        from: { at: 'end' },
        onDead: null,
        credit: 100,
        perKey: 1,
        leaseMs: 5000,
        attemptsMax: 8,
        stallMs: 10_000,
      },
      {
        deliver: (deliveries) => {
          for (const delivery of deliveries) {
            seen.push(delivery)
            queueMicrotask(() => subscription.complete(delivery, null))
          }
        },
        passesOn: false,
        revoked: () => undefined,
      },
    )
    // Settled events are not seen again; events behind the dead letter of k-3 keep waiting.
    const expected = events.flatMap((event, offset) =>
      offset < 11 || (offset >= 12 && offset < 15) || offset === 20 || event.key === 'k-3' ? [] : [offset],
    )
    await expect
      .poll(() => seen.map(({ offset }) => offset).sort((a, b) => a - b), { timeout: 10_000 })
      .toEqual(expected)
    expect(seen.find(({ offset }) => offset === 11)?.attempt).toBe(4)
    await subscription.flushed()
    expect(await engine.consumers.redrive('reader', {})).toBe(1)
    await expect
      .poll(() => seen.filter(({ key }) => key === 'k-3').map(({ offset }) => offset), { timeout: 10_000 })
      .toEqual([3, 10, 17, 24, 31, 38])
    await expect(engine.carriage.putConsumer(state)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await subscription.close()
    await engine.carriage.putConsumer(state)
    expect(await engine.carriage.consumers('notes')).toMatchObject([state])
  })

  test('events that wait for their time are listed', async () => {
    const engine = await filled()
    const dueAtMs = Date.now() + 3_600_000
    const { timeMs: _, ...event } = { ...(events[0] as CarriedEvent), id: 'later' }
    await engine.publish('notes', event, dueAtMs)
    expect((await engine.carriage.scheduled('notes', null)).items).toEqual([{ event, dueAtMs }])
  })
})
