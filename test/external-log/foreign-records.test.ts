/**
 * Records of other clients in Millrace's own streams raise an alarm and are skipped. They stop neither the process nor
 * other work.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { Alarm } from '../../src/broker/description.ts'
import type { EncodedEvent } from '../../src/broker/encoded-event.ts'
import { channelEntryIn } from '../../src/external-log/channel-entry.ts'
import {
  type ConsumerLogEntry,
  encodeEntry,
  entryIn,
  fold,
} from '../../src/external-log/consumer-log/consumer-log-entry.ts'
import { SCHEDULE, scheduledIn } from '../../src/external-log/delay/scheduler.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { memberNoteIn } from '../../src/external-log/ownership/member-note.ts'
import { consumer, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const orders = stream('orders', { key: ({ data }: { readonly data?: unknown }) => String(data) })
const GARBAGE = ['garbage', '{}', '[]', 'null', '"text"', '{"beat":1}', '{"channel":"orders"}', '\u0000'.repeat(20)]

interface Application {
  readonly broker: ConnectedBroker
  readonly alarms: Alarm[]
}

async function application(server: MemoryServer): Promise<Application> {
  const alarms: Alarm[] = []
  const engine = await ExternalLogEngine.open({
    backend: new MemoryBackend(server),
    partitions: 2,
    onAlarm: (alarm) => alarms.push(alarm),
  })
  return { broker: new ConnectedBroker(engine, { source: '/test', random: Math.random }), alarms }
}

/** Whether everything works: publishing, handling, a delay, the description. */
async function works({ broker }: Application): Promise<void> {
  const handled: unknown[] = []
  const running = await broker.start(
    consumer('worker', orders, { lease: '1s', from: 'end' }).onAny(({ data }) => void handled.push(data)),
  )
  await broker.publish(orders, { type: 'placed', data: 'now' })
  await broker.publish(orders, { type: 'placed', data: 'later' }, { delay: 20 })
  await expect.poll(() => [...handled].sort(), { timeout: 15_000 }).toEqual(expect.arrayContaining(['later', 'now']))
  expect((await broker.describe()).consumers.map(({ name }) => name)).toContain('worker')
  await expect(broker.deadLetters('worker').list()).resolves.toEqual([])
  await running.stop()
}

async function withGarbage(write: (server: MemoryServer, garbage: string) => void): Promise<Alarm[]> {
  const server = new MemoryServer()
  const before = await application(server)
  await works(before)
  for (const garbage of GARBAGE) write(server, garbage)
  // A process that runs, and one that starts.
  await works(before)
  await before.broker.close()
  const after = await application(server)
  await works(after)
  await after.broker.close()
  return [...before.alarms, ...after.alarms].filter(({ code }) => code !== 'CLOSED')
}

function append(server: MemoryServer, channel: string, event: EncodedEvent): void {
  const stored = server.channels.get(channel)
  if (stored === undefined) throw new Error(`there is no channel ${channel}`)
  stored.records.push({ offset: stored.next++, timeMs: Date.now(), event, partition: 0 })
  stored.ends[0] = stored.next
  for (const [watched, tell] of server.watchers) if (watched === channel) tell(null)
}

describe('a record of another client in a stream of Millrace', () => {
  it('becomes a dead letter of the queue of delayed events, with an alarm that names its offset', async () => {
    const alarms = await withGarbage((server, text) => append(server, SCHEDULE, { id: '', type: '', key: null, text }))
    expect(alarms.map(({ code, message }) => [code, /record at offset \d+ of ~schedule/.test(message)])).toContainEqual(
      ['DATA_DAMAGED', true],
    )
  })

  it('is skipped in a consumer log, with an alarm that names the log', async () => {
    const alarms = await withGarbage((server, text) => {
      for (const [id, consumerLog] of server.consumerLogs)
        if (id.startsWith('worker/')) consumerLog.entries.push([++consumerLog.version, Buffer.from(text)])
    })
    expect(alarms.map(({ code, message }) => [code, /consumer log worker\/orders\/\d/.test(message)])).toContainEqual([
      'DATA_DAMAGED',
      true,
    ])
  })

  it('is not taken for a member, with an alarm that names the group', async () => {
    const alarms = await withGarbage((server, text) => {
      const members = server.members.get('worker') ?? new Map<string, string>()
      server.members.set('worker', members.set(`stranger ${members.size}`, text))
    })
    expect(alarms.map(({ code, message }) => [code, /group "worker"/.test(message)])).toContainEqual([
      'DATA_DAMAGED',
      true,
    ])
  })

  it('does not create a consumer log of a partition that does not exist', async () => {
    await withGarbage((server, text) =>
      server.consumerLogs.set(`worker/orders/${text}`, { version: 1, entries: [[1, Buffer.from(text)]] }),
    )
  })
})

it('a decoder throws for no text, and for no part of a valid text', () => {
  const entry: ConsumerLogEntry = {
    number: 1,
    owner: 'me',
    kind: 'commit',
    records: { a: '{}', b: { bytes: 'AA==' }, c: null },
    emissions: [],
    sent: 0,
  }
  const samples = [
    JSON.stringify({ format: 2, incarnation: 'i', partitions: 2, spec: { ...orders.spec, types: ['a'] } }),
    JSON.stringify({
      channel: 'a',
      incarnation: 'i',
      event: { id: 'a', type: 't', key: null, text: '{}' },
      dueAtMs: 5,
    }),
    JSON.stringify({
      beat: 1,
      leaseMs: 1,
      channels: ['a.*'],
      idle: false,
      instances: 1,
      inFlight: 0,
      paused: false,
      rate: 0,
      blocked: [],
    }),
    JSON.stringify(entry),
  ]
  const decoders = [channelEntryIn, scheduledIn, memberNoteIn, (text: string): unknown => entryIn(Buffer.from(text))]
  for (const [at, decode] of decoders.entries()) expect(decode(samples[at] as string), `sample ${at}`).not.toBeNull()
  const cut = fc
    .constantFrom(...samples)
    .chain((text) =>
      fc
        .tuple(fc.nat(text.length), fc.nat(text.length), fc.string())
        .map(([a, b, put]) => text.slice(0, a) + put + text.slice(b)),
    )
  fc.assert(
    fc.property(
      fc.oneof(
        cut,
        fc.string(),
        fc.json(),
        fc.jsonValue().map((value) => JSON.stringify(value)),
      ),
      (text) => {
        for (const decode of decoders) decode(text)
        fold([Buffer.from(text), encodeEntry(entry)])
      },
    ),
    { numRuns: 2000 },
  )
  expect(fold([Buffer.from('garbage'), encodeEntry(entry), Buffer.from('{}')])).toMatchObject({
    owner: 'me',
    number: 1,
    foreign: 2,
  })
})
