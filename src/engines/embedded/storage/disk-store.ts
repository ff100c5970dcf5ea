/**
 * The store on disk: commits go to the journal; what they say is applied behind it, in the background, to segments and the index.
 *
 * Until it is applied it is read from memory. The journal's size bounds that memory: when the journal is full, commits wait for an apply, and
 * when an apply finds the disk full, they are refused with DISK_FULL until there is room; without a file descriptor, with TOO_MANY_FILES.
 */

import { isMillraceError, MillraceError } from '../../../base/errors.ts'
import { clearRealTimeout, nextTurn, realTimeout } from '../../../base/timers.ts'
import type { BackupSummary, Frame, Rewrite, Store, StoredBlock, StoreStats } from '../store.ts'
import { Applier } from './applier.ts'
import { Backup } from './backup.ts'
import { BlockMemory } from './block-memory.ts'
import { readFormat, writeFormat } from './directory-format.ts'
import { type FileSystem, isFull, isOutOfFiles, nodeFileSystem } from './file-system.ts'
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
  readonly failpoint?: (name: Failpoint) => void
  /** Called before anything is written, and before it is acknowledged. It throws when the directory is no longer this process's. */
  readonly guard?: () => void
  /** Call later; answers how not to. Tests hold the time. */
  readonly later?: (task: () => void, ms: number) => () => void
}

/** Where a process can die: around the commit, in the journal, in its application to the index. */
export const FAILPOINTS = [
  'journal.before-turn',
  'journal.after-create',
  'journal.before-write',
  'journal.after-write',
  'journal.after-sync',
  'commit.done',
  'apply.begin',
  'apply.after-segment',
  'apply.after-index',
  'apply.after-recycle',
  'rewrite.after-segment',
  'open.after-index',
  'open.after-journal',
] as const
export type Failpoint = (typeof FAILPOINTS)[number]

const MIB = 1024 * 1024
/** An apply that found the disk full is tried again after so long. */
const FULL_RETRY_MS = 200

type Done = (error: Error | null) => void

