/**
 * How the texts of dead letters, and of events that wait behind them, are stored: in a channel of their own for each
 * consumer and channel (`~dead.…`), with the same partitions. No retention deletes them (clause 13: they outlive their
 * events). The consumer log holds their offsets.
 *
 * A letter is a CloudEvent whose data is `{ "offset", "letter" }`. A letter that is too large for the servers is
 * several events, each with a `piece` of the letter's JSON.
 */
import { createHash, randomUUID } from 'node:crypto'
import { isJsonObject, jsonObject } from '../../base/json-object.ts'
import { LIMITS } from '../../base/limits.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { consumerKeys, type DeadRecord, fromJson } from '../../delivery/consumer-records.ts'
import type { LetterReader } from '../../delivery/dead/letter-records.ts'
import { type TextOffsets, textOffsetsIn } from '../consumer-log/consumer-log-records.ts'
import type { LogBackend } from '../log-backend.ts'

const TYPE = 'millrace.dead-letter'
const PAGE = { count: 100, bytes: LIMITS.readAheadBytes / 4 }
const NAME_CHARS = 60

export interface StoredLetter {
  readonly offset: number
  readonly letter?: DeadRecord
  readonly piece?: string
}

/**
 * The name of the channel for the letters of a consumer from a channel. People cannot declare such a name, and servers
 * accept it.
 */
export function letterChannel(group: string, channel: string): string {
  const readable = `${channel}.${group.replaceAll('~', '')}`.slice(0, NAME_CHARS).replace(/\.$/, '')
  return `~dead.${readable}.${createHash('sha256').update(`${group}\0${channel}`).digest('hex').slice(0, 12)}`
}

export function letterSpec(name: string): ChannelSpec {
  const retain = { ageMs: null, bytes: null, count: null, latestByKey: false }
  return { name, kind: 'stream', types: null, retain, dedupe: null, eventBytesMax: 2 * LIMITS.eventBytesMax }
}

/** The events that hold a letter's JSON, each of at most `bytesMax` bytes. */
export function letterEvents(offset: number, json: string, bytesMax: number): EncodedEvent[] {
  const whole = letterEvent(`{"offset":${offset},"letter":${json}}`)
  if (whole.text.length * 3 <= bytesMax || Buffer.byteLength(whole.text) <= bytesMax) return [whole]
  // A UTF-16 unit is at most three bytes in UTF-8. JSON has escaped characters already.
  const chars = Math.floor(bytesMax / 4)
  const pieces: EncodedEvent[] = []
  for (let at = 0; at < json.length; at += chars)
    pieces.push(letterEvent(JSON.stringify({ offset, piece: json.slice(at, at + chars) })))
  return pieces
}

function letterEvent(data: string): EncodedEvent {
  const id = randomUUID()
  return {
    id,
    type: TYPE,
    key: null,
    text: `{"specversion":"1.0","id":"${id}","source":"/millrace","type":"${TYPE}","data":${data}}`,
  }
}

/** The stored letter in a record, or null if another client wrote the record. */
function storedLetterIn(text: string): StoredLetter | null {
  const data = jsonObject(text)?.['data']
  if (!isJsonObject(data) || typeof data['offset'] !== 'number') return null
  return isJsonObject(data['letter']) || typeof data['piece'] === 'string' ? (data as unknown as StoredLetter) : null
}

/** The letters of one partition, read by the offsets of their texts. Neighbours are read together. */
export class LetterPages {
  readonly #backend: LogBackend
  readonly #channel: string
  readonly #partition: number
  #page = new Map<number, StoredLetter>()

  constructor(backend: LogBackend, channel: string, partition: number) {
    this.#backend = backend
    this.#channel = channel
    this.#partition = partition
  }

  /** The letters that are stored at an offset and after it. */
  async from(textOffset: number): Promise<ReadonlyMap<number, StoredLetter>> {
    const records = await this.#backend.read(this.#channel, this.#partition, textOffset, PAGE)
    this.#page = new Map()
    for (const { offset, event } of records) {
      const letter = storedLetterIn(event.text)
      if (letter !== null) this.#page.set(offset, letter)
    }
    return this.#page
  }

  /** The letter whose text is stored at these offsets, or null if it is gone. */
  async letter(text: TextOffsets): Promise<DeadRecord | null> {
    if (typeof text === 'number') return (await this.#at(text))?.letter ?? null
    let json = ''
    for (const each of text) {
      const piece = (await this.#at(each))?.piece
      if (piece === undefined) return null
      json += piece
    }
    return jsonObject(json) as DeadRecord | null
  }

  async #at(textOffset: number): Promise<StoredLetter | undefined> {
    return this.#page.get(textOffset) ?? (await this.from(textOffset)).get(textOffset)
  }
}

/** The letters of a partition that another member owns, to be listed. Letters that are gone meanwhile are left out. */
export function lettersOf(
  backend: LogBackend,
  group: string,
  channel: string,
  partition: number,
  get: (key: string) => Uint8Array | undefined,
): LetterReader {
  return {
    crowded: false,
    fetch: async () => true,
    load: async function* (offsets) {
      const pages = new LetterPages(backend, letterChannel(group, channel), partition)
      for (const offset of offsets) {
        const record = get(consumerKeys.dead(group, partition, offset))
        if (record === undefined) continue
        const text = textOffsetsIn(record)
        const letter = text === null ? fromJson<DeadRecord>(record) : await pages.letter(text)
        if (letter !== null) yield [offset, letter] as const
      }
    },
  }
}
