/**
 * The alarms of a backend. A backend may raise an alarm while it connects, before an engine listens: the engine is told
 * of all alarms that last when it begins to listen.
 */
import { LastingFailures } from '../../base/lasting-failures.ts'
import type { BackendListener } from '../log-backend.ts'

/** A failure of retention lasts when it has happened this many times in a row. */
export const LASTING_TIMES = 3

export class BackendAlarms {
  readonly #raised = new Map<string, string>()
  #listener: BackendListener | null = null

  listen(listener: BackendListener): void {
    this.#listener = listener
    for (const [code, message] of this.#raised) listener.alarm(code, message)
  }

  raise(code: string, message: string): void {
    this.#raised.set(code, message)
    this.#listener?.alarm(code, message)
  }

  /** Failures of the work that deletes old events. The work is repeated by itself; a failure that lasts is an alarm. */
  readonly retention: LastingFailures = new LastingFailures(LASTING_TIMES, {
    raise: (message) => this.raise('RETENTION_FAILED', message),
    end: () => this.clear('RETENTION_FAILED'),
  })

  clear(code: string): void {
    if (this.#raised.delete(code)) this.#listener?.cleared(code)
  }
}
