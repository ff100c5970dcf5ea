/**
 * The circuit breaker of one instance of a consumer. After too many failed attempts it opens: the instance takes no
 * events, so a dependency that is down costs no attempts. After a wait it is half open: one event is a probe. If the
 * probe is handled, the circuit closes; if it fails, the circuit opens again for twice the time.
 *
 * Each instance has its own circuit, which begins closed and is kept in memory. An attempt counts as failed when its
 * handler threw or passed its time limit. A rejected or undecodable event, and `ctx.retryAfter`, say nothing about the
 * dependency and do not count.
 */
import type { Clock } from '../base/clock.ts'
import type { AlarmList } from '../broker/alarm-list.ts'
import type { Delivery } from '../broker/engine.ts'
import type { Failure } from '../broker/failure.ts'
import type { ConsumerReport } from './consumer-report.ts'
import type { BreakerPlan } from './plan.ts'

/** The outcome of an attempt, as far as it says something about what the handler depends on. */
export type AttemptOutcome = 'handled' | 'failed' | 'neither'

export interface BreakerHost {
  readonly clock: Clock
  readonly alarms: AlarmList
  readonly report: ConsumerReport
  /** Take no events, and say why. Take events again for null. */
  hold(why: string | null): void
}

/** Instances of one consumer in one process have an alarm each. */
let breakers = 0

export class CircuitBreaker {
  readonly #consumer: string
  readonly #plan: BreakerPlan
  readonly #host: BreakerHost
  #state: 'closed' | 'open' | 'half open' = 'closed'
  #inARow = 0
  /** The last outcomes, 1 for a failure, as a ring. */
  readonly #last: Uint8Array
  #at = 0
  #seen = 0
  #failedOfLast = 0
  /** The event that is tried while the circuit is half open. */
  #probe: Delivery | null = null
  #waitMs: number
  #why = ''
  readonly #alarm: string
  #cancel: () => void = () => undefined

  constructor(consumer: string, plan: BreakerPlan, host: BreakerHost) {
    this.#consumer = consumer
    this.#plan = plan
    this.#host = host
    this.#waitMs = plan.waitMs
    this.#last = new Uint8Array(plan.rate?.of ?? 0)
    this.#alarm = `circuit ${consumer} ${++breakers}`
  }

  get state(): 'closed' | 'open' | 'half open' {
    return this.#state
  }

  /** Whether the event may be handled now. If not, it is handed back. */
  admits(delivery: Delivery): boolean {
    if (this.#state === 'closed') return true
    if (this.#state === 'open' || this.#probe !== null) return false
    this.#probe = delivery
    this.#host.hold(this.#why)
    return true
  }

  /** An attempt has ended. */
  ended(delivery: Delivery, outcome: AttemptOutcome, failure: Failure | null): void {
    if (this.#state === 'closed') {
      if (outcome !== 'neither') this.#count(outcome === 'failed', failure)
      return
    }
    if (this.#probe !== delivery) return
    this.#probe = null
    if (outcome === 'handled') this.#close()
    else if (outcome === 'failed') {
      this.#waitMs = Math.min(this.#waitMs * 2, this.#plan.maxMs)
      this.#open(`its probe failed: ${textOf(failure)}`)
    } else this.#host.hold(null)
  }

  /** The delivery is no longer in hand. If it was a probe without an outcome, the next event is one. */
  gone(delivery: Delivery): void {
    this.ended(delivery, 'neither', null)
  }

  stop(): void {
    this.#cancel()
    this.#host.alarms.end(this.#alarm)
  }

  #count(failed: boolean, failure: Failure | null): void {
    this.#inARow = failed ? this.#inARow + 1 : 0
    const { rate, failures } = this.#plan
    if (rate !== null) {
      this.#failedOfLast += Number(failed) - (this.#last[this.#at] as number)
      this.#last[this.#at] = Number(failed)
      this.#at = (this.#at + 1) % rate.of
      this.#seen = Math.min(this.#seen + 1, rate.of)
    }
    if (!failed) return
    if (this.#inARow >= failures)
      this.#open(`${this.#inARow} attempt(s) failed in a row, the last one with: ${textOf(failure)}`)
    else if (rate !== null && this.#seen === rate.of && this.#failedOfLast >= rate.share * rate.of)
      this.#open(`${this.#failedOfLast} of the last ${rate.of} attempts failed, the last one with: ${textOf(failure)}`)
  }

  #open(why: string): void {
    const { clock, alarms, report } = this.#host
    this.#state = 'open'
    this.#why = why
    this.#host.hold(why)
    alarms.raise(
      'CIRCUIT_OPEN',
      `an instance of consumer "${this.#consumer}" takes no events, because its circuit breaker is open: ${why}. It tries one event after each wait`,
      this.#alarm,
    )
    report.circuit('opened', why, this.#waitMs)
    this.#cancel = clock.after(this.#waitMs, () => {
      this.#state = 'half open'
      this.#host.hold(null)
    })
  }

  #close(): void {
    this.#state = 'closed'
    this.#waitMs = this.#plan.waitMs
    this.#inARow = 0
    this.#last.fill(0)
    this.#seen = 0
    this.#failedOfLast = 0
    this.#host.alarms.end(this.#alarm)
    this.#host.report.circuit('closed', null, 0)
    this.#host.hold(null)
  }
}

/** The kind of error only: its message may quote an event, and an alarm has many readers. */
function textOf(failure: Failure | null): string {
  if (failure === null) return 'an error'
  return failure.code === undefined ? failure.name : `${failure.name} (${failure.code})`
}

/** What a failed attempt says about what the handler depends on. */
export function outcomeOf({ kind }: Failure, asked: boolean): AttemptOutcome {
  return !asked && (kind === 'error' || kind === 'timeout') ? 'failed' : 'neither'
}
