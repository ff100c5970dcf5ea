/**
 * Publishing on the wire. A publish is stored as a whole or not at all, and its answer comes after the sync.
 *
 *     offset  bytes          publish
 *     0       4      request
 *     4       8      when it is due, milliseconds since the epoch (float64); NaN = now
 *     12      8      sent before, in a session that is lost: the server's time then (float64); NaN = not sent before
 *     20      8      … and an offset that the channel had reached by then (float64)
 *     28      2      bytes of the channel's name
 *     30      2      flags: bit 0 = an atomic batch; without it, separate publishes
 *                    bit 1 = the sender has the channel's code: it has checked the data, and its key function has
 *                    given the keys
 *     32      …      the channel's name, UTF-8
 *             …      the block, its channel number, offset and time 0
 *
 *     offset  bytes          receipts
 *     0       4      request
 *     4       4      count
 *     8       8      offset of the first (float64); NaN = JSON follows
 *     16      …      JSON: for each, [offset or null, duplicate, due time or nothing], or its error
 */
import type { MillraceError } from '../base/errors.ts'
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { Receipt } from '../broker/receipt.ts'
import { type Block, decodeSentBlock, encodeBlock } from '../event/block.ts'
import { errorOfWire, type WireError } from './access.ts'
import { FRAME, FRAME_HEADER_BYTES, isTimeOrNone, jsonOf, malformed, newFrame } from './frame.ts'

const HEAD_BYTES = 32
const BATCH = 1
const KEYED = 2
const RECEIPTS_BYTES = 16
/** The position in the frame of the earliest time and offset at which it can have been stored. */
const SINCE_AT = FRAME_HEADER_BYTES + 12

export interface Since {
  readonly timeMs: number
  readonly offset: number
}

export interface Publish {
  readonly request: number
  readonly channel: string
  readonly dueAtMs: number | null
  /** One atomic batch, as opposed to separate publishes that share the frame. */
  readonly batch: boolean
  /** The channel's key function was applied, so an event without a key has none. */
  readonly keyed: boolean
  /** The events may be stored already, at this time or later and after this offset. */
  readonly since: Since | null
  readonly block: Block
}

export function publishFrame(
  request: number,
  channel: string,
  events: readonly EncodedEvent[],
  dueAtMs: number | null,
  batch: boolean,
): Buffer {
  const block = encodeBlock(0, 0, 0, events)
  const nameBytes = Buffer.byteLength(channel)
  const frame = newFrame(FRAME.publish, HEAD_BYTES + nameBytes + block.bytes.length)
  let at = frame.writeUInt32LE(request, FRAME_HEADER_BYTES)
  at = frame.writeDoubleLE(dueAtMs ?? Number.NaN, at)
  at = frame.writeDoubleLE(Number.NaN, at)
  at = frame.writeDoubleLE(0, at)
  at = frame.writeUInt16LE(nameBytes, at)
  at = frame.writeUInt16LE(batch ? BATCH | KEYED : KEYED, at)
  at += frame.write(channel, at)
  frame.set(block.bytes, at)
  return frame
}

/** The same frame for another session: the server then looks whether it has the events already. */
export function sentBefore(frame: Buffer, since: Since): Buffer {
  frame.writeDoubleLE(since.timeMs, SINCE_AT)
  frame.writeDoubleLE(since.offset, SINCE_AT + 8)
  return frame
}

/** Decodes the body of a publish frame. @throws INVALID_REQUEST · DATA_DAMAGED */
export function decodePublish(body: Buffer): Publish {
  if (body.length < HEAD_BYTES) throw malformed('a publish is too short')
  const nameEnd = HEAD_BYTES + body.readUInt16LE(28)
  const dueAtMs = body.readDoubleLE(4)
  const timeMs = body.readDoubleLE(12)
  const offset = body.readDoubleLE(20)
  if (!isTimeOrNone(dueAtMs) || !isTimeOrNone(timeMs) || !Number.isSafeInteger(offset))
    throw malformed('a publish has an invalid time or offset')
  const block = decodeSentBlock(body.subarray(nameEnd))
  return {
    request: body.readUInt32LE(0),
    channel: body.toString('utf8', HEAD_BYTES, nameEnd),
    dueAtMs: Number.isNaN(dueAtMs) ? null : dueAtMs,
    batch: (body.readUInt16LE(30) & BATCH) !== 0,
    keyed: (body.readUInt16LE(30) & KEYED) !== 0,
    since: Number.isNaN(timeMs) ? null : { timeMs, offset },
    block,
  }
}

