/**
 * What stays open (event streams, WebSockets, pulls that wait) asks now and then whether the credentials that let it in still hold, and ends when they do not.
 * One timer for all, which runs while something is open.
 */
import { LIMITS } from '../../base/limits.ts'
import type { Principal } from './principal.ts'

export class Vigil {
  readonly #open = new Map<Principal, Set<() => void>>()
  #timer: NodeJS.Timeout | null = null

  /** Call `end` once when the principal's credentials no longer hold. The answer ends the watch. */
  watch(principal: Principal, end: () => void): () => void {
    // A function of its own, so that one callback may be watched twice.
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
