/**
 * Handler batches: deliveries are gathered until a batch is full, its wait is over, or nothing more can come.
 *
 * A consumer whose only handler takes batches may have several events of a key in one batch, in order. Its batches run
 * one after the other. A consumer with several handlers has one event of a key in flight at a time. Batches of
 * different handlers run side by side.
 */
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import { isError, messageOf, watchAnswer } from '../base/thrown.ts'
import type { Delivery } from '../broker/engine.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { laneOf } from './batch-intake.ts'
import type { DeliveryContext } from './handler-context.ts'
import type { BatchRoute, ConsumerPlan } from './plan.ts'

/** The outcome of one event of a batch. Null means done. */
export type Outcome = { readonly failed: unknown } | null

export interface BatcherHost {
  readonly clock: Clock
  /** Call the handler of a batch. */
  call(route: BatchRoute, events: readonly StoredEvent[], contexts: readonly DeliveryContext[]): unknown
  /** Settle the events of a batch, in the order of their delivery. */
  settle(contexts: readonly DeliveryContext[], outcomes: readonly Outcome[]): void
}

interface Item {
  readonly event: StoredEvent
  readonly context: DeliveryContext
  /** When the event came, by the clock's `elapsed`. */
  readonly atMs: number
}

interface Gathering {
  readonly route: BatchRoute
  items: Item[]
  cancelWait: (() => void) | null
  /** A batch of the route runs, and the next one waits for it. */
  running: boolean
}

export class Batcher {
  /** How many events of one key may be in flight at the same time. */
  readonly perKey: number
  readonly #host: BatcherHost
  readonly #plan: ConsumerPlan
  readonly #credit: number
  readonly #gatherings = new Map<BatchRoute, Gathering>()
  #held = 0
  /** The consumer stops: no batch waits for more events. */
  #flushing = false

  constructor(plan: ConsumerPlan, host: BatcherHost) {
    const batchRoutes = plan.routes.filter((route): route is BatchRoute => route.batch !== null)
    const sizeMax = Math.max(...batchRoutes.map((route) => route.batch.size))
    this.perKey = plan.routes.length === 1 ? sizeMax : 1
    this.#credit = Math.max(plan.concurrency, sizeMax)
    this.#host = host
    this.#plan = plan
    for (const route of batchRoutes) this.#gatherings.set(route, { route, items: [], cancelWait: null, running: false })
  }

  add(route: BatchRoute, event: StoredEvent, context: DeliveryContext): void {
    const gathering = this.#gatherings.get(route) as Gathering
    gathering.items.push({ event, context, atMs: this.#host.clock.elapsed() })
    this.#held++
    if (gathering.items.length >= route.batch.size) this.#run(gathering)
  }

  /** Called when all deliveries of one call of `deliver` have been added. */
  delivered(): void {
    for (const gathering of this.#gatherings.values()) {
      const [oldest] = gathering.items
      if (oldest === undefined) continue
      const leftMs = oldest.atMs + gathering.route.batch.waitMs - this.#host.clock.elapsed()
      if (leftMs <= 0 || this.#flushing || this.#held >= this.#credit) this.#run(gathering)
      else gathering.cancelWait ??= this.#host.clock.after(Math.ceil(leftMs), () => this.#run(gathering))
    }
  }

  /** Run the gathered events now, and later events at once. */
  flush(): void {
    this.#flushing = true
    this.delivered()
  }

  /** How many events wait until their batch is full or its wait is over. */
  get gathered(): number {
    let count = 0
    for (const { items, cancelWait } of this.#gatherings.values()) if (cancelWait !== null) count += items.length
    return count
  }

  /** Remove the gathered events of a failed event's key. They came after it, and must wait for it. */
  takeBehind(failed: Delivery): Delivery[] {
    const lane = laneOf(failed, this.#plan)
    if (lane === null) return []
    const gathered = [...this.#gatherings.values()].flatMap(({ items }) => items.map(({ context }) => context.delivery))
    const behind = gathered.filter((delivery) => laneOf(delivery, this.#plan) === lane)
    for (const delivery of behind) this.forget(delivery)
    return behind
  }

  forget(delivery: Delivery): void {
    for (const gathering of this.#gatherings.values()) {
      const kept = gathering.items.filter((item) => item.context.delivery !== delivery)
      this.#held -= gathering.items.length - kept.length
      gathering.items = kept
    }
  }

  #run(gathering: Gathering): void {
    gathering.cancelWait?.()
    gathering.cancelWait = null
    if (gathering.items.length === 0 || (gathering.running && this.perKey > 1)) return
    const items = gathering.items.splice(0, gathering.route.batch.size)
    gathering.running = true
    const contexts = items.map((item) => item.context)
    const events = items.map((item) => item.event)
    const running = this.#handle(gathering.route, events, contexts).then((outcomes) => {
      gathering.running = false
      this.#held -= items.length
      this.#host.settle(contexts, outcomes)
      if (gathering.items.length > 0) this.delivered()
    })
    for (const context of contexts) context.running = running
  }

  async #handle(
    route: BatchRoute,
    events: readonly StoredEvent[],
    contexts: readonly DeliveryContext[],
  ): Promise<Outcome[]> {
    try {
      const outcomes = await this.#host.call(route, events, contexts)
      if (outcomes === undefined || outcomes === null) return events.map(() => null)
      const of = `the batch handler for "${route.definition?.type}"`
      const shape = 'it returns nothing when all are done, or one outcome for each event'
      if (!Array.isArray(outcomes))
        throw new MillraceError('INVALID_OPTION', `${of} returned ${messageOf(outcomes)}: ${shape}`)
      if (outcomes.length !== events.length) {
        for (const outcome of outcomes as unknown[]) watchAnswer(outcome)
        throw new MillraceError(
          'INVALID_OPTION',
          `${of} returned ${outcomes.length} outcomes for ${events.length} events: ${shape}`,
        )
      }
      return Array.from(outcomes as unknown[], (outcome) => outcomeOf(outcome, of))
    } catch (failed) {
      return events.map(() => ({ failed }))
    }
  }
}

function outcomeOf(outcome: unknown, of: string): Outcome {
  if (outcome === undefined || outcome === null || outcome === 'done') return null
  if (isError(outcome)) return { failed: outcome }
  // A promise in the array is not awaited, and may reject.
  watchAnswer(outcome)
  const message = `${of} returned ${messageOf(outcome)} for this event: an outcome is undefined or 'done' when it is done, or an Error when it failed`
  return { failed: new MillraceError('INVALID_OPTION', message) }
}
