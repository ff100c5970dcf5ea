/**
 * Worlds on one Postgres: each has its own schema. A crash cuts the engine's connections without a goodbye. Then the
 * entries of its members are deleted, which otherwise happens after a long silence;
 * test/engines/postgres-faults.test.ts waits for that.
 */
import { randomBytes } from 'node:crypto'
import type { Broker } from '../../src/broker/broker.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { PostgresBackend } from '../../src/engines/postgres/postgres-backend.ts'
import { postgresSettings } from '../../src/engines/postgres/postgres-url.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { ConformanceWorld } from '../../src/testing/conformance/world.ts'
import { withPlainPostgres } from '../engines/plain-postgres.ts'
import { connected } from './connected.ts'

export class PostgresWorld implements ConformanceWorld {
  readonly #server: string
  readonly #url: string
  readonly #schema = `w${randomBytes(6).toString('hex')}`
  readonly #backends: PostgresBackend[] = []

  constructor(server: string, partitions: number) {
    this.#server = server
    this.#url = `${server}?schema=${this.#schema}&partitions=${partitions}&connections=4`
  }

  readonly openEngine = async (): Promise<Engine> => {
    const settings = postgresSettings(this.#url)
    const backend = await PostgresBackend.open(settings)
    this.#backends.push(backend)
    return ExternalLogEngine.open({ backend, partitions: settings.partitions })
  }

  async connect(): Promise<Broker> {
    return connected(await this.openEngine())
  }

  async crash(): Promise<void> {
    await Promise.all(this.#backends.splice(0).map((backend) => backend.close()))
    await this.#admin(`DELETE FROM ${this.#schema}.members`)
  }

  async #admin(statement: string): Promise<void> {
    await withPlainPostgres(this.#server, (admin) => admin.query(statement))
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#backends.splice(0).map((backend) => backend.close()))
    await this.#admin(`DROP SCHEMA IF EXISTS ${this.#schema} CASCADE`)
  }
}
