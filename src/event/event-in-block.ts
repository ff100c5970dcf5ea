/**
 * An event as a position in a block. Its members are read from the block's bytes when they are asked for; code that
 * only passes it on copies the bytes. It keeps its whole block in memory: code that keeps an event for long takes its
 * `own`.
 */
import { type Block, type BlockBytes, type BlockEvent, OWN_BYTES, sealBlock } from './block.ts'
import {
  ASCII,
  FLAGS_AT,
  getUint16,
  HEADER_BYTES,
  putUint16,
  putUint32,
  TEXT_BYTES_AT,
  TYPES_AT,
} from './block-layout.ts'
import type { StoredEvent } from './cloud-event.ts'
import { decodeAlike } from './decode-alike.ts'

export class EventInBlock implements BlockEvent {
  readonly block: Block
  readonly index: number
  #text: string | null = null

  constructor(block: Block, index: number) {
    this.block = block
    this.index = index
  }

  get id(): string {
    return this.block.idAt(this.index)
  }
  get type(): string {
    return this.block.typeAt(this.index)
  }
  get key(): string | null {
    return this.block.keyAt(this.index)
  }
  get text(): string {
    this.#text ??= this.block.textAt(this.index)
    return this.#text
  }

  decode(offset: number): StoredEvent {
    return decodeAlike(this.text, offset)
  }

  /** Bytes of its text. */
  get bytes(): number {
    const { columns } = this.block
    return columns.endAt(this.index) - columns.startAt(this.index)
  }

  /** A copy that does not keep the block in memory. */
  own(): BlockEvent {
    return this.block.at(this.index)
  }
}

/** Approximate bytes of its text, in memory and in a commit. */
export function textSize(event: BlockEvent): number {
  return event instanceof EventInBlock ? event.bytes : event.text.length
}

/** All events of a block. */
export function eventsIn(block: Block): EventInBlock[] {
  const events: EventInBlock[] = new Array(block.count)
  for (let index = 0; index < block.count; index++) events[index] = new EventInBlock(block, index)
  return events
}

/** A run of events that are neighbours both in their block and in the list. */
interface Run {
  readonly block: Block
  readonly from: number
  readonly to: number
}

function runsOf(events: readonly EventInBlock[]): Run[] {
  const runs: Run[] = []
  let begin = 0
  for (let at = 1; at <= events.length; at++) {
    const { block, index } = events[begin] as EventInBlock
    const next = events[at]
    if (next !== undefined && next.block === block && next.index === index + at - begin) continue
    runs.push({ block, from: index, to: index + at - begin })
    begin = at
  }
  return runs
}

/** The whole block with another channel, first offset and time. */
function movedBlock(
  { bytes: from, count }: Block,
  channelId: number,
  firstOffset: number,
  timeMs: number,
  memory: BlockBytes,
): Block {
  const bytes = memory.take(memory.reserve(from.length), from.length)
  bytes.set(from)
  return sealBlock(channelId, firstOffset, timeMs, count, bytes)
}

/** One block from events of other blocks: their bytes are copied without being parsed. */
export function gatherBlock(
  channelId: number,
  firstOffset: number,
  timeMs: number,
  events: readonly EventInBlock[],
  memory: BlockBytes = OWN_BYTES,
): Block {
  const count = events.length
  const runs = runsOf(events)
  const [run] = runs
  if (run !== undefined && runs.length === 1 && run.from === 0 && run.to === run.block.count)
    return movedBlock(run.block, channelId, firstOffset, timeMs, memory)
  const types = new Map<string, number>()
  let idBytes = 0
  let keyBytes = 0
  let textBytes = 1
  let ascii = ASCII
  for (const { block, from, to } of runs) {
    const { columns } = block
    for (const type of columns.types) if (!types.has(type)) types.set(type, types.size)
    idBytes += between(columns.idStarts, from, to)
    keyBytes += between(columns.keyStarts, from, to)
    textBytes += columns.endAt(to - 1) - columns.startAt(from) + 1
    if (!columns.isAscii) ascii = 0
  }
  let typeBytes = 0
  for (const type of types.keys()) typeBytes += 2 + Buffer.byteLength(type)
  const length = HEADER_BYTES + 10 * count + typeBytes + idBytes + keyBytes + textBytes
  const bytes = memory.take(memory.reserve(length), length)
  let at = HEADER_BYTES + 10 * count
  for (const type of types.keys()) {
    const written = bytes.write(type, at + 2, 'utf8')
    putUint16(bytes, at, written)
    at += 2 + written
  }
  bytes.writeUInt32LE(textBytes, TEXT_BYTES_AT)
  bytes.writeUInt16LE(ascii, FLAGS_AT)
  bytes.writeUInt16LE(types.size, TYPES_AT)
  copyRuns(bytes, count, runs, types, { id: at, key: at + idBytes, text: at + idBytes + keyBytes })
  return sealBlock(channelId, firstOffset, timeMs, count, bytes)
}

function between(starts: Uint32Array, from: number, to: number): number {
  return (starts[to] as number) - (starts[from] as number)
}

function copyRuns(
  bytes: Buffer,
  count: number,
  runs: readonly Run[],
  types: ReadonlyMap<string, number>,
  begin: { readonly id: number; readonly key: number; readonly text: number },
): void {
  const typeAt = HEADER_BYTES + 4 * count
  let { id, key } = begin
  let text = begin.text
  bytes[text++] = 0x5b
  let row = 0
  for (const { block, from, to } of runs) {
    const { columns, bytes: source } = block
    const { idStarts, keyStarts } = columns
    id += source.copy(bytes, id, idStarts[from] as number, idStarts[to] as number)
    key += source.copy(bytes, key, keyStarts[from] as number, keyStarts[to] as number)
    const start = columns.startAt(from)
    const shift = text - begin.text - start
    text += source.copy(bytes, text, columns.textsAt + start, columns.textsAt + columns.endAt(to - 1))
    bytes[text++] = 0x2c
    const numbers = columns.types.map((type) => types.get(type) as number)
    for (let index = from; index < to; index++, row++) {
      putUint32(bytes, HEADER_BYTES + 4 * row, columns.endAt(index) + shift)
      putUint16(bytes, typeAt + 2 * row, numbers[getUint16(source, columns.typeIndexAt + 2 * index)] as number)
      putUint16(bytes, typeAt + 2 * (count + row), getUint16(source, columns.idLengthsAt + 2 * index))
      putUint16(bytes, typeAt + 2 * (2 * count + row), getUint16(source, columns.keyLengthsAt + 2 * index))
    }
  }
  bytes[text - 1] = 0x5d
}
