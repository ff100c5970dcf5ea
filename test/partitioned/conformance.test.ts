/** The contract over a log with a conditional write: what engines over other brokers are made of, without their servers. */
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { PartitionedEngine } from '../../src/partitioned/partitioned-engine.ts'
import { conformance } from '../../src/testing/conformance/conformance.ts'
import { sideBySide } from '../conformance/side-by-side.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

conformance({
  test: sideBySide,
  open: () => {
    const server = new MemoryServer()
    const openEngine = (): Promise<PartitionedEngine> => PartitionedEngine.open({ backend: new MemoryBackend(server), partitions: 4 })
    return {
      connect: async () => new ConnectedBroker(await openEngine(), { source: '/test', random: Math.random }),
      openEngine,
    }
  },
  lacks: { crash: 'see killed.test.ts', disk: 'it has none' },
})
