/**
 * Faults that the contract allows, made on purpose: repeated delivery, another order across keys, and a crash between
 * the handler's effect and its completion. A handler that cannot cope with them would also fail in production.
 */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import { afterThis } from '../base/timers.ts'
import { knownOptions, trueOrFalse } from '../base/units.ts'
import type { ConsumerSpec, Delivery, DeliverySink, Emission, Engine, Subscription } from '../broker/engine.ts'
import type { Failure } from '../broker/failure.ts'

/** Probabilities, from 0 to 1, that a fault happens to an event. */
export interface Faults {
  /** The event is delivered once more although its handler had finished. @default 0 */
  readonly redeliver?: number
  /**
   * The worker dies after the handler's effect and before its completion: its emissions are lost, and the event is
   * delivered again as the next attempt. @default 0
   */
  readonly crash?: number
  /** Events of different keys that are delivered together get another order. @default false */
  readonly reorder?: boolean
}

/** A completed delivery, for assertions. */
export interface Handled {
  readonly consumer: string
  readonly delivery: Delivery
}

export interface FaultSource {
  subscribed(sink: DeliverySink): void
  readonly random: () => number
  faults(): Faults
  handled(record: Handled): void
}

const DIED: Failure = {
  name: 'WorkerDied',
  message: 'the test killed the worker between effect and completion',
  kind: 'crash',
}

/** The faults, after all checks. @throws INVALID_OPTION when a fault is unknown, or a probability is not from 0 to 1 */
export function checkedFaults(faults: Faults): Faults {
  knownOptions(faults, ['redeliver', 'crash', 'reorder'], 'faults')
  for (const option of ['redeliver', 'crash'] as const) {
    const chance: unknown = faults[option] ?? 0
    if (typeof chance === 'number' && chance >= 0 && chance <= 1) continue
    throw new MillraceError('INVALID_OPTION', `${option} must be a probability from 0 to 1; it is ${shown(chance)}`, {
      option,
    })
  }
  if (faults.reorder !== undefined) trueOrFalse(faults.reorder, 'reorder')
  return faults
}

/** The engine with faults injected between it and the consumers. */
export function withFaults(engine: Engine, source: FaultSource): Engine {
  return new Proxy(engine, {
    get(target, property) {
      if (property === 'subscribe')
        return (spec: ConsumerSpec, sink: DeliverySink) => subscribe(target, source, spec, sink)
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

async function subscribe(
  engine: Engine,
  source: FaultSource,
  spec: ConsumerSpec,
  sink: DeliverySink,
): Promise<Subscription> {
  source.subscribed(sink)
  const inner = await engine.subscribe(spec, {
    deliver: (deliveries) =>
      sink.deliver(source.faults().reorder === true ? shuffled(deliveries, source.random) : deliveries),
    passesOn: sink.passesOn,
    revoked: (deliveries) => sink.revoked(deliveries),
    buried: (event, failure) => sink.buried?.(event, failure),
    refused: (delivery, emissions, error) => sink.refused?.(delivery, emissions, error),
  })
  const repeated = new WeakSet<Delivery>()
  const complete = (delivery: Delivery, emissions: readonly Emission[] | null): boolean => {
    const { redeliver = 0, crash = 0 } = source.faults()
    if (source.random() < crash && delivery.attempt < spec.attemptsMax) {
      inner.retry(delivery, 0, DIED)
      return false
    }
    if (!repeated.has(delivery) && source.random() < redeliver) {
      repeated.add(delivery)
      afterThis(() => sink.deliver([delivery]))
      return false
    }
    const completed = inner.complete(delivery, emissions)
    if (completed) source.handled({ consumer: spec.name, delivery })
    return completed
  }
  return new Proxy(inner, {
    get(target, property) {
      if (property === 'complete') return complete
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  const mixed = [...items]
  for (let at = mixed.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    ;[mixed[at], mixed[other]] = [mixed[other] as Item, mixed[at] as Item]
  }
  return mixed
}
