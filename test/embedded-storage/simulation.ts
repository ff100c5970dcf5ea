/**
 * A store on a simulated disk, compared with a model, through several runs that end in kills, power cuts and failed
 * syncs. A seed decides everything.
 *
 * After each end, the store has everything that was acknowledged, and the commit in progress completely or not at all.
 * What was found once stays.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMillraceError } from '../../src/base/errors.ts'
import {
  DiskStore,
  type DiskStoreOptions,
  FAILPOINTS,
  type Failpoint,
} from '../../src/engines/embedded/storage/disk-store.ts'
import { INDEX_FILE } from '../../src/engines/embedded/storage/index-file.ts'
import type { Frame, StoredBlock } from '../../src/engines/embedded/store.ts'
import { decodeBlock } from '../../src/event/block.ts'
import { cutIndex, SimulatedDisk } from './simulated-disk.ts'
import { contentOf, Model, randomFrame, randomFrom } from './world.ts'

export const SMALL: DiskStoreOptions = {
  journalFileBytes: 32 * 1024,
  journalFiles: 3,
  applyIntervalMs: 3,
  applyBytes: 40 * 1024,
  segmentFileBytes: 64 * 1024,
}
export const revive = (block: StoredBlock): StoredBlock => decodeBlock(block.channelId, block.bytes)

const STEPS_MAX = 700

export interface SimulationOptions {
  /** A lie of the disk: the simulation must then find a loss. */
  readonly lies?: SimulatedDisk['lies']
}

export class Simulation {
  readonly #random: () => number
  readonly #directory: string
  #disk: SimulatedDisk
  #model = new Model()
  /** The commit for which it is unknown whether it happened. */
  #doubtful: Frame | null = null
  #timers: (() => void)[] = []
  #indexBusy = false
  #indexBefore: Buffer | null = null
  #indexAtDeath: Buffer | null = null
  /** What happened, in a few letters: two runs of a seed have the same trace. */
  trace = ''

  constructor(seed: number, directory: string, { lies = 'nothing' }: SimulationOptions = {}) {
    this.#random = randomFrom(seed * 7919 + 1)
    this.#directory = directory
    this.#disk = new SimulatedDisk(this.#random)
    this.#disk.lies = lies
  }

  get #index(): string {
    return join(this.#directory, INDEX_FILE)
  }

