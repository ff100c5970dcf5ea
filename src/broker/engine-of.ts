/** The engine beneath a broker, for what works with what is stored and not with what it means: copies, and rules tried over history. */
import type { Broker } from './broker.ts'
import type { Engine } from './engine.ts'

export async function engineOf(broker: Broker): Promise<Engine> {
  let found: Engine | null = null
  await broker.start({
    start: async ({ engine }) => {
      found = engine
      return { stop: async () => undefined, done: Promise.resolve() }
    },
  })
  return found as unknown as Engine
}
