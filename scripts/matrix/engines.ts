/** The engines of the matrix: the test that runs the contract on each, and the capabilities that each declares. */
import type { Capabilities } from '../../src/broker/capabilities.ts'
import { fileCapabilities, memoryCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { kafkaCapabilities } from '../../src/engines/kafka/capabilities.ts'
import { natsCapabilities } from '../../src/engines/nats/capabilities.ts'
import { postgresCapabilities } from '../../src/engines/postgres/capabilities.ts'
import { SYNCED as POSTGRES_SYNCED } from '../../src/engines/postgres/server-check.ts'
import { redisCapabilities } from '../../src/engines/redis/capabilities.ts'
import { SYNCED } from '../../src/engines/redis/durability.ts'

export interface MatrixEngine {
  /** The heading of its column. */
  readonly name: string
  /** Its path below `test/conformance`. */
  readonly test: string
  readonly capabilities: Capabilities
}

export const MATRIX_ENGINES: readonly MatrixEngine[] = [
  { name: 'memory:', test: 'memory.test.ts', capabilities: memoryCapabilities },
  { name: 'file:', test: 'file.test.ts', capabilities: fileCapabilities },
  { name: 'file: beside its owner', test: 'attached.test.ts', capabilities: fileCapabilities },
  { name: 'ws: to file:', test: 'remote-file.test.ts', capabilities: fileCapabilities },
  {
    name: 'nats:',
    test: 'nats.test.ts',
    capabilities: natsCapabilities({ known: 'declared', how: 'so it is declared' }),
  },
  { name: 'kafka:', test: 'kafka.test.ts', capabilities: kafkaCapabilities('synced') },
  { name: 'redis:', test: 'redis.test.ts', capabilities: redisCapabilities({ support: 'native', reason: SYNCED }, 4) },
  {
    name: 'postgres:',
    test: 'postgres.test.ts',
    capabilities: postgresCapabilities({ support: 'native', reason: POSTGRES_SYNCED }, 4),
  },
]