  /** @throws what the store throws when it should open, or an error that says what was lost */
  async run(): Promise<void> {
    const lives = 1 + Math.floor(this.#random() * 4)
    for (let life = 0; life < lives; life++) await this.#live()
    await this.#openAndCheck(null)
  }

  async #live(): Promise<void> {
    const end = this.#random() < 0.6 ? 'cut' : 'kill'
    const disk = this.#disk
    disk.onDeath = () => {
      this.#indexAtDeath ??= this.#readIndex()
    }
    const countdown = 1 + Math.floor(this.#random() * 60)
    const failpoint = this.#deadly(disk, end, countdown)
    if (this.#random() < 0.4) disk.dieAfter(Math.floor(this.#random() * (this.#random() < 0.3 ? 15 : 500)))
    this.trace += `|${end}`
    const store = await this.#openAndCheck(failpoint)
    if (store !== null) {
      await this.#load(store, disk)
      disk.die()
      await store.close().catch(() => undefined)
    }
    this.#after(end, disk)
  }

  /** Open the store and check its content. Returns null if the machine is off. */
  async #openAndCheck(failpoint: ((name: Failpoint) => void) | null): Promise<DiskStore | null> {
    this.#timers = []
    let store: DiskStore
    try {
      const later = (task: () => void): (() => void) => {
        this.#timers.push(task)
        return () => {
          this.#timers = this.#timers.filter((other) => other !== task)
        }
      }
      store = await DiskStore.open(this.#directory, revive, {
        ...SMALL,
        fileSystem: this.#disk,
        later,
        ...(failpoint !== null && { failpoint }),
      })
    } catch (error) {
      if (this.#disk.dead) return null
      throw error
    }
    const found = await contentOf(store, this.#model.first)
    const doubtful = this.#model.clone()
    if (this.#doubtful !== null) doubtful.apply(this.#doubtful)
    // A frame that only trims is not visible until it is applied. If both states match, it may have happened.
    const model = [doubtful, this.#model].find((candidate) => candidate.is(found))
    if (model === undefined)
      throw new Error(
        `what is there is not what was acknowledged: ${this.#model.differenceTo(found)}; ${this.trace.slice(-200)}`,
      )
    // The machine may have died during the opening; nothing then relied on what was found.
    if (!this.#disk.dead) {
      this.#model = model
      this.#doubtful = null
    }
    if (failpoint === null) await this.#close(store)
    return store
  }

  async #close(store: DiskStore): Promise<void> {
    let closed = false
    const closing = store.close().finally(() => {
      closed = true
    })
    while (!closed) {
      this.#disk.endOne()
      await settled()
    }
    await closing
  }

  /** A failpoint that ends the run when it is reached for the n-th time, and that records when the index is busy. */
  #deadly(disk: SimulatedDisk, end: 'cut' | 'kill', countdown: number): (name: Failpoint) => void {
    const where = FAILPOINTS[Math.floor(this.#random() * FAILPOINTS.length * 1.3)]
    let left = where?.startsWith('journal') || where === 'commit.done' ? countdown : 1 + (countdown % 6)
    const torn = this.#random() < 0.5
    return (name) => {
      if (name === 'apply.after-segment' || name === 'rewrite.after-segment') {
        // LMDB's error for a failed transaction, of which nothing happened.
        if (disk.faults.indexFull) throw Object.assign(new Error('no space left, simulated'), { code: 28 })
        this.#indexBusy = true
        this.#indexBefore = this.#readIndex()
      }
      if (name === 'apply.after-index') this.#indexBusy = false
      if (disk.dead || name !== where || --left > 0) return
      if (name === 'apply.after-index' && end === 'cut' && torn && this.#indexBefore !== null)
        this.#indexAtDeath = cutIndex(this.#indexBefore, readFileSync(this.#index), this.#random)
      disk.die()
    }
  }

  async #load(store: DiskStore, disk: SimulatedDisk): Promise<void> {
    let committing = false
    const commit = (): void => {
      committing = true
      const frame = randomFrame(this.#random, this.#model)
      this.#doubtful = frame
      store.commit(frame, (error) => {
        committing = false
        if (disk.dead) return
        this.trace += error === null ? 'c' : `(${(error as { readonly code?: string }).code})`
        if (error === null) this.#model.apply(frame)
        else if (!isMillraceError(error) || !error.retryable) {
          disk.die()
          return
        }
        this.#doubtful = null
      })
    }
    for (let step = 0; step < STEPS_MAX && !disk.dead; step++) {
      if (!committing && this.#random() < 0.7) commit()
      const fault = this.#random()
      if (fault < 0.004) disk.faults.room = Math.floor(this.#random() * 20_000)
      else if (fault < 0.008) disk.faults.indexFull = true
      else if (fault < 0.012) disk.faults.noFiles = true
      else if (fault < 0.042)
        Object.assign(disk.faults, { room: Number.POSITIVE_INFINITY, indexFull: false, noFiles: false })
      if (this.#random() < 0.001) disk.faults.failSyncs = 1
      if (this.#random() < 0.01) {
        // Blocks replace themselves, which must change nothing.
        const channelId = 1 + Math.floor(this.#random() * 3)
        void store
          .compact(
            channelId,
            0,
            store.bounds(channelId).next,
            1 + Math.floor(this.#random() * 30_000),
            (blocks) => blocks,
          )
          .catch(() => undefined)
      }
      // Extents move, with everything in them.
      if (this.#random() < 0.03)
        void store
          .compact(1 + Math.floor(this.#random() * 3), 0, Number.POSITIVE_INFINITY, 20_000, (blocks) => blocks)
          .catch(() => undefined)
      await this.#step(disk)
    }
  }

  /** Let one thing happen, and what follows at once. */
  async #step(disk: SimulatedDisk): Promise<void> {
    const timers = this.#random() < 0.15 || disk.pending === 0 ? this.#timers : []
    if (timers.length > 0) {
      this.trace += 't'
      timers.shift()?.()
    } else if (disk.pending > 0) {
      this.trace += 'e'
      disk.endOne()
    }
    await settled()
    while (this.#indexBusy && !disk.dead) await settled()
  }

  #readIndex(): Buffer | null {
    try {
      return readFileSync(this.#index)
    } catch {
      return null
    }
  }

  #after(end: 'cut' | 'kill', disk: SimulatedDisk): void {
    let index = this.#indexAtDeath
    this.#indexAtDeath = null
    this.#indexBusy = false
    this.#indexBefore = null
    if (end === 'cut' && !disk.indexSynced && index !== null) {
      const fate = this.#random()
      index =
        fate < 0.3
          ? null
          : fate < 0.5
            ? Buffer.alloc(0)
            : fate < 0.7
              ? index.subarray(0, Math.floor(this.#random() * index.length))
              : index
    }
    rmSync(`${this.#index}-lock`, { force: true })
    if (index === null) rmSync(this.#index, { force: true })
    else writeFileSync(this.#index, index)
    this.#disk = end === 'cut' ? disk.afterCut() : disk.afterKill()
  }
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
}
