/** The engine beneath a broker, for what works with what is stored and not with what it means: copies, and rules tried over history. */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import type { Broker } from './broker.ts'
import type { Engine } from './engine.ts'

/** @throws INVALID_OPTION when it is no broker */
export function checkBroker(broker: unknown, of: string): void {
  if (typeof broker === 'object' && broker !== null && typeof (broker as Partial<Broker>).start === 'function') return
  throw new MillraceError('INVALID_OPTION', `${of} takes a broker, as connect() returns it; this is ${shown(broker)}`, {
    option: 'broker',
  })
}

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
