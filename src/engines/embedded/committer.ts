/**
 * Group commit: everything that is published, completed, emitted and scheduled while one commit runs is in the next
 * commit.
 *
 * Invariants:
 * - At most one commit is in flight. Nobody is told of a change before the store says that it is durable.
 * - A completion, the events emitted with it and its timers are in one frame (clause 12), because they are handed over
 *   in one turn of the event loop.
 * - When the disk is full, or the process has no file descriptor left, publishes are refused with DISK_FULL or
 *   TOO_MANY_FILES. Changes that cannot be refused (completions, emissions, due events, trims of retention) are kept in
 *   order for the next try. After the store has failed, nothing is accepted.
 */

import type { Clock } from '../../base/clock.ts'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { clearRealTimeout, nextTick, nextTurn, realNowMs, realTimeout } from '../../base/timers.ts'
import { WorkTimes } from '../../base/work-times.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { PublishWaiter } from '../../broker/engine.ts'
import type { PublishLoad } from '../../broker/publish-load.ts'
import type { RecordChange, RecordSource } from '../../delivery/cursor-host.ts'
import { type Block, encodeBlock } from '../../event/block.ts'
import { textSize } from '../../event/event-in-block.ts'
import { Carried, type ChannelLog, CONTINUES } from './channel-log.ts'
import { blocksOf } from './commit-blocks.ts'
import { FreshBlock } from './fresh-block.ts'
import type { Store } from './store.ts'

interface Part {
  readonly log: ChannelLog
  /** One block; several if events arrived in blocks, or keep the times at which another engine stored them. */
  readonly blocks: readonly Block[]
  readonly events: EncodedEvent[]
  readonly waiters: (PublishWaiter | null)[]
}

interface Commit {
  readonly parts: readonly Part[]
  readonly records: RecordChange[]
  readonly trims: readonly Trim[]
  readonly settled: readonly Settling[]
}

interface Trim {
  readonly channelId: number
  readonly beforeOffset: number
}

/** A call that waits until everything before it is durable. */
interface Settling {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  /** After this time (of `performance.now`), the call does not wait for a full disk any longer. */
  readonly untilMs: number
}

/** Overwrites the events in the arrays of a commit that has ended. */
const GONE: EncodedEvent = { id: '', type: '', key: null, text: '' }

/** The delay of a lazy commit, and the delay before another try on a full disk. */
const LAZY_MS = 1
const FULL_RETRY_MS = 200
/** The longest time that a call which closes something waits for a full disk. */
const LEAVING_MS = 1000

export interface CommitterHooks {
  /** Nothing can be stored at the moment (DISK_FULL, TOO_MANY_FILES); null: storing works again. */
  alarm(error: Error | null): void
  /** The store has failed. This engine takes no more writes. */
  failed(error: Error): void
}

export class Committer {
  readonly #store: Store<Block>
  readonly #clock: Clock
  readonly #hooks: CommitterHooks
  #logs: ChannelLog[] = []
  #records: RecordChange[] = []
  #trims: Trim[] = []
  readonly #sources = new Set<RecordSource>()
  #settled: Settling[] = []
  #pendingBytes = 0
  readonly #times = new WorkTimes()
  #inFlight: Commit | null = null
  #scheduled = false
  #lazyTimer: NodeJS.Timeout | null = null
  #full: Error | null = null
  #retryTimer: NodeJS.Timeout | null = null
  #failure: Error | null = null

  constructor(store: Store<Block>, clock: Clock, hooks: CommitterHooks) {
    this.#store = store
    this.#clock = clock
    this.#hooks = hooks
  }

