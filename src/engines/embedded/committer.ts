/**
 * Group commit: what was published, completed, emitted and scheduled while one commit runs goes out together in the next.
 *
 * Invariants:
 * - At most one commit is in flight. Nobody is told of anything before the store says that it is durable.
 * - A completion, the events emitted with it and its timers are in one frame (clause 12): they are put in here within one turn.
 * - When the disk is full, or the process has no file descriptor left, publishes are refused with DISK_FULL or
 *   TOO_MANY_FILES; what may not be refused (completions, emissions, due events, what retention lets go) is kept, in
 *   order, for the next try. When the store has failed, nothing is accepted any more.
 */

import type { Clock } from '../../base/clock.ts'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { clearRealTimeout, nextTick, nextTurn, realNowMs, realTimeout } from '../../base/timers.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { PublishWaiter } from '../../broker/engine.ts'
import type { RecordChange, RecordSource } from '../../delivery/cursor-host.ts'
import { type Block, encodeBlock } from '../../event/block.ts'
import { textSize } from '../../event/event-in-block.ts'
import { Carried, type ChannelLog, CONTINUES } from './channel-log.ts'
import { blocksOf } from './commit-blocks.ts'
import { FreshBlock } from './fresh-block.ts'
import type { Store } from './store.ts'

interface Part {
  readonly log: ChannelLog
  /** One, but where events came in blocks, or keep the times at which they were stored elsewhere. */
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

/** A call that waits for everything so far to be durable. */
interface Settling {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  /** From this time on (of `performance.now`) it waits no longer for room. */
  readonly untilMs: number
}

/** Stands where a commit had an event. */
const GONE: EncodedEvent = { id: '', type: '', key: null, text: '' }

/** Wait before a lazy commit, and before trying again on a full disk. */
const LAZY_MS = 1
const FULL_RETRY_MS = 200
/** A call that closes something waits for room at most for this time. */
const LEAVING_MS = 1000

export interface CommitterHooks {
  /** Nothing can be stored for now (DISK_FULL, TOO_MANY_FILES), or it can again (null). */
  alarm(error: Error | null): void
  /** The store failed for good. */
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

  /** Whether publishing may go on. Asked before anything is made for an event. @throws BACKPRESSURE · STORE_FAILED */
  admit(): void {
    if (this.#failure !== null) throw this.#failure
    if (this.#pendingBytes > LIMITS.pendingBytesMax) throw this.#tooMuch()
  }

  /** Accept an event that may be refused: somebody waits for it. */
  publish(log: ChannelLog, event: EncodedEvent, waiter: PublishWaiter): number {
    return this.#append(log, event, waiter)
  }

  /** Accept an event that may not be refused: it goes with other changes of this turn. */
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

  /** Events below an offset may be deleted. */
  trim(channelId: number, beforeOffset: number): void {
    this.#trims.push({ channelId, beforeOffset })
    this.#lazily()
  }

  /** The source has changes: they go with the next commit, which may wait a moment for company. */
  touch(source: RecordSource): void {
    this.#sources.add(source)
    this.#lazily()
  }

  /** Resolves when everything put in so far is durable. On a full disk that is when there is room again. */
  flushed(): Promise<void> {
    return this.#settles(Number.POSITIVE_INFINITY)
  }

  /**
   * The same for a call that closes something: it ends also where the disk stays full.
   * @throws DISK_FULL · TOO_MANY_FILES: what was put in is kept for the next try, and is lost with the process
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

  /** The error with which publishes are refused while the disk is full, or the store failed. */
  get full(): Error | null {
    return this.#failure ?? this.#full
  }

  /** Whether anything waits for a commit, or is in one. */
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
    // Somebody waits for the next try.
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
    // What is the latest of its key is so with the commit itself. They are no changes of the commit's own: a refused event is the latest of none.
    const latest: (readonly [string, Uint8Array])[] = []
    for (const { log, events, blocks } of commit.parts) log.noteLatest(events, (blocks[0] as Block).firstOffset, latest)
    const records = latest.length === 0 ? commit.records : [...commit.records, ...latest]
    this.#store.commit({ blocks: commit.parts.flatMap((part) => part.blocks), records, trims }, (error) => {
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

  /** The channel's pending events, up to a number of bytes, but whole batches. */
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

  /** A block has one time: a new one begins where events were stored at another. Times never go back. */
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
    // The next commit starts before anyone is told of this one, so that the disk is not idle meanwhile.
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
    // After the handlers that were called, and what their completions made room for.
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

  /** Undo what of a channel is not durable: who waits is to be told, what may not be refused is answered. */
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
    // It keeps the process alive only while somebody waits.
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

/** What was committed, for who listens to its channel, as it was published. */
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
 * The commit is over. Its arrays are emptied and not only left: where V8 keeps them in its old space, as it does with what it has often seen to live
 * long (a commit of a thousand channels does), each would keep its events alive until the next full collection of garbage, a third of the cost of publishing.
 */
function letGo(parts: readonly Part[], fresh: readonly Offered[]): void {
  for (const { log, block } of fresh) log.letGo(block)
  for (const { events, waiters } of parts) {
    events.fill(GONE)
    waiters.fill(null)
  }
}
