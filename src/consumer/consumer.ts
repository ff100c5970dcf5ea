/** `consumer()`: a named, durable subscription with its handlers. */

import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkConsumerName } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import type { BrokerHost, Startable } from '../broker/broker.ts'
import type { Readable } from '../broker/reading.ts'
import type { Channel, DefinitionsOf, Stream } from '../channel/channel.ts'
import { typeNotCarried } from '../channel/channel-errors.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { type AnyEventDefinition, type EventFilter, isDefinition, type TypeOf } from '../event/event.ts'
import type { VersionedDefinition } from '../event/event-version.ts'
import { parsePattern } from '../pattern/pattern-parser.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import type {
  BatchHandler,
  BatchOptions,
  ConsumerOptions,
  EventOf,
  Handler,
  HandlerContext,
  Middleware,
  Running,
  StateContext,
} from './consumer-types.ts'
import { type BatchRoute, checkChannels, planOf, type Route } from './plan.ts'
import { Runner } from './runner.ts'
import type { StateOptions } from './state/state-types.ts'

/** The type of a consumer's states, with its versions. */
export interface StateDefinition<Context> extends VersionedDefinition {
  /** For the type system only: what handlers get, and what they set. */
  readonly types?: { readonly output: Context extends StateContext<infer State> ? State : never }
}

/** A consumer: handlers are added with `on`, then it is started with `broker.start`. */
export class Consumer<
  Definition extends AnyEventDefinition = AnyEventDefinition,
  Context extends HandlerContext = HandlerContext,