/** The result for one published event. */
export type PublishOutcome = Receipt | WireError

/** Receipts of events with consecutive offsets, none of them a duplicate. */
export function plainReceiptsFrame(request: number, count: number, first: number): Buffer {
  const frame = newFrame(FRAME.receipts, RECEIPTS_BYTES)
  let at = frame.writeUInt32LE(request, FRAME_HEADER_BYTES)
  at = frame.writeUInt32LE(count, at)
  frame.writeDoubleLE(first, at)
  return frame
}

/** The last events of the frame, which exceed the caller's rate. */
export interface Refused {
  readonly count: number
  readonly error: WireError
}

export function receiptsFrame(
  request: number,
  answers: readonly PublishOutcome[],
  refused: Refused | null = null,
): Buffer {
  const [head] = answers
  const first = head !== undefined && 'offset' in head ? head.offset : null
  const stands = (answer: PublishOutcome, index: number): boolean =>
    'offset' in answer && !answer.duplicate && answer.offset === (first as number) + index
  if (refused === null && first !== null && answers.every(stands))
    return plainReceiptsFrame(request, answers.length, first)
  const rows: (Row | WireError)[] = answers.map((answer) => ('offset' in answer ? rowOf(answer) : answer))
  if (refused !== null) rows.push(...new Array<WireError>(refused.count).fill(refused.error))
  const json = Buffer.from(JSON.stringify(rows))
  const frame = newFrame(FRAME.receipts, RECEIPTS_BYTES + json.length)
  let at = frame.writeUInt32LE(request, FRAME_HEADER_BYTES)
  at = frame.writeUInt32LE(rows.length, at)
  at = frame.writeDoubleLE(Number.NaN, at)
  frame.set(json, at)
  return frame
}

type Row = readonly [offset: number | null, duplicate: boolean, dueAtMs?: number]

function isRow(row: readonly unknown[]): row is Row {
  const [offset, duplicate, dueAtMs] = row
  return typeof duplicate === 'boolean' && (offset === null ? Number.isFinite(dueAtMs) : Number.isSafeInteger(offset))
}

function rowOf(receipt: Receipt): Row {
  return receipt.offset === null ? [null, receipt.duplicate, receipt.dueAtMs] : [receipt.offset, receipt.duplicate]
}

/** The receipt or the error of each event, by the ids that were published. @throws INVALID_REQUEST */
export function decodeReceipts(body: Buffer, channel: string, ids: readonly string[]): (Receipt | MillraceError)[] {
  if (body.length < RECEIPTS_BYTES || body.readUInt32LE(4) !== ids.length)
    throw malformed('receipts do not match the published events')
  const first = body.readDoubleLE(8)
  const receipts: (Receipt | MillraceError)[] = new Array(ids.length)
  if (!Number.isNaN(first)) {
    if (!Number.isSafeInteger(first + ids.length)) throw malformed('a receipt is invalid')
    for (let index = 0; index < ids.length; index++) {
      receipts[index] = { channel, id: ids[index] as string, offset: first + index, duplicate: false }
    }
    return receipts
  }
  const rows = jsonOf(body, RECEIPTS_BYTES)
  if (!Array.isArray(rows) || rows.length !== ids.length) throw malformed('receipts do not match the published events')
  for (let index = 0; index < ids.length; index++) {
    const row: unknown = rows[index]
    if (!Array.isArray(row)) {
      receipts[index] = errorOfWire(row)
      continue
    }
    if (!isRow(row)) throw malformed('a receipt is invalid')
    const [offset, duplicate, dueAtMs] = row
    const id = ids[index] as string
    receipts[index] =
      offset === null
        ? { channel, id, offset, duplicate, dueAtMs: dueAtMs as number }
        : { channel, id, offset, duplicate }
  }
  return receipts
}
