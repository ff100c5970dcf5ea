/**
 * Notifications of appends: one subscription connection for all channels that are watched. Messages are lost while the
 * connection is down, so all watchers are told to look when it is made again.
 */

import type { MillraceError } from '../../base/errors.ts'
import type { Keys } from './keys.ts'
import type { Client, Connector } from './redis-client.ts'
import { isConnectionFault, redisError } from './redis-errors.ts'

export type OnAppend = (partition: number | null, next?: number) => void

export class AppendNotifier {
  readonly #keys: Keys
  readonly #sender: string
  readonly #connector: Connector
  #client: Client | null = null
  readonly #watchers = new Map<string, Set<OnAppend>>()
  /** The subscriptions that the server has confirmed. */
  readonly #heard = new Set<string>()
  readonly #refused: (error: MillraceError) => void
  #closed = false

  /**
   * `sender`: notifications of this engine itself are ignored. `refused` is called when the server does not permit to
   * subscribe.
   */
  constructor(connector: Connector, keys: Keys, sender: string, refused: (error: MillraceError) => void) {
    this.#connector = connector
    this.#keys = keys
    this.#sender = sender
    this.#refused = refused
  }

  async watch(channel: string, onAppend: OnAppend): Promise<() => void> {
    const name = this.#keys.bell(channel)
    const watchers = this.#watchers.get(name) ?? new Set()
    this.#watchers.set(name, watchers)
    watchers.add(onAppend)
    if (watchers.size === 1) await this.#subscribe(name)
    return () => {
      watchers.delete(onAppend)
      if (watchers.size > 0 || this.#watchers.get(name) !== watchers) return
      this.#watchers.delete(name)
      this.#heard.delete(name)
      if (this.#client?.status === 'ready') this.#client.unsubscribe(name).catch(() => undefined)
    }
  }

  async #subscribe(name: string): Promise<void> {
    if (this.#client === null) await this.#connect()
    else if (this.#client.status === 'ready') await this.#hear(this.#client, [name])
  }

  /**
   * Without a subscription, the engine still looks regularly: it sees appends of others later, which is worth an alarm.
   * Never rejects.
   */
  async #hear(client: Client, names: readonly string[]): Promise<void> {
    if (names.length === 0) return
    try {
      await client.subscribe(...names)
      for (const name of names) if (this.#watchers.has(name)) this.#heard.add(name)
    } catch (error) {
      // A lost connection is made again, and the watchers are subscribed then.
      if (!this.#closed && !isConnectionFault(error))
        this.#refused(redisError(error, 'listening for appends of others'))
    }
  }

  /** How many of the subscribers to a channel's notifications are this engine. 0 if it is not sure. */
  hears(channel: string): number {
    return this.#heard.has(this.#keys.bell(channel)) ? 1 : 0
  }

  async #connect(): Promise<void> {
    const client = this.#connector()
    this.#client = client
    client.on('error', () => undefined)
    client.on('close', () => this.#heard.clear())
    client.on('message', (name, message) => this.#told(name, message))
    client.on('ready', () => {
      void this.#hear(client, [...this.#watchers.keys()]).then(() => this.#ringAll())
    })
    // Without a connection, the engine still looks regularly.
    await client.connect().catch(() => undefined)
  }

  #ringAll(): void {
    for (const watchers of this.#watchers.values()) for (const tell of [...watchers]) tell(null)
  }

  #told(name: string, message: string): void {
    const watchers = this.#watchers.get(name)
    if (watchers === undefined || this.#closed) return
    const space = message.indexOf(' ')
    if (space > 0 && message.slice(0, space) === this.#sender) return
    const ends = space < 0 ? '' : message.slice(space + 1)
    if (!/^\d+:\d+(,\d+:\d+)*$/.test(ends)) {
      for (const tell of [...watchers]) tell(null)
      return
    }
    for (const pair of ends.split(',')) {
      const [partition, next] = pair.split(':').map(Number) as [number, number]
      for (const tell of [...watchers]) tell(partition, next)
    }
  }

  close(): void {
    this.#closed = true
    this.#client?.disconnect()
  }
}
