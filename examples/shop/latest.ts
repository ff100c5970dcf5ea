/**
 * How a consumer here gets its state back after a restart: from what it emitted.
 *
 * Each of them emits its new state as an event, and that takes effect with the completion of the event that caused it, or not at all. So the last event
 * of each key in its own output stream is its state after exactly the events that are done: nothing to write beside it, nothing
 * to make idempotent, nothing that could disagree with the consumer's position after a crash. (The streams keep the latest event of each key,
 * so reading them stays short.)
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
