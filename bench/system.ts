/**
 * What a bench needs of whatever it measures: Millrace, the bare ceiling and the peers all stand behind this, so that one and the same
 * load runs on each.
 */
import type { CartItem } from './events.ts'

export type ItemHandler = (item: CartItem) => Promise<void>

/** A consumer that runs. */
export interface Consuming {
  /**
   * Resolves when all that was handled is completed: acknowledged, and on disk where the system syncs. Called once, when everything was
   * handled; the consumer may be gone after it.
   */
  settle(): Promise<void>
}

export interface System {
  /** Resolves when the event is stored, as safely as the system is set to. */
  publish(item: CartItem): Promise<unknown>
  consume(name: string, handler: ItemHandler): Promise<Consuming>
  close(): Promise<void>
}

export interface Place {
  /** An empty directory for the system's data (a peer's server keeps its own elsewhere). */
  readonly directory: string
  /** Where a peer's server listens. */
  readonly url: string
  /** Handlers that may run at once. */
  readonly concurrency: number
}

export type OpenSystem = (place: Place) => Promise<System>

/** A server that a peer needs, running. */
export interface Server {
  readonly url: string
  stop(): Promise<void>
}

/** One file of `bench/peers` each. */
export interface Peer {
  readonly name: string
  /** What is missing on this machine, or null when the peer can run. */
  missing(): Promise<string | null>
  /** Start a server of its own, on a free port of the loopback interface, with its data in the directory. */
  start(directory: string): Promise<Server>
  readonly open: OpenSystem
}
