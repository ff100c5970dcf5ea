/** Waiting for a condition, and reading channels, for tests of rules and of others. */
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { EmbeddedEngine } from '../../src/engines/embedded/embedded-engine.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import type { Broker, StoredEvent } from '../../src/index.ts'

/** Repeats a check until it passes. @throws the last failure, after `forMs` */
export async function eventually(check: () => unknown, forMs = 8000): Promise<void> {
  const end = Date.now() + forMs
  for (;;) {
    try {
      await check()
      return
    } catch (error) {
      if (Date.now() > end) throw error
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
}

/** The events of a channel, as soon as there are `count`. */
export async function published(broker: Broker, channel: string, count: number): Promise<StoredEvent[]> {
  let events: StoredEvent[] = []
  await eventually(async () => {
    events = []
    for await (const event of broker.read(channel)) events.push(event)
    if (events.length < count) throw new Error(`${channel} has ${events.length} events, not ${count}`)
  })
  return events
}

/** The offset before which a consumer has settled all events of a channel. */
export async function offsetsOf(broker: Broker, consumer: string, channel: string): Promise<number | undefined> {
  const { consumers } = await broker.describe()
  return consumers.find(({ name }) => name === consumer)?.channels.find((each) => each.channel === channel)?.floor
}

/** Brokers on one engine, as in several processes: they share only what is stored. */
export function brokersOf(count: number, engine: EmbeddedEngine = openMemoryEngine({})): Broker[] {
  return Array.from({ length: count }, () => new ConnectedBroker(engine, { source: '/test', random: Math.random }))
}
