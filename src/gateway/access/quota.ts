/**
 * How much of the gateway one caller, and all together, may take: requests a second, and requests, streams and sockets open at once.
 * Bounded: a caller is remembered while something of it is open, or its bucket is not full again.
 */
import { MillraceError } from '../../base/errors.ts'
import type { Principal } from './principal.ts'

export interface QuotaLimits {
  readonly requestsPerSecond: number
  readonly open: number
  readonly callerRequestsPerSecond: number
  readonly callerOpen: number
}

interface Share {
  /** Requests that may still be made. Refilled as time goes by, up to a second's worth. */
  tokens: number
  refilledAtMs: number
  open: number
}

const SHARES_MAX = 10_000

export class Quota {
  readonly #limits: QuotaLimits
  readonly #now: () => number
  readonly #all: Share
  readonly #callers = new Map<string, Share>()

  constructor(limits: QuotaLimits, now: () => number = () => performance.now()) {
    this.#limits = limits
    this.#now = now
    this.#all = { tokens: limits.requestsPerSecond, refilledAtMs: now(), open: 0 }
  }

  /**
   * Take one request's share. The answer gives back its place among the open ones; call it once, when all of the request is over.
   * @throws RATE_LIMITED with `details.retryAfterMs`
   */
  admit(principal: Principal): () => void {
    const { requestsPerSecond, open, callerRequestsPerSecond, callerOpen } = this.#limits
    const share = this.#shareOf(principal)
    const now = this.#now()
    const [rate, openMax] = [principal.limits.requestsPerSecond ?? callerRequestsPerSecond, principal.limits.open ?? callerOpen]
    if (share.open >= openMax) throw tooMany(`"${principal.name}" has ${share.open} requests, streams and sockets open, which is its limit`, 1000)
    if (this.#all.open >= open) throw tooMany(`${open} requests, streams and sockets are open, which is the gateway's limit`, 1000)
    refill(share, rate, now)
    refill(this.#all, requestsPerSecond, now)
    if (share.tokens < 1) throw tooMany(`"${principal.name}" makes more than ${rate} requests a second`, Math.ceil(1000 / rate))
    if (this.#all.tokens < 1) throw tooMany(`the gateway takes ${requestsPerSecond} requests a second`, Math.ceil(1000 / requestsPerSecond))
    share.tokens--
    this.#all.tokens--
    share.open++
    this.#all.open++
    let over = false
    return () => {
      if (over) return
      over = true
      share.open--
      this.#all.open--
    }
  }

  #shareOf(principal: Principal): Share {
    const name = `${principal.kind}:${principal.name}`
    let share = this.#callers.get(name)
    if (share === undefined) {
      if (this.#callers.size >= SHARES_MAX) this.#forgetIdle()
      share = { tokens: principal.limits.requestsPerSecond ?? this.#limits.callerRequestsPerSecond, refilledAtMs: this.#now(), open: 0 }
      this.#callers.set(name, share)
    }
    return share
  }

  #forgetIdle(): void {
    const now = this.#now()
    for (const [name, share] of this.#callers) if (share.open === 0 && now - share.refilledAtMs > 1000) this.#callers.delete(name)
  }
}

function refill(share: Share, rate: number, now: number): void {
  share.tokens = Math.min(Math.max(1, rate), share.tokens + ((now - share.refilledAtMs) / 1000) * rate)
  share.refilledAtMs = now
}

function tooMany(what: string, retryAfterMs: number): MillraceError {
  return new MillraceError('RATE_LIMITED', `${what}: try again later`, { retryAfterMs })
}
