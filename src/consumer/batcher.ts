/**
 * Handler batches: deliveries are gathered until a batch is full, its wait is over, or nothing more can come.
 *
 * With one batch handler, several events of a key may be in one batch, in order; batches then run one after the other. With more
 * than one handler, a key has one event in hands at a time, and batches of different handlers run side by side.
 */
import type { Clock } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import type { Delivery } from '../broker/engine.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { BatchRoute, ConsumerPlan } from './consumer.ts'
import type { BatchOutcome } from './consumer-types.ts'
import type { DeliveryContext } from './handler-context.ts'

export interface BatcherHost {
  readonly clock: Clock
  /** In offset order; null is done. */
  settle(contexts: readonly DeliveryContext[], outcomes: readonly (Error | null)[]): void
}

interface Gathering {
  readonly route: BatchRoute
  items: { readonly event: StoredEvent; readonly context: DeliveryContext }[]
  cancelWait: (() => void) | null
  /** A batch of the route runs: the next one waits for it. */
  running: boolean
}

export class Batcher {
  /** Events of one key that may be in hands at once. */
  readonly perKey: number
  readonly #host: BatcherHost
  readonly #credit: number
  readonly #gatherings = new Map<BatchRoute, Gathering>()
  #held = 0

  constructor(plan: ConsumerPlan, host: BatcherHost) {
    const batchRoutes = plan.routes.filter((route): route is BatchRoute => route.batch !== null)
    const sizeMax = Math.max(...batchRoutes.map((route) => route.batch.size))
    this.perKey = plan.routes.length === 1 ? sizeMax : 1
    this.#credit = Math.max(plan.concurrency, sizeMax)
    this.#host = host
    for (const route of batchRoutes) this.#gatherings.set(route, { route, items: [], cancelWait: null, running: false })
  }

  add(route: BatchRoute, event: StoredEvent, context: DeliveryContext): void {
    const gathering = this.#gatherings.get(route) as Gathering
    gathering.items.push({ event, context })
    this.#held++
    if (gathering.items.length >= route.batch.size) this.#run(gathering)
  }

  /** All that was handed over together has been added. */
  delivered(): void {
    for (const gathering of this.#gatherings.values()) {
      if (gathering.items.length === 0) continue
      if (gathering.route.batch.waitMs === 0 || this.#held >= this.#credit) this.#run(gathering)
      else gathering.cancelWait ??= this.#host.clock.after(gathering.route.batch.waitMs, () => this.#run(gathering))
    }
  }

  /** Run what is gathered now. */
  flush(): void {
    for (const gathering of this.#gatherings.values()) this.#run(gathering)
  }

  /** Take out what is gathered behind an event of the same key that failed: it must wait for that one. */
  takeBehind(failed: Delivery): Delivery[] {
    if (failed.key === null) return []
    const behind: Delivery[] = []
    for (const gathering of this.#gatherings.values()) {
      for (const { context } of gathering.items) {
        const { delivery } = context
        if (delivery.key === failed.key && delivery.channel === failed.channel && delivery.offset > failed.offset) behind.push(delivery)
      }
    }
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
    items.sort((a, b) => a.context.offset - b.context.offset)
    gathering.running = true
    void this.#handle(gathering.route, items).then((outcomes) => {
      gathering.running = false
      this.#held -= items.length
      const contexts = items.map((item) => item.context)
      this.#host.settle(contexts, outcomes)
      if (gathering.items.length > 0) this.delivered()
    })
  }

  async #handle(route: BatchRoute, items: Gathering['items']): Promise<(Error | null)[]> {
    try {
      const outcomes = await route.handler(
        items.map((item) => item.event) as never,
        items.map((item) => item.context),
      )
      if (outcomes === undefined || outcomes === null) return items.map(() => null)
      if (outcomes.length === items.length) return outcomes.map(outcomeOf)
      throw new MillraceError(
        'INVALID_OPTION',
        `the batch handler answered ${outcomes.length} outcomes for ${items.length} events: one each, or nothing when all are done`,
      )
    } catch (error) {
      const failed = error instanceof Error ? error : new Error(String(error))
      return items.map(() => failed)
    }
  }
}

function outcomeOf(outcome: BatchOutcome): Error | null {
  return outcome instanceof Error ? outcome : null
}