> implements Startable<Running>
{
  readonly name: string
  /** The type of its states, for `broker.table`; null for a consumer without state. */
  readonly state: StateDefinition<Context> | null
  readonly #channels: readonly (Channel | string)[]
  readonly #options: ConsumerOptions<never>
  readonly #routes: (Route | BatchRoute)[] = []
  readonly #middleware: Middleware[] = []
  #started = false

  constructor(name: string, channels: readonly (Channel | string)[], options: ConsumerOptions<never>) {
    this.name = checkConsumerName(name)
    this.#channels = channels
    this.#options = options
    checkChannels(name, channels)
    this.state = (planOf(name, channels, options, []).state?.definition ?? null) as StateDefinition<Context> | null
  }

  /**
   * Handle events of a type, or those of a type whose data matches (`ItemAdded.where({ … })`). An event goes to every
   * handler that is for it, in the order of registration, one after the other; it is done when all have finished.
   *
   * @throws INVALID_OPTION when an argument is wrong, the type has a batch handler, or the consumer was started before
   * · TYPE_NOT_CARRIED when none of the channels carries the type · INVALID_PATTERN when the pattern is malformed
   */
  on<D extends Definition>(event: D, handler: Handler<EventOf<D>, Context>): this
  on<Type extends TypeOf<Definition>, Output>(
    event: EventFilter<Type, Output>,
    handler: Handler<StoredEvent<Type, Output>, Context>,
  ): this
  on(event: AnyEventDefinition | EventFilter, handler: Handler<never, never>): this {
    this.#add({ ...this.#target(event, 'on'), handler: handler as Route['handler'], batch: null })
    return this
  }

  /**
   * Handle every event of the channels for which there is no other handler.
   * @throws INVALID_OPTION when the handler is not a function, or the consumer was started before
   */
  onAny(handler: Handler<StoredEvent, Context>): this {
    this.#add({
      definition: null,
      pattern: null,
      handler: handler as Handler<never, never> as Handler<never>,
      batch: null,
    })
    return this
  }

  /**
   * Handle events of a type in batches. Return nothing when all are done, or an array with one outcome for each event:
   * an `Error` if it failed, `undefined` or `'done'` if not. An array of another length fails the whole batch. Events
   * of one key are in order within a batch; after one that failed, later ones of its key are delivered again.
   *
   * @throws INVALID_OPTION when an argument is wrong, the type has a handler, or the consumer was started before ·
   * TYPE_NOT_CARRIED when none of the channels carries the type
   */
  onBatch<D extends Definition>(event: D, options: BatchOptions, handler: BatchHandler<EventOf<D>, Context>): this
  onBatch(event: AnyEventDefinition, options: BatchOptions, handler: BatchHandler<never, never>): this {
    knownOptions(options, ['size', 'wait', 'by'], `onBatch of consumer "${this.name}"`)
    const size = wholeNumber(options.size, 'size', 1, LIMITS.handlerBatchMax)
    this.#add({
      ...this.#target(event, 'onBatch'),
      handler: handler as BatchHandler<never>,
      batch: { size, waitMs: durationMs(options.wait ?? 0, 'wait'), byKey: byKeyOf(this.name, options.by) },
    })
    return this
  }

  /**
   * Add a function around all handlers, including those that are added later: for logging, tracing, a scope for each
   * event. The first that was added is the outermost; it runs once for each attempt at an event, and once for each
   * batch.
   *
   * @throws INVALID_OPTION when it is not a function, or the consumer was started before
   * @example
   * ```ts
   * import { connect, consumer, event, stream } from 'millrace'
   *
   * const Paid = event('order.paid')
   * const orders = stream('orders', { events: [Paid] })
   * const took: string[] = []
   * const books = consumer('books', orders)
   *   .use(async (event, ctx, next) => {
   *     const begin = performance.now()
   *     await next()
   *     took.push(`${event.type} ${ctx.attempt}: ${performance.now() - begin} ms`)
   *   })
   *   .on(Paid, () => undefined)
   *
   * const broker = await connect('memory:')
   * const running = await broker.start(books)
   * await broker.publish(orders, Paid({ order: 1 }))
   * await running.stop()
   * await broker.close()
   * ```
   */
  use(middleware: Middleware<Readable<Stream<Definition>>>): this {
    this.#refuseLate('middleware')
    if (typeof middleware !== 'function') {
      throw new MillraceError(
        'INVALID_OPTION',
        `a middleware of consumer "${this.name}" is not a function: it is ${shown(middleware)}`,
        {
          consumer: this.name,
        },
      )
    }
    this.#middleware.push(middleware as Middleware)
    return this
  }

  #refuseLate(what: 'handler' | 'middleware'): void {
    if (!this.#started) return
    const message = `consumer "${this.name}" was started before this ${what} was added, and would not give it any event: add it before the start`
    throw new MillraceError('INVALID_OPTION', message, { consumer: this.name })
  }

  /** @throws INVALID_OPTION when the handler could never run, or is none */
  #add(route: Route | BatchRoute): void {
    const refuse = (message: string): never => {
      throw new MillraceError('INVALID_OPTION', message, { consumer: this.name })
    }
    if (typeof route.handler !== 'function')
      refuse(`a handler of consumer "${this.name}" is not a function: it is ${shown(route.handler)}`)
    this.#refuseLate('handler')
    const type = route.definition?.type
    const others = this.#routes.filter((other) => type !== undefined && other.definition?.type === type)
    if (others.length > 0 && [route, ...others].some(({ batch }) => batch !== null)) {
      refuse(
        `consumer "${this.name}" has a handler for "${type}" already: an event is handled in one batch, or by on() handlers; ` +
          'use another consumer for the other handler',
      )
    }
    this.#routes.push(route)
  }

  #target(event: AnyEventDefinition | EventFilter, verb: 'on' | 'onBatch'): Pick<Route, 'definition' | 'pattern'> {
    const given = typeof event === 'object' || typeof event === 'function' ? event : null
    const filter = given !== null && 'definition' in given ? given : null
    const definition = filter === null ? (given as AnyEventDefinition | null) : filter.definition
    if (!isDefinition(definition) || (filter !== null && verb === 'onBatch')) {
      const takes = verb === 'on' ? 'an event definition, or its where()' : 'an event definition'
      throw new MillraceError(
        'INVALID_OPTION',
        `${verb}() of consumer "${this.name}" takes ${takes}, as event() returns it; this is ${shown(event)}`,
        {
          consumer: this.name,
        },
      )
    }
    this.#checkCarried(definition)
    if (filter === null) return { definition, pattern: null }
    const json = { type: [definition.type], data: filter.pattern } as PatternJson
    // A malformed pattern is refused here, and not when the consumer starts.
    parsePattern(json)
    return { definition, pattern: { json } }
  }

  #checkCarried(definition: AnyEventDefinition): void {
    const types: string[] = []
    for (const channel of this.#channels) {
      if (typeof channel === 'string' || channel.spec.types === null) return
      types.push(...channel.spec.types)
    }
    const { type } = definition
    if (types.includes(type)) return
    const refusal = `consumer "${this.name}" has a handler for ${shown(type)}, which none of its channels carries`
    throw typeNotCarried(refusal, type, types, { consumer: this.name })
  }

  /** Called by `broker.start`. */
  async start(host: BrokerHost): Promise<Running> {
    if (this.#routes.length === 0) {
      throw new MillraceError('INVALID_OPTION', `consumer "${this.name}" has no handler: add one with on()`, {
        consumer: this.name,
      })
    }
    const startedBefore = this.#started
    this.#started = true
    try {
      return await Runner.start(
        planOf(this.name, this.#channels, this.#options, [...this.#routes], [...this.#middleware]),
        host,
      )
    } catch (error) {
      this.#started = startedBefore
      throw error
    }
  }
}

