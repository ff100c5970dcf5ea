/**
 * Every record that the embedded engine keeps beside the events and the consumers' own (delivery/consumer-records.ts): its key and its bytes.
 * docs/format.md has the same table.
 *
 *     m/engine                        JSON { format, nextChannelId }
 *     c/<channel>                     JSON ChannelRecord: the spec, its number, the first offset kept
 *     t/<due>/<sequence>              JSON TimerRecord: an event that is not due yet; due 0: an emission whose id is to be looked for
 *     s/<channel>/<id>                key of the timer of a scheduled event: for deduplication; of a long id, its beginning and SHA-256
 *     y/<channel>/<key>               latest offset of a key, where a stream keeps only the latest
 *     z/<channel>                     JSON CompactedRecord: how far what is superseded was taken out, and the bytes that were left
 *     q/<channel>/<consumer>          empty: the consumer has worked on the queue
 *     p/<consumer>                    JSON ConsumerPause: the consumer is paused as a whole
 *
 * Numbers in keys are 16 digits, so that they sort. Channels are 8 digits of their number.
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
  /** Events below are gone, whether or not their bytes are. */
  readonly first: number
}

export interface CompactedRecord {
  /** Up to this offset. */
  readonly to: number
  readonly bytes: number
}

export interface TimerRecord {
  readonly channelId: number
  readonly dueAtMs: number
  readonly event: EncodedEvent
  /** It was not known whether the id is new: it does not count as waiting. */
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
  /** A consumer that has worked on a queue. */
  worker: (channelId: number, consumer: string): string => `q/${channelDigits(channelId)}/${consumer}`,
}

/** When the timer of a key is due. */
export function timerDueMs(timer: string): number {
  return Number(timer.slice(2, timer.indexOf('/', 2)))
}

const ID_CHARS = 300

/** Ids may be longer than a key can be. */
function clipped(id: string): string {
  return id.length <= ID_CHARS ? id : `${id.slice(0, ID_CHARS)}${hash('sha256', id)}`
}

/** The keys of all records of a channel beside its own and its consumers'. */
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
