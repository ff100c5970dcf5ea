/**
 * Stored events of one channel on the wire: a block, and columns where its header does not say enough.
 *
 *     offset  bytes
 *     0       4      count of events, at least 1
 *     4       2      flags: bit 0 = offset and time columns · bit 1 = attempt and redriven columns
 *     6       2      bytes of the channel's name
 *     8       …      the channel's name, UTF-8
 *             8 × n  offset of each event (float64), with bit 0; without, they follow the block's first
 *             8 × n  time of each (float64), with bit 0; without, the block's
 *             4 × n  attempt of each, with bit 1; without, 1
 *             1 × n  1 where redriven, with bit 1; without, 0
 *             …      the block (docs/format.md), its channel number 0
 */
import { TIME_MS_MAX } from '../base/time-text.ts'
import type { StoredText } from '../broker/engine.ts'
import { HeldDelivery } from '../delivery/dispatch/held-delivery.ts'
import { type Block, decodeSentBlock, encodeBlock } from '../event/block.ts'
import { EventInBlock, gatherBlock } from '../event/event-in-block.ts'
import { malformed, newFrame } from './frame.ts'

const WITH_OFFSETS = 1
const WITH_ATTEMPTS = 2
const HEAD_BYTES = 8

/** An event to be sent in a frame. The defaults need no column. */
export interface ColumnEvent extends StoredText {
  /** @default 1 */
  readonly attempt?: number
  /** @default false */
  readonly redriven?: boolean
}

/** A frame whose body is `headBytes` for the caller to fill, then the events. */
export function eventsFrame(type: number, headBytes: number, channel: string, events: readonly ColumnEvent[]): Buffer {
  const count = events.length
  const first = events[0] as ColumnEvent
  let withOffsets = false
  let withAttempts = false
  for (let index = 0; index < count; index++) {
    const event = events[index] as ColumnEvent
    if (event.offset !== first.offset + index || event.timeMs !== first.timeMs) withOffsets = true
    if ((event.attempt ?? 1) !== 1 || event.redriven === true) withAttempts = true
  }
  const inBlocks = blockEventsOf(events)
  const block =
    inBlocks === null
      ? encodeBlock(0, first.offset, first.timeMs, events)
      : gatherBlock(0, first.offset, first.timeMs, inBlocks)
  const nameBytes = Buffer.byteLength(channel)
  const columnBytes = (withOffsets ? 16 * count : 0) + (withAttempts ? 5 * count : 0)
  const frame = newFrame(type, headBytes + HEAD_BYTES + nameBytes + columnBytes + block.bytes.length)
  let at = frame.length - block.bytes.length - columnBytes - nameBytes - HEAD_BYTES
  frame.writeUInt32LE(count, at)
  frame.writeUInt16LE((withOffsets ? WITH_OFFSETS : 0) | (withAttempts ? WITH_ATTEMPTS : 0), at + 4)
  frame.writeUInt16LE(nameBytes, at + 6)
  at += HEAD_BYTES
  at += frame.write(channel, at)
  if (withOffsets) at = writeOffsets(frame, at, events)
  if (withAttempts) at = writeAttempts(frame, at, events)
  frame.set(block.bytes, at)
  return frame
}

/** Where the event stands in a block, or null if it is not in one. */
export function blockEventOf(event: ColumnEvent): EventInBlock | null {
  return event instanceof HeldDelivery && event.event instanceof EventInBlock ? event.event : null
}

/** Where every event stands in a block; null if one of them is not in a block. */
function blockEventsOf(events: readonly ColumnEvent[]): EventInBlock[] | null {
  const inBlocks: EventInBlock[] = []
  for (const event of events) {
    const inBlock = blockEventOf(event)
    if (inBlock === null) return null
    inBlocks.push(inBlock)
  }
  return inBlocks
}

function writeOffsets(frame: Buffer, from: number, events: readonly ColumnEvent[]): number {
  let at = from
  for (const event of events) at = frame.writeDoubleLE(event.offset, at)
  for (const event of events) at = frame.writeDoubleLE(event.timeMs, at)
  return at
}

function writeAttempts(frame: Buffer, from: number, events: readonly ColumnEvent[]): number {
  let at = from
  for (const event of events) at = frame.writeUInt32LE(event.attempt ?? 1, at)
  for (const event of events) at = frame.writeUInt8(event.redriven === true ? 1 : 0, at)
  return at
}

/** The events of a received frame. Each event object is made only when it is asked for. */
export class EventColumns {
  readonly channel: string
  readonly count: number
  readonly block: Block
  readonly #body: Buffer
  readonly #offsetsAt: number
  readonly #attemptsAt: number

  /** @throws INVALID_REQUEST · DATA_DAMAGED */
  constructor(body: Buffer, from: number) {
    if (body.length < from + HEAD_BYTES) throw malformed('a frame of events is too short')
    const count = body.readUInt32LE(from)
    const flags = body.readUInt16LE(from + 4)
    let at = from + HEAD_BYTES
    const nameEnd = at + body.readUInt16LE(from + 6)
    const blockAt =
      nameEnd + ((flags & WITH_OFFSETS) === 0 ? 0 : 16 * count) + ((flags & WITH_ATTEMPTS) === 0 ? 0 : 5 * count)
    if (count === 0 || blockAt > body.length) throw malformed('a frame of events is too short')
    this.channel = body.toString('utf8', at, nameEnd)
    at = nameEnd
    this.#offsetsAt = (flags & WITH_OFFSETS) === 0 ? -1 : at
    if ((flags & WITH_OFFSETS) !== 0) at += 16 * count
    this.#attemptsAt = (flags & WITH_ATTEMPTS) === 0 ? -1 : at
    this.#body = body
    this.count = count
    // The block has no checksum here: the transport has its own, and a second one could only detect memory errors at
    // the two ends.
    this.block = decodeSentBlock(body.subarray(blockAt), false)
    if (this.block.count !== count) throw malformed('a frame of events has another count than its block')
    if (!this.#isValid()) throw malformed('an event has an invalid offset or time')
  }

  /** Whether all offsets and times are valid. Without columns, those of the block are checked. */
  #isValid(): boolean {
    if (this.#offsetsAt < 0)
      return (
        isOffsetAndTime(this.block.firstOffset, this.block.timeMs) &&
        Number.isSafeInteger(this.block.firstOffset + this.count)
      )
    for (let index = 0; index < this.count; index++)
      if (!isOffsetAndTime(this.offsetAt(index), this.timeAt(index))) return false
    return true
  }

  offsetAt(index: number): number {
    return this.#offsetsAt < 0 ? this.block.firstOffset + index : this.#body.readDoubleLE(this.#offsetsAt + 8 * index)
  }

  timeAt(index: number): number {
    return this.#offsetsAt < 0 ? this.block.timeMs : this.#body.readDoubleLE(this.#offsetsAt + 8 * (this.count + index))
  }

  attemptAt(index: number): number {
    return this.#attemptsAt < 0 ? 1 : this.#body.readUInt32LE(this.#attemptsAt + 4 * index)
  }

  redrivenAt(index: number): boolean {
    return this.#attemptsAt >= 0 && this.#body[this.#attemptsAt + 4 * this.count + index] === 1
  }
}

function isOffsetAndTime(offset: number, timeMs: number): boolean {
  return Number.isSafeInteger(offset) && offset >= 0 && Math.abs(timeMs) <= TIME_MS_MAX
}
