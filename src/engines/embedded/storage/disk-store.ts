/**
 * The store on disk: a commit is written to the journal, and a background task applies it to segments and the index.
 *
 * Until it is applied, a commit is read from memory. The size of the journal limits that memory: if the journal is
 * full, commits wait for an apply. If an apply finds the disk full, commits are refused with DISK_FULL until there is
 * space again; without file descriptors, with TOO_MANY_FILES.
 */

import { isMillraceError, MillraceError } from '../../../base/errors.ts'
import { clearRealTimeout, nextTurn, realTimeout } from '../../../base/timers.ts'
import type { BackupSummary, Frame, Rewrite, Store, StoredBlock, StoreStats } from '../store.ts'
import { Applier } from './applier.ts'
import { DirectoryBackup } from './backup.ts'
import { BlockMemory } from './block-memory.ts'
import { readFormat, writeFormat } from './directory-format.ts'
import { type FileSystem, isFull, isOutOfFiles, nodeFileSystem } from './file-system.ts'
import { IndexDb } from './index-db.ts'
import { Journal } from './journal.ts'
import { Segments } from './segments.ts'
import { StoreReads } from './store-reads.ts'
import { UnappliedCommits } from './unapplied-commits.ts'

export interface DiskStoreOptions {
  readonly fileSystem?: FileSystem
  /** Size of a journal file in bytes. @default 8 MiB */
  readonly journalFileBytes?: number
  /** Maximum number of journal files. @default 8 */
  readonly journalFiles?: number
  /** Committed frames are applied after this time or this many bytes, whichever comes first. @default 100 ms, 8 MiB */
  readonly applyIntervalMs?: number
  readonly applyBytes?: number
  /** Size of a segment file in bytes. @default 64 MiB */
  readonly segmentFileBytes?: number
  /** Called at named points of a commit and an apply. Tests kill the process there. */
  readonly failpoint?: (name: Failpoint) => void
  /** Called before a write and before its acknowledgement. Throws if this process no longer owns the directory. */
  readonly guard?: () => void
  /** Run a task later; returns a function that cancels it. Tests control the time with it. */
  readonly later?: (task: () => void, ms: number) => () => void
}

/**
 * Points at which a test can end the process: around the commit, in the journal, and while it is applied to the index.
 */
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
/** The wait after an apply that found the disk full. */
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
  /** How many journal files the marker lists: all, unless the marker could not be written. */
  #listed: number
  #commits = 0
  #failure: Error | null = null
  #timer: (() => void) | null = null
  #applying: Promise<void> | null = null
  /** Work to be done between two applies. */
  readonly #turns: (() => Promise<void>)[] = []
  /** The commit that waits for space in the journal. */
  #waiting: { readonly frame: Frame<Block>; readonly done: Done } | null = null
  #full: Error | null = null
  #closed = false

  private constructor(parts: {
    fs: FileSystem
    directory: string
    journal: Journal
    index: IndexDb
    segments: Segments
    unapplied: UnappliedCommits<Block>
    memory: BlockMemory
    options: Required<Omit<DiskStoreOptions, 'fileSystem'>>
    formatId: string
  }) {
    super(parts.index, parts.segments, parts.unapplied)
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
    if (this.unapplied.freshBytes > 0) this.#schedule()
  }

  /**
   * Open or create a directory, which the caller has claimed. `revive` turns blocks from the journal into the caller's
   * blocks.
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
      const unapplied = new UnappliedCommits<Block>(applied, memory)
      journal.recover(format.journal, applied, (frame, commit, bytes) => {
        unapplied.add({ ...frame, blocks: frame.blocks.map(revive) }, commit, bytes)
      })
      full.failpoint('open.after-journal')
      // A journal file was created just before the last process ended, and is not listed yet.
      if (journal.fileNames.length > format.journal.length)
        writeFormat(fs, directory, { id: format.id, journal: journal.fileNames })
      return new DiskStore<Block>({
        fs,
        directory,
        journal,
        index,
        segments,
        unapplied,
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

  /**
   * Prepare the journal for a frame. This may switch to another file; a new file is listed in the marker before a frame
   * is written to it. Returns false if all files are full.
   */
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
      this.unapplied.add(frame, commit, bytes)
      this.noteFrame(frame)
      this.#commits++
      this.#schedule()
      done(null)
      failpoint('commit.done')
    })
    failpoint('journal.after-write')
  }

  /** The journal is full: the commit waits until an apply frees a file. */
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

  /** The reason why this process no longer owns the directory, or null. */
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

  /**
   * The error for a full disk or missing descriptors, if that is the cause; else null. The store continues by itself
   * when the shortage ends.
   */
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
    if (this.unapplied.freshBytes >= this.#options.applyBytes) this.#apply()
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
    const layer = this.unapplied.beginApply()
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
      // On a full disk there is no space to compact either; a later call may succeed. Damage is reported and left as it
      // is.
      if (this.#shortage(error) !== null) return null
      throw isMillraceError(error) ? error : this.#poison(error)
    }
  }

  /** Do work while nothing is applied: after the current apply and before the next one. */
  #between<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#turns.push(() => work().then(resolve, reject))
      if (this.#applying === null) this.#next()
    })
  }

  /** After an apply: the next waiting work, else the commit that waits for space, or the next apply. */
  #next(): void {
    const turn = this.#turns.shift()
    if (turn === undefined) {
      this.#resume()
      if (this.unapplied.freshBytes > 0) this.#schedule()
      return
    }
    this.#applying = turn().then(() => {
      this.#applying = null
      this.#next()
    })
  }

  async backup(target: string): Promise<BackupSummary> {
    const backup = new DirectoryBackup(this.#fs, this.#directory, target)
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
      // A commit in progress cannot be applied yet.
      await new Promise<void>((resolve) => nextTurn(resolve))
      this.#apply()
      kept = await this.#between(copyIndex)
    }
    try {
      await backup.copySegments(kept.segments)
      return backup.finish(this.#formatId)
    } finally {
      kept.release()
    }
  }

  #applied(sequence: number): void {
    this.#applying = null
    this.#full = null
    this.unapplied.applied()
    this.#journal.applied(sequence)
    this.#options.failpoint('apply.after-recycle')
    this.#next()
  }

  /** An apply failed: its layer stays in the journal and in memory, and is tried again. */
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
    return {
      ...{ unappliedBytes: this.unapplied.bytes, journalFull: this.#waiting !== null },
      ...{ storedBytes: this.#applier.bytes, commits: this.#commits },
    }
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
