/**
 * The part of the client library that is used, and how its connections are made.
 *
 * Nothing depends on a session but listening: no prepared statements, no session locks, no settings of a session. So a
 * pooler that gives each transaction another session (PgBouncer) may stand between.
 */
import { loadClient } from '../../broker/client-library.ts'
import type { PostgresSettings } from './postgres-url.ts'

export type Value = string | number | boolean | null | Buffer | readonly (string | number | boolean)[]

export interface Query {
  readonly text: string
  readonly values: readonly Value[]
  readonly rowMode: 'array'
  readonly types: { getTypeParser(): (text: string) => string }
  readonly query_timeout: number
}

/** A value of a row, as the server wrote it. */
export type Cell = string | null

export interface Client {
  connect(): Promise<unknown>
  query(query: Query): Promise<{ readonly rows: readonly (readonly Cell[])[] }>
  end(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end', listener: () => void): unknown
  on(event: 'notification', listener: (message: { readonly payload?: string }) => void): unknown
}

export interface PooledClient extends Client {
  release(destroy: boolean): void
}

export interface Pool {
  connect(): Promise<PooledClient>
  end(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'connect', listener: (client: Client) => void): unknown
}

interface Library {
  readonly Pool: new (options: object) => Pool
  readonly Client: new (options: object) => Client
}

export interface Connector {
  pool(): Pool
  client(): Client
}

const CONNECT_MS = 5000
const IDLE_MS = 60_000
const KEEP_ALIVE_MS = 10_000

const AS_TEXT: Query['types'] = { getTypeParser: () => (text) => text }

/** A query whose answer is rows of texts. */
export function queryOf(text: string, values: readonly Value[], timeoutMs: number): Query {
  return { text, values, rowMode: 'array', types: AS_TEXT, query_timeout: timeoutMs }
}

/**
 * Loads pg and prepares connections with these settings.
 * @throws MISSING_DEPENDENCY when pg is missing, or has an unsupported version
 */
export async function connectorOf(settings: PostgresSettings): Promise<Connector> {
  const library = await loadClient<Library>('pg')
  const { host, port, database, user, password, tls, connections } = settings
  const options = {
    host,
    port,
    database,
    ...(user !== null && { user }),
    ...(password !== null && { password }),
    ssl: tls ?? false,
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    application_name: 'millrace',
  }
  return {
    pool: () => new library.Pool({ ...options, max: connections, idleTimeoutMillis: IDLE_MS, allowExitOnIdle: false }),
    client: () => new library.Client(options),
  }
}
