/** The broker of an engine, with all that `connect` gives it. */
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { BrokerSchedules } from '../../src/schedule/schedules.ts'

export function connected(engine: Engine, source = '/test'): ConnectedBroker {
  return new ConnectedBroker(engine, {
    source,
    random: Math.random,
    schedules: async (broker, core) => new BrokerSchedules(broker, core),
  })
}
