/** `process()`: a process manager, defined by pure transitions over the state of one instance. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from '../base/errors.ts'
import { checkConsumerName } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { knownOptions } from '../base/units.ts'
import type { BrokerHost, Startable } from '../broker/broker.ts'
import type { Channel } from '../channel/channel.ts'
import type { DefinitionsIn } from '../consumer/consumer.ts'
import type { EventOf, Running } from '../consumer/consumer-types.ts'
import { type AnyEventDefinition, isDefinition } from '../event/event.ts'
import { diagramOf } from './diagram.ts'
import type { EventTransitions, FiredTimer, ProcessPlan } from './process-plan.ts'
import { startProcess } from './process-runner.ts'
import type { Correlation, FirstStep, Missing, ProcessOptions, Step } from './process-types.ts'

const PROCESS_OPTIONS = [
  ...['state', 'version', 'migrate', 'concurrency', 'retry', 'timeout'],
  ...['lease', 'drain', 'stall', 'on'],
]

/** Refuses what is no process. @throws INVALID_OPTION when it is not */
export function checkProcess(of: unknown, call: string): void {
  if (of instanceof Process) return
  const message = `${call} takes a process, as process() returns it; this is ${shown(of)}`
  throw new MillraceError('INVALID_OPTION', message, { option: 'process' })
}

/** A process: transitions are added, then it is started with `broker.start`. */
export class Process<State, Next, Definition extends AnyEventDefinition> implements Startable<Running> {
  readonly name: string
  /** For the type system only. */
  readonly types?: { readonly state: State; readonly next: Next }
  readonly #channels: readonly (Channel | string)[]
  readonly #options: ProcessOptions<StandardSchemaV1>
  readonly #byType = new Map<string, EventTransitions>()
  readonly #timers = new Map<string, (state: never, timer: never) => unknown>()

  constructor(name: string, channels: readonly (Channel | string)[], options: ProcessOptions<StandardSchemaV1>) {
    this.name = checkConsumerName(name)
    knownOptions(options, PROCESS_OPTIONS, `process "${name}"`)
    if (channels.length === 0) this.#refuse('it has no channel')
    if (typeof options.state !== 'object' && typeof options.state !== 'function')
      this.#refuse('it needs state, the schema of one instance, of zod, valibot, arktype or another such library')
    this.#channels = channels
    this.#options = options
  }

  /**
   * An event that begins an instance. If the instance exists already, the event goes to the transition of `on`, if
   * there is one for its type, and otherwise it is ignored.
   * @throws INVALID_OPTION when an argument is wrong, or the event begins instances already
   */
  start<D extends Definition>(
    event: D,
    correlation: Correlation<EventOf<D>>,
    first: (event: EventOf<D>) => FirstStep<Next>,
  ): this
  /** Called by `broker.start`. */
  start(host: BrokerHost): Promise<Running>
  start(
    given: AnyEventDefinition | BrokerHost,
    correlation?: Correlation<never>,
    first?: (event: never) => unknown,
  ): this | Promise<Running> {
    if (correlation === undefined && first === undefined && !isDefinition(given)) return startProcess(this.plan, given)
    const event = given as AnyEventDefinition
    const before = this.#known(event, correlation, first, 'start')
    if (before.start !== null) this.#refuse(`start() has "${event.type}" twice`)
    this.#byType.set(event.type, { ...before, start: first as NonNullable<typeof first> })
    return this
  }

  /**
   * An event that an instance reacts to. `missing` says what happens if there is none.
   * @throws INVALID_OPTION when an argument is wrong, or the process reacts to the event already
   */
  on<D extends Definition>(
    event: D,
    correlation: Correlation<EventOf<D>>,
    step: (state: State, event: EventOf<D>) => Step<Next> | undefined,
  ): this {
    const before = this.#known(event, correlation, step, 'on')
    if (before.step !== null) this.#refuse(`on() has "${event.type}" twice`)
    this.#byType.set(event.type, { ...before, step })
    return this
  }

