/**
 * The loop of a relay: with the lease, it fetches events after its cursors, publishes them, holds those that fail, and
 * stores how far it is. Nothing is taken as published before the broker has said so, and cursors advance only after
 * that.
 *
 * It looks again at once while there is more, soon after a hint that something was put in, and ever later while nothing
 * comes.
 */
import { randomUUID } from 'node:crypto'
import { LIMITS } from '../../base/limits.ts'
import { messageOf } from '../../base/thrown.ts'
import { clearRealTimeout, realTimeout } from '../../base/timers.ts'
import type { BrokerHost } from '../../broker/broker.ts'
import { type AttemptPolicy, afterFailure } from '../../broker/failed-attempt.ts'
import { migrationNeeded } from '../../sql/migration-needed.ts'
import { onHint } from '../outbox/hints.ts'
import type {
  ChannelKey,
  Cursor,
  FetchLimits,
  HeldFailure,
  Holding,
  Lease,
  OutboxEvent,
  OutboxRow,
  OutboxStore,
  Progress,
} from './outbox-store.ts'
import type { RelaySummary, RunningRelay } from './running-relay.ts'
import type { Sender } from './sender.ts'

export interface RelayPlan {
  readonly retry: AttemptPolicy
  readonly leaseMs: number
  readonly pollMs: number
  readonly batch: number
}

/** The shortest wait while nothing comes. */
const POLL_MS_MIN = 5
/** The wait after a hint: the transaction commits soon. */
const HINT_MS = 2
/** How often held events that are due are looked for. */
const HELD_MS = 500
/** How often space is freed. */
const TIDY_MS = 2000
/** Waits after failures of the database or the broker. */
const FAILED_MS_MIN = 20
const FAILED_MS_MAX = 5000
/** Failures in succession before there is an alarm. */
const FAILURES_MIN = 3

export class RelayLoop implements RunningRelay {
  readonly done: Promise<RelaySummary>
  readonly #store: OutboxStore
  readonly #sender: Sender
  readonly #plan: RelayPlan
  readonly #host: BrokerHost
  readonly #relay = randomUUID()
  readonly #alarm = `outbox relay ${this.#relay}`
  readonly #endHints: () => void
  #published = 0
  #dead = 0
  #lease: Lease | null = null
  #renewedAt = 0
  /** Whether the database may differ from what is known here: a call of it has failed. */
  #isStale = false
  #progress: Progress = { n: 0, cursors: new Map() }
  #failures = 0
  #lookedAtHeld = 0
  #tidiedAt = 0
  /** Whether there may be held events. */
  #holding = true
  #waitMs = POLL_MS_MIN
  /** Ends the present wait. */
  #wake: (() => void) | null = null
  /** Shortens the present wait, if it is for new events. */
  #soon: (() => void) | null = null
  /** Lanes that the last fetch had events of. */
  #lanes = 1
  #hinted = false
  #stopping = false
  #end: (summary: RelaySummary) => void = () => undefined

