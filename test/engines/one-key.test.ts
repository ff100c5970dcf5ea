/** Clause 4 over a consumer's channels and over processes, on real servers. */
import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { kafkaKind, natsKind, redisKind } from '../../scripts/engines/engines.ts'
import { connect } from '../../src/index.ts'
import { all, Hands, orders, payments, publisher } from '../external-log/hands.ts'
import { kindOf, withServer } from './servers.ts'

const kinds = [
  ['nats', kindOf('nats', () => natsKind())],
  ['redis', kindOf('redis', () => redisKind())],
  ['kafka', kindOf('kafka', () => kafkaKind())],
] as const

describe.each(kinds)('%s', (_, kind) => {
  test.skipIf(kind === undefined)(
    'no key is in flight in two processes, while one leaves and another one comes',
    { timeout: 120_000 },
    async () => {
      if (kind === undefined) return
      await withServer(kind, async (server) => {
        const url = `${server.url}?partitions=8&prefix=k${randomUUID().slice(0, 8)}`
        const brokers = [await connect(url), await connect(url), await connect(url)] as const
        const hands = new Hands()
        const handledBy = (process: string): Promise<void> =>
          expect.poll(() => hands.by.get(process) ?? 0, { timeout: 30_000 }).toBeGreaterThan(50)
        try {
          for (const channel of [orders, payments]) await brokers[0].declare(channel)
          const publishing = publisher(brokers[0])
          await brokers[0].start(hands.worker('first'))
          const leaving = await brokers[1].start(hands.worker('second'))
          await handledBy('first')
          await handledBy('second')
          await brokers[2].start(hands.worker('third'))
          await handledBy('third')
          await leaving.stop()
          await brokers[1].start(hands.worker('second again'))
          await handledBy('second again')
          const ids = await publishing.stop()
          await all(hands, ids)
          expect(hands.overlaps.slice(0, 3)).toEqual([])
        } finally {
          for (const broker of brokers) await broker.close()
        }
      })
    },
  )
})