/**
 * A consumer of a channel, of several, or of all whose names match (`'orders.*'`, including channels created later).
 *
 * Every event of a stream is delivered to each consumer name at least once, in publish order for each key; a queue's
 * events each go to one worker. Instances with the same name, in any number of processes, share the work.
 *
 * With `state` it keeps state for each key (clause 19), stored in the same commit as the completion of the event that
 * set it.
 *
 * @throws INVALID_NAME when the name, a channel's name or a wildcard is malformed · INVALID_OPTION when an option is
 * wrong, or there is no channel · SCHEMA_MISMATCH when the initial state does not satisfy its schema · INVALID_EVENT
 * when JSON cannot carry the initial state
 * @example
 * ```ts
 * import { connect, consumer, event, stream } from 'millrace'
 * import { z } from 'zod'
 *
 * const ItemAdded = event('cart.item.added', z.object({ sku: z.string(), quantity: z.int() }))
 * const carts = stream('carts', { events: [ItemAdded], key: (e) => e.data.sku })
 *
 * const stock = consumer('stock', carts, { concurrency: 32, retry: { attempts: 5 } })
 *   .on(ItemAdded, async ({ data }) => console.log(`${data.quantity} × ${data.sku}`))
 *
 * const broker = await connect('memory:')
 * const running = await broker.start(stock)
 * await broker.publish(carts, ItemAdded({ sku: 'tea', quantity: 2 }))
 * await running.stop()
 * await broker.close()
 * ```
 * @example
 * ```ts
 * import { connect, consumer, event, stream } from 'millrace'
 * import { z } from 'zod'
 *
 * const Sold = event('item.sold', z.object({ sku: z.string(), quantity: z.int() }))
 * const sales = stream('sales', { events: [Sold], key: 'data.sku' })
 *
 * const totals = consumer('totals', sales, { state: { schema: z.object({ sold: z.int() }), initial: { sold: 0 } } })
 *   .on(Sold, ({ data }, ctx) => ctx.setState({ sold: ctx.state.sold + data.quantity }))
 *
 * const broker = await connect('memory:')
 * const running = await broker.start(totals)
 * await broker.publish(sales, [Sold({ sku: 'tea', quantity: 2 }), Sold({ sku: 'tea', quantity: 3 })])
 * await running.stop()
 * const tea = await broker.table(totals).get('tea')
 * tea?.value.sold // 5
 * await broker.close()
 * ```
 */
export function consumer<
  const C extends ConsumerChannels,
  Schema extends StandardSchemaV1 = never,
  Initial = undefined,
>(
  name: string,
  channels: C,
  options: ConsumerOptions<Readable<EachOf<C>>> & {
    readonly state?: StateOptions<Schema> & { readonly initial?: Initial }
  } = {},
): Consumer<DefinitionsIn<C>, ContextFor<Schema, Initial>> {
  return new Consumer(
    name,
    (Array.isArray(channels) ? channels : [channels]) as readonly (Channel | string)[],
    options as ConsumerOptions<never>,
  )
}

/** Without a schema, the consumer keeps no state. Without an initial state, a key has none until it is set. */
type ContextFor<Schema extends StandardSchemaV1, Initial> = [Schema] extends [never]
  ? HandlerContext
  : StateContext<
      undefined extends Initial
        ? StandardSchemaV1.InferOutput<Schema> | undefined
        : StandardSchemaV1.InferOutput<Schema>,
      StandardSchemaV1.InferInput<Schema>
    >

function byKeyOf(name: string, by: unknown): boolean {
  if (by === undefined || by === 'key') return by === 'key'
  const message = `by in onBatch of consumer "${name}" is 'key', or absent; it is ${shown(by)}`
  throw new MillraceError('INVALID_OPTION', message, { option: 'by' })
}

type ConsumerChannels = Channel | string | readonly (Channel | string)[]

/**
 * The definitions that a consumer of these channels can handle: any, if one of the channels is known by its name only.
 */
export type DefinitionsIn<C> = [Extract<EachOf<C>, string>] extends [never]
  ? DefinitionsOf<EachOf<C>>
  : AnyEventDefinition
type EachOf<C> = C extends readonly (infer Each)[] ? Each : C
