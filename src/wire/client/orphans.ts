/**
 * Deliveries of a session that is lost: those whose handlers still run, and those that were settled but not yet durably. The subscription claims them in
 * its next session; what is kept for it comes once more, and takes up where it was.
 */
import type { ClaimOutcome, HeldClaim } from '../../broker/engine.ts'
import type { RemoteDelivery } from './remote-delivery.ts'
import type { Settled } from './remote-subscription.ts'

interface Orphan {
  readonly delivery: RemoteDelivery
  /** What is to become of it, once it is known to be this instance's; null while its handler runs. */
  settled: Settled | null
}

export interface OrphansHost {
  /** It is this instance's again, under a new number. */
  takenUp(delivery: RemoteDelivery, settled: Settled | null): void
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
    for (const { delivery, settled } of this.#byPlace.values()) if (settled === null) yield delivery
  }

  /** Whether a settlement waits to be repeated. */
  get settling(): boolean {
    for (const { settled } of this.#byPlace.values()) if (settled !== null) return true
    return false
  }

  add(delivery: RemoteDelivery, settled: Settled | null): void {
    this.#byPlace.set(placeOf(delivery), { delivery, settled })
  }

  claims(): HeldClaim[] {
    return [...this.#byPlace.values()].map(({ delivery: { channel, offset, attempt } }) => ({ channel, offset, attempt }))
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
    if (orphan.settled === null) this.#host.takenAway([orphan.delivery])
    else if (outcome === 'lost') this.#host.settlementLost()
  }

  /** A delivery came: whether it is one of these, come again. */
  takeUp(delivery: RemoteDelivery): boolean {
    const place = placeOf(delivery)
    const orphan = this.#byPlace.get(place)
    if (orphan === undefined) return false
    if (orphan.delivery.attempt !== delivery.attempt) {
      this.#drop(place, 'lost')
      return false
    }
    this.#byPlace.delete(place)
    orphan.delivery.number = delivery.number
    this.#host.takenUp(orphan.delivery, orphan.settled)
    if (this.#byPlace.size === 0) this.#over()
    return true
  }

  /** Its handler has finished meanwhile. False: it is none of these. */
  settle(settled: Settled): boolean {
    const orphan = this.#byPlace.get(placeOf(settled.delivery))
    if (orphan === undefined || orphan.delivery !== settled.delivery) return false
    orphan.settled = settled
    return true
  }

  /** The subscription ends: what runs is the next one's. */
  letGo(): void {
    for (const [place, { settled }] of this.#byPlace) if (settled === null) this.#byPlace.delete(place)
  }

  #over(): void {
    if (this.#expiry !== null) clearTimeout(this.#expiry)
    this.#expiry = null
    this.#host.resolved()
  }
}

function placeOf({ channel, offset }: { readonly channel: string; readonly offset: number }): string {
  return `${offset} ${channel}`
}
