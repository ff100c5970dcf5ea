/**
 * The index, in LMDB: where extents are, the engine's records, and up to which commit all this is.
 *
 *     a                       sequence number of the last commit applied (float64)
 *     r<key>                  a record
 *     x<channel>/<offset>     an extent by its first offset: segment (4), bytes (4), position, time, count (4), zero (4)
 *     c<channel>              a channel: first offset, next offset, bytes (float64 each)
 *     s<segment>              a segment: bytes, live bytes (float64 each)
 *
 * Every value ends with the CRC-32 of what is before it, since LMDB itself has no checksums.
 */
import { closeSync, existsSync, fstatSync, openSync, readSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { open, type RootDatabase } from 'lmdb'
import { damaged } from './damage.ts'

export interface ExtentEntry {
  readonly firstOffset: number
  readonly segment: number
  readonly position: number
  readonly bytes: number
  readonly count: number
  readonly timeMs: number
}

export interface ChannelTotals {
  readonly first: number
  readonly next: number
  readonly bytes: number
}

export interface SegmentTotals {
  readonly bytes: number
  readonly live: number
}

/** What one transaction writes: values already sealed, null deletes. */
export type IndexChanges = Map<string, Uint8Array | null>

export const INDEX_FILE = 'index.mdb'
const PAGE_BYTES = 4096
/** Pages at the end of a whole file that LMDB may have left unwritten. */
const PAGES_UNWRITTEN_MAX = 64
const META_MAGIC = 0xbeefc0de

const channelDigits = (channelId: number): string => String(channelId).padStart(8, '0')
const offsetDigits = (offset: number): string => String(offset).padStart(16, '0')

export const indexKeys = {
  applied: 'a',
  record: (key: string): string => `r${key}`,
  extent: (channelId: number, offset: number): string => `x${channelDigits(channelId)}/${offsetDigits(offset)}`,
  channel: (channelId: number): string => `c${channelDigits(channelId)}`,
  segment: (id: number): string => `s${channelDigits(id)}`,
}

/** A value with its checksum behind it. */
export function seal(value: Uint8Array): Buffer {
  const sealed = Buffer.allocUnsafe(value.length + 4)
  sealed.set(value)
  sealed.writeUInt32LE(crc32(value), value.length)
  return sealed
}

export function floats(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(8 * values.length)
  values.forEach((value, index) => {
    bytes.writeDoubleLE(value, 8 * index)
  })
  return bytes
}

export function extentValue(entry: ExtentEntry): Buffer {
  const bytes = Buffer.alloc(32)
  bytes.writeUInt32LE(entry.segment, 0)
  bytes.writeUInt32LE(entry.bytes, 4)
  bytes.writeDoubleLE(entry.position, 8)
  bytes.writeDoubleLE(entry.timeMs, 16)
  bytes.writeUInt32LE(entry.count, 24)
  return bytes
}

function toExtent(key: string, value: Buffer): ExtentEntry {
  return {
    firstOffset: Number(key.slice(key.indexOf('/') + 1)),
    segment: value.readUInt32LE(0),
    bytes: value.readUInt32LE(4),
    position: value.readDoubleLE(8),
    timeMs: value.readDoubleLE(16),
    count: value.readUInt32LE(24),
  }
}

export class IndexDb {
  readonly #db: RootDatabase<Buffer, string>

  private constructor(db: RootDatabase<Buffer, string>) {
    this.#db = db
  }

  /** @throws DATA_DAMAGED when the file is cut short or is not LMDB's */
  static open(directory: string, readOnly: boolean): IndexDb {
    const path = join(directory, INDEX_FILE)
    checkFile(path, readOnly)
    try {
      // A transaction is durable when its promise resolves: no overlapping sync.
      const db = open<Buffer, string>({
        path,
        noSubdir: true,
        encoding: 'binary',
        overlappingSync: false,
        readOnly,
        pageSize: PAGE_BYTES,
        maxReaders: 126,
      } as Parameters<typeof open>[0])
      return new IndexDb(db as RootDatabase<Buffer, string>)
    } catch (cause) {
      throw damaged(INDEX_FILE, `the index cannot be opened (${(cause as Error).message})`)
    }
  }

  #unseal(key: string, sealed: Buffer): Buffer {
    const value = sealed.subarray(0, sealed.length - 4)
    if (sealed.length < 4 || sealed.readUInt32LE(sealed.length - 4) !== crc32(value)) throw damaged(INDEX_FILE, `the entry "${key}" is damaged`, { key })
    return value
  }

  get(key: string): Buffer | undefined {
    const sealed = this.#db.get(key)
    return sealed === undefined ? undefined : this.#unseal(key, sealed)
  }

  *range(from: string, to: string, limit?: number): Generator<[string, Buffer]> {
    for (const { key, value } of this.#db.getRange({ start: from, end: to, snapshot: false, ...(limit !== undefined && { limit }) })) {
      yield [key, this.#unseal(key, value)]
    }
  }

  get applied(): number {
    return this.get(indexKeys.applied)?.readDoubleLE() ?? 0
  }

  channel(channelId: number): ChannelTotals {
    const value = this.get(indexKeys.channel(channelId))
    return value === undefined ? { first: 0, next: 0, bytes: 0 } : { first: value.readDoubleLE(0), next: value.readDoubleLE(8), bytes: value.readDoubleLE(16) }
  }

  *segments(): Generator<[id: number, totals: SegmentTotals]> {
    for (const [key, value] of this.range('s', 't')) yield [Number(key.slice(1)), { bytes: value.readDoubleLE(0), live: value.readDoubleLE(8) }]
  }

  /** Extents of a channel in order, from the one that holds an offset on. */
  *extents(channelId: number, offset: number): Generator<ExtentEntry> {
    const end = indexKeys.extent(channelId, 9e15)
    const start = this.#db.getRange({ start: indexKeys.extent(channelId, offset), end: indexKeys.extent(channelId, 0), reverse: true, limit: 1 })
    for (const { key, value } of start) {
      const entry = toExtent(key, this.#unseal(key, value))
      if (entry.firstOffset < offset && entry.firstOffset + entry.count > offset) yield entry
    }
    const exact = this.get(indexKeys.extent(channelId, 0))
    if (offset > 0 && exact !== undefined) {
      const entry = toExtent(indexKeys.extent(channelId, 0), exact)
      if (entry.count > offset) yield entry
    }
    for (const [key, value] of this.range(indexKeys.extent(channelId, offset), end)) yield toExtent(key, value)
  }

  /** All extents, of every channel. */
  *allExtents(): Generator<[channelId: number, entry: ExtentEntry]> {
    for (const [key, value] of this.range('x', 'y')) yield [Number(key.slice(1, 9)), toExtent(key, value)]
  }

  /** One transaction; resolves when it is durable. */
  async write(changes: IndexChanges): Promise<void> {
    const written = this.#db.batch(() => {
      for (const [key, value] of changes) {
        if (value === null) void this.#db.remove(key)
        else void this.#db.put(key, value as Buffer)
      }
    })
    await written
    await this.#db.flushed
    // Reads from here on must see it: a read transaction of before would still show what was there.
    this.#db.resetReadTxn()
  }

  /** Reads from here on see what another process has written. */
  refresh(): void {
    this.#db.resetReadTxn()
  }

  async close(): Promise<void> {
    await this.#db.close()
  }
}

