/**
 * Notifications of appends: one connection listens for all channels that are watched.
 *
 * NOTIFY takes a lock of the whole database server at commit. So no transaction that stores events notifies: what was
 * stored within some milliseconds is told in one transaction of its own.
 *
 * Where listening does not work, as behind a pooler that gives each transaction another session (PgBouncer), the marks
 * of the watched channels are asked for instead. That is found out by a trial, because a pooler answers LISTEN as if it
 * worked.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { LIMITS } from '../../base/limits.ts'
import { type Client, type Connector, queryOf } from './postgres-client.ts'
import type { PostgresLink } from './postgres-link.ts'

export type OnAppend = (partition: number | null, next?: number) => void

const TELL_MS = 4
const RECONNECT_MS = 500
/** How long a trial notification may take. */
const TRIAL_MS = 3000
/** How often ends are asked for where listening does not work. */
const POLL_MS = 100
/** Postgres takes notifications below 8,000 bytes. */
const PAYLOAD_MAX = 7900

export interface NotifierHost {
  readonly connector: Connector
  readonly link: PostgresLink
  readonly schema: string
  /** Notifications of this engine itself are ignored. */
  readonly sender: string
  /** A text for each channel that exists; it changes with each append. */
  marks(channels: readonly string[]): Promise<ReadonlyMap<string, string>>
  /** Called when listening does not work. */
  deaf(): void
}

export class AppendNotifier {
  readonly #host: NotifierHost
  readonly #watchers = new Map<string, Set<OnAppend>>()
  /** What is to be told: by channel, where partitions end. */
  readonly #news = new Map<string, Map<number, number>>()
  #client: Client | null = null
  #hears: 'unknown' | 'yes' | 'no' = 'unknown'
  #heardTrial: (() => void) | null = null
  #running = false
  #telling = false
  #closed = false

  constructor(host: NotifierHost) {
    this.#host = host
  }

  async watch(channel: string, onAppend: OnAppend): Promise<() => void> {
    const watchers = this.#watchers.get(channel) ?? new Set()
    this.#watchers.set(channel, watchers)
    watchers.add(onAppend)
    if (!this.#running) {
      this.#running = true
      await this.#listen().catch(() => undefined)
      void this.#run()
    }
    return () => {
      watchers.delete(onAppend)
      if (watchers.size === 0 && this.#watchers.get(channel) === watchers) this.#watchers.delete(channel)
    }
  }

  /** Events were stored by this process: tell its own watchers now, and others soon. */
  appended(channel: string, ends: ReadonlyMap<number, number>): void {
    for (const [partition, next] of ends) this.#ring(channel, partition, next)
    const news = this.#news.get(channel) ?? new Map()
    this.#news.set(channel, news)
    for (const [partition, next] of ends) news.set(partition, next)
    if (this.#telling || this.#closed) return
    this.#telling = true
    setTimeout(() => void this.#tell(), TELL_MS)
  }

  async #tell(): Promise<void> {
    const payloads = payloadsOf(this.#host.sender, this.#news)
    this.#news.clear()
    const text = `SELECT ${this.#host.schema}.ring(payload) FROM unnest($1::text[]) AS payload`
    // Others look regularly: what is not told is seen later.
    await this.#host.link.query(text, [payloads], 'telling of appends').catch(() => undefined)
    this.#telling = false
    if (this.#news.size > 0 && !this.#closed) {
      this.#telling = true
      setTimeout(() => void this.#tell(), TELL_MS)
    }
  }

  #ring(channel: string, partition: number | null, next?: number): void {
    for (const tell of [...(this.#watchers.get(channel) ?? [])]) tell(partition, next)
  }

  #ringAll(): void {
    for (const channel of this.#watchers.keys()) this.#ring(channel, null)
  }

  /** Listens again after a lost connection, or asks for ends, until it is closed. */
  async #run(): Promise<void> {
    let known: ReadonlyMap<string, string> = new Map()
    while (!this.#closed) {
      if (this.#hears === 'no') {
        const marks = await this.#host.marks([...this.#watchers.keys()]).catch(() => known)
        for (const [channel, mark] of marks) if (known.get(channel) !== mark) this.#ring(channel, null)
        known = marks
        await sleep(POLL_MS, undefined, { ref: false })
      } else if (this.#client === null) {
        await this.#listen().then(
          () => this.#ringAll(),
          () => sleep(RECONNECT_MS, undefined, { ref: false }),
        )
      } else await sleep(RECONNECT_MS, undefined, { ref: false })
    }
  }

  async #listen(): Promise<void> {
    const client = this.#host.connector.client()
    const lost = (): void => {
      if (this.#client === client) this.#client = null
    }
    client.on('error', lost)
    client.on('end', lost)
    client.on('notification', ({ payload = '' }) => this.#told(payload))
    await client.connect()
    try {
      await client.query(queryOf(`LISTEN ${this.#host.schema}`, [], LIMITS.serverAnswerMs))
      if (this.#hears === 'unknown') await this.#try()
    } catch (error) {
      client.end().catch(() => undefined)
      throw error
    }
    if (this.#hears === 'yes' && !this.#closed) this.#client = client
    else client.end().catch(() => undefined)
  }

  /** Find out whether notifications arrive. */
  async #try(): Promise<void> {
    const heard = new Promise<boolean>((resolve) => {
      this.#heardTrial = () => resolve(true)
      setTimeout(() => resolve(false), TRIAL_MS).unref()
    })
    const text = `SELECT ${this.#host.schema}.ring($1)`
    await this.#host.link.query(text, [`${this.#host.sender} ?`], 'trying notifications')
    this.#hears = (await heard) ? 'yes' : 'no'
    if (this.#hears === 'no') this.#host.deaf()
  }

  #told(payload: string): void {
    const space = payload.indexOf(' ')
    const text = payload.slice(space + 1)
    if (payload.slice(0, space) === this.#host.sender) {
      if (text === '?') this.#heardTrial?.()
      return
    }
    for (const [channel, partition, next] of newsIn(text)) this.#ring(channel, partition, next)
  }

  close(): void {
    this.#closed = true
    this.#client?.end().catch(() => undefined)
  }
}

type News = readonly (readonly [channel: string, partition: number, next: number])[]

function payloadsOf(sender: string, news: ReadonlyMap<string, ReadonlyMap<number, number>>): string[] {
  const payloads: string[] = []
  let parts: string[] = []
  let bytes = 0
  const flush = (): void => {
    if (parts.length > 0) payloads.push(`${sender} [${parts.join(',')}]`)
    parts = []
    bytes = sender.length + 3
  }
  flush()
  for (const [channel, ends] of news) {
    for (const [partition, next] of ends) {
      const part = JSON.stringify([channel, partition, next])
      if (bytes + part.length + 1 > PAYLOAD_MAX) flush()
      parts.push(part)
      bytes += Buffer.byteLength(part) + 1
    }
  }
  flush()
  return payloads
}

/** Any client may notify: what is not news of this form is ignored. */
function newsIn(text: string): News {
  try {
    const found = JSON.parse(text) as unknown
    return Array.isArray(found) ? (found.filter(isNews) as unknown as News) : []
  } catch {
    return []
  }
}

function isNews(each: unknown): boolean {
  return (
    Array.isArray(each) &&
    typeof each[0] === 'string' &&
    Number.isSafeInteger(each[1]) &&
    Number.isSafeInteger(each[2]) &&
    each[2] >= 0
  )
}
