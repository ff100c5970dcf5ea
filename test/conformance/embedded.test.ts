/** The contract on the embedded engine: `memory:`, and `file:` in a directory of its own for each scenario. */
import { describe, test } from 'vitest'
import { connect } from '../../src/index.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { conformance } from '../../src/testing/conformance/conformance.ts'

const MEMORY_ENDS = 'memory: is forgotten when its broker closes'

describe('memory:', () => {
  conformance({
    test,
    open: () => ({ connect: () => connect('memory:'), openEngine: async () => openMemoryEngine() }),
    lacks: {
      reopen: MEMORY_ENDS,
      crash: MEMORY_ENDS,
      disk: 'memory: keeps its events in memory',
    },
  })
})
