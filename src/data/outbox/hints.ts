/** Tells the relays of this process that an event was put into an outbox, and will be committed soon. */

const waiting = new Set<() => void>()

export function putHint(): void {
  for (const wake of waiting) wake()
}

/** `wake` is called at each hint. The returned function ends it. */
export function onHint(wake: () => void): () => void {
  waiting.add(wake)
  return () => waiting.delete(wake)
}
