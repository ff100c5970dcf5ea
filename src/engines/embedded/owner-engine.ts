/** The engine of a data directory that this process owns, and on which others are served: theirs ends before it closes. */
import type { Clock } from '../../base/clock.ts'
import type { Capabilities } from '../../broker/capabilities.ts'
import type { Carriage } from '../../broker/carriage.ts'
import type { Consumers } from '../../broker/consumers.ts'
import type { Delays } from '../../broker/delays.ts'
import type { BrokerDescription, ChannelState } from '../../broker/description.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type {
  Bounds,
  ConsumerSpec,
  DeliverySink,
  Engine,
  EngineReadOptions,
  LastingAlarms,
  StoredText,
  Subscription,
} from '../../broker/engine.ts'
import type { Receipt } from '../../broker/receipt.ts'
import type { ChannelSpec } from '../../channel/channel.ts'

export class OwnerEngine implements Engine {
  readonly #engine: Engine
  readonly #close: () => Promise<void>
  readonly backup?: NonNullable<Engine['backup']>

  /** `close` ends what others have of it, and then the engine. */
  constructor(engine: Engine, close: () => Promise<void>) {
    this.#engine = engine
    this.#close = close
    if (engine.backup !== undefined) this.backup = engine.backup.bind(engine)
  }

  get name(): string {
    return this.#engine.name
  }
  get capabilities(): Capabilities {
    return this.#engine.capabilities
  }
  get clock(): Clock {
    return this.#engine.clock
  }
  get carriage(): Carriage {
    return this.#engine.carriage
  }
  get consumers(): Consumers {
    return this.#engine.consumers
  }
  get delays(): Delays {
    return this.#engine.delays
  }
  declare(spec: ChannelSpec): Promise<void> {
    return this.#engine.declare(spec)
  }
  channel(name: string): Promise<ChannelSpec | undefined> {
    return this.#engine.channel(name)
  }
  channels(): Promise<readonly ChannelSpec[]> {
    return this.#engine.channels()
  }
  bounds(channel: string): Promise<Bounds> {
    return this.#engine.bounds(channel)
  }
  publish(channel: string, event: EncodedEvent, dueAtMs: number | null): Promise<Receipt> {
    return this.#engine.publish(channel, event, dueAtMs)
  }
  publishBatch(channel: string, events: readonly EncodedEvent[], dueAtMs: number | null): Promise<Receipt[]> {
    return this.#engine.publishBatch(channel, events, dueAtMs)
  }
  read(channel: string, options: EngineReadOptions): AsyncIterable<readonly StoredText[]> {
    return this.#engine.read(channel, options)
  }
  subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Subscription> {
    return this.#engine.subscribe(spec, sink)
  }
  removeChannel(channel: string): Promise<void> {
    return this.#engine.removeChannel(channel)
  }
  describeChannel(channel: string): Promise<ChannelState> {
    return this.#engine.describeChannel(channel)
  }
  describe(): Promise<Omit<BrokerDescription, 'capabilities' | 'engine'>> {
    return this.#engine.describe()
  }
  get alarms(): LastingAlarms {
    return this.#engine.alarms
  }
  close(): Promise<void> {
    return this.#close()
  }
}
