/** Alarms of a backend: those that were raised before the engine listens are told when it does. */
import type { BackendListener } from './log-backend.ts'

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

  clear(code: string): void {
    if (this.#raised.delete(code)) this.#listener?.cleared(code)
  }
}
