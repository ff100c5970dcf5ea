/**
 * The events of channels: storing, reading, and finding offsets. Entries of a partition are in the order of their
 * offsets. Offsets are unique in a channel, so all partitions together have an order, too.
 */
import { MillraceError } from '../../base/errors.ts'
import type { Appended, AppendItem, Bounds, ReadLimit, StoredRecord } from '../../external-log/log-backend.ts'
import { type Entry, recordOf } from './entries.ts'
import type { Keys } from './keys.ts'
import { packed } from './packing.ts'
import type { Argument } from './redis-client.ts'
import type { Command, RedisLink } from './redis-link.ts'
import { APPEND, BOUNDS, KNOWN, PENDING, type Script, SEEK } from './scripts.ts'

/** How many times the wanted bytes a read may bring, if events are larger than before. */
const SURPLUS = 4
const WIDEST = 64

export interface StreamsHost {
  readonly reading: RedisLink
  /** Run a script that writes. Resolves when the write is as durable as promised. */
  write(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    doing: string,
    again: boolean,
  ): Promise<unknown>
  partitions(channel: string): Promise<number>
  /**
   * How many of the subscribers to a channel's notifications are this engine; null if the server cannot count all of
   * them.
   */
  hears(channel: string): number | null
}

type AppendAnswer = readonly [
  timeMs: number,
  first: number,
  largest: number,
  touched: readonly number[],
  offsets: number | readonly number[],
]

export class EventStreams {
  readonly #keys: Keys
  readonly #sender: string
  readonly #host: StreamsHost
  /** The size of a channel's largest known event. It bounds what a read may bring. */
  readonly #largest = new Map<string, number>()

  constructor(keys: Keys, sender: string, host: StreamsHost) {
    this.#keys = keys
    this.#sender = sender
    this.#host = host
  }

