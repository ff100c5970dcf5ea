/** Millrace as an application uses it: typed events, a keyed stream, a consumer, its own directory. */
import { type Broker, type Consumer, type ConsumerOptions, connect, consumer } from 'millrace'
import type { Telemetry } from 'millrace/otel'
import { z } from 'zod'
import { type CartItem, cartStream, ItemAdded, SOURCE } from './events.ts'
import type { Consuming, ItemHandler, Setting, System } from './system.ts'

export class MillraceSystem implements System {
  readonly broker: Broker
  readonly carts: ReturnType<typeof cartStream> = cartStream()
  readonly #concurrency: number
  /** The number of middlewares around its handlers, which do nothing. */
  middlewares = 0

  /** The handlers count the events of each key in its state. */
  counts = false

  protected constructor(broker: Broker, concurrency: number) {
    this.broker = broker
    this.#concurrency = concurrency
  }

  static open({ directory, concurrency }: Pick<Setting, 'directory' | 'concurrency'>): Promise<MillraceSystem> {
    return MillraceSystem.at(`file:${directory}`, concurrency)
  }

  /** On the engine that a URL names. */
  static async at(url: string, concurrency: number, telemetry?: Telemetry): Promise<MillraceSystem> {
    const options = { source: SOURCE, ...(telemetry !== undefined && { telemetry }) }
    return new MillraceSystem(await connect(url, options), concurrency)
  }

  publish(item: CartItem): Promise<unknown> {
    return this.broker.publish(this.carts, ItemAdded(item))
  }

  async consume(name: string, handler: ItemHandler): Promise<Consuming> {
    const options = { concurrency: this.#concurrency }
    const handling: Consumer<typeof ItemAdded> = this.counts
      ? counting(name, this.carts, options, handler)
      : consumer(name, this.carts, options).on(ItemAdded, ({ data }) => handler(data))
    for (let at = 0; at < this.middlewares; at++) handling.use((_, __, next) => next())
    const running = await this.broker.start(handling)
    return {
      settle: async () => {
        const { retried, deadLettered } = await running.stop()
        if (retried + deadLettered > 0)
          throw new Error(`${retried} retries and ${deadLettered} dead letters where none should be`)
      },
    }
  }

  close(): Promise<void> {
    return this.broker.close()
  }
}

const Count = z.object({ count: z.int() })

function counting(
  name: string,
  carts: ReturnType<typeof cartStream>,
  options: ConsumerOptions,
  handler: ItemHandler,
): Consumer<typeof ItemAdded> {
  const counted = { ...options, state: { schema: Count, initial: { count: 0 } } }
  return consumer(name, carts, counted).on(ItemAdded, ({ data }, ctx) => {
    ctx.setState({ count: ctx.state.count + 1 })
    return handler(data)
  }) as unknown as Consumer<typeof ItemAdded>
}