/** A data file that was cut short would be read beyond its end by the memory map: look before it is mapped. */
function checkFile(path: string, readOnly: boolean): void {
  if (!existsSync(path)) return
  const fd = openSync(path, 'r')
  try {
    const { size } = fstatSync(fd)
    const metas = [readMeta(fd, 0), readMeta(fd, PAGE_BYTES)].filter((meta) => meta !== null)
    if (metas.length === 0) throw damaged(INDEX_FILE, 'it is not an LMDB file, or its head is damaged')
    const newest = metas.reduce((a, b) => (a.transaction > b.transaction ? a : b))
    const needed = (newest.lastPage + 1) * PAGE_BYTES
    if (newest.lastPage > 1 && size < needed - PAGES_UNWRITTEN_MAX * PAGE_BYTES) {
      throw damaged(INDEX_FILE, `the index has ${size} bytes and should have ${needed}: it was cut short`, { size, expected: needed })
    }
    // Pages that a transaction took and gave back are never written, so a whole file may end before them. Zeros there are
    // never read; where a used page is missing instead, LMDB or the entry's checksum refuses them, and nothing is read beyond the file's end.
    if (size < needed && !readOnly) truncateSync(path, needed)
  } finally {
    closeSync(fd)
  }
}

/** LMDB's meta page, as its format version of lmdb 3 has it. */
function readMeta(fd: number, at: number): { readonly lastPage: number; readonly transaction: number } | null {
  const page = Buffer.alloc(160)
  if (readSync(fd, page, 0, page.length, at) < page.length || page.readUInt32LE(24) !== META_MAGIC) return null
  return { lastPage: Number(page.readBigUInt64LE(144)), transaction: Number(page.readBigUInt64LE(152)) }
}
