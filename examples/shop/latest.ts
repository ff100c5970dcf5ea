/**
 * How a consumer of the shop restores its state after a restart: from the events that it emitted.
 *
 * Each consumer emits its new state as an event. The emission takes effect together with the completion of the event
 * that caused it, or not at all. So the last event of each key in the consumer's output stream is its state after
 * exactly the events that are done. There is nothing else to store, nothing to make idempotent, and nothing that could
 * disagree with the consumer's position after a crash. (The streams keep the latest event of each key, so reading them
 * stays fast.)
 */
import type { Broker, Channel, Readable } from 'millrace'

export async function latest<C extends Channel, Key>(
  broker: Broker,
  channel: C,
  keyOf: (event: Readable<C>) => Key,
): Promise<Map<Key, Readable<C>>> {
  const found = new Map<Key, Readable<C>>()
  for await (const event of broker.read(channel)) found.set(keyOf(event), event)
  return found
}
