/**
 * The part of the client library that is used, and connections: to one server, to the primary that Sentinels name, or
 * to a cluster.
 *
 * The library reconnects by itself. It neither queues nor repeats commands: `redis-link.ts` knows which commands may be
 * repeated.
 */
import { isIP } from 'node:net'
import { loadClient } from '../../broker/client-library.ts'
import type { RedisSettings } from './redis-url.ts'

export type Argument = string | number | Buffer

export interface Pipeline {
  call(name: string, ...args: readonly Argument[]): unknown
  callBuffer(name: string, ...args: readonly Argument[]): unknown
  exec(): Promise<(readonly [error: Error | null, answer: unknown])[] | null>
}

export interface Client {
  readonly status: string
  pipeline(): Pipeline
  connect(): Promise<void>
  disconnect(reconnect?: boolean): void
  subscribe(...channels: readonly string[]): Promise<unknown>
  unsubscribe(...channels: readonly string[]): Promise<unknown>
  on(event: 'ready' | 'close' | 'end', listener: () => void): unknown
  on(event: 'error', listener: (error: Error & { readonly command?: { readonly name: string } }) => void): unknown
  on(event: 'message', listener: (channel: string, message: string) => void): unknown
}

export type Connector = () => Client

interface Library {
  readonly Redis: new (options: object) => Client
  readonly Cluster: new (nodes: readonly object[], options: object) => Client
}

const CONNECT_MS = 5000
const RETRY_MS_MAX = 1000
const KEEP_ALIVE_MS = 10_000

const retryMs = (times: number): number => Math.min(RETRY_MS_MAX, 20 * 2 ** Math.min(times, 10))

/** A server's TLS certificate does not name it by its address. */
function isName(host: string | undefined): boolean {
  return host !== undefined && isIP(host) === 0
}

/**
 * Loads ioredis and prepares connections with these settings.
 * @throws MISSING_DEPENDENCY when ioredis is missing, or has an unsupported version
 */
export async function connectorOf(settings: RedisSettings): Promise<Connector> {
  const { Redis, Cluster } = await loadClient<Library>('ioredis')
  const { hosts, tls, username, password, db, topology } = settings
  const common = {
    ...(username !== null && { username }),
    ...(password !== null && { password }),
    ...(tls !== null && {
      tls: { ...tls, ...(topology === 'one' && isName(hosts[0]?.host) && { servername: hosts[0]?.host }) },
    }),
    protocol: 2,
    connectTimeout: CONNECT_MS,
    keepAlive: KEEP_ALIVE_MS,
    lazyConnect: true,
    enableOfflineQueue: false,
    // A server that loads its data answers that to each command, and the command is repeated. The library's own check
    // would write to the console if INFO is not permitted.
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: retryMs,
    // After a failover the former primary refuses writes. The library then connects again, to the new primary.
    reconnectOnError: (error: Error) => /^(READONLY|UNBLOCKED)/.test(error.message),
  }
  if (topology === 'cluster') {
    const options = {
      lazyConnect: true,
      enableOfflineQueue: false,
      clusterRetryStrategy: retryMs,
      redisOptions: common,
    }
    return () => new Cluster(hosts, options)
  }
  if (topology === 'sentinel') {
    const { sentinelPassword } = settings
    // The first connection asks all Sentinels once, and `connect` reports that none answers. Later, the primary is
    // looked for without end.
    let found = false
    const sentinels = {
      sentinels: hosts,
      name: settings.primary,
      ...(sentinelPassword !== null && { sentinelPassword }),
      ...(tls !== null && { enableTLSForSentinelMode: true }),
      sentinelRetryStrategy: (times: number) => (found ? retryMs(times) : null),
    }
    return () => {
      const client = new Redis({ ...common, ...sentinels, db })
      client.on('ready', () => {
        found = true
      })
      return client
    }
  }
  return () => new Redis({ ...common, ...hosts[0], db })
}
