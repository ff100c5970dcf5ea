import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { kafkaKind, mariadbKind, natsKind, postgresKind, redisKind } from '../../scripts/engines/engines.ts'
import type { Server } from '../../scripts/engines/server.ts'
import { kindOf, withServer } from './servers.ts'

const kinds = [
  ['nats', kindOf('nats', () => natsKind())],
  ['nats, as installed', kindOf('nats, as installed', () => natsKind({ version: 'installed' }))],
  ['redis', kindOf('redis', () => redisKind())],
  ['kafka', kindOf('kafka', () => kafkaKind())],
  ['postgres', kindOf('postgres', () => postgresKind())],
  ['mariadb', kindOf('mariadb', () => mariadbKind())],
] as const

function takesConnections({ port }: Server): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(socket.destroy() !== undefined))
    socket.once('error', () => resolve(false))
  })
}

describe.each(kinds)('%s', (_, kind) => {
  test.skipIf(kind === undefined)(
    'starts, can be killed and started again, and stops',
    { timeout: 120_000 },
    async () => {
      if (kind === undefined) return
      const server = await withServer(kind, async (running) => {
        expect(await takesConnections(running)).toBe(true)
        await running.kill()
        expect(await takesConnections(running)).toBe(false)
        await running.start()
        expect(await takesConnections(running)).toBe(true)
        return running
      })
      expect(await takesConnections(server)).toBe(false)
    },
  )
})
