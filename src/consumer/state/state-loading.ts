/**
 * Loads the states of keys before the handlers of their events are called. If a state cannot be read at the moment, it
 * is read again, as long as the event belongs to this instance: no attempt is used.
 */
import { type Clock, pause } from '../../base/clock.ts'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Delivery, Subscription } from '../../broker/engine.ts'
import type { DeliveryContext } from '../handler-context.ts'
import { decodedState, HandledState, type KeyState, type StateHost } from './handled-state.ts'
import type { StatePlan } from './state-plan.ts'

const AGAIN_MS = 200

export interface LoadingHost extends StateHost {
  readonly clock: Pick<Clock, 'after'>
  readonly subscription: Pick<Subscription, 'stateOf'>
}

export class StateLoading {
  readonly #plan: StatePlan
  readonly #host: LoadingHost

  constructor(plan: StatePlan, host: LoadingHost) {
    this.#plan = plan
    this.#host = host
  }

  /**
   * Give these contexts, of one call, the states of their keys. Null if that is done already.
   * @throws INVALID_EVENT when an event has no key · and as `decodedState`
   */
  load(contexts: readonly DeliveryContext[]): Promise<void> | null {
    const shared = new Map<string, KeyState>()
    const loading: Promise<void>[] = []
    for (const context of contexts) {
      const key = keyOf(context.delivery, this.#plan)
      const known = shared.get(key)
      const state = known ?? { value: undefined, changes: 0 }
      context.keptState = new HandledState(this.#plan, key, this.#host, state)
      if (known !== undefined) continue
      shared.set(key, state)
      const value = this.#value(context, key)
      if (!(value instanceof Promise)) state.value = value
      else
        loading.push(
          value.then((read) => {
            state.value = read
          }),
        )
    }
    return loading.length === 0 ? null : Promise.all(loading).then(() => undefined)
  }

  /** Find out whether the state of the key can be had. @throws as `load` */
  check(context: DeliveryContext): Promise<unknown> | null {
    const value = this.#value(context, keyOf(context.delivery, this.#plan))
    return value instanceof Promise ? value : null
  }

  #value(context: DeliveryContext, key: string): unknown {
    const stored = this.#host.subscription.stateOf(context.delivery)
    if (!(stored instanceof Promise)) return decodedState(this.#plan, key, stored)
    return stored
      .catch((error: unknown) => this.#again(context, error))
      .then((read) => decodedState(this.#plan, key, read))
  }

  async #again(context: DeliveryContext, first: unknown): Promise<EncodedEvent | null> {
    for (let error = first; ; ) {
      if (!isMillraceError(error) || !error.retryable) throw error
      await pause(this.#host.clock, AGAIN_MS)
      context.refuseAborted()
      try {
        return await this.#host.subscription.stateOf(context.delivery)
      } catch (next) {
        error = next
      }
    }
  }
}

/** @throws INVALID_EVENT */
function keyOf({ key, channel, offset }: Delivery, { consumer }: StatePlan): string {
  if (key !== null) return key
  const message = `the event at offset ${offset} of channel "${channel}" has no key, and consumer "${consumer}" keeps state for each key: give the channel a key`
  throw new MillraceError('INVALID_EVENT', message, { channel, offset, handled: true })
}
