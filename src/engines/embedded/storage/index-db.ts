/**
 * The index, in LMDB: the extents, the engine's records, and the last commit that is applied.
 *
 *     a                       the last commit applied: sequence number, checksum of its frame (float64 each)
 *     i                       the directory's id, in ASCII
 *     r<key>                  a record
 *     x<channel>/<offset>     an extent by its first offset: segment (4), bytes (4), position (float64),
 *                             time (float64), count (4), zero (4)
 *     c<channel>              a channel: first offset, next offset, bytes (float64 each)
 *     s<segment>              a segment: bytes, live bytes (float64 each)
 *
 * Every value ends with the CRC-32 of its key and its other bytes, because LMDB has no checksums.
 */
import { existsSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { open, type RangeOptions, type RootDatabase } from 'lmdb'
import { MillraceError } from '../../../base/errors.ts'
import { damaged, damagedPart, foreign } from './damage.ts'
import { FILE_MODE, protect } from './file-modes.ts'
import type { FileSystem } from './file-system.ts'
import { checkIndexFile, INDEX_FILE } from './index-file.ts'
import { PAGE_BYTES } from './index-pages.ts'
import type { CommitName } from './recovery.ts'
import { systemCode } from './system-refusal.ts'

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

/** The changes of one transaction: null deletes. */
export type IndexChanges = Map<string, Uint8Array | null>

const channelDigits = (channelId: number): string => String(channelId).padStart(8, '0')
const offsetDigits = (offset: number): string => String(offset).padStart(16, '0')

export const indexKeys = {
  applied: 'a',
  directory: 'i',
  record: (key: string): string => `r${key}`,
  extent: (channelId: number, offset: number): string => `x${channelDigits(channelId)}/${offsetDigits(offset)}`,
  channel: (channelId: number): string => `c${channelDigits(channelId)}`,
  segment: (id: number): string => `s${channelDigits(id)}`,
}

/** A value with its checksum. The checksum covers the key, so that a value under the wrong key is noticed. */
function seal(key: string, value: Uint8Array): Buffer {
  const sealed = Buffer.allocUnsafe(value.length + 4)
  sealed.set(value)
  sealed.writeUInt32LE(crc32(value, crc32(key)), value.length)
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

export function toExtent(key: string, value: Buffer): ExtentEntry {
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

  /**
   * Open the index of a directory, or create an empty one if `fresh`. An index that is found is synced before anything
   * relies on it.
   * @throws DATA_DAMAGED when the file is truncated or not LMDB's · DATA_FOREIGN when it belongs to another directory
   */
  static async open(fs: FileSystem, directory: string, directoryId: string, fresh: boolean): Promise<IndexDb> {
    const path = join(directory, INDEX_FILE)
    if (fresh) for (const left of [path, `${path}-lock`]) fs.remove(left)
    const index = IndexDb.#open(path, false)
    try {
      if (fresh) await index.write(new Map([[indexKeys.directory, Buffer.from(directoryId)]]))
      index.#check(path, directoryId)
      const fd = fs.open(path, 'r+')
      fs.syncNow(fd)
      fs.close(fd)
      fs.syncDirectory(directory)
      return index
    } catch (error) {
      await index.close()
      throw error
    }
  }

  /** @throws DATA_DAMAGED · DATA_FOREIGN */
  static openReadOnly(directory: string, directoryId: string): IndexDb {
    const path = join(directory, INDEX_FILE)
    const index = IndexDb.#open(path, true)
    index.#check(path, directoryId)
    return index
  }

  static #open(path: string, readOnly: boolean): IndexDb {
    if (!readOnly) refuseBesideReader(path)
    checkIndexFile(path, readOnly)
    try {
      // Without overlapping sync, a transaction is durable when its promise resolves.
      const db = open<Buffer, string>({
        path,
        noSubdir: true,
        encoding: 'binary',
        overlappingSync: false,
        readOnly,
        // With event-turn batching, lmdb begins a second transaction of its own, and does not report if that one fails.
        eventTurnBatching: false,
        pageSize: PAGE_BYTES,
        maxReaders: 126,
        permissionsMode: FILE_MODE,
      } as Parameters<typeof open>[0])
      if (!readOnly) for (const made of [path, `${path}-lock`]) protect(made)
      const index = new IndexDb(db as RootDatabase<Buffer, string>)
      if (readOnly) readers.set(index, realpathSync(path))
      return index
    } catch (cause) {
      if (systemCode(cause) !== null) throw cause
      throw damaged(INDEX_FILE, `the index cannot be opened (${(cause as Error).message})`)
    }
  }

  #check(path: string, directoryId: string): void {
    const found = this.get(indexKeys.directory)?.toString()
    if (found === undefined)
      throw damaged(INDEX_FILE, 'the index has no id of a directory: it is another index, or its content is lost')
    if (found !== directoryId) throw foreign(path, `the index is of another data directory (${found})`)
  }

  #unseal(key: string, sealed: Buffer): Buffer {
    const value = sealed.subarray(0, sealed.length - 4)
    if (sealed.length < 4 || sealed.readUInt32LE(sealed.length - 4) !== crc32(value, crc32(key)))
      throw damagedPart(INDEX_FILE, `the entry "${key}" is damaged`, { key })
    return value
  }

  get(key: string): Buffer | undefined {
    let sealed: Buffer | undefined
    try {
      sealed = this.#db.get(key)
    } catch (cause) {
      throw unreadable(cause)
    }
    return sealed === undefined ? undefined : this.#unseal(key, sealed)
  }

  *range(from: string, to: string, limit?: number): Generator<[string, Buffer]> {
    for (const { key, value } of this.#entries({ start: from, end: to, ...(limit !== undefined && { limit }) }))
      yield [key, this.#unseal(key, value)]
  }

  has(key: string): boolean {
    return this.#db.doesExist(key)
  }

  /** The number of entries with `from <= key < to`, without reading them. */
  count(from: string, to: string): number {
    try {
      return this.#db.getKeysCount({ start: from, end: to })
    } catch (cause) {
      throw unreadable(cause)
    }
  }

  *#entries(options: RangeOptions): Generator<{ readonly key: string; readonly value: Buffer }> {
    const entries = this.#db.getRange({ snapshot: false, ...options })[Symbol.iterator]()
    for (;;) {
      let entry: IteratorResult<{ readonly key: string; readonly value: Buffer }>
      try {
        entry = entries.next()
      } catch (cause) {
        throw unreadable(cause)
      }
      if (entry.done === true) return
      yield entry.value
    }
  }

  get applied(): CommitName {
    const value = this.get(indexKeys.applied)
    return value === undefined
      ? { sequence: 0, check: 0 }
      : { sequence: value.readDoubleLE(0), check: value.readDoubleLE(8) }
  }

  channel(channelId: number): ChannelTotals {
    const value = this.get(indexKeys.channel(channelId))
    return value === undefined
      ? { first: 0, next: 0, bytes: 0 }
      : { first: value.readDoubleLE(0), next: value.readDoubleLE(8), bytes: value.readDoubleLE(16) }
  }

  *segments(): Generator<[id: number, totals: SegmentTotals]> {
    for (const [key, value] of this.range('s', 't'))
      yield [Number(key.slice(1)), { bytes: value.readDoubleLE(0), live: value.readDoubleLE(8) }]
  }

  /** Extents of a channel in order, starting with the one that contains the offset. */
  *extents(channelId: number, offset: number): Generator<ExtentEntry> {
    const end = indexKeys.extent(channelId, 9e15)
    const start = this.#entries({
      start: indexKeys.extent(channelId, offset),
      end: indexKeys.extent(channelId, 0),
      reverse: true,
      limit: 1,
    })
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

  /** The extents of all channels in a segment. */
  *extentsOf(segment: number): Generator<[channelId: number, entry: ExtentEntry]> {
    for (const [key, value] of this.range('x', 'y')) {
      const entry = toExtent(key, value)
      if (entry.segment === segment) yield [Number(key.slice(1, 9)), entry]
    }
  }

  /**
   * Write one transaction; resolves when it is durable.
   * @throws the system's error, with its number as `code`: nothing of the transaction happened
   */
  async write(changes: IndexChanges): Promise<void> {
    try {
      await this.#db.batch(() => {
        // Inside a batch these promises have no meaning; the batch's own promise has the outcome.
        for (const [key, value] of changes) {
          if (value === null) void this.#db.remove(key)
          else void this.#db.put(key, seal(key, value))
        }
      })
      await this.#db.flushed
    } catch (error) {
      throw await reasonOf(error)
    }
    // Later reads must see the change: an older read transaction would still show the old state.
    this.#db.resetReadTxn()
  }

  /** Later reads see what another process has written. */
  refresh(): void {
    this.#db.resetReadTxn()
  }

  async close(): Promise<void> {
    readers.delete(this)
    await this.#db.close()
  }
}

/** Indexes that this process has open for reading, with their paths. */
const readers = new Map<IndexDb, string>()

/**
 * LMDB maps a file only once per process, so a file that is mapped for reading cannot be opened for writing. @throws
 * INVALID_OPTION
 */
function refuseBesideReader(path: string): void {
  if (readers.size === 0 || !existsSync(path)) return
  const real = realpathSync(path)
  if (![...readers.values()].includes(real)) return
  const directory = dirname(path)
  const message = `${directory} is open in this process with readOnly: close that broker first, or open the one that writes before the one that looks`
  throw new MillraceError('INVALID_OPTION', message, { directory, option: 'readOnly' })
}

/** lmdb reports the reason of a failed transaction in a second promise. This is the longest wait for it. */
const REASON_MS = 1000

async function reasonOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { readonly commitError?: unknown }
  if (!(commitError instanceof Promise)) return error
  const reason = commitError.then(
    () => error,
    (cause: unknown) => cause,
  )
  return Promise.race([reason, sleep(REASON_MS, error, { ref: false })])
}

/** The error for an index whose pages LMDB cannot read. */
function unreadable(cause: unknown): Error {
  return damagedPart(INDEX_FILE, `the index cannot be read (${(cause as Error).message})`)
}
