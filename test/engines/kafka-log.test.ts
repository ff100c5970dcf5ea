/**
 * Conditional writes to consumer logs by several processes on Kafka's log, and ids that several processes publish at
 * once.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { kafkaKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import type { KafkaBackend } from '../../src/engines/kafka/backend.ts'
import { KafkaClient } from '../../src/engines/kafka/client.ts'
import { loadKafka } from '../../src/engines/kafka/library.ts'
import { openKafkaBackend } from '../../src/engines/kafka/open.ts'
import { EARLIEST, LATEST, offsetAt } from '../../src/engines/kafka/requests.ts'
import { Fenced } from '../../src/external-log/log-backend.ts'
import { type Broker, connect, type StoredEvent, stream } from '../../src/index.ts'
import { kindOf } from './servers.ts'

const kind = kindOf('kafka', () => kafkaKind())

describe.skipIf(kind === undefined)('on Kafka’s log', () => {
  let server: Server
  let url: string
  const open: KafkaBackend[] = []
  beforeAll(async () => {
    if (kind !== undefined) server = await Server.start(kind)
  }, 120_000)
  afterAll(() => server?.stop(), 60_000)

  async function backends(count: number): Promise<KafkaBackend[]> {
    url = `${server.url}?prefix=l${randomUUID().slice(0, 8)}.`
    for (let at = 0; at < count; at++) open.push(await openKafkaBackend(url))
    return open.slice(-count)
  }

  afterAll(() => {
    for (const backend of open) backend.sever()
  })

  const text = (entries: readonly Uint8Array[]): string[] => entries.map((entry) => Buffer.from(entry).toString())
  const logsOf = async (backend: KafkaBackend, prefix: string): Promise<string[]> =>
    (await backend.consumerLogs()).filter((id) => id.startsWith(prefix))

  it('if several processes write one version of a consumer log, one succeeds, and all agree which', async () => {
    const writers = await backends(3)
    const won: number[] = []
    for (let version = 0; version < 20; version++) {
      const results = await Promise.allSettled(
        writers.map((writer, at) => writer.appendConsumerLog('w/c/0', version, Buffer.from(`${version} by ${at}`))),
      )
      const winners = results.flatMap((result, at) => (result.status === 'fulfilled' ? [at] : []))
      expect(winners).toHaveLength(1)
      for (const result of results) if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(Fenced)
      won.push(winners[0] as number)
    }
    const expected = won.map((at, version) => `${version} by ${at}`)
    for (const writer of writers) expect(text((await writer.readConsumerLog('w/c/0')).entries)).toEqual(expected)
  })

  it('a consumer log that was removed begins again, and its former writer is fenced', async () => {
    const [one, two] = (await backends(2)) as [KafkaBackend, KafkaBackend]
    const version = await one.appendConsumerLog('w/c/0', 0, Buffer.from('a'))
    await two.removeConsumerLog('w/c/0')
    expect(await logsOf(two, 'w/')).toEqual([])
    await expect(one.appendConsumerLog('w/c/0', version, Buffer.from('b'))).rejects.toBeInstanceOf(Fenced)
    const { entries, version: now } = await two.readConsumerLog('w/c/0')
    expect(entries).toEqual([])
    await two.appendConsumerLog('w/c/0', now, Buffer.from('anew'))
    expect(text((await one.readConsumerLog('w/c/0')).entries)).toEqual(['anew'])
  })

  it('records that no consumer log needs are deleted, and consumer logs without new entries are kept', {
    timeout: 120_000,
  }, async () => {
    const [one, two] = (await backends(2)) as [KafkaBackend, KafkaBackend]
    await one.appendConsumerLog('w/rests/0', 0, Buffer.from('kept'))
    await two.appendConsumerLog('w/removed/0', 0, Buffer.from('gone'))
    await two.removeConsumerLog('w/removed/0')
    await Promise.all(
      Array.from({ length: 60 }, async (_, partition) => {
        const id = `w/busy/${partition}`
        for (let version = 0; version < 150; version++) {
          await one.appendConsumerLog(id, version, Buffer.from(`${version}`))
          if (version % 10 === 9) await one.trimConsumerLog(id, version)
        }
      }),
    )
    const client = new KafkaClient(await loadKafka(), {
      seeds: [{ host: '127.0.0.1', port: server.port }],
      clientId: 'test',
      security: {},
      patienceMs: () => 10_000,
      reachable: () => undefined,
    })
    const topic = `${/prefix=([^&]+)/.exec(url)?.[1]}__millrace.journal.w`
    const ask = (time: number): Promise<number> =>
      client.leader('', topic, 'ask', (connection) => offsetAt(client.library, connection, topic, time))
    await expect.poll(() => ask(EARLIEST), { timeout: 20_000 }).toBeGreaterThan(2000)
    expect(await ask(LATEST)).toBeGreaterThan(9000)
    client.close()
    // A process that comes now, and one that has seen nothing since.
    const fresh = await openKafkaBackend(url)
    open.push(fresh)
    for (const backend of [one, two, fresh]) {
      expect(text((await backend.readConsumerLog('w/rests/0')).entries)).toEqual(['kept'])
      const busy = await backend.readConsumerLog('w/busy/7')
      expect(text(busy.entries).at(-1)).toBe('149')
      expect(busy.version).toBe(150)
      expect(await logsOf(backend, 'w/removed')).toEqual([])
    }
    expect(await fresh.appendConsumerLog('w/rests/0', 1, Buffer.from('goes on'))).toBe(2)
    await expect(one.appendConsumerLog('w/rests/0', 1, Buffer.from('late'))).rejects.toBeInstanceOf(Fenced)
  })

  it('ids that several processes publish at once are stored once, and all receipts have the same offset', async () => {
    await backends(0)
    const brokers: Broker[] = []
    for (let at = 0; at < 3; at++) brokers.push(await connect(url))
    const notes = stream('notes')
    await (brokers[0] as Broker).declare(notes)
    const ids = Array.from({ length: 300 }, (_, n) => `id-${n}`)
    const receipts = await Promise.all(
      brokers.map((broker) =>
        Promise.all(ids.map((id) => broker.publish(notes, { id, type: 'note', partitionkey: id, data: id }))),
      ),
    )
    for (const [n, id] of ids.entries()) {
      const its = receipts.map((each) => each[n] as { offset: number; duplicate: boolean })
      expect(
        its.filter(({ duplicate }) => !duplicate),
        id,
      ).toHaveLength(1)
      expect(new Set(its.map(({ offset }) => offset)).size, id).toBe(1)
    }
    brokers.push(await connect(url))
    for (const broker of brokers) {
      const read: StoredEvent[] = []
      for await (const each of broker.read(notes)) read.push(each)
      expect(read.map(({ id }) => id).sort()).toEqual([...ids].sort())
      const offsets = new Map(receipts[0]?.map(({ id, offset }) => [id, offset]))
      expect(read.every(({ id, offset }) => offsets.get(id) === offset)).toBe(true)
    }
    for (const broker of brokers) await broker.close()
  })
})
