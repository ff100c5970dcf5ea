/**
 * What members of a consumer report: that their consumers differ, and that one has taken over partitions of another.
 */
import { afterEach, expect, test } from 'vitest'
import { MillraceError } from '../../src/base/errors.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { Alarm } from '../../src/broker/description.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { memberNoteIn } from '../../src/external-log/ownership/member-note.ts'
import { consumer, stream } from '../../src/index.ts'
import { type Faults, MemoryBackend, MemoryServer } from './memory-backend.ts'

const orders = stream('orders')
const opened: ConnectedBroker[] = []

afterEach(async () => {
  for (const broker of opened.splice(0)) await broker.close()
})

interface Process {
  readonly broker: ConnectedBroker
  readonly alarms: Alarm[]
  readonly notices: string[]
}

async function open(server: MemoryServer, faults: Faults = {}): Promise<Process> {
  const alarms: Alarm[] = []
  const notices: string[] = []
  const engine = await ExternalLogEngine.open({
    backend: new MemoryBackend(server, faults),
    partitions: 8,
    onAlarm: (alarm) => alarms.push(alarm),
    notice: (message, fields) => notices.push(`${message} ${JSON.stringify(fields)}`),
  })
  const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
  opened.push(broker)
  return { broker, alarms, notices }
}

const differs = async ({ broker }: Process): Promise<boolean> =>
  (await broker.describe()).alarms.some(({ code }) => code === 'CONSUMER_DIFFERS')

test('members whose consumers differ raise an alarm in each process, until one of them leaves', async () => {
  const server = new MemoryServer()
  const [first, second, third] = [await open(server), await open(server), await open(server)]
  await first.broker.declare(orders)
  await first.broker.start(consumer('worker', orders, { lease: 400 }).onAny(() => undefined))
  await third.broker.start(consumer('other', orders, { lease: 400, onDead: 'block' }).onAny(() => undefined))
  const differing = await second.broker.start(
    consumer('worker', orders, { lease: 400, onDead: 'skip' }).onAny(() => undefined),
  )
  await expect.poll(() => differs(first), { timeout: 10_000 }).toBe(true)
  await expect.poll(() => differs(second), { timeout: 10_000 }).toBe(true)
  expect(await differs(third)).toBe(false)
  await differing.stop()
  await expect.poll(() => differs(first), { timeout: 10_000 }).toBe(false)
  await expect.poll(() => differs(second), { timeout: 10_000 }).toBe(false)
  expect(first.alarms).toHaveLength(1)
})

test('partitions of a silent member are taken over, and one log line says how many', async () => {
  const server = new MemoryServer()
  let silent = false
  const first = await open(server, {
    before: () => (silent ? new MillraceError('UNAVAILABLE', 'the cable is cut') : undefined),
  })
  await first.broker.declare(orders)
  const worker = consumer('worker', orders, { lease: 300 }).onAny(() => undefined)
  await first.broker.start(worker)
  const second = await open(server)
  await second.broker.start(worker)
  silent = true
  await expect.poll(() => second.notices.length, { timeout: 10_000 }).toBeGreaterThan(0)
  expect(second.notices[0]).toMatch(
    /a member of the consumer has ended: this process has taken over its partitions .*"consumer":"worker"/,
  )
  silent = false
})

test('notes of older versions, and notes with shapes that are not valid, are accepted', () => {
  const note = {
    beat: 1,
    leaseMs: 1,
    channels: ['orders'],
    idle: false,
    instances: 1,
    inFlight: 0,
    paused: false,
    rate: 0,
    blocked: [],
  }
  expect(memberNoteIn(JSON.stringify(note))).toEqual(note)
  expect(memberNoteIn(JSON.stringify({ ...note, shapes: { worker: 'none' } }))).not.toBeNull()
  expect(memberNoteIn(JSON.stringify({ ...note, shapes: 7 }))).toBeNull()
})
