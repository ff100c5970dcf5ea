/**
 * The channels of an embedded engine. Finds the log of a channel by its name or its number, and writes the channels'
 * records into the store.
 *
 * A channel keeps its number, and a number is never used again: a channel that is removed and declared again gets a new
 * one.
 */

import type { ChannelSpec } from '../../channel/channel.ts'
import { unknownChannel } from '../../channel/channel-errors.ts'
import { firstSpec } from '../../channel/merged-spec.ts'
import { redeclared } from '../../compatibility/redeclared.ts'
import { fromJson, toJson, under } from '../../delivery/consumer-records.ts'
import type { Block } from '../../event/block.ts'
import { ChannelLog } from './channel-log.ts'
import type { Committer } from './committer.ts'
import { type ChannelRecord, channelRecords, type EngineRecord, keys } from './records.ts'
import type { Retention } from './retention.ts'
import type { Store } from './store.ts'

export interface ChannelsHost {
  readonly store: Store<Block>
  readonly committer: Committer
  readonly retention: Retention
}

export class Channels {
  readonly byName: Map<string, ChannelLog> = new Map()
  readonly byId: Map<number, ChannelLog> = new Map()
  readonly #host: ChannelsHost
  #nextId: number

  /** Reads the channels from the store. */
  constructor(host: ChannelsHost) {
    this.#host = host
    const { store, retention } = host
    const engine = store.get(keys.engine)
    this.#nextId = engine === undefined ? 1 : fromJson<EngineRecord>(engine).nextChannelId
    for (const { id, spec, first } of this.#records()) {
      const log = this.#add(id, spec, first)
      log.mayHaveScheduled = store.range(...under(keys.scheduledOf(id)), 1).length > 0
      if (retention.applies(log) && log.committed > log.first) retention.note(log)
    }
  }

  *#records(): Generator<ChannelRecord> {
    for (const [, bytes] of this.#host.store.range(...under('c/'))) yield fromJson<ChannelRecord>(bytes)
  }

  #add(id: number, spec: ChannelSpec, first: number): ChannelLog {
    const { store, retention } = this.#host
    const log = new ChannelLog(id, spec, first, store)
    this.byName.set(spec.name, log)
    this.byId.set(id, log)
    if (retention.applies(log)) {
      log.listeners.add({
        onCommitted: (block) => {
          if (block !== null) retention.note(log)
        },
      })
    }
    return log
  }

  /** @throws UNKNOWN_CHANNEL */
  log(name: string): ChannelLog {
    const log = this.byName.get(name)
    if (log === undefined) throw unknownChannel(name, this.byName.keys())
    return log
  }

  /** Add a channel. It is durable with the next commit. */
  add(declared: ChannelSpec): ChannelLog {
    const { committer } = this.#host
    const spec = firstSpec(declared)
    const log = this.#add(this.#nextId++, spec, 0)
    committer.record(keys.engine, toJson({ nextChannelId: this.#nextId }))
    committer.record(keys.channel(spec.name), toJson({ id: log.id, spec, first: 0 }))
    return log
  }

  /**
   * Declare an existing channel again.
   * @throws CHANNEL_CONFLICT · INCOMPATIBLE_SCHEMA
   */
  reconcile(log: ChannelLog, spec: ChannelSpec): void {
    const merged = redeclared(log.spec, spec)
    if (merged === log.spec) return
    log.respec(merged)
    this.#host.committer.record(keys.channel(spec.name), toJson({ id: log.id, spec: merged, first: log.first }))
    this.#host.retention.note(log)
  }

  /** Delete a channel with its records. It is durable with the next commit. */
  remove(log: ChannelLog): void {
    const { store, committer } = this.#host
    for (const key of channelRecords(store, log.id)) committer.record(key, null)
    committer.trim(log.id, log.tail)
    committer.record(keys.channel(log.name), null)
    this.byName.delete(log.name)
    this.byId.delete(log.id)
    // A reader that follows the channel notices that the channel is gone.
    for (const listener of [...log.listeners]) listener.onCommitted(null)
    log.listeners.clear()
  }

  /** In a store that only reads: find the channels and events that the owner has added. */
  refresh(): void {
    for (const { id, spec, first } of this.#records()) {
      const log = this.byName.get(spec.name) ?? this.#add(id, spec, first)
      log.first = first
      const { next } = this.#host.store.bounds(id)
      if (next === log.committed) continue
      log.committed = next
      for (const listener of [...log.listeners]) listener.onCommitted(null)
    }
  }
}
