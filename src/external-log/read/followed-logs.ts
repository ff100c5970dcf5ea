/**
 * The logs of the partitions that this process works on, kept up to date. Own appends are known at once. A watch on
 * each channel tells about appends of others.
 */
import { type Clock, every } from '../../base/clock.ts'
import type { LogBackend, Tail } from '../log-backend.ts'
import type { PartitionLog } from './partition-log.ts'

/** A watch may miss an append, so the logs are also refreshed regularly. */
const REFRESH_MS = 1000

export class FollowedLogs {
  readonly #backend: LogBackend
  readonly #alarm: (error: unknown) => void
  readonly #logs = new Map<string, Set<PartitionLog>>()
  readonly #watches = new Map<string, Promise<() => void>>()

  constructor(backend: LogBackend, alarm: (error: unknown) => void) {
    this.#backend = backend
    this.#alarm = alarm
  }

  /** Refresh regularly. Answers a function that ends it. */
  begin(clock: Clock): () => void {
    return every(clock, REFRESH_MS, () => {
      for (const logs of this.#logs.values()) for (const log of logs) this.#refresh(log)
    })
  }

  #refresh(log: PartitionLog): void {
    void log.refresh().catch((error: unknown) => this.#alarm(error))
  }

  /** Resolves when appends of others will be told from now on. */
  async follow(channel: string, log: PartitionLog): Promise<void> {
    const logs = this.#logs.get(channel) ?? new Set()
    this.#logs.set(channel, logs)
    logs.add(log)
    let watch = this.#watches.get(channel)
    if (watch === undefined) {
      watch = this.#backend.watch(channel, (partition, next, tail) => this.#appended(channel, partition, next, tail))
      this.#watches.set(channel, watch)
      watch.catch(() => this.#watches.get(channel) === watch && this.#watches.delete(channel))
    }
    await watch
  }

  leave(channel: string, log: PartitionLog): void {
    this.#logs.get(channel)?.delete(log)
  }

  /** This process has appended. */
  advance(channel: string, partition: number, next: number, tail: Tail | null): void {
    for (const log of this.#logs.get(channel) ?? []) if (log.id === partition) log.advance(next, tail)
  }

  #appended(channel: string, partition: number | null, next: number | undefined, tail: Tail | undefined): void {
    for (const log of this.#logs.get(channel) ?? []) {
      if (partition !== null && log.id !== partition) continue
      if (next !== undefined) log.advance(next, tail)
      else this.#refresh(log)
    }
  }

  /** The channel is gone. */
  drop(channel: string): void {
    this.#logs.delete(channel)
    void this.#watches.get(channel)?.then(
      (stop) => stop(),
      () => undefined,
    )
    this.#watches.delete(channel)
  }
}