  /** @throws UNKNOWN_CHANNEL */
  async append(channel: string, items: readonly AppendItem[]): Promise<Appended[]> {
    const doing = `storing events in channel "${channel}"`
    const again = items.every(({ dedupeId }) => dedupeId !== null)
    const args = [this.#keys.base, channel, this.#sender, this.#host.hears(channel) ?? '', ...packed(items)]
    const answer = (await named(
      channel,
      this.#host.write(APPEND, [this.#keys.channel(channel)], args, doing, again),
    )) as AppendAnswer
    const [timeMs, first, largest, touched, offsets] = answer
    this.#largest.set(channel, largest)
    const ends: number[] = []
    for (let at = 0; at + 1 < touched.length; at += 2) ends[touched[at] as number] = touched[at + 1] as number
    return items.map(({ partition }, at) => {
      const offset = typeof offsets === 'number' ? first + at : (offsets[at] as number)
      if (offset < 0) return { offset: -1 - offset, duplicate: true }
      const before = ends[partition] as number
      ends[partition] = offset + 1
      return { offset, duplicate: false, before, timeMs }
    })
  }

  /** Those of the ids that are in the window, with the offsets of their events. */
  async known(channel: string, ids: readonly string[]): Promise<Map<string, number>> {
    const run = this.#host.reading.run(
      KNOWN,
      [this.#keys.channel(channel)],
      [this.#keys.base, channel, ...ids],
      `looking for ids in channel "${channel}"`,
    )
    const offsets = (await named(channel, run)) as readonly number[]
    return new Map(
      ids.map((id, at): [string, number] => [id, offsets[at] as number]).filter(([, offset]) => offset >= 0),
    )
  }

  /** Where a partition or (null) the channel begins and ends, and the number of entries in its inbox. */
  async bounds(channel: string, partition: number | null): Promise<Bounds & { readonly inside: number }> {
    const args = [this.#keys.base, channel, partition ?? '']
    const doing = `looking where channel "${channel}" ends`
    const [first, next, largest, inside] = (await named(
      channel,
      this.#host.reading.run(BOUNDS, [this.#keys.channel(channel)], args, doing),
    )) as readonly [number, number, number, number]
    this.#largest.set(channel, Math.max(largest, this.#largest.get(channel) ?? 0))
    return { first, next, inside }
  }

  async seek(channel: string, partition: number | null, timeMs: number): Promise<number> {
    const args = [this.#keys.base, channel, partition ?? '', Math.max(0, Math.ceil(timeMs))]
    return (await named(
      channel,
      this.#host.reading.run(SEEK, [this.#keys.channel(channel)], args, `looking for a time in channel "${channel}"`),
    )) as number
  }

  async pendingFrom(channel: string, partition: number, offset: number): Promise<number> {
    const args = [this.#keys.base, channel, partition, offset]
    return (await this.#host.reading.run(
      PENDING,
      [this.#keys.channel(channel)],
      args,
      `counting events of channel "${channel}"`,
    )) as number
  }

  async trim(channel: string, partition: number, before: number): Promise<void> {
    await this.#host.reading.call(
      ['XTRIM', this.#keys.stream(channel, partition), 'MINID', `${before}-0`],
      `trimming channel "${channel}"`,
    )
  }

  /** The memory of the channel's streams, as the server estimates it. */
  async bytes(channel: string): Promise<number> {
    const partitions = await this.#host.partitions(channel)
    const each = Array.from({ length: partitions }, (_, partition) =>
      this.#host.reading.call(
        ['MEMORY', 'USAGE', this.#keys.stream(channel, partition)],
        `measuring channel "${channel}"`,
      ),
    )
    return (await Promise.all(each)).reduce<number>((sum, bytes) => sum + Number(bytes ?? 0), 0)
  }

  async read(channel: string, partition: number | null, from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    if (partition === null) return this.#readAll(channel, from, limit)
    const records: StoredRecord[] = []
    let bytes = 0
    for (let start = String(from); records.length < limit.count && bytes < limit.bytes; ) {
      const count = this.#countFor(channel, limit.count - records.length, limit.bytes - bytes)
      const entries = await this.#range(channel, partition, start, '+', count)
      for (const entry of entries) {
        const record = recordOf(entry)
        if (record !== null) records.push(record)
        bytes += record?.event.text.length ?? 0
      }
      if (entries.length < count) break
      start = `(${entries.at(-1)?.[0]}`
    }
    return records
  }

  /** How many events to ask for, so that not many more bytes come than are wanted. */
  #countFor(channel: string, count: number, bytes: number): number {
    const largest = this.#largest.get(channel) ?? 0
    return largest === 0 ? count : Math.max(1, Math.min(count, Math.ceil((SURPLUS * bytes) / largest)))
  }

  #range(channel: string, partition: number, from: string, to: string, count: number): Promise<readonly Entry[]> {
    const command: Command = ['XRANGE', this.#keys.stream(channel, partition), from, to, 'COUNT', count]
    return this.#host.reading.call(command, `reading channel "${channel}"`) as Promise<readonly Entry[]>
  }

  /**
   * Read over all partitions, by windows of offsets. Everything below an end that was read before is stored. Above it,
   * events of other partitions may still be missing, so the next read takes them.
   */
  async #readAll(channel: string, from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    const partitions = await this.#host.partitions(channel)
    const found: StoredRecord[] = []
    let bytes = 0
    const end = await this.bounds(channel, null)
    let start = Math.max(from, end.first)
    let width = this.#countFor(channel, limit.count, limit.bytes)
    while (start < end.next && found.length < limit.count && bytes < limit.bytes) {
      const count = this.#countFor(channel, limit.count - found.length, limit.bytes - bytes)
      const to = Math.min(end.next, start + width) - 1
      const ranges = Array.from({ length: partitions }, (_, partition) =>
        this.#range(channel, partition, String(start), String(to), count),
      )
      const each = await Promise.all(ranges)
      // If a partition has more events in this window, the order after its last one is not known yet.
      const whole = Math.min(
        to,
        ...each
          .filter((entries) => entries.length === count)
          .map((entries) => recordOf(entries.at(-1) as Entry)?.offset ?? to),
      )
      const records = each.flat().flatMap((entry) => recordOf(entry) ?? [])
      for (const record of records.filter(({ offset }) => offset <= whole).sort((a, b) => a.offset - b.offset)) {
        if (found.length >= limit.count || bytes >= limit.bytes) break
        found.push(record)
        bytes += record.event.text.length
      }
      width = records.length < width / 4 ? Math.min(width * 2, limit.count * WIDEST) : width
      start = whole + 1
    }
    return found
  }
}

/**
 * The answer of a script. The script's error for a missing channel becomes UNKNOWN_CHANNEL.
 * @throws UNKNOWN_CHANNEL when there is no such channel
 */
export async function named(channel: string, answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer
  } catch (error) {
    if (!(error instanceof MillraceError) || !String(error.details['answer']).startsWith('NOCHANNEL')) throw error
    throw new MillraceError('UNKNOWN_CHANNEL', `channel "${channel}" is not there: it was removed, or never declared`, {
      channel,
    })
  }
}
