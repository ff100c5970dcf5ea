/**
 * A plain program on Postgres with default settings (every commit synced), through pg: events that wait go out together
 * in one INSERT, each id once; a worker reads up to a thousand at a time behind its position, runs their handlers
 * together, and stores its position in one UPDATE while the next ones are read. It is woken by a notification of its
 * own for each INSERT.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type BareEvent, bareEvent, type CartItem } from '../events.ts'
import { MillraceSystem } from '../millrace.ts'
import type { Consuming, ItemHandler, OpenSystem, Peer, System } from '../system.ts'
import { pgBoss } from './pg-boss.ts'

const READ_COUNT = 1000
const TOGETHER = 500
const IDLE_MS = 100

interface Client {
  connect(): Promise<unknown>
  query(text: string, values?: readonly unknown[]): Promise<{ readonly rows: readonly Record<string, string>[] }>
  on(event: 'notification', listener: () => void): unknown
  end(): Promise<void>
}

const TABLES = `
  CREATE TABLE events (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL UNIQUE, event text NOT NULL);
  CREATE TABLE positions (name text PRIMARY KEY, position bigint NOT NULL) WITH (fillfactor = 50)`
const INSERT = `INSERT INTO events (id, event) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING`

interface Waiting {
  readonly event: BareEvent
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

class PlainPostgres implements System {
  readonly #writer: Client
  readonly #reader: Client
  readonly #marker: Client
  readonly #bell: Client
  #waiting: Waiting[] = []
  #writing = false
  #closing = false
  #rung: () => void = () => undefined
  #ringing: Promise<void> | null = null
  #stored: Promise<unknown> = Promise.resolve()
  #working: Promise<void> = Promise.resolve()

  private constructor(clients: readonly [Client, Client, Client, Client]) {
    const [writer, reader, marker, bell] = clients
    this.#writer = writer
    this.#reader = reader
    this.#marker = marker
    this.#bell = bell
    bell.on('notification', () => this.#rung())
  }

  static async open(url: string): Promise<PlainPostgres> {
    const { Client } = (await import('pg' as string)) as { readonly Client: new (url: string) => Client }
    const clients = [new Client(url), new Client(url), new Client(url), new Client(url)] as const
    for (const client of clients) await client.connect()
    await clients[0].query(TABLES)
    await clients[3].query('LISTEN bell')
    return new PlainPostgres(clients)
  }

  publish(item: CartItem): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ event: bareEvent(item), resolve, reject })
      if (this.#writing) return
      this.#writing = true
      process.nextTick(() => void this.#write())
    })
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const together = this.#waiting.splice(0, TOGETHER)
      const events = together.map(({ event }) => event)
      try {
        await this.#writer.query(INSERT, [events.map(({ id }) => id), events.map((event) => JSON.stringify(event))])
        for (const { resolve } of together) resolve(null)
      } catch (error) {
        for (const { reject } of together) reject(error)
      }
      this.#ring()
    }
    this.#writing = false
  }

  /** One notification at a time: the worker reads all that is there. */
  #ring(): void {
    if (this.#ringing !== null || this.#closing) return
    const rung = this.#bell.query("SELECT pg_notify('bell', '')").then(() => {
      this.#ringing = null
    })
    this.#ringing = rung
  }

  async consume(name: string, handler: ItemHandler): Promise<Consuming> {
    await this.#marker.query('INSERT INTO positions VALUES ($1, 0)', [name])
    const work = async (): Promise<void> => {
      let position = '0'
      while (!this.#closing) {
        const text = `SELECT position, event FROM events WHERE position > $1 ORDER BY position LIMIT ${READ_COUNT}`
        const { rows } = await this.#reader.query(text, [position])
        if (rows.length === 0) {
          await Promise.race([new Promise<void>((resolve) => (this.#rung = resolve)), sleep(IDLE_MS)])
          continue
        }
        await Promise.all(rows.map(({ event = '' }) => handler((JSON.parse(event) as BareEvent).data)))
        position = rows.at(-1)?.['position'] ?? position
        await this.#stored
        this.#stored = this.#marker.query('UPDATE positions SET position = $2 WHERE name = $1', [name, position])
      }
    }
    this.#working = work().catch((error: unknown) => {
      if (this.#closing) return
      console.error(error)
      process.exit(1)
    })
    return {
      settle: async () => {
        await new Promise(setImmediate)
        await this.#stored
      },
    }
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#rung()
    await this.#working
    await Promise.all([this.#ringing, this.#stored])
    await Promise.all([this.#writer, this.#reader, this.#marker, this.#bell].map((client) => client.end()))
  }
}

const open: OpenSystem = ({ url }) => PlainPostgres.open(url)

export const postgres: Peer = { ...pgBoss, name: 'postgres', open }

/** Millrace's engine on the same server with the same settings. */
export const millraceOnPostgres: Peer = {
  ...pgBoss,
  name: 'millrace on postgres',
  open: ({ url, concurrency }) => MillraceSystem.at(url, concurrency),
}