  constructor(store: OutboxStore, sender: Sender, plan: RelayPlan, host: BrokerHost) {
    this.#store = store
    this.#sender = sender
    this.#plan = plan
    this.#host = host
    this.done = new Promise((resolve) => {
      this.#end = resolve
    })
    this.#endHints = onHint(() => {
      this.#hinted = true
      this.#soon?.()
    })
  }

  get active(): boolean {
    return this.#lease !== null
  }

  /** @throws MIGRATION_NEEDED · any error of the database */
  async begin(): Promise<void> {
    try {
      await this.#store.progress()
    } catch (error) {
      this.#endHints()
      throw migrationNeeded(error, 'outbox') ?? error
    }
    void this.#run()
  }

  async stop(): Promise<RelaySummary> {
    this.#stopping = true
    this.#wake?.()
    return this.done
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      let waitMs: number
      try {
        waitMs = await this.#turn()
        this.#succeeded()
      } catch (error) {
        waitMs = this.#failed(error)
      }
      const forEvents = this.#failures === 0 && this.#lease !== null
      if (waitMs > 0 && !this.#stopping) await this.#pause(forEvents && this.#hinted ? HINT_MS : waitMs, forEvents)
    }
    this.#endHints()
    this.#host.alarms.end(this.#alarm)
    if (this.#lease !== null) await this.#store.release(this.#lease).catch(() => undefined)
    this.#lease = null
    this.#end({ published: this.#published, deadLettered: this.#dead })
  }

  /** One turn of the loop. Returns how long to wait before the next one. */
  async #turn(): Promise<number> {
    if (!(await this.#leased())) return this.#plan.leaseMs / 3
    if (this.#isTime(this.#lookedAtHeld, HELD_MS)) {
      await this.#tryHeld()
      this.#lookedAtHeld = performance.now()
      if (this.#lease === null) return 0
    }
    this.#hinted = false
    const rows = await this.#store.fetch(this.#progress.cursors, this.#limits())
    this.#lanes = Math.max(1, new Set(rows.map(({ lane }) => lane)).size)
    if (rows.length > 0) {
      await this.#relayed(rows)
      this.#waitMs = POLL_MS_MIN
      return 0
    }
    if (this.#isTime(this.#tidiedAt, TIDY_MS)) {
      await this.#store.tidy(this.#progress.cursors)
      this.#tidiedAt = performance.now()
    }
    if (this.#hinted) this.#waitMs = POLL_MS_MIN
    const waitMs = this.#waitMs
    this.#waitMs = Math.min(this.#waitMs * 2, this.#plan.pollMs)
    return waitMs
  }

  /** Few lanes have events at a time, or many: what one fetch reads is about one batch. */
  #limits(): FetchLimits {
    const { batch: rows } = this.#plan
    return { perLane: Math.ceil(rows / this.#lanes), rows, bytes: LIMITS.batchBytesMax }
  }

  #isTime(lastMs: number, everyMs: number): boolean {
    return performance.now() - lastMs >= everyMs
  }

  /**
   * Take or renew the lease. Progress is read after it: until the lease is taken, the relay before may move it, and
   * later the database may go back, as one does that is restored or lost its last commits.
   */
  async #leased(): Promise<boolean> {
    if (this.#lease !== null && !this.#isStale && !this.#isTime(this.#renewedAt, this.#plan.leaseMs / 3)) return true
    const at = performance.now()
    this.#lease = await this.#store.lease(this.#relay, this.#plan.leaseMs)
    this.#renewedAt = at
    if (this.#lease === null) return false
    this.#progress = await this.#store.progress()
    this.#isStale = false
    this.#holding = true
    return true
  }

  /** Publish these events, and store it. */
  async #relayed(rows: readonly OutboxRow[]): Promise<void> {
    const { n, cursors: before } = this.#progress
    const parked = await this.#parked(rows)
    const isParked = ({ channel, key }: OutboxRow): boolean => key !== null && parked.has(keyText({ channel, key }))
    if (this.#isOver()) return this.#lost()
    const sent = await this.#sender.send(parked.size === 0 ? rows : rows.filter((row) => !isParked(row)))
    const held = [
      ...sent.failed.map(({ event, failure }) => ({ ...event, ...this.#afterFailure(event, 0, failure) })),
      ...[...sent.behind, ...rows.filter(isParked)].map((row) => ({ ...row, ...BEHIND })),
    ]
    // In the order in which they were put in: the table numbers them.
    held.sort(byPlace)
    const cursors = new Map<number, Cursor>(before)
    for (const { lane, cursor } of rows) cursors.set(lane, cursor)
    const stored = await this.#store.advance(this.#held(), n, cursors, held)
    if (stored === null) return this.#lost()
    this.#progress = { n: stored, cursors }
    this.#published += sent.published.length
    if (held.length > 0) this.#holding = true
  }

  /** The keys of the rows of which an event is held. */
  async #parked(rows: readonly OutboxRow[]): Promise<ReadonlySet<string>> {
    if (!this.#holding) return new Set()
    const keys = new Map<string, ChannelKey>()
    for (const { channel, key } of rows) if (key !== null) keys.set(keyText({ channel, key }), { channel, key })
    return new Set((await this.#store.heldOf([...keys.values()])).map(keyText))
  }

  async #tryHeld(): Promise<void> {
    for (;;) {
      const due = await this.#store.due(this.#limits())
      if (due.length === 0) return
      if (this.#isOver()) return this.#lost()
      const sent = await this.#sender.send(due)
      const failed = sent.failed.map(({ event, failure }) => ({
        ...event,
        ...this.#afterFailure(event, event.attempts, failure),
      }))
      if (!(await this.#store.settle(this.#held(), sent.published, failed))) return this.#lost()
      this.#published += sent.published.length
      if (this.#stopping) return
    }
  }

  #afterFailure(event: OutboxEvent, attemptsBefore: number, failure: HeldFailure): Holding {
    const attempts = attemptsBefore + 1
    const after = afterFailure(attempts, { kind: 'error' }, this.#plan.retry, { random: this.#host.random })
    if (after.became === 'retried') return { state: 'retry', attempts, delayMs: after.delayMs, failure }
    this.#dead++
    this.#host.log.write('error', 'an event of the outbox is a dead letter', {
      channel: event.channel,
      event: event.id,
      error: failure.message,
    })
    return { state: 'dead', attempts, delayMs: 0, failure }
  }

  #held(): Lease {
    if (this.#lease === null) throw new Error('the relay has no lease')
    return this.#lease
  }

  /** Whether the lease has ended meanwhile, as after a stop of this process: another relay may publish now. */
  #isOver(): boolean {
    return this.#isTime(this.#renewedAt, this.#plan.leaseMs)
  }

  /** Another relay has taken over, or the database has gone back. The lease is asked for again. */
  #lost(): void {
    this.#lease = null
  }

  #succeeded(): void {
    if (this.#failures >= FAILURES_MIN) this.#host.alarms.end(this.#alarm)
    this.#failures = 0
  }

  /** What the database has now is not known: with the lease, progress is read again. */
  #failed(error: unknown): number {
    this.#isStale = true
    this.#failures++
    if (this.#failures === FAILURES_MIN) {
      const message = `the outbox relay cannot go on, and tries again: ${messageOf(error)}`
      this.#host.alarms.raise('UNAVAILABLE', message, this.#alarm)
    }
    return Math.min(FAILED_MS_MIN * 2 ** Math.min(this.#failures - 1, 20), FAILED_MS_MAX)
  }

  /** Wait. A hint shortens a wait for new events, and stop() ends every wait. */
  #pause(ms: number, forEvents: boolean): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearRealTimeout(timer)
        this.#wake = null
        this.#soon = null
        resolve()
      }
      let timer = realTimeout(end, ms)
      this.#wake = end
      if (forEvents) {
        this.#soon = () => {
          this.#soon = null
          clearRealTimeout(timer)
          timer = realTimeout(end, HINT_MS)
        }
      }
    })
  }
}

const BEHIND: Holding = { state: 'behind', attempts: 0, delayMs: 0, failure: null }

function keyText({ channel, key }: ChannelKey): string {
  return `${channel}\0${key}`
}

function byPlace(a: OutboxRow, b: OutboxRow): number {
  return a.cursor.pos - b.cursor.pos || a.cursor.seq - b.cursor.seq
}
