/** The conformance suite on the engine over a log with a conditional write, with a backend in memory. */

import { describe } from 'vitest'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { type ConformanceHarness, conformance } from '../../src/testing/conformance/conformance.ts'
import { connected } from '../conformance/connected.ts'
import { NO_OWN_KEY_ON_SERVERS } from '../conformance/own-key-lacks.ts'
import { sideBySide } from '../conformance/side-by-side.ts'
import { MemoryBackend, MemoryServer, servedCapabilities } from './memory-backend.ts'

const ORDER = 'it looks at the order over keys, which several partitions do not keep; run with one partition below'

function worlds(partitions: number): Pick<ConformanceHarness, 'open' | 'lacks' | 'capabilities'> {
  return {
    open: () => {
      const server = new MemoryServer()
      const openEngine = (): Promise<ExternalLogEngine> =>
        ExternalLogEngine.open({ backend: new MemoryBackend(server), partitions })
      return {
        connect: async () => connected(await openEngine()),
        openEngine,
      }
    },
    capabilities: servedCapabilities,
    lacks: { ...NO_OWN_KEY_ON_SERVERS, crash: 'the process and its server are one', disk: 'it has none' },
  }
}

describe('four partitions', () => {
  conformance({
    test: sideBySide,
    ...worlds(4),
    exempt: {
      '06-dead-letter/block-holds-back-everything': ORDER,
      '06-dead-letter/block-ends-when-the-dead-letter-is-dropped': ORDER,
      '13-retention/a-consumer-that-is-too-late-goes-on-with-what-is-kept': ORDER,
    },
  })
})

describe('one partition', () => {
  for (const only of ['06-dead-letter/block', '13-retention/a-consumer-that-is-too-late'])
    conformance({ test: sideBySide, ...worlds(1), only })
})
