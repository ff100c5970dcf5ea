/** Alarms of a backend: those that were raised before the engine listens are told when it does. */
import { LastingFailures } from '../base/lasting-failures.ts'
import type { BackendListener } from './log-backend.ts'

/** A failure that lasts: so many times one after the other. */
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

  /** Of work that deletes what channels need not keep: it is tried again by itself, and a failure that lasts is an alarm. */
  readonly retention: LastingFailures = new LastingFailures(LASTING_TIMES, {
    raise: (message) => this.raise('RETENTION_FAILED', message),
    end: () => this.clear('RETENTION_FAILED'),
  })

  clear(code: string): void {
    if (this.#raised.delete(code)) this.#listener?.cleared(code)
  }
}
