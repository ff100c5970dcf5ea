/**
 * The records that the embedded engine keeps beside the events and beside the consumers' own
 * (`delivery/consumer-records.ts`): the key and the bytes of each. docs/format.md has the same table.
 *
 *     m/engine                        JSON { format, nextChannelId }
 *     c/<channel>                     JSON ChannelRecord: the spec, its number, the first offset kept
 *     t/<due>/<sequence>              JSON TimerRecord: a delayed event; due 0: an emission whose id is undecided
 *     s/<channel>/<id>                key of the timer of a delayed event; of a long id: its start and SHA-256
 *     y/<channel>/<key>               latest offset of a key, where a stream keeps only the latest
 *     z/<channel>                     JSON CompactedRecord: the end of the compacted part, and the bytes left in it
 *     q/<channel>/<consumer>          empty: the consumer has worked on the queue
 *     p/<consumer>                    JSON ConsumerPause: the consumer is paused as a whole
 *     l/<limit>/<key>                 float64: when the rate has its whole burst again (delivery/flow/rate-table.ts)
 *     L/<limit>                       JSON LimitSize: set at run time (delivery/flow/flow-tables.ts)
 *
 * Numbers in keys have 16 digits, so that keys sort by them. A channel is its number in 8 digits.
 */

import { hash } from 'node:crypto'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { channelDigits, digits, under } from '../../delivery/consumer-records.ts'

export interface EngineRecord {
  readonly nextChannelId: number
}

export interface ChannelRecord {
  readonly id: number
  readonly spec: ChannelSpec
  /** Events below this offset are removed, even if their bytes are still stored. */
  readonly first: number
}

export interface CompactedRecord {
  /** The offset before which the channel is compacted. */
  readonly to: number
  readonly bytes: number
}

export interface TimerRecord {
  readonly channelId: number
  readonly dueAtMs: number
  readonly event: EncodedEvent
  /** It is not known yet whether the id is new. Until then the event does not count as delayed. */
  readonly undecided?: true
}

export const keys = {
  engine: 'm/engine',
  channel: (name: string): string => `c/${name}`,
  timer: (dueAtMs: number, sequence: number): string => `t/${digits(dueAtMs)}/${digits(sequence)}`,
  timersUpTo: (dueAtMs: number): readonly [from: string, to: string] => ['t/', `t/${digits(dueAtMs)}/:`],
  scheduledId: (channelId: number, id: string): string => `s/${channelDigits(channelId)}/${clipped(id)}`,
  scheduledOf: (channelId: number): string => `s/${channelDigits(channelId)}/`,
  latest: (channelId: number, key: string): string => `y/${channelDigits(channelId)}/${key}`,
  compacted: (channelId: number): string => `z/${channelDigits(channelId)}`,
  pause: (consumer: string): string => `p/${consumer}`,
  /** The record that a consumer has worked on a queue. */
  worker: (channelId: number, consumer: string): string => `q/${channelDigits(channelId)}/${consumer}`,
}

/** The due time in the key of a timer. */
export function timerDueMs(timer: string): number {
  return Number(timer.slice(2, timer.indexOf('/', 2)))
}

const ID_CHARS = 300

/** Shortens an id that is longer than a key can be. */
function clipped(id: string): string {
  return id.length <= ID_CHARS ? id : `${id.slice(0, ID_CHARS)}${hash('sha256', id)}`
}

/** The keys of all records of a channel, except its own record and those of its consumers. */
export function* channelRecords(
  store: { range(from: string, to: string): [string, Uint8Array][] },
  channelId: number,
): Generator<string> {
  for (const [key, timer] of store.range(...under(keys.scheduledOf(channelId)))) {
    yield Buffer.from(timer).toString()
    yield key
  }
  yield keys.compacted(channelId)
  for (const prefix of [keys.latest(channelId, ''), keys.worker(channelId, '')])
    for (const [key] of store.range(...under(prefix))) yield key
}
