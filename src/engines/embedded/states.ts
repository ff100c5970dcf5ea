/**
 * The latest event of each key, in streams that keep only these: found by the record that key compaction keeps
 * (`y/…`), with one read of a block. States of consumers (clause 19) are such events; the states that were used last
 * are in memory.
 */
import { MillraceError } from '../../base/errors.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Emission, StoredText, TableScan, Tables } from '../../broker/engine.ts'
import { fromFloat, under } from '../../delivery/consumer-records.ts'
import type { EventBlock } from '../../delivery/delivery-log.ts'
import type { States } from '../../delivery/dispatch/instance.ts'
import { KeyStates } from '../../delivery/dispatch/key-states.ts'
import type { Block } from '../../event/block.ts'
import type { ChannelLog } from './channel-log.ts'
import { keys } from './records.ts'
import type { Store } from './store.ts'

export interface EmbeddedStatesParts {
  readonly store: Store<Block>
  find(channel: string): ChannelLog | undefined
  /** @throws UNKNOWN_CHANNEL · CLOSED */
  log(channel: string): ChannelLog
}

export class EmbeddedStates implements States, Tables {
  readonly #parts: EmbeddedStatesParts
  readonly #states: KeyStates

  constructor(parts: EmbeddedStatesParts) {
    this.#parts = parts
    this.#states = new KeyStates({
      read: (channel, key) => {
        const log = parts.find(channel)
        return log === undefined ? null : this.#latest(log, key)
      },
    })
  }

  stateOf(channel: string, key: string): EncodedEvent | null | Promise<EncodedEvent | null> {
    return this.#states.get(channel, key)
  }

  emitted(channel: string, emissions: readonly Emission[]): void {
    for (const { channel: into, event } of emissions) {
      if (into !== channel || event.key === null) continue
      const log = this.#parts.log(channel)
      // The event has been appended in this turn, so its offset is below the tail.
      const end = log.tail
      this.#states.set(channel, event as EncodedEvent & { readonly key: string }, () => log.committed >= end)
    }
  }

  forget(channel: string): void {
    this.#states.forget(channel)
  }

  async get(channel: string, key: string): Promise<StoredText | null> {
    return this.#latest(this.#table(channel), key)
  }

  async scan(channel: string, { prefix, after, limit }: TableScan): Promise<readonly StoredText[]> {
    const log = this.#table(channel)
    const before = keys.latest(log.id, '')
    const [, end] = under(before)
    const from = after !== null && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) > 0 ? after : prefix
    const found: StoredText[] = []
    // One more, because the first one may be `after` itself.
    for (const [record] of this.#parts.store.range(`${before}${from}`, end, limit + 1)) {
      const key = record.slice(before.length)
      if (!key.startsWith(prefix) || found.length === limit) break
      if (key === after) continue
      const event = await this.#latest(log, key)
      if (event !== null) found.push(event)
    }
    return found
  }

  #table(channel: string): ChannelLog {
    const log = this.#parts.log(channel)
    if (log.spec.retain.latestByKey) return log
    throw new MillraceError(
      'INVALID_OPTION',
      `channel "${channel}" keeps all events of a key, so it is no table: declare it with retain: { latestByKey: true }, or read it`,
      { channel },
    )
  }

  #latest(log: ChannelLog, key: string): StoredText | null | Promise<StoredText | null> {
    const record = this.#parts.store.get(keys.latest(log.id, key))
    if (record === undefined) return null
    const offset = fromFloat(record)
    if (offset < log.first) return null
    const block = log.blockInMemory(offset)
    return block === undefined ? this.#read(log, key, offset) : eventAt(block, offset)
  }

  async #read(log: ChannelLog, key: string, offset: number): Promise<StoredText | null> {
    const [block] = await log.load(offset, 1)
    if (block !== undefined && block.firstOffset <= offset && block.holes(offset - block.firstOffset) === 0)
      return eventAt(block, offset)
    // Meanwhile a later event of the key was stored, and this one was removed.
    const record = this.#parts.store.get(keys.latest(log.id, key))
    return record === undefined || fromFloat(record) === offset ? null : this.#latest(log, key)
  }
}

/** A copy, which does not keep the block in memory. */
function eventAt(block: EventBlock, offset: number): StoredText {
  const index = offset - block.firstOffset
  const { id, type, key, text } = block.at(index)
  return { id, type, key, text, offset, timeMs: block.timeAt(index) }
}
