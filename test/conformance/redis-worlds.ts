/** Worlds on one Redis: each has a prefix of its own, and is killed by cutting its connections, without a goodbye. */
import { randomBytes } from 'node:crypto'
import type { Broker } from '../../src/broker/broker.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { RedisBackend } from '../../src/engines/redis/redis-backend.ts'
import { redisSettings } from '../../src/engines/redis/redis-url.ts'
import { PartitionedEngine } from '../../src/partitioned/partitioned-engine.ts'
import type { ConformanceWorld } from '../../src/testing/conformance/world.ts'

export class RedisWorld implements ConformanceWorld {
  readonly #url: string
  readonly #backends: RedisBackend[] = []

  constructor(url: string, partitions: number) {
    this.#url = `${url}?prefix=${randomBytes(6).toString('hex')}&partitions=${partitions}`
  }

  readonly openEngine = async (): Promise<Engine> => {
    const settings = redisSettings(this.#url)
    const backend = await RedisBackend.open(settings)
    this.#backends.push(backend)
    return PartitionedEngine.open({ backend, partitions: settings.partitions })
  }

  async connect(): Promise<Broker> {
    return new ConnectedBroker(await this.openEngine(), { source: '/test', random: Math.random })
  }

  async crash(): Promise<void> {
    await Promise.all(this.#backends.splice(0).map((backend) => backend.close()))
  }

  dispose(): Promise<void> {
    return this.crash()
  }
}
