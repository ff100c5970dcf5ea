/**
 * The interface of everything that a bench measures: Millrace, the bare ceiling and the peers, so that the same load
 * runs on each.
 */
import type { CartItem } from './events.ts'

export type ItemHandler = (item: CartItem) => Promise<void>

/** A running consumer. */
export interface Consuming {
  /**
   * Resolves when everything handled is completed: acknowledged, and on disk if the system syncs. It is called once,
   * after everything was handled; the consumer may end then.
   */
  settle(): Promise<void>
}

export interface System {
  /** Resolves when the event is stored, as safely as the system is configured. */
  publish(item: CartItem): Promise<unknown>
  consume(name: string, handler: ItemHandler): Promise<Consuming>
  close(): Promise<void>
}

export interface Setting {
  /** An empty directory for the system's data (a peer's server keeps its own elsewhere). */
  readonly directory: string
  /** The URL of a peer's server. */
  readonly url: string
  /** The number of handlers that may run at once. */
  readonly concurrency: number
}

export type OpenSystem = (setting: Setting) => Promise<System>

/** A running server for a peer. */
export interface Server {
  readonly url: string
  stop(): Promise<void>
}

/** A peer; each has a file in `bench/peers`. */
export interface Peer {
  readonly name: string
  /** What is missing on this machine, or null if the peer can run. */
  missing(): Promise<string | null>
  /** Start its server on a free loopback port, with its data in the directory. */
  start(directory: string): Promise<Server>
  readonly open: OpenSystem
}
