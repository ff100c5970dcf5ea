/**
 * Clause 4: the time limit of handlers. After it the attempt has failed and the signal aborts. The delivery stays in
 * hand until the handler has ended. A handler that still runs for the consumer's `stall` after its limit raises an
 * alarm, which lasts until the handler ends.
 */
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import type { AlarmList } from '../broker/alarm-list.ts'
import type { ConsumerReport } from './consumer-report.ts'
import { failureOf } from './failure.ts'
import type { DeliveryContext } from './handler-context.ts'
import type { ConsumerPlan } from './plan.ts'
import { TimeLimits } from './time-limits.ts'

/** A handler that runs: for one event, or for a batch. */
type Run = DeliveryContext | readonly DeliveryContext[]

export class HandlerWatch {
  readonly #plan: ConsumerPlan
  readonly #timeoutMs: number
  readonly #alarms: AlarmList
  readonly #report: ConsumerReport
  readonly #limits: TimeLimits<Run>
  /** Handlers that have passed their limit and still run. */
  readonly #hanging: TimeLimits<Run>
  readonly #alarmed = new Map<Run, string>()

  constructor(plan: ConsumerPlan, timeoutMs: number, clock: Clock, alarms: AlarmList, report: ConsumerReport) {
    this.#report = report
    this.#plan = plan
    this.#timeoutMs = timeoutMs
    this.#alarms = alarms
    this.#limits = new TimeLimits(timeoutMs, clock, (run) => this.#expire(run))
    this.#hanging = new TimeLimits(plan.stallMs, clock, (run) => this.#alarm(run))
  }

  /** The handler is about to be called. */
  begin(run: Run): void {
    this.#limits.begin(run)
  }

  /**
   * The limit includes what comes before the handler: a schema that validates asynchronously may never answer. Rejects
   * if the limit has passed, or the delivery was taken away.
   */
  during<Result>(context: DeliveryContext, work: Promise<Result>): Promise<Result> {
    this.begin(context)
    return work.then((result) => {
      context.refuseAborted()
      this.end(context)
      return result
    })
  }

  /** The handler has ended, or its delivery was taken away. */
  end(run: Run): void {
    this.#limits.end(run)
    this.#hanging.end(run)
    const alarm = this.#alarmed.get(run)
    if (alarm === undefined) return
    this.#alarmed.delete(run)
    this.#alarms.end(alarm)
  }

  stop(): void {
    this.#limits.stop()
    this.#hanging.stop()
    for (const run of [...this.#alarmed.keys()]) this.end(run)
  }

  #expire(run: Run): void {
    this.#hanging.begin(run)
    for (const context of contextsOf(run)) {
      const { channel, offset } = context
      const error = new MillraceError('HANDLER_TIMEOUT', `the handler took longer than ${this.#timeoutMs} ms`, {
        offset,
        channel,
      })
      context.timedOut = error
      context.abort(error)
      this.#report.timedOut(context.delivery, error, failureOf(error))
    }
  }

  #alarm(run: Run): void {
    const [first, ...others] = contextsOf(run)
    if (first === undefined) return
    const { channel, offset, key } = first
    const events = `the event at offset ${offset} of "${channel}"${others.length > 0 ? ` and ${others.length} more` : ''}`
    const held = key === null ? 'its slot' : `its slot and key "${key}"`
    const name = `hanging ${this.#plan.name} ${channel} ${offset}`
    this.#alarmed.set(run, name)
    this.#alarms.raise(
      'HANDLER_TIMEOUT',
      `a handler of consumer "${this.#plan.name}" still runs ${this.#plan.stallMs} ms after its time limit of ${this.#timeoutMs} ms: ` +
        `it has ${events}, and keeps ${held} until it ends; end the handler when ctx.signal aborts`,
      name,
    )
  }
}

function contextsOf(run: Run): readonly DeliveryContext[] {
  return Array.isArray(run) ? run : [run as DeliveryContext]
}
