/**
 * The events of channels: storing, reading, and finding positions. An offset is a position in the channel's table.
 * Positions are given in the order of commits, over all partitions of a channel.
 */
import { LIMITS } from '../../base/limits.ts'
import type { Appended, AppendItem, Bounds, ReadLimit, StoredRecord } from '../../external-log/log-backend.ts'
import { KnownIds } from './known-ids.ts'
import { PartitionBounds } from './partition-bounds.ts'
import type { Value } from './postgres-client.ts'
import { channelError } from './postgres-errors.ts'
import type { PostgresLink, Rows } from './postgres-link.ts'

/**
 * How long an append waits for somebody else's transaction that has published to the channel. It is less than a
 * connection may be silent, so that the server gives up by itself, and nothing is left behind there.
 */
const LOCK_MS: number = LIMITS.serverAnswerMs * 0.8

export class EventTables {
  readonly #schema: string
  readonly #link: PostgresLink
  readonly #bounds = new PartitionBounds({
    marks: (channels) => this.marks(channels),
    bounds: (channel, partitions) => this.#partitionBounds(channel, partitions),
    boundsOfAll: (channel) => this.#boundsOfAll(channel),
  })
  readonly #ids = new KnownIds((channel, ids) => this.#known(channel, ids))

  constructor(schema: string, link: PostgresLink) {
    this.#schema = schema
    this.#link = link
  }

  async #call(channel: string, text: string, values: readonly Value[], doing: string, again = true): Promise<Rows> {
    try {
      return await this.#link.query(text, values, `${doing} channel "${channel}"`, { again })
    } catch (error) {
      throw channelError(error, channel)
    }
  }

  /** @throws UNKNOWN_CHANNEL */
  async append(channel: string, items: readonly AppendItem[]): Promise<Appended[]> {
    const again = items.every(({ dedupeId }) => dedupeId !== null)
    const text = `SELECT * FROM ${this.#schema}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
    const [row = []] = await this.#call(channel, text, [channel, ...packed(items), LOCK_MS], 'storing events in', again)
    const [timeMs, first] = [Number(row[0]), Number(row[1])]
    const [touched, befores, answers] = [numbersIn(row[2]), numbersIn(row[3]), numbersIn(row[4])]
    const ends = new Map(touched.map((partition, at) => [partition, befores[at] as number]))
    return items.map(({ partition }, at) => {
      const offset = answers.length === 0 ? first + at : (answers[at] as number)
      if (offset < 0) return { offset: -1 - offset, duplicate: true }
      const before = ends.get(partition) as number
      ends.set(partition, offset + 1)
      return { offset, duplicate: false, before, timeMs }
    })
  }

  /** Those of the ids that are in the window, with the offsets of their events. */
  known(channel: string, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return this.#ids.of(channel, ids)
  }

  async #known(channel: string, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const text = `SELECT known_id, known_position FROM ${this.#schema}.known($1, $2)`
    const rows = await this.#call(channel, text, [channel, ids], 'looking for ids in')
    return new Map(rows.map(([id, position]) => [id as string, Number(position)]))
  }

  bounds(channel: string, partition: number | null): Promise<Bounds> {
    return this.#bounds.of(channel, partition)
  }

  async #boundsOfAll(channel: string): Promise<Bounds> {
    const text = `SELECT first, next FROM ${this.#schema}.bounds($1)`
    const [row = []] = await this.#call(channel, text, [channel], 'looking for the end of')
    return { first: Number(row[0]), next: Number(row[1]) }
  }

  async #partitionBounds(channel: string, partitions: readonly number[]): Promise<ReadonlyMap<number, Bounds>> {
    const text = `SELECT at, first, next FROM ${this.#schema}.partition_bounds($1, $2)`
    const rows = await this.#call(channel, text, [channel, partitions], 'looking for the end of')
    return new Map(rows.map(([at, first, next]) => [Number(at), { first: Number(first), next: Number(next) }]))
  }

  async seek(channel: string, partition: number | null, timeMs: number): Promise<number> {
    const values = [channel, partition, Math.min(Math.max(0, Math.ceil(timeMs)), Number.MAX_SAFE_INTEGER)]
    return this.#number(channel, 'seek($1, $2, $3)', values, 'looking for a time in')
  }

  async pendingFrom(channel: string, partition: number, offset: number): Promise<number> {
    return this.#number(channel, 'pending_from($1, $2, $3)', [channel, partition, offset], 'counting events of')
  }

  async trim(channel: string, partition: number, before: number): Promise<void> {
    await this.#call(channel, `SELECT ${this.#schema}.trim($1, $2, $3)`, [channel, partition, before], 'trimming')
  }

  async bytes(channel: string): Promise<number> {
    return this.#number(channel, 'channel_bytes($1)', [channel], 'measuring')
  }

  async #number(channel: string, call: string, values: readonly Value[], doing: string): Promise<number> {
    const [row] = await this.#call(channel, `SELECT ${this.#schema}.${call}`, values, doing)
    return Number(row?.[0])
  }

  /** A text for each channel that exists; it changes with each append and each raised floor. */
  async marks(channels: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const text = `SELECT channel_name, mark FROM ${this.#schema}.marks($1)`
    const rows = await this.#link.query(text, [channels], 'looking where channels end')
    return new Map(rows.map(([name, mark]) => [name as string, mark as string]))
  }

  async read(channel: string, partition: number | null, from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    const text = `SELECT * FROM ${this.#schema}.read($1, $2, $3, $4, $5)`
    const records: StoredRecord[] = []
    let length = 0
    for (let start = from; records.length < limit.count && length < limit.bytes; ) {
      const [count, room] = [limit.count - records.length, limit.bytes - length]
      const rows = await this.#call(channel, text, [channel, partition, start, count, Math.ceil(room)], 'reading')
      let bytes = 0
      for (const row of rows) {
        const record = recordOf(row)
        records.push(record)
        length += record.event.text.length
        bytes += Buffer.byteLength(record.event.text)
        start = record.offset + 1
      }
      // The server counts bytes, of which a text has more than characters: it may have stopped early.
      if (rows.length < count && bytes < room) break
    }
    return records
  }
}

