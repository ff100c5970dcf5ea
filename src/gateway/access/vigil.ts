/**
 * Ends event streams, WebSockets and waiting pulls whose credentials are no longer valid.
 *
 * One timer checks all of them. It runs only while something is open.
 */
import { LIMITS } from '../../base/limits.ts'
import type { Principal } from './principal.ts'

export class Vigil {
  readonly #open = new Map<Principal, Set<() => void>>()
  #timer: NodeJS.Timeout | null = null

  /** Call `end` once when the principal's credentials are no longer valid. The returned function stops the watch. */
  watch(principal: Principal, end: () => void): () => void {
    // A new function for each watch, so that the same callback can be watched twice.
    const ended = (): void => end()
    const ends = this.#open.get(principal) ?? new Set()
    this.#open.set(principal, ends.add(ended))
    this.#timer ??= setInterval(() => this.#look(), LIMITS.gatewayCredentialsMs).unref()
    return () => {
      ends.delete(ended)
      if (ends.size === 0 && this.#open.get(principal) === ends) this.#open.delete(principal)
      if (this.#open.size === 0) this.close()
    }
  }

  #look(): void {
    for (const [principal, ends] of [...this.#open]) {
      if (principal.holds()) continue
      this.#open.delete(principal)
      for (const end of [...ends]) end()
    }
    if (this.#open.size === 0) this.close()
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }
}
