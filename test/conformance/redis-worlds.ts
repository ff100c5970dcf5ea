/**
 * Worlds on one Redis: each has its own prefix. A crash cuts the engine's connections without a goodbye. Then the
 * entries of its members are deleted, which otherwise happens after a long silence; test/engines/redis-faults.test.ts
 * waits for that.
 */
import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Broker } from '../../src/broker/broker.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { RedisBackend } from '../../src/engines/redis/redis-backend.ts'
import { redisSettings } from '../../src/engines/redis/redis-url.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { ConformanceWorld } from '../../src/testing/conformance/world.ts'
import { connected } from './connected.ts'

export class RedisWorld implements ConformanceWorld {
  readonly #url: string
  readonly #prefix = randomBytes(6).toString('hex')
  readonly #admin: Redis
  readonly #backends: RedisBackend[] = []

  constructor(url: string, partitions: number) {
    this.#url = `${url}?prefix=${this.#prefix}&partitions=${partitions}`
    this.#admin = new Redis(url)
  }

  readonly openEngine = async (): Promise<Engine> => {
    const settings = redisSettings(this.#url)
    const backend = await RedisBackend.open(settings)
    this.#backends.push(backend)
    return ExternalLogEngine.open({ backend, partitions: settings.partitions })
  }

  async connect(): Promise<Broker> {
    return connected(await this.openEngine())
  }

  async crash(): Promise<void> {
    await Promise.all(this.#backends.splice(0).map((backend) => backend.close()))
    await this.#forget('members:')
  }

  async #forget(what: string): Promise<void> {
    const keys = await this.#admin.keys(`{${this.#prefix}}:${what}*`)
    if (keys.length > 0) await this.#admin.unlink(keys)
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#backends.splice(0).map((backend) => backend.close()))
    await this.#forget('')
    await this.#admin.quit()
  }
}
