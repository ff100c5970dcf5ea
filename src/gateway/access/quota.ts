/**
 * Limits for one caller and for all callers together: requests per second, and requests, streams and sockets that are
 * open.
 *
 * Bounded: a caller is forgotten when nothing of it is open and its bucket is full again.
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
  /** The token bucket: requests that may still be made. It refills with time, up to one second's worth. */
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
   * Count one request. The returned function ends its count as open; call it once, when the request is completely over.
   * @throws RATE_LIMITED with `details.retryAfterMs`
   */
  admit(principal: Principal): () => void {
    const { open, callerOpen } = this.#limits
    const share = this.#shareOf(principal)
    const openMax = principal.limits.open ?? callerOpen
    if (share.open >= openMax)
      throw tooMany(
        `"${principal.name}" has ${share.open} requests, streams and sockets open, which is its limit`,
        1000,
      )
    if (this.#all.open >= open)
      throw tooMany(`${open} requests, streams and sockets are open, which is the gateway's limit`, 1000)
    this.take(principal, 1)
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

  /**
   * Count further requests on something that is open already. Returns how many of them are allowed. @throws
   * RATE_LIMITED with `details.retryAfterMs` when none is
   */
  take(principal: Principal, requests: number): number {
    const { requestsPerSecond } = this.#limits
    const { share, rate } = this.#refilled(principal)
    if (share.tokens < 1)
      throw tooMany(`"${principal.name}" makes more than ${rate} requests a second`, waitMs(share, rate))
    if (this.#all.tokens < 1)
      throw tooMany(`the gateway takes ${requestsPerSecond} requests a second`, waitMs(this.#all, requestsPerSecond))
    const taken = Math.min(requests, Math.floor(Math.min(share.tokens, this.#all.tokens)))
    share.tokens -= taken
    this.#all.tokens -= taken
    return taken
  }

  /**
   * Count a request that can no longer be refused. Returns for how many milliseconds no further such request should be
   * caused.
   */
  charge(principal: Principal): number {
    const { share, rate } = this.#refilled(principal)
    share.tokens--
    this.#all.tokens--
    return Math.max(waitMs(share, rate), waitMs(this.#all, this.#limits.requestsPerSecond))
  }

  #refilled(principal: Principal): { readonly share: Share; readonly rate: number } {
    const share = this.#shareOf(principal)
    const now = this.#now()
    const rate = principal.limits.requestsPerSecond ?? this.#limits.callerRequestsPerSecond
    refill(share, rate, now)
    refill(this.#all, this.#limits.requestsPerSecond, now)
    return { share, rate }
  }

  #shareOf(principal: Principal): Share {
    const name = `${principal.kind}:${principal.name}`
    let share = this.#callers.get(name)
    if (share === undefined) {
      if (this.#callers.size >= SHARES_MAX) this.#forgetIdle()
      share = {
        tokens: principal.limits.requestsPerSecond ?? this.#limits.callerRequestsPerSecond,
        refilledAtMs: this.#now(),
        open: 0,
      }
      this.#callers.set(name, share)
    }
    return share
  }

  #forgetIdle(): void {
    const now = this.#now()
    for (const [name, share] of this.#callers)
      if (share.open === 0 && now - share.refilledAtMs > 1000) this.#callers.delete(name)
  }
}

function refill(share: Share, rate: number, now: number): void {
  share.tokens = Math.min(Math.max(1, rate), share.tokens + ((now - share.refilledAtMs) / 1000) * rate)
  share.refilledAtMs = now
}

/** The time until the bucket has one whole request. */
function waitMs({ tokens }: Share, rate: number): number {
  return tokens >= 1 ? 0 : Math.ceil(((1 - tokens) * 1000) / rate)
}

function tooMany(what: string, retryAfterMs: number): MillraceError {
  return new MillraceError('RATE_LIMITED', `${what}: try again later`, { retryAfterMs })
}
