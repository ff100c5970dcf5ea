/**
 * Deliveries of a lost session: those whose handlers still run, and those that were settled but are not known to be
 * durable.
 *
 * The subscription claims them in its next session. The server delivers a kept claim again, and the new delivery is
 * then matched with the old one.
 */
import { Condition } from '../../base/condition.ts'
import type { ClaimOutcome, HeldClaim } from '../../broker/engine.ts'
import type { RemoteDelivery } from './remote-delivery.ts'
import type { Handed, Settled } from './unconfirmed.ts'

/**
 * What to do with a delivery when the server has confirmed that it still belongs to this instance: let its handler
 * finish, or repeat its settlement.
 */
type Orphan =
  | { readonly running: RemoteDelivery; readonly settled: null }
  | { readonly running: null; readonly settled: Settled }

export interface OrphansHost {
  /** The delivery belongs to this instance again, under a new number. Its handler still runs. */
  takenUp(delivery: RemoteDelivery): void
  /** The delivery belongs to this instance again, and its settlement must be sent again. */
  repeated(settled: Settled): void
  /** Other instances have these deliveries now. */
  takenAway(deliveries: readonly RemoteDelivery[]): void
  /** A settlement was not durable and cannot be repeated. */
  settlementLost(): void
  /** No orphan is left. */
  resolved(): void
}

/**
 * How long to wait for deliveries whose claims the server has kept. A delivery that has not come again after this time
 * counts as lost: it was taken away, for example by a rewind.
 */
const KEPT_MS = 10_000

export class Orphans {
  readonly #host: OrphansHost
  readonly #byKey = new Map<string, Orphan>()
  #expiry: NodeJS.Timeout | null = null
  readonly #allRepeated = new Condition(() => !this.settling)

  constructor(host: OrphansHost) {
    this.#host = host
  }

  get size(): number {
    return this.#byKey.size
  }

  /** The deliveries whose handlers still run. */
  *running(): Generator<RemoteDelivery> {
    for (const { running } of this.#byKey.values()) if (running !== null) yield running
  }

  /** Whether a settlement must still be repeated. */
  get settling(): boolean {
    for (const { settled } of this.#byKey.values()) if (settled !== null) return true
    return false
  }

  /** Resolves when each settlement of a lost session is repeated in this one, or is known to be lost. */
  settled(): Promise<void> {
    return this.#allRepeated.reached()
  }

  addRunning(running: RemoteDelivery): void {
    this.#byKey.set(keyOf(running), { running, settled: null })
  }

  addSettled(settled: Settled): void {
    this.#byKey.set(keyOf(settled.delivery), { running: null, settled })
  }

  claims(): HeldClaim[] {
    return [...this.#byKey.values()].map((orphan) => {
      const { channel, offset, attempt } = handedOf(orphan)
      return { channel, offset, attempt }
    })
  }

  /** The server has answered the claims. */
  claimed(claims: readonly HeldClaim[], outcomes: readonly ClaimOutcome[]): void {
    claims.forEach((claim, index) => {
      const outcome = outcomes[index] ?? 'lost'
      if (outcome !== 'kept') this.#drop(keyOf(claim), outcome)
    })
    if (this.#byKey.size === 0) this.#host.resolved()
    else {
      this.#expiry ??= setTimeout(() => {
        this.#expiry = null
        for (const key of [...this.#byKey.keys()]) this.#drop(key, 'lost')
        this.#host.resolved()
      }, KEPT_MS)
      // The process lives until the settlements are repeated. Handlers that run do not keep it alive.
      if (!this.settling) this.#expiry.unref()
    }
  }

  #drop(key: string, outcome: ClaimOutcome): void {
    const orphan = this.#byKey.get(key)
    if (orphan === undefined) return
    this.#byKey.delete(key)
    if (orphan.running !== null) this.#host.takenAway([orphan.running])
    else if (outcome === 'lost') this.#host.settlementLost()
    this.#allRepeated.check()
  }

  /** Returns true if the delivery is an orphan that was delivered again. */
  takeUp(delivery: RemoteDelivery): boolean {
    const key = keyOf(delivery)
    const orphan = this.#byKey.get(key)
    if (orphan === undefined) return false
    if (handedOf(orphan).attempt !== delivery.attempt) {
      this.#drop(key, 'lost')
      return false
    }
    this.#byKey.delete(key)
    handedOf(orphan).number = delivery.number
    if (orphan.running === null) this.#host.repeated(orphan.settled)
    else this.#host.takenUp(orphan.running)
    this.#allRepeated.check()
    if (this.#byKey.size === 0) this.#over()
    return true
  }

  /** The handler of an orphan has finished. Returns false if the delivery is not an orphan. */
  settle(settled: Settled): boolean {
    const key = keyOf(settled.delivery)
    const running = this.#byKey.get(key)?.running
    if (running === undefined || running !== settled.delivery) return false
    this.#byKey.set(key, { running: null, settled })
    return true
  }

  /** The subscription ends. Running deliveries are no longer tracked here. */
  forgetRunning(): void {
    for (const [key, { running }] of this.#byKey) if (running !== null) this.#byKey.delete(key)
  }

  #over(): void {
    if (this.#expiry !== null) clearTimeout(this.#expiry)
    this.#expiry = null
    this.#host.resolved()
  }
}

function handedOf({ running, settled }: Orphan): Handed {
  return running ?? settled.delivery
}

function keyOf({ channel, offset }: { readonly channel: string; readonly offset: number }): string {
  return `${offset} ${channel}`
}
