/**
 * Reports the failures of a consumer: a line in the log, and a call of the application's hooks. If a hook fails, that
 * is a line in the log, and nothing else changes.
 */
import { messageOf, watchAnswer } from '../base/thrown.ts'
import type { EventAttempt } from '../broker/engine.ts'
import type { AfterFailure } from '../broker/failed-attempt.ts'
import type { Failure } from '../broker/failure.ts'
import type { Log } from '../broker/log.ts'
import type { LogFields } from '../broker/logger.ts'
import type { ConsumerHooks, FailedAttempt } from './consumer-types.ts'
import type { ConsumerPlan } from './plan.ts'

/** The log groups failures by the first characters of their message. */
const KIND_CHARS = 100

/** The consumer that is reported. */
export type ReportedConsumer = Pick<ConsumerPlan, 'name' | 'hooks'> & {
  readonly retry: Pick<ConsumerPlan['retry'], 'attempts'>
}

export class ConsumerReport {
  readonly #plan: ReportedConsumer
  readonly #log: Log
  readonly #nowMs: () => number

  constructor(plan: ReportedConsumer, log: Log, nowMs: () => number) {
    this.#plan = plan
    this.#log = log
    this.#nowMs = nowMs
  }

  /** The attempt has failed. `settled` is called for its consequence, now or when the handler has ended. */
  failed(delivery: EventAttempt, error: unknown, failure: Failure): void {
    this.#call('failed', () => this.#attempt(delivery, error, failure))
  }

  /** The time limit has passed, and the handler still runs. */
  timedOut(delivery: EventAttempt, error: unknown, failure: Failure): void {
    this.failed(delivery, error, failure)
    this.#log.repeated('warn', `timeout ${this.#kindOf(delivery, failure)}`, () => [
      'a handler has passed its time limit: the next attempt waits until it has ended',
      this.#fieldsOf(delivery, failure),
    ])
  }

  settled(delivery: EventAttempt, error: unknown, failure: Failure, after: AfterFailure): void {
    if (after.became === 'retried') {
      const nextAttemptAt = new Date(this.#nowMs() + after.delayMs)
      this.#call('retried', () => ({
        ...this.#attempt(delivery, error, failure),
        delayMs: after.delayMs,
        nextAttemptAt,
      }))
      this.#log.repeated('warn', `retry ${this.#kindOf(delivery, failure)}`, () => [
        'an attempt failed, and is tried again',
        { ...this.#fieldsOf(delivery, failure), next: nextAttemptAt.toISOString() },
      ])
    } else {
      this.#call('dead', () => this.#attempt(delivery, error, failure))
      const message =
        failure.kind === 'rejected' || failure.kind === 'poison'
          ? 'an event is a dead letter'
          : 'the last attempt failed: an event is a dead letter'
      this.#log.repeated('error', `dead ${this.#kindOf(delivery, failure)}`, () => [
        message,
        this.#fieldsOf(delivery, failure),
      ])
    }
  }

  /** The broker gave the event up because its workers died. There is no thrown value. */
  buried(event: EventAttempt, failure: Failure): void {
    const error = Object.assign(new Error(failure.message), { name: failure.name })
    this.#call('dead', () => this.#attempt(event, error, failure))
    this.#log.repeated('error', `dead ${this.#kindOf(event, failure)}`, () => [
      'workers died with an event, up to its last attempt: it is a dead letter',
      this.#fieldsOf(event, failure),
    ])
  }

  /** An event is handed back, because this instance does not know its version. */
  newerVersion({ channel, offset, id, type }: EventAttempt, version: number): void {
    this.#log.repeated('warn', `version ${this.#plan.name} ${type} ${version}`, () => [
      'an event is in a version that this instance does not know: it waits for an instance that does',
      { consumer: this.#plan.name, channel, offset, event: id, type, version },
    ])
  }

  stalled(sinceMs: number, reason: string): void {
    const consumer = this.#plan.name
    this.#call('stalled', () => ({ consumer, since: new Date(sinceMs), reason }))
    this.#log.repeated('error', `stall ${consumer}`, () => [
      'a consumer has work and makes no progress',
      { consumer, since: new Date(sinceMs).toISOString(), reason },
    ])
  }

  /** The circuit breaker of the instance has opened or closed. */
  circuit(became: 'opened' | 'closed', why: string | null, waitMs: number): void {
    const consumer = this.#plan.name
    if (became === 'closed')
      this.#log.repeated('info', `circuit closed ${consumer}`, () => [
        'a circuit breaker has closed: the consumer takes events again',
        { consumer },
      ])
    else
      this.#log.repeated('error', `circuit opened ${consumer}`, () => [
        'a circuit breaker has opened: the instance takes no events until a probe is handled',
        { consumer, reason: why, probeAfterMs: waitMs },
      ])
  }

  goesOn(): void {
    this.#log.repeated('info', `goes on ${this.#plan.name}`, () => [
      'a consumer that was stalled makes progress again',
      { consumer: this.#plan.name },
    ])
  }

  #attempt({ channel, offset, key, id, type, attempt }: EventAttempt, error: unknown, failure: Failure): FailedAttempt {
    return { consumer: this.#plan.name, channel, offset, key, id, type, attempt, error, failure }
  }

  #fieldsOf({ channel, offset, id, type, attempt }: EventAttempt, { name, message, code, kind }: Failure): LogFields {
    const attempts = this.#plan.retry.attempts
    return {
      consumer: this.#plan.name,
      channel,
      offset,
      event: id,
      type,
      attempt,
      attempts,
      error: `${name}: ${message}`,
      code,
      kind,
    }
  }

  /** Failures whose texts differ only in digits are of one kind. */
  #kindOf({ channel, type }: EventAttempt, { name, message, code = '' }: Failure): string {
    return [this.#plan.name, channel, type, name, code, message.slice(0, KIND_CHARS).replace(/\d+/g, '#')].join(' ')
  }

  #call<Name extends keyof ConsumerHooks>(
    name: Name,
    told: () => Parameters<NonNullable<ConsumerHooks[Name]>>[0],
  ): void {
    const hook = this.#plan.hooks[name] as ((told: unknown) => unknown) | undefined
    if (hook === undefined) return
    try {
      watchAnswer(hook(told()), (error) => this.#hookFailed(name, error))
    } catch (error) {
      this.#hookFailed(name, error)
    }
  }

  #hookFailed(hook: string, error: unknown): void {
    const consumer = this.#plan.name
    this.#log.repeated('error', `hook ${consumer} ${hook}`, () => [
      'a hook of a consumer failed',
      { consumer, hook, error: messageOf(error) },
    ])
  }
}
