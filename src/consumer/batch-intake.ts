/**
 * The way of deliveries into batches: each event is prepared (decoded, and the state of its key looked for), and then
 * gathered. Preparing may be asynchronous. Clause 4: the events of one key are gathered in the order of their delivery,
 * whichever is prepared first; when one cannot be prepared, the later ones of its key are handed back and wait for it.
 */
import type { Delivery } from '../broker/engine.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { DeliveryContext } from './handler-context.ts'
import type { ConsumerPlan } from './plan.ts'

export interface BatchIntakeHost {
  /** Throws or rejects when the attempt has failed. */
  prepare(context: DeliveryContext): StoredEvent | Promise<StoredEvent>
  /** Put the event into its batch, or call the handler that takes single events. */
  gather(event: StoredEvent, context: DeliveryContext): void
  /** All events that were prepared by now are gathered. */
  gathered(): void
  failed(context: DeliveryContext, error: unknown): void
  handBack(delivery: Delivery): void
  /** Whether the delivery still belongs to this instance. */
  isHeld(context: DeliveryContext): boolean
}

interface Entry {
  readonly context: DeliveryContext
  /** Null while the event is prepared. */
  outcome: { readonly event: StoredEvent } | { readonly error: unknown } | null
}

export class BatchIntake {
  readonly #host: BatchIntakeHost
  readonly #plan: Pick<ConsumerPlan, 'key'>
  /** By lane: events that are being prepared, and those behind them, in order. */
  readonly #entries = new Map<string, Entry[]>()
  /** Lanes in which an event of the current delivery has failed. */
  readonly #failed = new Set<string>()
  #reporting = false

  constructor(host: BatchIntakeHost, plan: Pick<ConsumerPlan, 'key'>) {
    this.#host = host
    this.#plan = plan
  }

  take(context: DeliveryContext): void {
    const lane = laneOf(context.delivery, this.#plan) ?? `no key, ${context.channel} ${context.offset}`
    if (this.#failed.has(lane)) return this.#host.handBack(context.delivery)
    const entry: Entry = { context, outcome: null }
    try {
      const prepared = this.#host.prepare(context)
      if (prepared instanceof Promise) this.#await(prepared, entry, lane)
      else if (this.#entries.size === 0) return this.#gather(prepared, context)
      else entry.outcome = { event: prepared }
    } catch (error) {
      entry.outcome = { error }
    }
    const waiting = this.#entries.get(lane)
    if (waiting === undefined) this.#entries.set(lane, [entry])
    else waiting.push(entry)
    if (entry.outcome !== null) this.#advance(lane)
  }

  /** All deliveries of one call are taken. */
  taken(): void {
    this.#failed.clear()
  }

  /** Remove the events of the lane that are not gathered yet: an event before them has failed. */
  takeBehind(failed: Delivery): Delivery[] {
    const lane = laneOf(failed, this.#plan)
    if (lane === null) return []
    const behind = this.#entries.get(lane) ?? []
    this.#entries.delete(lane)
    return behind.map(({ context }) => context.delivery)
  }

  #await(prepared: Promise<StoredEvent>, entry: Entry, lane: string): void {
    const settled = (outcome: Entry['outcome']): void => {
      entry.outcome = outcome
      this.#advance(lane)
      this.#failed.delete(lane)
      this.#report()
    }
    prepared.then(
      (event) => settled({ event }),
      (error: unknown) => settled({ error }),
    )
  }

  #advance(lane: string): void {
    const entries = this.#entries.get(lane)
    if (entries === undefined) return
    while (entries[0] !== undefined && entries[0].outcome !== null) {
      const { context, outcome } = entries.shift() as Entry
      if (outcome === null || !this.#host.isHeld(context)) continue
      if ('event' in outcome) {
        this.#gather(outcome.event, context)
        continue
      }
      this.#host.failed(context, outcome.error)
      this.#failed.add(lane)
      for (const behind of entries.splice(0))
        if (this.#host.isHeld(behind.context)) this.#host.handBack(behind.context.delivery)
    }
    if (entries.length === 0 && this.#entries.get(lane) === entries) this.#entries.delete(lane)
  }

  #gather(event: StoredEvent, context: DeliveryContext): void {
    try {
      this.#host.gather(event, context)
    } catch (error) {
      this.#host.failed(context, error)
    }
  }

  /** Events that are prepared at the same time are gathered before their batch is looked at. */
  #report(): void {
    if (this.#reporting) return
    this.#reporting = true
    queueMicrotask(() => {
      this.#reporting = false
      this.#host.gathered()
    })
  }
}

/** What is handled in order: the events of a key of a channel, or of the consumer's own key. Null without a key. */
export function laneOf({ channel, key }: Delivery, { key: own }: Pick<ConsumerPlan, 'key'>): string | null {
  if (key === null) return null
  return own === null ? `key ${key} of ${channel}` : `key ${key}`
}
