/**
 * Faults of a Redis under a load of publishes, handlers and emissions of two engines: no acknowledged event is lost or
 * stored twice.
 */
import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { redisKind } from '../../scripts/engines/engines.ts'
import { connect, event, stream } from '../../src/index.ts'
import { unkindProxy } from '../conformance/unkind-proxy.ts'
import { type FaultyServers, faulty, hanging, hung, killed, restarted, SLOW_AND_CUT } from './cases.ts'
import { underFaults } from './fault-load.ts'
import { processesKilled } from './fault-processes.ts'
import { kindOf, withServer } from './servers.ts'

const kind = kindOf('redis', () => redisKind())
const LIMIT_MS = 180_000

const query = (): string => `?partitions=4&prefix=f${randomUUID().slice(0, 8)}`

describe.skipIf(kind === undefined)('Redis under load', () => {
  const servers: FaultyServers = { kind: () => redisKind(), query, limitMs: LIMIT_MS }

  faulty(servers, 'a server that is restarted, twice', (server) => restarted(server, 2))
  faulty(servers, 'a server that is killed, three times', (server) => killed(server, 3, 700))
  hanging(servers, async (server, load) => {
    await hung(server, 4000)
    await load.more(20)
    // The second time the connection is given up, and made again.
    await hung(server, 8000)
  })

  it(
    'a connection that is slow, and cut again and again',
    async () => {
      await withServer(redisKind(), async (server) => {
        const proxy = await unkindProxy(server.port, SLOW_AND_CUT)
        const rest = query()
        const url = `redis://127.0.0.1:${proxy.port}${rest}`
        await underFaults({ urls: [url, `${server.url}${rest}`], faults: (load) => load.more(300, 60_000) })
        expect(proxy.cuts).toBeGreaterThan(0)
        await proxy.close()
      })
    },
    LIMIT_MS,
  )

  it(
    'a server whose memory is full: publishing fails, no acknowledged event is lost, and work continues when there is room',
    async () => {
      await withServer(redisKind(), async (server) => {
        const plain = new Redis(server.url)
        const broker = await connect(`${server.url}${query()}`)
        const notes = stream('notes', { retain: { count: 2000 } })
        const Note = event('note')
        const published: string[] = []
        await broker.publish(notes, Note('first')).then(({ id }) => published.push(id))
        const used = Number(/used_memory:(\d+)/.exec(await plain.info('memory'))?.[1])
        await plain.config('SET', 'maxmemory', String(used + 4 * 1024 * 1024))
        const full = async (): Promise<void> => {
          for (let n = 0; n < 200; n++) published.push((await broker.publish(notes, Note('x'.repeat(100_000)))).id)
        }
        await expect(full()).rejects.toMatchObject({
          code: 'DISK_FULL',
          retryable: true,
          message: expect.stringContaining('maxmemory'),
        })
        await plain.config('SET', 'maxmemory', '0')
        published.push((await broker.publish(notes, Note('last'))).id)
        const read: string[] = []
        for await (const { id } of broker.read(notes)) read.push(id)
        expect(read).toEqual(published)
        await broker.close()
        await plain.quit()
      })
    },
    LIMIT_MS,
  )

  it(
    'a server that is away for longer than calls wait: publishing fails with UNAVAILABLE, and the alarm lasts until it is back',
    async () => {
      await withServer(redisKind(), async (server) => {
        const alarms: string[] = []
        const broker = await connect(`${server.url}${query()}`, { onAlarm: ({ code }) => void alarms.push(code) })
        const notes = stream('notes')
        await broker.publish(notes, { type: 'note', data: 1 })
        await server.kill()
        const begun = performance.now()
        await expect(broker.publish(notes, { type: 'note', data: 2 })).rejects.toMatchObject({
          code: 'UNAVAILABLE',
          retryable: true,
        })
        expect(performance.now() - begun).toBeGreaterThan(5000)
        expect(alarms).toContain('UNAVAILABLE')
        await server.start()
        await expect
          .poll(
            () =>
              broker.publish(notes, { type: 'note', data: 3 }).then(
                () => true,
                () => false,
              ),
            { timeout: 45_000 },
          )
          .toBe(true)
        await expect.poll(async () => (await broker.describe()).alarms, { timeout: 10_000 }).toEqual([])
        await broker.close()
      })
    },
    LIMIT_MS,
  )
})

describe.skipIf(kind === undefined)('processes on Redis', () => {
  it(
    'are killed one after the other while they work, and the last one finishes their work',
    () => withServer(redisKind(), (server) => processesKilled(`${server.url}${query()}`, ['a', 'b', 'c'])),
    LIMIT_MS,
  )
})