export class DiskStore<Block extends StoredBlock = StoredBlock> extends StoreReads<Block> implements Store<Block> {
  readonly memory: BlockMemory
  readonly #fs: FileSystem
  readonly #directory: string
  readonly #journal: Journal
  readonly #applier: Applier
  readonly #options: Required<Omit<DiskStoreOptions, 'fileSystem'>>
  readonly #formatId: string
  /** Journal files that the marker names: all of them, unless it could not be written. */
  #listed: number
  #commits = 0
  #failure: Error | null = null
  #timer: (() => void) | null = null
  #applying: Promise<void> | null = null
  /** Work that is done between two applies. */
  readonly #turns: (() => Promise<void>)[] = []
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
    memory: BlockMemory
    options: Required<Omit<DiskStoreOptions, 'fileSystem'>>
    formatId: string
  }) {
    super(parts.index, parts.segments, parts.tail)
    this.memory = parts.memory
    this.#fs = parts.fs
    this.#directory = parts.directory
    this.#journal = parts.journal
    this.#options = parts.options
    this.#formatId = parts.formatId
    this.#listed = parts.journal.fileNames.length
    this.#applier = new Applier(parts.index, parts.segments, {
      segmentBytes: parts.options.segmentFileBytes,
      failpoint: parts.options.failpoint,
    })
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
    const { format, newIndex } = readFormat(fs, directory, true)
    const index = await IndexDb.open(fs, directory, format.id, newIndex)
    options.failpoint?.('open.after-index')
    const full = {
      journalFileBytes: options.journalFileBytes ?? 8 * MIB,
      journalFiles: options.journalFiles ?? 8,
      applyIntervalMs: options.applyIntervalMs ?? 100,
      applyBytes: options.applyBytes ?? 8 * MIB,
      segmentFileBytes: options.segmentFileBytes ?? 64 * MIB,
      failpoint: options.failpoint ?? (() => undefined),
      guard: options.guard ?? (() => undefined),
      later: options.later ?? later,
    }
    const journal = new Journal(fs, directory, {
      fileBytes: full.journalFileBytes,
      filesMax: full.journalFiles,
      directoryId: format.id,
    })
    const segments = new Segments(fs, directory, false)
    try {
      const { applied } = index
      const memory = new BlockMemory()
      const tail = new Tail<Block>(applied, memory)
      journal.recover(format.journal, applied, (frame, commit, bytes) => {
        tail.add({ ...frame, blocks: frame.blocks.map(revive) }, commit, bytes)
      })
      full.failpoint('open.after-journal')
      // One that was made just before the end, and not listed yet.
      if (journal.fileNames.length > format.journal.length)
        writeFormat(fs, directory, { id: format.id, journal: journal.fileNames })
      return new DiskStore<Block>({
        fs,
        directory,
        journal,
        index,
        segments,
        tail,
        memory,
        options: full,
        formatId: format.id,
      })
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
      nextTurn(() => done(error))
      return
    }
    try {
      this.#options.guard()
      if (this.#ready(frame)) this.#write(frame, done)
      else this.#wait(frame, done)
    } catch (error) {
      const told = this.#shortage(error) ?? this.#poison(error)
      nextTurn(() => done(told))
    }
  }

  /** Make room for a frame: in another journal file if need be, and a new one is made known before anything is written to it. False when all are full. */
  #ready(frame: Frame<Block>): boolean {
    if (!this.#journal.fits(frame)) {
      this.#options.failpoint('journal.before-turn')
      if (!this.#journal.turn(frame)) return false
    }
    const journal = this.#journal.fileNames
    if (journal.length > this.#listed) {
      this.#options.failpoint('journal.after-create')
      writeFormat(this.#fs, this.#directory, { id: this.#formatId, journal })
      this.#listed = journal.length
    }
    return true
  }

  #write(frame: Frame<Block>, done: Done): void {
    const { failpoint } = this.#options
    failpoint('journal.before-write')
    this.#journal.write(frame, (failed, commit, bytes) => {
      const error = failed ?? this.#lost()
      if (error !== null) {
        done(this.#poison(error))
        return
      }
      failpoint('journal.after-sync')
      this.tail.add(frame, commit, bytes)
      this.noteFrame(frame)
      this.#commits++
      this.#schedule()
      done(null)
      failpoint('commit.done')
    })
    failpoint('journal.after-write')
  }

  /** The journal is full: the commit waits for an apply to free a file. */
  #wait(frame: Frame<Block>, done: Done): void {
    if (this.#full !== null) {
      const error = this.#full
      nextTurn(() => done(error))
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

  /** Why the directory is no longer this process's, if it is not. */
  #lost(): Error | null {
    try {
      this.#options.guard()
      return null
    } catch (error) {
      return error as Error
    }
  }

  #poison(cause: unknown): Error {
    if (isMillraceError(cause, 'STORE_FAILED')) this.#failure ??= cause
    this.#failure ??= new MillraceError(
      'STORE_FAILED',
      `writing to ${this.#directory} failed (${cause instanceof Error ? cause.message : String(cause)}): nothing more is accepted. Check the disk, then open the directory again`,
      { directory: this.#directory },
      { cause },
    )
    return this.#failure
  }

  /** What is lacking for now, if that is why something failed: it goes on by itself when there is enough again. */
  #shortage(cause: unknown): Error | null {
    const details = { directory: this.#directory }
    if (isFull(cause)) {
      const say = `the disk of ${this.#directory} is full: nothing was stored. Free some space; publishing then continues by itself`
      return new MillraceError('DISK_FULL', say, details, { cause })
    }
    if (!isOutOfFiles(cause)) return null
    const say = `too many files are open, so that ${this.#directory} cannot be written to: nothing was stored. Close some, or raise the limit (ulimit -n); publishing then continues by itself`
    return new MillraceError('TOO_MANY_FILES', say, details, { cause })
  }

  #schedule(): void {
    if (this.#applying !== null || this.#closed) return
    if (this.tail.freshBytes >= this.#options.applyBytes) this.#apply()
    else {
      this.#timer ??= this.#options.later(() => {
        this.#timer = null
        this.#apply()
      }, this.#options.applyIntervalMs)
    }
  }

  #apply(): void {
    if (this.#applying !== null || this.#failure !== null) return
    const lost = this.#lost()
    if (lost !== null) {
      this.#notApplied(lost)
      return
    }
    this.#timer?.()
    this.#timer = null
    const layer = this.tail.beginApply()
    if (layer === null) return
    this.#options.failpoint('apply.begin')
    this.#applying = this.#applier.apply(layer).then(
      () => this.#applied(layer.last.sequence),
      (error: unknown) => this.#notApplied(error),
    )
  }

  async compact(
    channelId: number,
    from: number,
    before: number,
    maxBytes: number,
    rewrite: Rewrite,
  ): Promise<number | null> {
    try {
      return await this.#between(async () => {
        if (this.#failure !== null || this.#closed || this.#lost() !== null) return null
        return this.#applier.rewrite(channelId, from, before, maxBytes, rewrite)
      })
    } catch (error) {
      // A full disk has no room for what would make room: another time. Damage is said, and left as it is.
      if (this.#shortage(error) !== null) return null
      throw isMillraceError(error) ? error : this.#poison(error)
    }
  }

  /** Work while nothing is applied. It has its turn after the apply that is under way, before the next. */
  #between<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#turns.push(() => work().then(resolve, reject))
      if (this.#applying === null) this.#next()
    })
  }

  /** What follows an apply: work that waits for its turn, the commit that waits for room, or the next apply. */
  #next(): void {
    const turn = this.#turns.shift()
    if (turn === undefined) {
      this.#resume()
      if (this.tail.freshBytes > 0) this.#schedule()
      return
    }
    this.#applying = turn().then(() => {
      this.#applying = null
      this.#next()
    })
  }

  async backup(target: string): Promise<BackupSummary> {
    const backup = new Backup(this.#fs, this.#directory, target)
    const wanted = this.#journal.last.sequence
    const copyIndex = async (): Promise<ReturnType<Applier['keep']> | null> => {
      const error =
        this.#failure ?? this.#full ?? (this.#closed ? new MillraceError('CLOSED', 'the store is closed') : null)
      if (error !== null) throw error
      if (this.index.applied.sequence < wanted) return null
      await backup.copyIndex()
      return this.#applier.keep()
    }
    let kept = await this.#between(copyIndex)
    while (kept === null) {
      // A commit that is under way is not there to be applied yet.
      await new Promise<void>((resolve) => nextTurn(resolve))
      this.#apply()
      kept = await this.#between(copyIndex)
    }
    try {
      await backup.copySegments(kept.segments)
      return backup.finish(this.#formatId)
    } finally {
      kept.letGo()
    }
  }

  #applied(sequence: number): void {
    this.#applying = null
    this.#full = null
    this.tail.applied()
    this.#journal.applied(sequence)
    this.#options.failpoint('apply.after-recycle')
    this.#next()
  }

  /** What could not be applied stays in the journal and in memory, and is tried again. */
  #notApplied(error: unknown): void {
    this.#applying = null
    const shortage = this.#shortage(error)
    if (shortage !== null) {
      this.#full = shortage
      if (!this.#closed) {
        this.#timer = this.#options.later(() => {
          this.#timer = null
          this.#apply()
        }, FULL_RETRY_MS)
      }
    } else this.#poison(error)
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.done(this.#failure ?? (this.#full as Error))
    if (this.#turns.length > 0) this.#next()
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
    this.#timer?.()
    try {
      this.#journal.close()
      this.segments.close()
    } finally {
      await this.index.close()
    }
  }
}

function later(task: () => void, ms: number): () => void {
  const timer = realTimeout(task, ms).unref()
  return () => clearRealTimeout(timer)
}
