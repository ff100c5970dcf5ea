/**
 * The store on disk: commits go to the journal; what they say is applied behind it, in the background, to segments and the index.
 *
 * Until it is applied it is read from memory. The journal's size bounds that memory: when the journal is full, commits wait for an apply, and
 * when an apply finds the disk full, they are refused with DISK_FULL until there is room.
 */
import { isMillraceError, MillraceError } from '../../../base/errors.ts'
import type { Frame, Rewrite, Store, StoredBlock, StoreStats } from '../store.ts'
import { Applier } from './applier.ts'
import { readFormat, writeFormat } from './directory-format.ts'
import { type FileSystem, isFull, nodeFileSystem } from './file-system.ts'
import { IndexDb } from './index-db.ts'
import { Journal } from './journal.ts'
import { Segments } from './segments.ts'
import { StoreReads } from './store-reads.ts'
import { Tail } from './tail.ts'

export interface DiskStoreOptions {
  readonly fileSystem?: FileSystem
  /** Bytes of a journal file. @default 8 MiB */
  readonly journalFileBytes?: number
  /** Journal files, at most. @default 8 */
  readonly journalFiles?: number
  /** Committed frames are applied after so long, or so many bytes, whichever comes first. @default 100 ms, 8 MiB */
  readonly applyIntervalMs?: number
  readonly applyBytes?: number
  /** Bytes of a segment file. @default 64 MiB */
  readonly segmentFileBytes?: number
  /** Called at named points of a commit and an apply: tests die there. */
  readonly failpoint?: (name: string) => void
}

const MIB = 1024 * 1024
/** An apply that found the disk full is tried again after so long. */
const FULL_RETRY_MS = 200

type Done = (error: Error | null) => void

export class DiskStore<Block extends StoredBlock = StoredBlock> extends StoreReads<Block> implements Store<Block> {
  readonly #fs: FileSystem
  readonly #directory: string
  readonly #journal: Journal
  readonly #applier: Applier
  readonly #options: Required<Omit<DiskStoreOptions, 'fileSystem'>>
  #formatId: string
  #sequence: number
  #commits = 0
  #failure: Error | null = null
  #timer: NodeJS.Timeout | null = null
  #applying: Promise<void> | null = null
  /** The commit that waits for room in the journal. */
  #waiting: { readonly frame: Frame<Block>; readonly done: Done } | null = null
  #full: Error | null = null
  #closed = false

  private constructor(parts: {
    fs: FileSystem
    directory: string
    journal: Journal
    index: IndexDb
    segments: Segments
    tail: Tail<Block>
    options: Required<Omit<DiskStoreOptions, 'fileSystem'>>
    formatId: string
  }) {
    super(parts.index, parts.segments, parts.tail)
    this.#fs = parts.fs
    this.#directory = parts.directory
    this.#journal = parts.journal
    this.#options = parts.options
    this.#formatId = parts.formatId
    this.#applier = new Applier(parts.index, parts.segments, { segmentBytes: parts.options.segmentFileBytes, failpoint: parts.options.failpoint })
    this.#sequence = parts.tail.sequence
    if (this.tail.freshBytes > 0) this.#schedule()
  }

  /**
   * Open a directory, or make one. The caller has claimed it. `revive` makes the caller's blocks of those found in the journal.
   * @throws DATA_DAMAGED · DATA_FOREIGN
   */
  static async open<Block extends StoredBlock>(
    directory: string,
    revive: (block: StoredBlock) => Block,
    options: DiskStoreOptions = {},
  ): Promise<DiskStore<Block>> {
    const fs = options.fileSystem ?? nodeFileSystem
    const format = readFormat(fs, directory, true)
    const index = IndexDb.open(directory, false)
    const full = {
      journalFileBytes: options.journalFileBytes ?? 8 * MIB,
      journalFiles: options.journalFiles ?? 8,
      applyIntervalMs: options.applyIntervalMs ?? 100,
      applyBytes: options.applyBytes ?? 8 * MIB,
      segmentFileBytes: options.segmentFileBytes ?? 64 * MIB,
      failpoint: options.failpoint ?? (() => undefined),
    }
    const journal = new Journal(fs, directory, { fileBytes: full.journalFileBytes, filesMax: full.journalFiles })
    const segments = new Segments(fs, directory, false)
    try {
      const { applied } = index
      const tail = new Tail<Block>(applied)
      journal.recover(format.journal, applied, (frame, sequence, bytes) => {
        tail.add({ ...frame, blocks: frame.blocks.map(revive) }, sequence, bytes)
      })
      return new DiskStore<Block>({ fs, directory, journal, index, segments, tail, options: full, formatId: format.id })
    } catch (error) {
      journal.close()
      segments.close()
      await index.close()
      throw error
    }
  }