function recordOf(row: Rows[number]): StoredRecord {
  const [position, timeMs, id, type, key, text] = row
  const event = { id: id as string, type: type as string, key: key ?? null, text: text as string }
  return { offset: Number(position), timeMs: Number(timeMs), event }
}

/** The numbers of an array as Postgres writes it; none for NULL. */
function numbersIn(text: string | null | undefined): number[] {
  return text === null || text === undefined || text === '{}' ? [] : text.slice(1, -1).split(',').map(Number)
}

/** The arguments of the function `append` that describe events. */
function packed(items: readonly AppendItem[]): Value[] {
  const pieces: string[] = []
  for (const { event } of items) pieces.push(event.id, event.type, event.key ?? '', event.text)
  const text = pieces.join('')
  const isAscii = Buffer.byteLength(text) === text.length
  const lengthOf = isAscii
    ? (piece: string): number => piece.length
    : (piece: string): number => Buffer.byteLength(piece)
  const columns: number[][] = [[], [], [], [], [], []]
  const [partitions, starts, ids, types, keys, texts] = columns as [
    number[],
    number[],
    number[],
    number[],
    number[],
    number[],
  ]
  let start = 1
  for (const [at, { partition, event }] of items.entries()) {
    const [id, type, key, body] = [0, 1, 2, 3].map((piece) => lengthOf(pieces[4 * at + piece] as string)) as [
      number,
      number,
      number,
      number,
    ]
    partitions.push(partition)
    starts.push(start)
    ids.push(id)
    types.push(type)
    keys.push(event.key === null ? -1 : key)
    texts.push(body)
    start += id + type + key + body
  }
  const once = items.map(({ dedupeId }) => (dedupeId === null ? 'f' : 't'))
  return [
    ...columns.map((column) => `{${column.join(',')}}`),
    `{${once.join(',')}}`,
    Buffer.from(text, isAscii ? 'latin1' : 'utf8'),
  ]
}
