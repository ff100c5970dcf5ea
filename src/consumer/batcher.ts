/**
 * Handler batches: deliveries are gathered until a batch is full, its wait is over, or nothing more can come.
 *
 * A consumer whose only handler takes batches may have several events of a key in one batch, in order. Its batches run
 * one after the other. A consumer with several handlers has one event of a key in flight at a time. Batches of
 * different handlers run side by side.
 *
 * With `by: 'key'` (clause 21), a batch has events of one key only. Each key then has a gathering of its own, with its
 * own wait, and batches of different keys run side by side. The batches of one key run one after the other.
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
  /** Settle the events of a batch, in the order of their delivery. Null where all are settled at once. */
  settle(contexts: readonly DeliveryContext[], outcomes: readonly Outcome[]): Promise<void> | null
}

interface Item {
  readonly event: StoredEvent
  readonly context: DeliveryContext
  /** When the event came, by the clock's `elapsed`. */
  readonly atMs: number
}

interface Gathering {
  readonly route: BatchRoute
  /** The lane of its events, where the route gathers by key; else null. */
  readonly lane: string | null
  items: Item[]
  cancelWait: (() => void) | null
  /** A batch of it runs or is being settled, and the next one waits for that. */
  running: boolean
}

export class Batcher {
  /** How many events of one key may be in flight at the same time. */
  readonly perKey: number
  readonly #host: BatcherHost
  readonly #plan: ConsumerPlan
  readonly #credit: number
  readonly #gatherings = new Map<BatchRoute, Map<string | null, Gathering>>()
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
    for (const route of batchRoutes) this.#gatherings.set(route, new Map())
  }

  *#all(): Generator<Gathering> {
    for (const gatherings of this.#gatherings.values()) yield* gatherings.values()
  }

  #gatheringOf(route: BatchRoute, { delivery }: DeliveryContext): Gathering {
    const gatherings = this.#gatherings.get(route) as Map<string | null, Gathering>
    const lane = route.batch.byKey ? laneOf(delivery, this.#plan) : null
    let gathering = gatherings.get(lane)
    if (gathering === undefined) {
      gathering = { route, lane, items: [], cancelWait: null, running: false }
      gatherings.set(lane, gathering)
    }
    return gathering
  }

  /** Forget a gathering in which nothing is left. */
  #forgetEmpty({ route, lane, items, running, cancelWait }: Gathering): void {
    if (items.length > 0 || running || lane === null) return
    cancelWait?.()
    this.#gatherings.get(route)?.delete(lane)
  }

  add(route: BatchRoute, event: StoredEvent, context: DeliveryContext): void {
    const gathering = this.#gatheringOf(route, context)
    gathering.items.push({ event, context, atMs: this.#host.clock.elapsed() })
    this.#held++
    if (gathering.items.length >= route.batch.size) this.#run(gathering)
  }

  /** Called when all deliveries of one call of `deliver` have been added. */
  delivered(): void {
    for (const gathering of [...this.#all()]) {
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
    for (const { items, cancelWait } of this.#all()) if (cancelWait !== null) count += items.length
    return count
  }

  /** Remove the gathered events of a failed event's key. They came after it, and must wait for it. */
  takeBehind(failed: Delivery): Delivery[] {
    const lane = laneOf(failed, this.#plan)
    if (lane === null) return []
    const gathered = [...this.#all()].flatMap(({ items }) => items.map(({ context }) => context.delivery))
    const behind = gathered.filter((delivery) => laneOf(delivery, this.#plan) === lane)
    for (const delivery of behind) this.forget(delivery)
    return behind
  }

  forget(delivery: Delivery): void {
    for (const gathering of [...this.#all()]) {
      const kept = gathering.items.filter((item) => item.context.delivery !== delivery)
      if (kept.length === gathering.items.length) continue
      this.#held -= gathering.items.length - kept.length
      gathering.items = kept
      this.#forgetEmpty(gathering)
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
      const settling = this.#host.settle(contexts, outcomes)
      if (settling === null) return this.#ended(gathering, items.length)
      return settling.then(() => this.#ended(gathering, items.length))
    })
    for (const context of contexts) context.running = running
  }

  /** All events of a batch are settled: the next batch sees what this one has stored. */
  #ended(gathering: Gathering, count: number): void {
    gathering.running = false
    this.#held -= count
    if (gathering.items.length > 0) this.delivered()
    else this.#forgetEmpty(gathering)
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
