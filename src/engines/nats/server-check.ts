/**
 * What is checked on the servers when connecting: whether they are new enough for the contract, and whether they sync
 * before they acknowledge (clause 1).
 *
 * An ordinary account cannot see the second. It is proved by the system account's requests if this account may send
 * them, or by the servers' monitoring addresses. Otherwise the URL declares it, or there is an alarm.
 */
import { MillraceError } from '../../base/errors.ts'
import { ApiError } from './api-error.ts'
import type { NatsClient } from './nats-client.ts'
import type { NatsTarget } from './nats-url.ts'

/** Older servers have no atomic batches that detect duplicates. */
export const OLDEST_SERVER: readonly [number, number, number] = [2, 12, 1]
/** How long answers of several servers to one request are waited for. */
const SYSTEM_MS = 300
const MONITOR_MS = 3000

export interface Durable {
  readonly known: 'proved' | 'declared' | 'unknown' | 'weaker'
  readonly how: string
}

interface JetStreamState {
  readonly server_id?: string
  readonly config?: { readonly sync_always?: boolean; readonly sync_interval?: number }
}

function refuse(message: string, details: Readonly<Record<string, unknown>>): MillraceError {
  return new MillraceError('CLAUSE_REFUSED', `nats: ${message}`, details)
}

/**
 * Checks the server's version and that it has JetStream.
 * @throws CLAUSE_REFUSED when the server is too old, or has no JetStream
 */
export async function checkServer(client: NatsClient): Promise<string> {
  const version = client.connection.info?.version ?? '0.0.0'
  const found = version.split(/[.-]/, 3).map(Number)
  const least = OLDEST_SERVER.join('.')
  const difference = OLDEST_SERVER.map((part, at) => (found[at] ?? 0) - part).find((each) => each !== 0) ?? 0
  if (difference < 0) {
    throw refuse(
      `nats-server ${version} is too old for clause 1 (durable: "sync_interval: always" came with 2.10, batches that are stored all or none with 2.12) ` +
        `and clause 9 (replay: reading by subject in batches came with 2.11): use nats-server ${least} or later`,
      { clauses: [1, 9], version, oldest: least },
    )
  }
  try {
    await client.patiently('asking for JetStream', (tries) => {
      // A server without JetStream does not answer. A server of a cluster may not answer until the cluster has a
      // leader.
      if (tries > 1 && client.connection.info?.jetstream !== true)
        throw new ApiError({ code: 503, description: 'no JetStream' })
      return client.api('INFO')
    })
  } catch (error) {
    if (error instanceof MillraceError) throw error
    throw refuse(
      'this account has no JetStream, which clause 1 (durable) needs: put "jetstream { … }" into the server\'s configuration, or enable it for the account',
      {
        clauses: [1],
        version,
      },
    )
  }
  return version
}

/**
 * Checks how the servers store, and says what they promise.
 * @throws CLAUSE_REFUSED when the servers are weaker than the URL allows
 */
export async function checkDurable(client: NatsClient, { durable, monitor }: NatsTarget): Promise<Durable> {
  if (durable === 'weaker') return { known: 'weaker', how: 'the URL says durable=weaker' }
  const states = monitor.length > 0 ? await Promise.all(monitor.map(monitored)) : await system(client)
  const weak = states.find(({ config }) => config?.sync_always !== true)
  if (weak !== undefined) {
    const interval = (weak.config?.sync_interval ?? 0) / 1e9
    throw refuse(
      `clause 1 (durable) does not hold: server ${weak.server_id ?? ''} acknowledges before it syncs, every ${interval} s: put "sync_interval: always" ` +
        'into the "jetstream" block of its configuration, or write durable=weaker in the URL',
      { clauses: [1], setting: 'sync_interval', intervalMs: interval * 1000 },
    )
  }
  if (states.length > 0)
    return {
      known: 'proved',
      how: `${states.length === 1 ? 'the server says' : `${states.length} servers say`} that it syncs always`,
    }
  if (durable === 'declared') return { known: 'declared', how: 'the URL says durable=declared' }
  if (durable === 'proved') {
    throw refuse(
      "clause 1 (durable) cannot be proved: this account may not use the system account's requests; name the servers' monitoring addresses with monitor=http://host:8222",
      {
        clauses: [1],
        setting: 'sync_interval',
      },
    )
  }
  return { known: 'unknown', how: 'this account cannot see whether the servers sync' }
}

/** What the servers answer to the system account's request, if this account may send it. */
async function system(client: NatsClient): Promise<JetStreamState[]> {
  const inbox = client.library.createInbox()
  const states: JetStreamState[] = []
  await new Promise<void>((resolve) => {
    const subscription = client.connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null || message.headers?.code === 503) finish()
        else states.push(message.json<{ readonly data: JetStreamState }>().data)
      },
    })
    const timer = setTimeout(() => finish(), SYSTEM_MS)
    const finish = (): void => {
      clearTimeout(timer)
      subscription.unsubscribe()
      resolve()
    }
    client.connection.publish('$SYS.REQ.SERVER.PING.JSZ', '{"config":true}', { reply: inbox })
  })
  return states.filter(({ config }) => config !== undefined)
}

async function monitored(address: string): Promise<JetStreamState> {
  try {
    const answer = await fetch(new URL('/jsz?config=true', address), {
      signal: AbortSignal.timeout(MONITOR_MS),
      redirect: 'error',
    })
    return (await answer.json()) as JetStreamState
  } catch (cause) {
    throw new MillraceError(
      'UNAVAILABLE',
      `nats: the monitoring address ${address} does not answer`,
      { address },
      { cause },
    )
  }
}