  commit(frame: Frame<Block>, done: Done): void {
    if (this.#failure !== null || this.#closed) {
      const error = this.#failure ?? new MillraceError('CLOSED', 'the store is closed')
      setImmediate(() => done(error))
      return
    }
    try {
      if (this.#journal.fits(frame) || this.#turn(frame)) this.#write(frame, done)
      else this.#wait(frame, done)
    } catch (error) {
      const told = isFull(error) ? this.#diskFull(error) : this.#poison(error)
      setImmediate(() => done(told))
    }
  }

  /** Go on in another journal file; a new one is made known before anything is written to it. */
  #turn(frame: Frame<Block>): boolean {
    const before = this.#journal.fileNames.length
    const turned = this.#journal.turn(frame)
    const journal = this.#journal.fileNames
    if (journal.length > before) writeFormat(this.#fs, this.#directory, { format: 1, id: this.#formatId, journal })
    return turned
  }

  #write(frame: Frame<Block>, done: Done): void {
    const { failpoint } = this.#options
    failpoint('journal.before-write')
    const sequence = ++this.#sequence
    this.#journal.write(frame, sequence, (error, bytes) => {
      if (error !== null) {
        done(this.#poison(error))
        return
      }
      failpoint('journal.after-sync')
      this.tail.add(frame, sequence, bytes)
      this.noteFrame(frame)
      this.#commits++
      this.#schedule()
      done(null)
    })
    failpoint('journal.after-write')
  }

  /** The journal is full: the commit waits for an apply to free a file. */
  #wait(frame: Frame<Block>, done: Done): void {
    if (this.#full !== null) {
      const error = this.#full
      setImmediate(() => done(error))
      return
    }
    this.#waiting = { frame, done }
    this.#apply()
  }

  #resume(): void {
    const waiting = this.#waiting
    if (waiting === null) return
    this.#waiting = null
    if (this.#full !== null) waiting.done(this.#full)
    else this.commit(waiting.frame, waiting.done)
  }

  #poison(cause: unknown): Error {
    this.#failure ??= new MillraceError(
      'STORE_FAILED',
      `writing to ${this.#directory} failed (${cause instanceof Error ? cause.message : String(cause)}): nothing more is accepted. Look at the disk, then open the directory again`,
      { directory: this.#directory },
      { cause },
    )
    return this.#failure
  }

  #diskFull(cause: unknown): Error {
    return new MillraceError(
      'DISK_FULL',
      `the disk of ${this.#directory} is full: nothing was stored. Free some space; publishing goes on by itself then`,
      { directory: this.#directory },
      { cause },
    )
  }

  #schedule(): void {
    if (this.#applying !== null || this.#closed) return
    if (this.tail.freshBytes >= this.#options.applyBytes) this.#apply()
    else {
      this.#timer ??= setTimeout(() => {
        this.#timer = null
        this.#apply()
      }, this.#options.applyIntervalMs).unref()
    }
  }

  #apply(): void {
    if (this.#applying !== null || this.#failure !== null) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const layer = this.tail.beginApply()
    if (layer === null) return
    this.#applying = this.#applier.apply(layer).then(
      () => this.#applied(layer.sequence),
      (error: unknown) => this.#notApplied(error),
    )
  }

  async compact(channelId: number, from: number, before: number, maxBytes: number, rewrite: Rewrite): Promise<number | null> {
    while (this.#applying !== null) await this.#applying
    if (this.#failure !== null || this.#closed) return null
    let next: number | null = null
    let failure: unknown = null
    this.#applying = this.#applier.rewrite(channelId, from, before, maxBytes, rewrite).then(
      (answer) => {
        next = answer
      },
      (error: unknown) => {
        failure = error
      },
    )
    await this.#applying
    this.#applying = null
    if (this.#waiting !== null) this.#apply()
    else if (this.tail.freshBytes > 0) this.#schedule()
    // A full disk has no room for what would make room: another time. Damage is said, and left as it is.
    if (failure === null || isFull(failure)) return next
    throw isMillraceError(failure) ? failure : this.#poison(failure)
  }

  #applied(sequence: number): void {
    this.#applying = null
    this.#full = null
    this.tail.applied()
    this.#journal.applied(sequence)
    this.#options.failpoint('apply.after-recycle')
    this.#resume()
    if (this.tail.freshBytes > 0) this.#schedule()
  }

  /** What could not be applied stays in the journal and in memory, and is tried again. */
  #notApplied(error: unknown): void {
    this.#applying = null
    if (isFull(error)) {
      this.#full = this.#diskFull(error)
      if (!this.#closed) {
        this.#timer = setTimeout(() => {
          this.#timer = null
          this.#apply()
        }, FULL_RETRY_MS).unref()
      }
    } else this.#poison(error)
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.done(this.#failure ?? (this.#full as Error))
  }

  stats(): StoreStats {
    return { unappliedBytes: this.tail.bytes, storedBytes: this.#applier.bytes, commits: this.#commits }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    while (this.#failure === null && this.#full === null) {
      this.#apply()
      if (this.#applying === null) break
      await this.#applying
    }
    if (this.#applying !== null) await this.#applying
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#journal.close()
    this.segments.close()
    await this.index.close()
  }
}
