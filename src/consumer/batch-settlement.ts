/**
 * Settles the events of a batch in the order of their delivery (clauses 4, 12 and 19).
 *
 * Invariants:
 * - Nothing is settled before the emissions and states of all events of the batch are prepared.
 * - While an event waits until a removed channel is declared again, the events behind it wait, too.
 * - Where the consumer keeps state, an event behind one of its key that was not completed is handed back: its new state
 *   may contain the change of that event.
 */
import type { Delivery } from '../broker/engine.ts'
import { laneOf } from './batch-intake.ts'
import type { Outcome } from './batcher.ts'
import { Released } from './failure.ts'
import type { DeliveryContext } from './handler-context.ts'
import type { ConsumerPlan } from './plan.ts'
import type { Settlement } from './settlement.ts'

export interface BatchSettlementHost {
  readonly plan: Pick<ConsumerPlan, 'key' | 'state'>
  readonly settlement: Pick<Settlement, 'complete' | 'failed' | 'handBack'>
  /** The handler has ended, and what it emitted is prepared. */
  ended(contexts: readonly DeliveryContext[]): void
  /** Remove the events of the same key that are not in a batch yet, and return them. */
  takeBehind(failed: Delivery): readonly Delivery[]
}

/** A batch that is being settled. */
interface Settling {
  readonly contexts: readonly DeliveryContext[]
  readonly outcomes: readonly Outcome[]
  /** Lanes in which an event was not completed. */
  readonly stopped: Set<string>
}

export class BatchSettlement {
  readonly #host: BatchSettlementHost

  constructor(host: BatchSettlementHost) {
    this.#host = host
  }

  /** Null where all events are settled at once. */
  settle(contexts: readonly DeliveryContext[], outcomes: readonly Outcome[]): Promise<void> | null {
    if (!contexts.some(({ emitting }, index) => emitting !== null && outcomes[index] === null))
      return this.#inOrder({ contexts, outcomes, stopped: new Set() }, 0)
    const prepared = Promise.all(contexts.map((context, index) => preparedOutcome(context, outcomes[index] ?? null)))
    return prepared.then((all) => this.#inOrder({ contexts, outcomes: all, stopped: new Set() }, 0) ?? undefined)
  }

  #inOrder(batch: Settling, from: number): Promise<void> | null {
    if (from === 0) this.#host.ended(batch.contexts)
    for (let at = from; at < batch.contexts.length; at++) {
      const settling = this.#one(batch, at)
      if (settling !== null) return settling.then(() => this.#inOrder(batch, at + 1) ?? undefined)
    }
    return null
  }

  /** Null where the event is settled at once. */
  #one({ contexts, outcomes, stopped }: Settling, at: number): Promise<void> | null {
    const { plan, settlement } = this.#host
    const context = contexts[at] as DeliveryContext
    const outcome = outcomes[at] ?? null
    const lane = plan.state === null ? null : laneOf(context.delivery, plan)
    if (lane !== null && stopped.has(lane)) settlement.failed(context, new Released())
    else if (outcome !== null || context.timedOut !== null) {
      if (lane !== null) stopped.add(lane)
      settlement.failed(context, outcome?.failed)
      for (const behind of this.#host.takeBehind(context.delivery)) settlement.handBack(behind)
    } else {
      const completed = settlement.complete(context)
      const note = (done: boolean): void => {
        if (!done && lane !== null) stopped.add(lane)
      }
      if (completed instanceof Promise) return completed.then(note)
      note(completed)
    }
    return null
  }
}

/** The outcome of an event after its emissions are prepared: it has failed where one of them was refused. */
async function preparedOutcome(context: DeliveryContext, outcome: Outcome): Promise<Outcome> {
  if (outcome !== null || context.emitting === null || context.timedOut !== null) return outcome
  try {
    await context.emitted()
    return null
  } catch (failed) {
    return { failed }
  }
}