  /**
   * Refuses a publish if it cannot be accepted. Called before anything is allocated for an event.
   * @throws BACKPRESSURE · STORE_FAILED
   */
  admit(): void {
    if (this.#failure !== null) throw this.#failure
    if (this.#pendingBytes > LIMITS.pendingBytesMax) throw this.#tooMuch()
  }

  /** Accept an event that can be refused: `waiter` gets the error. */
  publish(log: ChannelLog, event: EncodedEvent, waiter: PublishWaiter): number {
    return this.#append(log, event, waiter)
  }

  /** Accept an event that cannot be refused, because it belongs to other changes of this turn. */
  append(log: ChannelLog, event: EncodedEvent): number {
    return this.#append(log, event, null)
  }

  #append(log: ChannelLog, event: EncodedEvent, waiter: PublishWaiter | null): number {
    if (log.pending.length === 0) {
      this.#logs.push(log)
      log.pendingMs = this.#clock.now()
    }
    this.#pendingBytes += textSize(event)
    this.#soon()
    return log.push(event, waiter)
  }

  /** Write a record (null deletes) with the next commit. */
  record(key: string, value: Uint8Array | null): void {
    this.#records.push([key, value])
    this.#soon()
  }

  /** Allow the store to delete the events below an offset. */
  trim(channelId: number, beforeOffset: number): void {
    this.#trims.push({ channelId, beforeOffset })
    this.#lazily()
  }

  /** The source has changes. They are in the next commit, which may wait up to `LAZY_MS` for other changes. */
  touch(source: RecordSource): void {
    this.#sources.add(source)
    this.#lazily()
  }

  /**
   * Resolves when everything handed over so far is durable. If the disk is full, it resolves after there is space
   * again.
   * @throws STORE_FAILED
   */
  flushed(): Promise<void> {
    return this.#settles(Number.POSITIVE_INFINITY)
  }

  /**
   * Like `flushed`, for a call that closes something. It does not wait for ever while the disk is full: it rejects when
   * a commit is refused more than `LEAVING_MS` after the call.
   * @throws STORE_FAILED · DISK_FULL · TOO_MANY_FILES: with the last two, the changes are kept for the next try, and
   * are lost when the process ends
   */
  left(): Promise<void> {
    return this.#settles(realNowMs() + LEAVING_MS)
  }

  #settles(untilMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) reject(this.#failure)
      else {
        this.#settled.push({ resolve, reject, untilMs })
        this.#soon()
      }
    })
  }

  /** The error with which publishes are refused while the disk is full or after the store has failed. */
  get full(): Error | null {
    return this.#failure ?? this.#full
  }

  /** What publishing waits for. */
  get load(): PublishLoad {
    const { underWayMs, meanMs } = this.#times
    const { journalFull } = this.#store.stats()
    return {
      storedBy: this.#store.memory === undefined ? 'memory' : 'disk',
      ...{ waitingBytes: this.#pendingBytes, waitingBytesMax: LIMITS.pendingBytesMax },
      ...{ underWayMs, takesMs: meanMs, journalFull },
    }
  }

  /** Whether something waits for a commit or is in one. */
  get busy(): boolean {
    return (
      this.#inFlight !== null ||
      this.#logs.length > 0 ||
      this.#records.length > 0 ||
      this.#sources.size > 0 ||
      this.#settled.length > 0
    )
  }

  #soon(): void {
    // A caller waits for the next try, so its timer keeps the process alive.
    if (this.#full !== null) this.#retryTimer?.ref()
    if (this.#scheduled || this.#inFlight !== null || this.#full !== null) return
    this.#scheduled = true
    nextTick(() => {
      this.#scheduled = false
      this.#commit()
    })
  }

  #lazily(): void {
    if (this.#lazyTimer !== null || this.#scheduled || this.#inFlight !== null) return
    this.#lazyTimer = realTimeout(() => {
      this.#lazyTimer = null
      this.#commit()
    }, LAZY_MS)
  }

  #commit(): void {
    if (this.#inFlight !== null || this.#failure !== null) return
    if (this.#lazyTimer !== null) {
      clearRealTimeout(this.#lazyTimer)
      this.#lazyTimer = null
    }
    const commit = this.#build()
    const { trims } = commit
    if (commit.parts.length === 0 && commit.records.length === 0 && trims.length === 0) {
      for (const settled of commit.settled) settled.resolve()
      return
    }
    this.#inFlight = commit
    // The latest-by-key records are written with the commit. They are not kept in the commit itself, so they are
    // dropped if it is refused.
    const latest: (readonly [string, Uint8Array])[] = []
    for (const { log, events, blocks } of commit.parts) log.noteLatest(events, (blocks[0] as Block).firstOffset, latest)
    const records = latest.length === 0 ? commit.records : [...commit.records, ...latest]
    const begunMs = this.#times.begin()
    this.#store.commit({ blocks: commit.parts.flatMap((part) => part.blocks), records, trims }, (error) => {
      this.#times.end(begunMs)
      this.#inFlight = null
      if (error === null) this.#committed(commit)
      else this.#refused(commit, error)
    })
  }

  #build(): Commit {
    const parts: Part[] = []
    let budget: number = LIMITS.commitBytesMax
    const left: ChannelLog[] = []
    for (const log of this.#logs) {
      if (budget <= 0) left.push(log)
      else {
        const part = this.#take(log, budget)
        log.committing = part
        for (const event of part.events) budget -= textSize(event)
        parts.push(part)
        if (log.pending.length > 0) left.push(log)
      }
    }
    this.#logs = left
    const records = this.#records
    this.#records = []
    for (const source of this.#sources) source.collect(records)
    this.#sources.clear()
    const trims = this.#trims
    this.#trims = []
    const settled = left.length === 0 ? this.#settled : []
    if (left.length === 0) this.#settled = []
    return { parts, records, trims, settled }
  }

  /** The channel's pending events up to a number of bytes. A batch is never divided. */
  #take(log: ChannelLog, bytesMax: number): Part {
    let { pending: events, waiters } = log
    log.pending = []
    log.waiters = []
    let bytes = 0
    let end = 0
    while (end < events.length && (bytes < bytesMax || waiters[end - 1] === CONTINUES))
      bytes += textSize(events[end++] as EncodedEvent)
    if (end < events.length) {
      log.pending = events.slice(end)
      log.waiters = waiters.slice(end)
      events = events.slice(0, end)
      waiters = waiters.slice(0, end)
    }
    this.#pendingBytes -= bytes
    const firstOffset = log.tail - log.pending.length - events.length
    if (log.carries) {
      log.carries = log.pending.length > 0
      return { log, events, waiters, blocks: this.#blocksByTime(log, firstOffset, events) }
    }
    log.lastTimeMs = Math.max(log.lastTimeMs, this.#clock.now())
    return { log, events, waiters, blocks: blocksOf(log.id, firstOffset, log.lastTimeMs, events, this.#store.memory) }
  }

  /** A block has one time, so a new block begins where the stored time changes. Times never decrease. */
  #blocksByTime(log: ChannelLog, firstOffset: number, events: readonly EncodedEvent[]): Block[] {
    const blocks: Block[] = []
    let from = 0
    for (let at = 0; at < events.length; at++) {
      const timeMs = this.#timeOf(log, events[at] as EncodedEvent)
      if (timeMs > log.lastTimeMs && at > from) {
        blocks.push(encodeBlock(log.id, firstOffset + from, log.lastTimeMs, events.slice(from, at), this.#store.memory))
        from = at
      }
      log.lastTimeMs = Math.max(log.lastTimeMs, timeMs)
    }
    blocks.push(encodeBlock(log.id, firstOffset + from, log.lastTimeMs, events.slice(from), this.#store.memory))
    return blocks
  }

  #timeOf(log: ChannelLog, event: EncodedEvent): number {
    return event instanceof Carried ? event.timeMs : Math.max(log.lastTimeMs, this.#clock.now())
  }

  #committed(commit: Commit): void {
    if (this.#full !== null) {
      this.#full = null
      this.#hooks.alarm(null)
    }
    // The next commit starts before the waiters of this one are called, so that the disk is not idle meanwhile.
    if (this.#logs.length > 0 || this.#records.length > 0 || this.#settled.length > 0) this.#commit()
    else if (this.#sources.size > 0 || this.#trims.length > 0) this.#lazily()
    for (const part of commit.parts) {
      const { log, blocks, waiters } = part
      const [{ firstOffset }] = blocks as [Block]
      log.committed = firstOffset + waiters.length
      if (log.committing === part) log.committing = null
      log.meter.mark(waiters.length, this.#clock.elapsed())
      for (let index = 0; index < waiters.length; index++)
        (waiters[index] as PublishWaiter | null)?.done(firstOffset + index)
    }
    const fresh = offered(commit)
    for (const { log, block } of fresh) for (const listener of log.listeners) listener.onCommitted(block)
    for (const settled of commit.settled) settled.resolve()
    // This runs after the handlers that were called, and after the deliveries that their completions made possible.
    if (fresh.length > 0) nextTurn(letGo, commit.parts, fresh)
    else letGo(commit.parts, fresh)
  }

  #refused(commit: Commit, error: Error): void {
    const passing = error instanceof MillraceError && error.retryable
    const waiting: PublishWaiter[] = []
    const kept: [ChannelLog, EncodedEvent[]][] = []
    for (const log of new Set([...commit.parts.map((part) => part.log), ...this.#logs]))
      kept.push([log, this.#takeBack(log, commit, waiting)])
    this.#logs = []
    if (passing) {
      this.#full = error
      this.#records = [...commit.records, ...this.#records]
      this.#trims = [...commit.trims, ...this.#trims]
      for (const [log, events] of kept) for (const event of events) this.#append(log, event, null)
      const settled = [...commit.settled, ...this.#settled]
      const nowMs = realNowMs()
      this.#settled = settled.filter(({ untilMs }) => untilMs > nowMs)
      for (const { untilMs, reject } of settled) if (untilMs <= nowMs) reject(error)
      this.#hooks.alarm(error)
      this.#retryLater()
    } else {
      this.#failure = error
      this.#hooks.failed(error)
      for (const settled of [...commit.settled, ...this.#settled.splice(0)]) settled.reject(error)
    }
    for (const waiter of waiting) waiter.fail(error)
  }

  /**
   * Undo what is not durable in a channel. Waiters are added to `waiting`; events that cannot be refused are returned.
   */
  #takeBack(log: ChannelLog, commit: Commit, waiting: PublishWaiter[]): EncodedEvent[] {
    const part = commit.parts.find((candidate) => candidate.log === log)
    const events = [...(part?.events ?? []), ...log.pending]
    const waiters = [...(part?.waiters ?? []), ...log.waiters]
    for (const event of log.pending) this.#pendingBytes -= textSize(event)
    log.pending = []
    log.waiters = []
    log.committing = null
    log.tail = log.committed
    for (const waiter of waiters) if (waiter !== null) waiting.push(waiter)
    return events.filter((_, index) => waiters[index] === null)
  }

  #retryLater(): void {
    const timer = realTimeout(() => {
      if (this.#full !== null) this.#commit()
    }, FULL_RETRY_MS)
    // The timer keeps the process alive only while a caller waits.
    if (this.#settled.length === 0) timer.unref()
    this.#retryTimer = timer
  }

  #tooMuch(): MillraceError {
    return new MillraceError(
      'BACKPRESSURE',
      `${this.#pendingBytes} bytes of events wait for their commit, more than the ${LIMITS.pendingBytesMax} allowed: await earlier publishes before making more`,
      { pendingBytes: this.#pendingBytes, pendingBytesMax: LIMITS.pendingBytesMax },
    )
  }
}

interface Offered {
  readonly log: ChannelLog
  readonly block: FreshBlock
}

/** The committed events as they were published, for channels that have listeners. */
function offered(commit: Commit): Offered[] {
  const all: Offered[] = []
  for (const { log, blocks, events } of commit.parts) {
    if (log.listeners.size === 0) continue
    for (const { firstOffset, count, timeMs } of blocks) {
      const from = firstOffset - (blocks[0] as Block).firstOffset
      const block = new FreshBlock(firstOffset, timeMs, blocks.length === 1 ? events : events.slice(from, from + count))
      log.offer(block)
      all.push({ log, block })
    }
  }
  return all
}

/**
 * Empties the arrays of a commit that has ended. V8 may have moved the arrays to its old space (it does so with a
 * commit of a thousand channels). There, an array that is only dropped keeps its events alive until the next full
 * garbage collection. That would cost a third of the time of publishing.
 */
function letGo(parts: readonly Part[], fresh: readonly Offered[]): void {
  for (const { log, block } of fresh) log.letGo(block)
  for (const { events, waiters } of parts) {
    events.fill(GONE)
    waiters.fill(null)
  }
}
