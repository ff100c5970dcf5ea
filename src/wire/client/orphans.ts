/**
 * Deliveries of a session that is lost: those whose handlers still run, and those that were settled but not yet durably. The subscription claims them in
 * its next session; what is kept for it comes once more, and takes up where it was.
 */
import type { ClaimOutcome, HeldClaim } from '../../broker/engine.ts'
import type { RemoteDelivery } from './remote-delivery.ts'
import type { Handed, Settled } from './unconfirmed.ts'

/** What is to become of a delivery once it is known to be this instance's: a handler runs, or it was settled. */
type Orphan =
  | { readonly running: RemoteDelivery; readonly settled: null }
  | { readonly running: null; readonly settled: Settled }

export interface OrphansHost {
  /** It is this instance's again, under a new number, and its handler runs. */
  takenUp(delivery: RemoteDelivery): void
  /** The same, and it is settled. */
  repeated(settled: Settled): void
  /** These are others' now. */
  takenAway(deliveries: readonly RemoteDelivery[]): void
  /** A settlement was not durable, and cannot be repeated. */
  settlementLost(): void
  /** None is left. */
  resolved(): void
}

/** What was kept, and has not come within so long, was taken by a rewind or the like. */
const KEPT_MS = 10_000

export class Orphans {
  readonly #host: OrphansHost
  readonly #byPlace = new Map<string, Orphan>()
  #expiry: NodeJS.Timeout | null = null

  constructor(host: OrphansHost) {
    this.#host = host
  }

  get size(): number {
    return this.#byPlace.size
  }

  /** Those whose handlers run. */
  *running(): Generator<RemoteDelivery> {
    for (const { running } of this.#byPlace.values()) if (running !== null) yield running
  }

  /** Whether a settlement waits to be repeated. */
  get settling(): boolean {
    for (const { settled } of this.#byPlace.values()) if (settled !== null) return true
    return false
  }

  addRunning(running: RemoteDelivery): void {
    this.#byPlace.set(placeOf(running), { running, settled: null })
  }

  addSettled(settled: Settled): void {
    this.#byPlace.set(placeOf(settled.delivery), { running: null, settled })
  }

  claims(): HeldClaim[] {
    return [...this.#byPlace.values()].map((orphan) => {
      const { channel, offset, attempt } = handedOf(orphan)
      return { channel, offset, attempt }
    })
  }

  /** The server has answered. */
  claimed(claims: readonly HeldClaim[], outcomes: readonly ClaimOutcome[]): void {
    claims.forEach((claim, index) => {
      const outcome = outcomes[index] ?? 'lost'
      if (outcome !== 'kept') this.#drop(placeOf(claim), outcome)
    })
    if (this.#byPlace.size === 0) this.#host.resolved()
    else {
      this.#expiry ??= setTimeout(() => {
        this.#expiry = null
        for (const place of [...this.#byPlace.keys()]) this.#drop(place, 'lost')
        this.#host.resolved()
      }, KEPT_MS).unref()
    }
  }

  #drop(place: string, outcome: ClaimOutcome): void {
    const orphan = this.#byPlace.get(place)
    if (orphan === undefined) return
    this.#byPlace.delete(place)
    if (orphan.running !== null) this.#host.takenAway([orphan.running])
    else if (outcome === 'lost') this.#host.settlementLost()
  }

  /** A delivery came: whether it is one of these, come again. */
  takeUp(delivery: RemoteDelivery): boolean {
    const place = placeOf(delivery)
    const orphan = this.#byPlace.get(place)
    if (orphan === undefined) return false
    if (handedOf(orphan).attempt !== delivery.attempt) {
      this.#drop(place, 'lost')
      return false
    }
    this.#byPlace.delete(place)
    handedOf(orphan).number = delivery.number
    if (orphan.running === null) this.#host.repeated(orphan.settled)
    else this.#host.takenUp(orphan.running)
    if (this.#byPlace.size === 0) this.#over()
    return true
  }

  /** Its handler has finished meanwhile. False: it is none of these. */
  settle(settled: Settled): boolean {
    const place = placeOf(settled.delivery)
    const running = this.#byPlace.get(place)?.running
    if (running === undefined || running !== settled.delivery) return false
    this.#byPlace.set(place, { running: null, settled })
    return true
  }

  /** The subscription ends: what runs is the next one's. */
  letGo(): void {
    for (const [place, { running }] of this.#byPlace) if (running !== null) this.#byPlace.delete(place)
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

function placeOf({ channel, offset }: { readonly channel: string; readonly offset: number }): string {
  return `${offset} ${channel}`
}
