/**
 * Redis Streams with `appendfsync always`, through ioredis: XADD with automatic pipelining on one connection; on
 * another a consumer group that reads up to a thousand at a time, runs their handlers together, and acknowledges them
 * in one XACK while the next ones are read.
 *
 * The server reads 16 KiB from a connection at a time and syncs what it got from all of them, so one connection's
 * pipeline is synced about fifty events at a time. `redis-4` publishes over four connections: more events per sync, and
 * no order between them.
 */
import { Redis } from 'ioredis'
import { type BareEvent, bareEvent, type CartItem } from '../events.ts'
import { MillraceSystem } from '../millrace.ts'
import type { Consuming, ItemHandler, OpenSystem, Peer, Server, System } from '../system.ts'
import { freePort, programOf, startServer } from './server.ts'

const STREAM = 'carts'
const READ_COUNT = 1000
const BLOCK_MS = 1000

/** A server that syncs its append-only file before it answers. */
export async function startSyncedRedis(directory: string): Promise<Server> {
  const port = await freePort()
  const durable = [
    '--appendonly',
    'yes',
    '--appendfsync',
    'always',
    '--save',
    '',
    '--auto-aof-rewrite-percentage',
    '0',
    '--maxmemory-policy',
    'noeviction',
  ]
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    directory,
    '--daemonize',
    'no',
    '--loglevel',
    'warning',
    ...durable,
  ]
  const { stop } = await startServer(programOf('redis-server') ?? 'redis-server', args, port)
  return { url: `redis://127.0.0.1:${port}`, stop }
}

export function missingRedis(): Promise<string | null> {
  return Promise.resolve(programOf('redis-server') === null ? 'redis-server is not installed' : null)
}

type Entry = readonly [id: string, fields: readonly string[]]

class RedisStreams implements System {
  readonly #url: string
  readonly #writers: readonly Redis[]
  readonly #readers: Redis[] = []
  #closing = false

  constructor(url: string, writers: number) {
    this.#url = url
    this.#writers = Array.from({ length: writers }, () => new Redis(url, { enableAutoPipelining: true }))
  }

  publish(item: CartItem): Promise<unknown> {
    return this.#writer(item.line).xadd(STREAM, '*', 'event', JSON.stringify(bareEvent(item)))
  }

  #writer(line: number): Redis {
    return this.#writers[line % this.#writers.length] as Redis
  }

  async consume(name: string, handler: ItemHandler): Promise<Consuming> {
    const reader = new Redis(this.#url)
    this.#readers.push(reader)
    await reader.xgroup('CREATE', STREAM, name, '0', 'MKSTREAM')
    let acknowledged: Promise<unknown> = Promise.resolve()
    const work = async (): Promise<void> => {
      while (!this.#closing) {
        const entries = await readSome(reader, name)
        if (entries.length === 0) continue
        await Promise.all(entries.map(([, [, text = '']]) => handler((JSON.parse(text) as BareEvent).data)))
        await acknowledged
        acknowledged = this.#writer(0).xack(STREAM, name, ...entries.map(([id]) => id))
      }
    }
    work().catch((error: unknown) => {
      if (this.#closing) return
      console.error(error)
      process.exit(1)
    })
    // All events were handled, but the last XACK is only sent after their handlers' promises have been awaited.
    return {
      settle: async () => {
        await new Promise(setImmediate)
        await acknowledged
        const pending = (await this.#writer(0).xpending(STREAM, name)) as [number, ...unknown[]]
        if (pending[0] !== 0) throw new Error(`${pending[0]} events were not acknowledged`)
      },
    }
  }

  async close(): Promise<void> {
    this.#closing = true
    for (const reader of this.#readers) reader.disconnect()
    await Promise.all(this.#writers.map((writer) => writer.quit()))
  }
}

async function readSome(reader: Redis, group: string): Promise<readonly Entry[]> {
  const answer = (await reader.xreadgroup(
    'GROUP',
    group,
    'one',
    'COUNT',
    READ_COUNT,
    'BLOCK',
    BLOCK_MS,
    'STREAMS',
    STREAM,
    '>',
  )) as readonly (readonly [string, readonly Entry[]])[] | null
  return answer?.[0]?.[1] ?? []
}

function peer(name: string, writers: number): Peer {
  const open: OpenSystem = ({ url }) => Promise.resolve(new RedisStreams(url, writers))
  return { name, missing: missingRedis, start: startSyncedRedis, open }
}

export const redis: Peer = peer('redis', 1)
export const redisOnFour: Peer = peer('redis-4', 4)
/** Millrace's engine on the same server with the same settings. */
export const millraceOnRedis: Peer = {
  ...redis,
  name: 'millrace on redis',
  open: ({ url, concurrency }) => MillraceSystem.at(url, concurrency),
}
