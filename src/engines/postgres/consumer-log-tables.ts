/**
 * Consumer logs. Entries of several consumer logs that are written at about the same time go out together, in one
 * transaction, so that many partitions cost one sync.
 */
import { type ConsumerLogContent, Fenced } from '../../external-log/log-backend.ts'
import type { PostgresLink } from './postgres-link.ts'

const READ_TOGETHER = 200
/** How many transactions with entries may be under way at once. */
const FLIGHTS_MAX = 2
const TOGETHER_BYTES = 4 * 1024 * 1024

interface Waiting {
  readonly id: string
  readonly expected: number
  readonly entry: Uint8Array
  readonly resolve: (version: number) => void
  readonly reject: (error: unknown) => void
}

export class ConsumerLogTables {
  readonly #schema: string
  readonly #link: PostgresLink
  #waiting: Waiting[] = []
  #flights = 0

  constructor(schema: string, link: PostgresLink) {
    this.#schema = schema
    this.#link = link
  }

  async read(id: string): Promise<ConsumerLogContent> {
    const entries: Uint8Array[] = []
    let version = 0
    const text = `SELECT e.version, e.entry FROM ${this.#schema}.consumer_logs l
      JOIN ${this.#schema}.consumer_log_entries e ON e.log = l.id
      WHERE l.name = $1 AND e.version > $2 ORDER BY e.version LIMIT ${READ_TOGETHER}`
    for (;;) {
      const rows = await this.#link.query(text, [id, version], 'reading a consumer log')
      for (const [at, entry] of rows) {
        // Postgres writes bytes as \x and hexadecimal digits.
        entries.push(Buffer.from((entry as string).slice(2), 'hex'))
        version = Number(at)
      }
      if (rows.length < READ_TOGETHER) return { entries, version }
    }
  }

  /** @throws Fenced */
  async append(id: string, expected: number, entry: Uint8Array): Promise<number> {
    if (expected === 0) return this.#begin(id, entry)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ id, expected, entry, resolve, reject })
      if (this.#waiting.length === 1) process.nextTick(() => this.#send())
    })
  }

  async #begin(id: string, entry: Uint8Array): Promise<number> {
    const values = [id, bufferOf(entry)]
    const text = `SELECT ${this.#schema}.begin_consumer_log($1, $2)`
    const [row] = await this.#link.query(text, values, 'beginning a consumer log', { again: false })
    const version = Number(row?.[0])
    if (version === 0) throw new Fenced(id)
    return version
  }

  #send(): void {
    while (this.#waiting.length > 0 && this.#flights < FLIGHTS_MAX) {
      let bytes = 0
      const cut = this.#waiting.findIndex(({ entry }) => {
        const full = bytes > 0 && bytes + entry.length > TOGETHER_BYTES
        bytes += entry.length
        return full
      })
      const together = this.#waiting.splice(0, cut < 0 ? this.#waiting.length : cut)
      this.#flights++
      void this.#fly(together).finally(() => {
        this.#flights--
        this.#send()
      })
    }
  }

  /** Never rejects: every writer is answered. */
  async #fly(together: readonly Waiting[]): Promise<void> {
    let end = 0
    const ends = together.map(({ entry }) => (end += entry.length))
    const values = [
      together.map(({ id }) => id),
      together.map(({ expected }) => expected),
      ends,
      Buffer.concat(together.map(({ entry }) => entry)),
    ]
    const text = `SELECT * FROM ${this.#schema}.append_consumer_logs($1, $2, $3, $4)`
    try {
      const rows = await this.#link.query(text, values, 'writing consumer logs', { again: false })
      const written = new Set(rows.map(([at]) => Number(at)))
      for (const [at, { id, expected, resolve, reject }] of together.entries()) {
        if (written.has(at + 1)) resolve(expected + 1)
        else reject(new Fenced(id))
      }
    } catch (error) {
      for (const { reject } of together) reject(error)
    }
  }

  async trim(id: string, before: number): Promise<void> {
    const text = `DELETE FROM ${this.#schema}.consumer_log_entries WHERE version < $2
      AND log = (SELECT id FROM ${this.#schema}.consumer_logs WHERE name = $1)`
    await this.#link.query(text, [id, before], 'trimming a consumer log')
  }

  async ids(): Promise<string[]> {
    const rows = await this.#link.query(`SELECT name FROM ${this.#schema}.consumer_logs`, [], 'listing consumer logs')
    return rows.map(([name]) => name as string)
  }

  async remove(id: string): Promise<void> {
    await this.#link.query(`SELECT ${this.#schema}.remove_consumer_log($1)`, [id], 'removing a consumer log')
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