  /**
   * A timer that a transition has set with `after`.
   * @throws INVALID_OPTION when an argument is wrong, or the timer has a transition already
   */
  timeout(name: string, step: (state: State, timer: FiredTimer) => Step<Next> | undefined): this {
    if (typeof name !== 'string' || name === '')
      this.#refuse(`timeout() takes the name of a timer; it is ${shown(name)}`)
    if (typeof step !== 'function') this.#refuse(`the transition of timer "${name}" is ${shown(step)}, not a function`)
    if (this.#timers.has(name)) this.#refuse(`timeout() has "${name}" twice`)
    this.#timers.set(name, step)
    return this
  }

  /**
   * What happens to an event of `on` whose id has no instance: it must be said for each, except for those that begin
   * one. `ignore`: the event is done. `dead-letter`: it becomes a dead letter of the process.
   * @throws INVALID_OPTION when the process does not react to the event, or the choice is none
   */
  missing(event: Definition, choice: Missing): this {
    const before = this.#byType.get((event as AnyEventDefinition | undefined)?.type ?? '')
    if (before === undefined) return this.#refuse(`missing() names ${shown(event?.type)}, for which there is no on()`)
    if (choice !== 'ignore' && choice !== 'dead-letter')
      this.#refuse(`missing() of "${event.type}" is 'ignore' or 'dead-letter'; it is ${shown(choice)}`)
    this.#byType.set(event.type, { ...before, missing: choice })
    return this
  }

  /** The definition as a Mermaid diagram: which events and timers begin, continue and end an instance. */
  diagram(): string {
    return diagramOf(this.plan)
  }

  /** The definition as data. @throws INVALID_OPTION when it is not complete */
  get plan(): ProcessPlan {
    if (![...this.#byType.values()].some(({ start }) => start !== null))
      this.#refuse('nothing begins an instance: add start()')
    for (const [type, { start, missing }] of this.#byType)
      if (start === null && missing === null)
        this.#refuse(
          `it is not said what happens to "${type}" without an instance: add missing(event, 'ignore') or 'dead-letter'`,
        )
    return this.data
  }

  /** The same, also before it is complete. */
  get data(): ProcessPlan {
    const { name } = this
    return { name, channels: this.#channels, options: this.#options, byType: this.#byType, timers: this.#timers }
  }

  #known(
    event: AnyEventDefinition,
    correlation: Correlation<never> | undefined,
    step: unknown,
    verb: 'start' | 'on',
  ): EventTransitions {
    if (!isDefinition(event)) this.#refuse(`${verb}() takes an event definition; it is ${shown(event)}`)
    const id: unknown = correlation?.id
    if (typeof id !== 'function')
      this.#refuse(`${verb}() of "${event.type}" needs { id }, a function of the event; it is ${shown(id)}`)
    if (typeof step !== 'function') this.#refuse(`${verb}() of "${event.type}" needs a function; it is ${shown(step)}`)
    const before = this.#byType.get(event.type)
    const own = { definition: event, id: id as EventTransitions['id'] }
    return before === undefined ? { ...own, start: null, step: null, missing: null } : { ...before, ...own }
  }

  #refuse(why: string): never {
    throw new MillraceError('INVALID_OPTION', `process "${this.name}": ${why}`, { consumer: this.name })
  }
}

/**
 * A process manager: it follows each of its instances over many events and much time, for example an order from its
 * beginning to its delivery. Transitions are pure functions: they get the state of an instance and an event, and answer
 * with the next state, the events to publish and the timers to set. All of that is one commit with the completion of
 * the event. The events of one instance are handled one at a time, so there are no conflicts.
 *
 * `correlation.id` says which instance an event is for, whatever the key of its channel is.
 *
 * @throws INVALID_NAME when the name is malformed · INVALID_OPTION when an option is wrong, or there is no channel
 * @example
 * ```ts
 * import { event, process, stream, to } from 'millrace'
 * import { z } from 'zod'
 *
 * const Placed = event('order.placed', z.object({ order: z.string() }))
 * const Paid = event('order.paid', z.object({ order: z.string() }))
 * const Expired = event('order.expired', z.object({ order: z.string() }))
 * const orders = stream('orders', { events: [Placed, Paid, Expired], key: 'data.order' })
 *
 * const checkout = process('checkout', orders, { state: z.object({ stage: z.enum(['open', 'paid']) }) })
 *   .start(Placed, { id: (e) => e.data.order }, () => ({ state: { stage: 'open' }, after: { unpaid: '30m' } }))
 *   .on(Paid, { id: (e) => e.data.order }, () => ({ state: { stage: 'paid' }, cancel: ['unpaid'] }))
 *   .timeout('unpaid', (_, { id }) => ({ emit: [to(orders, Expired({ order: id }))], done: true }))
 *   .missing(Paid, 'ignore')
 * checkout.name // 'checkout'
 * ```
 */
export function process<
  const C extends Channel | string | readonly (Channel | string)[],
  Schema extends StandardSchemaV1,
>(
  name: string,
  channels: C,
  options: ProcessOptions<Schema>,
): Process<StandardSchemaV1.InferOutput<Schema>, StandardSchemaV1.InferInput<Schema>, DefinitionsIn<C>> {
  const all = (Array.isArray(channels) ? channels : [channels]) as readonly (Channel | string)[]
  return new Process(name, all, options)
}
