/**
 * Everything that can be measured, by name. Modules are loaded when they are needed, so that a peer's client costs the
 * others no memory.
 */
import type { OpenSystem, Peer } from './system.ts'

export const PEER_NAMES = ['redis', 'redis-4', 'nats', 'nats-synced', 'kafka', 'bullmq', 'postgres', 'pg-boss'] as const

/** Millrace's engines over other brokers, each with the plain program that does the same work on the same server. */
export const ENGINE_PAIRS: readonly (readonly [engine: string, plain: string])[] = [
  ['millrace on nats', 'nats-synced'],
  ['millrace on kafka', 'kafka'],
  ['millrace on redis', 'redis'],
  ['millrace on postgres', 'postgres'],
]

export async function peerOf(name: string): Promise<Peer | null> {
  switch (name) {
    case 'redis':
      return (await import('./peers/redis.ts')).redis
    case 'millrace on redis':
      return (await import('./peers/redis.ts')).millraceOnRedis
    case 'redis-4':
      return (await import('./peers/redis.ts')).redisOnFour
    case 'nats':
      return (await import('./peers/nats.ts')).nats
    case 'nats-synced':
      return (await import('./peers/nats.ts')).natsSynced
    case 'millrace on nats':
      return (await import('./peers/nats.ts')).millraceOnNats
    case 'kafka':
      return (await import('./peers/kafka.ts')).kafka
    case 'millrace on kafka':
      return (await import('./peers/kafka.ts')).millraceOnKafka
    case 'bullmq':
      return (await import('./peers/bullmq.ts')).bullmq
    case 'postgres':
      return (await import('./peers/postgres.ts')).postgres
    case 'millrace on postgres':
      return (await import('./peers/postgres.ts')).millraceOnPostgres
    case 'pg-boss':
      return (await import('./peers/pg-boss.ts')).pgBoss
    default:
      return null
  }
}

export async function openerOf(name: string): Promise<OpenSystem> {
  switch (name) {
    case 'ceiling':
      return (await import('./ceiling.ts')).openCeiling
    case 'ceiling, stringify only':
      return (await import('./ceiling.ts')).openStringifyOnly
    case 'ceiling, preallocated':
      return (await import('./ceiling.ts')).openPreallocated
    case 'millrace':
      return (setting) => import('./millrace.ts').then(({ MillraceSystem }) => MillraceSystem.open(setting))
    case 'millrace, served':
      return (setting) => import('./served.ts').then(({ ServedSystem }) => ServedSystem.open(setting))
    default: {
      const peer = await peerOf(name)
      if (peer === null) throw new Error(`nothing to measure is named "${name}"`)
      return peer.open
    }
  }
}
