/**
 * Events in versions that this instance of a consumer does not know. They are handed back and wait for an instance that
 * knows them; here they are reported: a line in the log for each, and an alarm for each version, until the instance
 * stops.
 */
import { MillraceError } from '../base/errors.ts'
import { is, memberOf } from '../base/thrown.ts'
import type { AlarmList } from '../broker/alarm-list.ts'
import type { EventAttempt } from '../broker/engine.ts'
import type { TypeVersion } from '../event/event-version.ts'
import type { ConsumerReport } from './consumer-report.ts'

/** Versions with an alarm of their own. */
const ALARMS_MAX = 100

export class NewerVersions {
  readonly #consumer: string
  readonly #alarms: AlarmList
  readonly #report: ConsumerReport
  readonly #raised = new Set<string>()

  constructor(consumer: string, alarms: AlarmList, report: ConsumerReport) {
    this.#consumer = consumer
    this.#alarms = alarms
    this.#report = report
  }

  /** The version that is needed to handle the event; null where the error is another one. */
  neededBy(error: unknown): TypeVersion | null {
    if (!is(error, MillraceError) || memberOf(error, 'code') !== 'UNKNOWN_VERSION') return null
    const { type, version, waits } = memberOf(error, 'details') as TypeVersion & { readonly waits?: boolean }
    return waits === true ? { type, version } : null
  }

  /** An event was handed back. */
  met(event: EventAttempt, { type, version }: TypeVersion): void {
    this.#report.newerVersion(event, version)
    const key = `version ${this.#consumer} ${type} ${version}`
    if (this.#raised.has(key) || this.#raised.size >= ALARMS_MAX) return
    this.#raised.add(key)
    this.#alarms.raise(
      'UNKNOWN_VERSION',
      `an instance of consumer "${this.#consumer}" got "${type}" in version ${version}, which its definition does not have: ` +
        'such events wait for an instance that knows the version. Deploy the newer definition, and stop this instance',
      key,
    )
  }

  stop(): void {
    this.#alarms.end(...this.#raised)
    this.#raised.clear()
  }
}
